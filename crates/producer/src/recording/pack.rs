//! Packing of one instrument's rows into messages: it skips rows that FEED has, converts holes to gap records, and
//! packs ticks.

use std::borrow::Cow;

use bus::codec::Pack;
use bus::publish::FeedMessage;
use market::gap::GapLine;
use market::{EventTime, Instrument, Span};
use store::recording::{InstrumentRows, RecordingRow, Rejects, RowCounts, RowShape, SOURCE};

use super::published::RowRuns;
use super::resume::FeedTail;
use super::window_fit::WindowFit;
use crate::message::{Origin, TickKey, has_room};

/// Cause of the gaps in a recording.
const GAP_CAUSE: &str = "missing-in-recording";
/// Gap lines before one message of ticks, at most; this number fits into any payload.
const GAPS_MAX: usize = 300;

/// Messages of one instrument in the order of publishing: the gaps before the ticks, then the ticks.
#[derive(Debug, Clone)]
pub(crate) struct PackedRows {
    /// Index of the instrument in the replay.
    pub(crate) instrument_idx: usize,
    pub(crate) messages: Vec<FeedMessage>,
    pub(crate) ticks: u64,
    /// The rows of the ticks.
    pub(crate) rows: RowRuns,
    pub(crate) gaps: u64,
    /// Event time of the recording's newest row, if this is its last message and it was read to its end.
    pub(crate) end: Option<EventTime>,
}

/// Packer of one instrument's rows.
pub(crate) struct Packer {
    instrument_idx: usize,
    instrument: Instrument,
    rows: InstrumentRows,
    /// Whether holes become gap records.
    gaps: bool,
    pub(crate) row_counts: RowCounts,
    /// Windows that the rows fill.
    pub(crate) fit: WindowFit,
    /// Last tick in FEED: event time and trade id. Rows up to it are skipped.
    skip_to: Option<(EventTime, Option<u64>)>,
    /// The previous row, or FEED's last tick: event time, and length if it is a candle.
    before: Option<(EventTime, Option<Span>)>,
    /// Gaps (from, to) in FEED that no tick follows.
    known_gaps: Vec<(EventTime, EventTime)>,
    next: Option<RecordingRow>,
}

impl Packer {
    /// Packs `rows`; rows up to the `tail` of FEED are counted as skipped.
    pub(crate) fn new(
        instrument_idx: usize,
        instrument: Instrument,
        rows: InstrumentRows,
        gaps: bool,
        tail: Option<&FeedTail>,
    ) -> Self {
        Self {
            instrument_idx,
            instrument,
            rows,
            gaps,
            row_counts: RowCounts::default(),
            fit: WindowFit::default(),
            skip_to: tail.map(|tail| (tail.last.event, tail.last.number)),
            before: tail.map(|tail| (tail.last.event, tail.last.grain)),
            known_gaps: tail.map(|tail| tail.known_gaps.clone()).unwrap_or_default(),
            next: None,
        }
    }

    /// Returns the instrument.
    pub(crate) fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    /// Returns the reader of the rows.
    pub(crate) fn rows(&self) -> &InstrumentRows {
        &self.rows
    }

    /// Returns the event time of the next row to publish.
    pub(crate) fn peek(&mut self, rejects: &mut Rejects) -> Option<EventTime> {
        while self.next.is_none() {
            let row = self.rows.next(&mut self.row_counts, rejects)?;
            let grain = self.rows.shape().grain().filter(|_| !row.is_point);
            self.fit.add(row.event, grain, row.id, row.volume);
            if self.skip_to.is_some_and(|last| (row.event, row.id) <= last) {
                self.row_counts.count_skipped(row.event);
            } else {
                self.next = Some(row);
            }
        }
        self.next.map(|row| row.event)
    }

    /// Returns the next messages: as many rows as one payload takes, none after `until`. Their content depends only on
    /// the first row, so that FEED recognizes a message that is sent again after a crash.
    pub(crate) fn next_packed(
        &mut self,
        until: EventTime,
        ingest_ms: i64,
        rejects: &mut Rejects,
    ) -> Option<PackedRows> {
        self.peek(rejects).filter(|&event| event <= until)?;
        let (grain, mut span) = (self.rows.shape().grain(), None);
        let (mut ticks, mut gaps, mut runs) = (Pack::default(), Vec::new(), RowRuns::default());
        while has_room(&ticks) && gaps.len() < GAPS_MAX {
            if self.peek(rejects).is_none_or(|event| event > until) {
                break;
            }
            let Some(row) = self.next.take() else { break };
            gaps.extend(self.gap_before(&row));
            ticks.push(&row.to_line(&self.instrument, grain, ingest_ms));
            runs.push(&row);
            self.before = Some((row.event, grain.filter(|_| !row.is_point)));
            let key = TickKey { event: row.event, number: row.id };
            span = Some(span.map_or((key, key), |(first, _)| (first, key)));
        }
        let (first, last) = span?;
        let origin = Origin { source: SOURCE, instrument: &self.instrument };
        let mut messages: Vec<FeedMessage> = self.gap_message(&gaps).into_iter().collect();
        let (count, gap_count) = (ticks.len(), gaps.len());
        let payload = ticks.into_payloads().swap_remove(0);
        messages.push(origin.ticks(grain, first, last, count, payload));
        // Reading also ends when a refused row cannot be written. It is then unknown whether more rows would follow.
        let is_last = self.peek(rejects).is_none() && !rejects.has_failed();
        let end = self.end().filter(|_| is_last);
        Some(PackedRows {
            instrument_idx: self.instrument_idx,
            messages,
            ticks: count as u64,
            rows: runs,
            gaps: gap_count as u64,
            end,
        })
    }

    /// Returns the event time of the newest row that counts, after all rows are read, unless a file broke off.
    pub(crate) fn end(&self) -> Option<EventTime> {
        let (_, end) = self.row_counts.range.filter(|_| self.rows.cut().is_none())?;
        Some(end)
    }

    /// Returns the hole between the previous row and this one, if there is one.
    fn gap_before(&self, row: &RecordingRow) -> Option<(EventTime, EventTime)> {
        // A recording that is complete up to this row has no hole before it.
        let (before, grain) = self.before.filter(|_| self.gaps && row.complete.is_none())?;
        let hole = grain.map_or(self.rows.shape(), RowShape::Candles).hole();
        // After a price at an instant, nothing is known from the next millisecond on.
        let gap = (before + grain.unwrap_or(Span(1)), row.event);
        let is_gap = row.event - before > hole || (row.is_behind_jump && gap.0 < gap.1);
        (is_gap && !self.known_gaps.contains(&gap)).then_some(gap)
    }

    fn gap_message(&self, gaps: &[(EventTime, EventTime)]) -> Option<FeedMessage> {
        let (&(from, _), &(_, to)) = (gaps.first()?, gaps.last()?);
        let mut lines = Pack::default();
        for (from, to) in gaps {
            lines.push(&GapLine {
                coin: Cow::Borrowed(self.instrument.coin()),
                quote: Cow::Borrowed(self.instrument.quote()),
                from_ms: from.ms(),
                to_ms: to.ms(),
                cause: Cow::Borrowed(GAP_CAUSE),
            });
        }
        let origin = Origin { source: SOURCE, instrument: &self.instrument };
        Some(origin.gaps(from, to, gaps.len(), lines.into_payloads().swap_remove(0)))
    }
}
