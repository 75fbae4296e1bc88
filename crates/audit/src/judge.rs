//! AuditVerdict on every line of FEED, in order, by event time and identity.

use std::collections::BTreeMap;

use crate::bounds::EventTimeBounds;
use crate::feed::{self, FeedMessage, FeedRecord};
use crate::names::InstrumentNames;
use crate::rows::{Gap, Heartbeat, Late, Price, Rejected};

/// Most runs of ticks remembered for an instrument; ticks older than the newest forgotten one are late. A run has one
/// event time, one length and consecutive ids.
const REMEMBERED_MAX: usize = 4_096;
const REFUSED_HEAD_BYTES: usize = 256;
const MINUTE_MS: i64 = 60_000;

/// A row that MARKET must hold, with the number of the line that it results from. The FEED lines of one instrument are
/// numbered from 0, all kinds together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Expected<R> {
    pub(crate) at: usize,
    pub(crate) row: R,
}

/// The recomputed rows of one instrument, from its FEED lines.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) prices: Vec<Expected<Price>>,
    pub(crate) late: Vec<Expected<Late>>,
    pub(crate) rejected: Vec<Expected<Rejected>>,
    pub(crate) heartbeats: Vec<Expected<Heartbeat>>,
    pub(crate) gaps: Vec<Expected<Gap>>,
    /// The watermark after each line.
    pub(crate) watermarks: Vec<i64>,
}

/// Judges the messages of one instrument in order.
pub(crate) fn judge(messages: &[FeedMessage], names: InstrumentNames<'_>, bounds: EventTimeBounds) -> Judged {
    let mut judged = Judged::default();
    let mut seen = SeenTicks { newest_ms: i64::MIN, forgotten: None, runs: BTreeMap::new(), bounds };
    for message in messages {
        for line in feed::lines(message, names) {
            let at = judged.watermarks.len();
            match line.record {
                Ok(FeedRecord::Tick(price)) => match seen.judge(&price) {
                    AuditVerdict::Accepted => judged.prices.push(Expected { at, row: price }),
                    AuditVerdict::Late { late_ms } => {
                        judged.late.push(Expected { at, row: Late { price, line: line.number, late_ms } });
                    }
                    AuditVerdict::Duplicate => {}
                },
                Ok(FeedRecord::Heartbeat(heartbeat)) => {
                    if !heartbeat.flush {
                        seen.newest_ms = seen.newest_ms.max(heartbeat.event_ms);
                    }
                    judged.heartbeats.push(Expected { at, row: heartbeat });
                }
                Ok(FeedRecord::Gap(gap)) => judged.gaps.push(Expected { at, row: gap }),
                Err(reason) => {
                    let head = String::from_utf8_lossy(&line.raw[..line.raw.len().min(REFUSED_HEAD_BYTES)]);
                    let (line, reason, head) = (line.number, reason.to_owned(), head.into_owned());
                    judged.rejected.push(Expected { at, row: Rejected { feed_seq: message.seq, line, reason, head } });
                }
            }
            judged.watermarks.push(seen.watermark_ms());
        }
    }
    judged
}

enum AuditVerdict {
    Accepted,
    Duplicate,
    Late { late_ms: i64 },
}

/// Order of a tick among those of its instrument: event time, length, id.
type TickOrder = (i64, Option<i64>, Option<u64>);

struct SeenTicks {
    newest_ms: i64,
    /// The newest tick that was forgotten because memory was full: ticks at or before it are late.
    forgotten: Option<TickOrder>,
    /// The last id of each run, keyed by the run's first tick.
    runs: BTreeMap<TickOrder, Option<u64>>,
    bounds: EventTimeBounds,
}

impl SeenTicks {
    fn watermark_ms(&self) -> i64 {
        self.newest_ms.saturating_sub(self.bounds.disorder_ms)
    }

    fn judge(&mut self, price: &Price) -> AuditVerdict {
        let order = (price.event_ms, price.grain_ms, price.id);
        let mut reached_ms = self.watermark_ms();
        let mut is_late = self.is_past(price.event_ms);
        if let Some(forgotten) = self.forgotten
            && order <= forgotten
        {
            is_late = true;
            reached_ms = reached_ms.max(forgotten.0);
        }
        if is_late {
            return AuditVerdict::Late { late_ms: (reached_ms - price.event_ms).max(1) };
        }
        if !self.remember(order) {
            return AuditVerdict::Duplicate;
        }
        self.newest_ms = self.newest_ms.max(price.event_ms);
        while let Some((&(oldest_ms, ..), _)) = self.runs.first_key_value()
            && self.is_past(oldest_ms)
        {
            self.runs.pop_first();
        }
        // At most one run was added.
        if self.runs.len() > REMEMBERED_MAX
            && let Some(((event_ms, grain_ms, _), last)) = self.runs.pop_first()
        {
            self.forgotten = Some((event_ms, grain_ms, last));
        }
        AuditVerdict::Accepted
    }

    /// Remembers a tick; returns false if it was remembered already.
    fn remember(&mut self, order: TickOrder) -> bool {
        let (event_ms, grain_ms, id) = order;
        let below = self.runs.range(..=order).next_back().map(|(&first, &last)| (first, last));
        let below =
            below.filter(|&((ms, grain, _), last)| (ms, grain, last.is_some()) == (event_ms, grain_ms, id.is_some()));
        if below.is_some_and(|(_, last)| last >= id) {
            return false;
        }
        // A tick with an id may extend a run at its end, at its start, or join two.
        let above =
            id.and_then(|id| id.checked_add(1)).and_then(|next| self.runs.remove(&(event_ms, grain_ms, Some(next))));
        let first = match (below, id) {
            (Some((first, Some(last))), Some(id)) if id - last == 1 => first,
            _ => order,
        };
        self.runs.insert(first, above.unwrap_or(id));
        true
    }

    /// Whether the minute of this event time can no longer be revised.
    fn is_past(&self, event_ms: i64) -> bool {
        let minute_end_ms = (event_ms.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
        self.watermark_ms() >= minute_end_ms + self.bounds.lateness_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> SeenTicks {
        let bounds = EventTimeBounds { disorder_ms: 5_000, lateness_ms: 600_000 };
        SeenTicks { newest_ms: i64::MIN, forgotten: None, runs: BTreeMap::new(), bounds }
    }

    fn trade(event_ms: i64, id: impl Into<Option<u64>>) -> Price {
        let (id, price) = (id.into(), 1.0);
        let (open, high, low, close) = (price, price, price, price);
        let (grain_ms, complete_ms, volume, quote_volume) = (None, None, None, None);
        Price {
            feed_seq: 1,
            event_ms,
            grain_ms,
            complete_ms,
            id,
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            filled: false,
        }
    }

    /// 1 when accepted, 0 when a duplicate, -n when late by n milliseconds.
    fn judge(seen: &mut SeenTicks, price: &Price) -> i64 {
        match seen.judge(price) {
            AuditVerdict::Accepted => 1,
            AuditVerdict::Duplicate => 0,
            AuditVerdict::Late { late_ms } => -late_ms,
        }
    }

    #[test]
    fn sparse_ids_of_one_second_all_count_and_never_twice() {
        let mut seen = seen();
        let many = 3 * REMEMBERED_MAX as u64;
        for id in (0..2 * many).step_by(2) {
            assert_eq!(judge(&mut seen, &trade(1_000, id)), 1, "{id}");
        }
        assert_eq!(seen.runs.len(), REMEMBERED_MAX);
        let first_known = 2 * (many - REMEMBERED_MAX as u64);
        let found = [0, first_known - 2, first_known, first_known - 1].map(|id| judge(&mut seen, &trade(1_000, id)));
        assert_eq!(found, [-1, -1, 0, 1]);
        assert_eq!([judge(&mut seen, &trade(990, 7)), judge(&mut seen, &trade(1_001, 0))], [-10, 1]);
    }

    #[test]
    fn trades_without_a_hole_between_their_ids_are_one_run() {
        let mut seen = seen();
        let ids = [5, 3, 4, 9, 7, 8, 6, 0, 1, 2, u64::MAX];
        assert_eq!(ids.map(|id| judge(&mut seen, &trade(1_000, id))), [1; 11]);
        assert_eq!(seen.runs.len(), 2, "0 to 9, and the last number that there is");
        assert_eq!(ids.map(|id| judge(&mut seen, &trade(1_000, id))), [0; 11]);
        let bar = Price { grain_ms: Some(MINUTE_MS), ..trade(1_000, 4) };
        let others = [trade(1_000, None), trade(1_001, 4), bar];
        assert_eq!(others.each_ref().map(|price| judge(&mut seen, price)), [1; 3], "each is another tick");
        assert_eq!(others.map(|price| judge(&mut seen, &price)), [0; 3]);
    }
}
