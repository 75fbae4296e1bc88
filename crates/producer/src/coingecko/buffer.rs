//! Bounded buffer of unpublished records, so that polling does not wait for their publishing.

use std::borrow::Cow;
use std::collections::VecDeque;

use bus::codec::{Pack, single};
use bus::publish::FeedMessage;
use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::{EventTime, Instrument, Span};

use super::config::SOURCE;
use crate::message::{Origin, has_room};

/// Ticks in the buffer, at most; about 4 MB. One coin per minute fills it in a week, 100 coins in 100 minutes.
pub(crate) const TICKS_MAX: usize = 10_000;
/// Cause of the gap that dropped ticks leave.
const OVERFLOW: &str = "buffer-overflow";

/// An unpublished record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BufferedRecord {
    Tick(Box<TickLine<'static>>),
    Gap(GapLine<'static>),
    Heartbeat(HeartbeatLine<'static>),
}

/// One queue per instrument, with a common bound. When the buffer is full, the oldest tick of the longest queue is
/// dropped and becomes part of a gap record.
#[derive(Debug)]
pub(crate) struct BoundedBuffer {
    queues: Vec<Queue>,
    ticks: usize,
    ticks_max: usize,
    /// Number of dropped ticks.
    pub(crate) dropped: u64,
}

#[derive(Debug)]
struct Queue {
    instrument: Instrument,
    records: VecDeque<BufferedRecord>,
    ticks: usize,
    /// Event time of the first dropped tick, until the gap up to the next kept tick is published.
    lost_from_ms: Option<i64>,
}

impl BoundedBuffer {
    /// Returns empty queues for these instruments.
    pub(crate) fn new(instruments: &[Instrument], ticks_max: usize) -> Self {
        let queue = |instrument: &Instrument| Queue {
            instrument: instrument.clone(),
            records: VecDeque::new(),
            ticks: 0,
            lost_from_ms: None,
        };
        Self { queues: instruments.iter().map(queue).collect(), ticks: 0, ticks_max, dropped: 0 }
    }

    /// Appends a record of an instrument.
    pub(crate) fn push(&mut self, instrument_idx: usize, record: BufferedRecord) {
        let queue = &mut self.queues[instrument_idx];
        match (&record, queue.records.back_mut()) {
            (BufferedRecord::Heartbeat(later), Some(BufferedRecord::Heartbeat(last))) if joins(last, later) => {
                // The later heartbeat certifies the span of both.
                let from_ms = last.event_ms - last.complete_ms.unwrap_or_default();
                let complete_ms = later.complete_ms.map(|_| later.event_ms - from_ms);
                *last = HeartbeatLine { complete_ms, ..later.clone() };
                return;
            }
            (BufferedRecord::Tick(_), _) => {
                queue.ticks += 1;
                self.ticks += 1;
            }
            _ => {}
        }
        queue.records.push_back(record);
        if self.ticks > self.ticks_max {
            self.drop_oldest();
        }
    }

    /// Returns the indexes of instruments with unpublished records.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = usize> {
        self.queues
            .iter()
            .enumerate()
            .filter(|(_, queue)| !queue.records.is_empty())
            .map(|(instrument_idx, _)| instrument_idx)
    }

    /// Returns the number of unpublished ticks.
    pub(crate) fn ticks(&self) -> usize {
        self.ticks
    }

    /// Removes and returns the next message of an instrument: one gap, one heartbeat, or the ticks up to the next other
    /// record, as many as one payload takes.
    pub(crate) fn take(&mut self, instrument_idx: usize) -> Option<FeedMessage> {
        let queue = &mut self.queues[instrument_idx];
        let before = queue.ticks;
        let message = queue.take();
        self.ticks -= before - queue.ticks;
        message
    }

    fn drop_oldest(&mut self) {
        let Some(queue) = self.queues.iter_mut().max_by_key(|queue| queue.ticks) else { return };
        while let Some(record) = queue.records.pop_front() {
            match record {
                BufferedRecord::Tick(tick) => {
                    queue.lost_from_ms.get_or_insert(tick.event_ms);
                    queue.ticks -= 1;
                    self.ticks -= 1;
                    self.dropped += 1;
                    queue.certify_nothing();
                    return;
                }
                // The new gap includes the dropped one.
                BufferedRecord::Gap(gap) => {
                    queue.lost_from_ms.get_or_insert(gap.from_ms);
                }
                BufferedRecord::Heartbeat(_) => {}
            }
        }
    }
}

/// Whether the spans of two heartbeats touch, or both have none.
fn joins(earlier: &HeartbeatLine<'_>, later: &HeartbeatLine<'_>) -> bool {
    match (earlier.complete_ms, later.complete_ms) {
        (Some(_), Some(complete_ms)) => later.event_ms - complete_ms <= earlier.event_ms,
        (None, complete_ms) => complete_ms.is_none(),
        (Some(_), None) => false,
    }
}

impl Queue {
    /// Removes certifications up to the next tick, after a tick was dropped.
    fn certify_nothing(&mut self) {
        for record in &mut self.records {
            match record {
                BufferedRecord::Heartbeat(heartbeat) => heartbeat.complete_ms = None,
                BufferedRecord::Tick(tick) => {
                    tick.complete_ms = None;
                    return;
                }
                BufferedRecord::Gap(_) => {}
            }
        }
    }

    fn take(&mut self) -> Option<FeedMessage> {
        if let Some(message) = self.take_lost() {
            return Some(message);
        }
        let message = match self.records.pop_front()? {
            BufferedRecord::Tick(first) => self.take_ticks(*first),
            BufferedRecord::Gap(gap) => self.gap_message(&gap),
            BufferedRecord::Heartbeat(heartbeat) => self.origin().heartbeat(heartbeat.event(), single(&heartbeat)),
        };
        Some(message)
    }

    /// Returns the gap of dropped ticks, if the tick after it is in the queue.
    fn take_lost(&mut self) -> Option<FeedMessage> {
        let from_ms = self.lost_from_ms?;
        let to_ms = self.records.iter().find_map(|record| match record {
            BufferedRecord::Tick(tick) => Some(tick.event_ms),
            BufferedRecord::Gap(_) | BufferedRecord::Heartbeat(_) => None,
        })?;
        self.lost_from_ms = None;
        Some(self.gap_message(&GapLine {
            coin: Cow::Borrowed(self.instrument.coin()),
            quote: Cow::Borrowed(self.instrument.quote()),
            from_ms,
            to_ms,
            cause: Cow::Borrowed(OVERFLOW),
        }))
    }

    fn take_ticks(&mut self, first: TickLine<'static>) -> FeedMessage {
        let (grain, first_ms) = (first.grain_ms.map(Span), first.event_ms);
        let mut last_ms = first_ms;
        let mut lines = Pack::default();
        lines.push(&first);
        while let (true, Some(BufferedRecord::Tick(tick))) = (has_room(&lines), self.records.front()) {
            last_ms = tick.event_ms;
            lines.push(tick.as_ref());
            self.records.pop_front();
        }
        self.ticks -= lines.len();
        let count = lines.len();
        self.origin().ticks(grain, EventTime(first_ms), EventTime(last_ms), count, lines.into_payloads().swap_remove(0))
    }

    fn gap_message(&self, gap: &GapLine<'_>) -> FeedMessage {
        self.origin().gaps(EventTime(gap.from_ms), EventTime(gap.to_ms), 1, single(gap))
    }

    fn origin(&self) -> Origin<'_> {
        Origin { source: SOURCE, instrument: &self.instrument }
    }
}

#[cfg(test)]
mod tests {
    use bus::codec::LINES_MAX;
    use market::Tick;

    use super::*;

    fn tick(coin: &'static str, minute: i64) -> BufferedRecord {
        let tick = Tick::point(EventTime(minute * 60_000), 1.0);
        BufferedRecord::Tick(Box::new(TickLine::new(coin, "usd", &tick, 0)))
    }

    fn heartbeat(minute: i64) -> BufferedRecord {
        BufferedRecord::Heartbeat(HeartbeatLine {
            coin: "bitcoin".into(),
            quote: "usd".into(),
            event_ms: minute * 60_000,
            complete_ms: None,
            ingest_ms: 0,
            flush: false,
        })
    }

    /// Returns how much each record certifies, in minutes.
    fn certified(buffer: &BoundedBuffer) -> Vec<Option<i64>> {
        let complete_ms = |record: &BufferedRecord| match record {
            BufferedRecord::Tick(tick) => tick.complete_ms,
            BufferedRecord::Heartbeat(heartbeat) => heartbeat.complete_ms,
            BufferedRecord::Gap(_) => None,
        };
        buffer.queues[0].records.iter().map(|record| Some(complete_ms(record)? / 60_000)).collect()
    }

    fn certifying(record: BufferedRecord, minutes: i64) -> BufferedRecord {
        let complete_ms = Some(minutes * 60_000);
        match record {
            BufferedRecord::Tick(tick) => BufferedRecord::Tick(Box::new(TickLine { complete_ms, ..*tick })),
            BufferedRecord::Heartbeat(heartbeat) => {
                BufferedRecord::Heartbeat(HeartbeatLine { complete_ms, ..heartbeat })
            }
            gap => gap,
        }
    }

    #[test]
    fn joined_heartbeats_certify_the_span_of_both() {
        let mut buffer = buffer(TICKS_MAX);
        buffer.push(0, certifying(heartbeat(10), 3));
        buffer.push(0, certifying(heartbeat(12), 2));
        assert_eq!(certified(&buffer), [Some(5)]);
        buffer.push(0, certifying(heartbeat(20), 1));
        assert_eq!(certified(&buffer), [Some(5), Some(1)], "they do not touch");
    }

    #[test]
    fn dropped_ticks_are_certified_by_no_later_record() {
        let mut buffer = buffer(2);
        buffer.push(0, tick("bitcoin", 1));
        buffer.push(0, certifying(heartbeat(5), 4));
        buffer.push(0, certifying(tick("bitcoin", 6), 5));
        buffer.push(0, certifying(tick("bitcoin", 7), 1));
        assert_eq!(certified(&buffer), [None, None, Some(1)]);
        assert_eq!(buffer.dropped, 1);
    }

    fn buffer(ticks_max: usize) -> BoundedBuffer {
        let instrument = |coin| Instrument::new(coin, "usd").unwrap();
        BoundedBuffer::new(&[instrument("bitcoin"), instrument("ethereum")], ticks_max)
    }

    /// Checks the ids of all messages of an instrument, without their common prefix.
    fn check(buffer: &mut BoundedBuffer, instrument_idx: usize, expected: &[&str]) {
        let messages: Vec<FeedMessage> = std::iter::from_fn(|| buffer.take(instrument_idx)).collect();
        let found: Vec<String> = messages.iter().map(|message| message.id.replacen("coingecko/", "", 1)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn buffered_ticks_are_packed_and_order_is_kept() {
        let mut buffer = buffer(TICKS_MAX);
        for record in [tick("bitcoin", 1), tick("bitcoin", 2), heartbeat(3), heartbeat(4), tick("bitcoin", 5)] {
            buffer.push(0, record);
        }
        assert_eq!((buffer.ticks(), buffer.waiting().collect::<Vec<_>>()), (3, vec![0]));
        let expected = [
            "tick/bitcoin/usd/point/60000-120000/2",
            "heartbeat/bitcoin/usd/240000",
            "tick/bitcoin/usd/point/300000-300000/1",
        ];
        check(&mut buffer, 0, &expected);
        assert_eq!((buffer.ticks(), buffer.waiting().count()), (0, 0));
    }

    #[test]
    fn a_message_takes_no_more_lines_than_a_payload() {
        let mut buffer = buffer(TICKS_MAX);
        (0..LINES_MAX as i64 + 1).for_each(|minute| buffer.push(0, tick("bitcoin", minute)));
        let first = buffer.take(0).unwrap();
        assert_eq!(bus::codec::lines(&first.payload).count(), LINES_MAX);
        check(&mut buffer, 0, &["tick/bitcoin/usd/point/30000000-30000000/1"]);
    }

    /// The dropped ticks leave a gap record.
    #[test]
    fn overflow_drops_the_oldest_tick_of_the_longest_queue() {
        let mut buffer = buffer(4);
        buffer.push(1, tick("ethereum", 1));
        for minute in 1..=5 {
            buffer.push(0, tick("bitcoin", minute));
            buffer.push(0, heartbeat(minute));
        }
        assert_eq!((buffer.ticks(), buffer.dropped), (4, 2));
        let expected = [
            "gap/bitcoin/usd/60000-180000/1",
            "heartbeat/bitcoin/usd/120000",
            "tick/bitcoin/usd/point/180000-180000/1",
            "heartbeat/bitcoin/usd/180000",
            "tick/bitcoin/usd/point/240000-240000/1",
            "heartbeat/bitcoin/usd/240000",
            "tick/bitcoin/usd/point/300000-300000/1",
            "heartbeat/bitcoin/usd/300000",
        ];
        check(&mut buffer, 0, &expected);
        check(&mut buffer, 1, &["tick/ethereum/usd/point/60000-60000/1"]);
    }

    #[test]
    fn a_dropped_tick_takes_the_gap_before_it_along() {
        let mut buffer = buffer(1);
        let gap =
            GapLine { coin: "bitcoin".into(), quote: "usd".into(), from_ms: 7, to_ms: 60_000, cause: "blocked".into() };
        for record in [BufferedRecord::Gap(gap), tick("bitcoin", 1), tick("bitcoin", 2)] {
            buffer.push(0, record);
        }
        check(&mut buffer, 0, &["gap/bitcoin/usd/7-120000/1", "tick/bitcoin/usd/point/120000-120000/1"]);
    }
}
