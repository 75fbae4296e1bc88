//! Which lines of FEED count: judged one after the other, by time and identity.

use std::collections::BTreeMap;

use crate::feed::{self, Message, Said};
use crate::rows::{Gap, Heartbeat, Late, Price, Rejected};
use crate::{Bounds, Names};

/// Most runs of ticks of an instrument that are remembered; what is older than the newest forgotten tick is late. A run has
/// one time, one length and ids without a hole.
const REMEMBERED_MAX: usize = 4_096;
const REFUSED_HEAD_BYTES: usize = 256;
const MINUTE_MS: i64 = 60_000;

/// A row of MARKET that must be there, with the number of the line that made it. Lines of FEED are counted from 0, those
/// of one instrument, all kinds together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Made<R> {
    pub(crate) at: usize,
    pub(crate) row: R,
}

/// What FEED comes to for one instrument, line by line.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) prices: Vec<Made<Price>>,
    pub(crate) late: Vec<Made<Late>>,
    pub(crate) rejected: Vec<Made<Rejected>>,
    pub(crate) heartbeats: Vec<Made<Heartbeat>>,
    pub(crate) gaps: Vec<Made<Gap>>,
    /// The watermark after each line.
    pub(crate) watermarks: Vec<i64>,
}

/// Judges the messages of one instrument, in order.
pub(crate) fn judge(messages: &[Message], names: Names<'_>, bounds: Bounds) -> Judged {
    let mut judged = Judged::default();
    let mut memory = Memory { newest_ms: i64::MIN, forgotten: None, runs: BTreeMap::new(), bounds };
    for message in messages {
        for line in feed::lines(message, names) {
            let at = judged.watermarks.len();
            match line.said {
                Ok(Said::Tick(price)) => match memory.judge(&price) {
                    AuditVerdict::Counts => judged.prices.push(Made { at, row: price }),
                    AuditVerdict::Late { late_ms } => {
                        judged.late.push(Made { at, row: Late { price, line: line.number, late_ms } });
                    }
                    AuditVerdict::Seen => {}
                },
                Ok(Said::Heartbeat(heartbeat)) => {
                    if !heartbeat.flush {
                        memory.newest_ms = memory.newest_ms.max(heartbeat.event_ms);
                    }
                    judged.heartbeats.push(Made { at, row: heartbeat });
                }
                Ok(Said::Gap(gap)) => judged.gaps.push(Made { at, row: gap }),
                Err(reason) => {
                    let head = String::from_utf8_lossy(&line.raw[..line.raw.len().min(REFUSED_HEAD_BYTES)]);
                    let (line, reason, head) = (line.number, reason.to_owned(), head.into_owned());
                    judged.rejected.push(Made { at, row: Rejected { feed_seq: message.seq, line, reason, head } });
                }
            }
            judged.watermarks.push(memory.watermark_ms());
        }
    }
    judged
}

enum AuditVerdict {
    Counts,
    Seen,
    Late { late_ms: i64 },
}

/// Where a tick stands among those of its instrument: event time, length, id.
type Place = (i64, Option<i64>, Option<u64>);

struct Memory {
    newest_ms: i64,
    /// The newest tick that was forgotten because memory was full: what stands no higher is late.
    forgotten: Option<Place>,
    /// The last id of each run, by the place of its first tick.
    runs: BTreeMap<Place, Option<u64>>,
    bounds: Bounds,
}

impl Memory {
    fn watermark_ms(&self) -> i64 {
        self.newest_ms.saturating_sub(self.bounds.disorder_ms)
    }

    fn judge(&mut self, price: &Price) -> AuditVerdict {
        let place = (price.event_ms, price.grain_ms, price.id);
        let mut reached_ms = self.watermark_ms();
        let mut is_late = self.is_past(price.event_ms);
        if let Some(forgotten) = self.forgotten
            && place <= forgotten
        {
            is_late = true;
            reached_ms = reached_ms.max(forgotten.0);
        }
        if is_late {
            return AuditVerdict::Late { late_ms: (reached_ms - price.event_ms).max(1) };
        }
        if !self.remember(place) {
            return AuditVerdict::Seen;
        }
        self.newest_ms = self.newest_ms.max(price.event_ms);
        while let Some((&(oldest_ms, ..), _)) = self.runs.first_key_value()
            && self.is_past(oldest_ms)
        {
            self.runs.pop_first();
        }
        // Only one run can have been added.
        if self.runs.len() > REMEMBERED_MAX
            && let Some(((event_ms, grain_ms, _), last)) = self.runs.pop_first()
        {
            self.forgotten = Some((event_ms, grain_ms, last));
        }
        AuditVerdict::Counts
    }

    /// Returns whether it was not known.
    fn remember(&mut self, place: Place) -> bool {
        let (event_ms, grain_ms, id) = place;
        let below = self.runs.range(..=place).next_back().map(|(&first, &last)| (first, last));
        let below =
            below.filter(|&((ms, grain, _), last)| (ms, grain, last.is_some()) == (event_ms, grain_ms, id.is_some()));
        if below.is_some_and(|(_, last)| last >= id) {
            return false;
        }
        // With an id it may begin where a run ends, end where one begins, or both.
        let above =
            id.and_then(|id| id.checked_add(1)).and_then(|next| self.runs.remove(&(event_ms, grain_ms, Some(next))));
        let first = match (below, id) {
            (Some((first, Some(last))), Some(id)) if id - last == 1 => first,
            _ => place,
        };
        self.runs.insert(first, above.unwrap_or(id));
        true
    }

    /// Whether the minute of an event time can no longer be revised.
    fn is_past(&self, event_ms: i64) -> bool {
        let minute_end_ms = (event_ms.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
        self.watermark_ms() >= minute_end_ms + self.bounds.lateness_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let bounds = Bounds { disorder_ms: 5_000, lateness_ms: 600_000 };
        Memory { newest_ms: i64::MIN, forgotten: None, runs: BTreeMap::new(), bounds }
    }

    fn trade(event_ms: i64, id: impl Into<Option<u64>>) -> Price {
        let (id, price) = (id.into(), 1.0);
        let (open, high, low, close) = (price, price, price, price);
        let (grain_ms, complete_ms, volume) = (None, None, None);
        Price { feed_seq: 1, event_ms, grain_ms, complete_ms, id, open, high, low, close, volume }
    }

    /// 1 when it counts, 0 when it was seen before, less by how many milliseconds it is late.
    fn judge(memory: &mut Memory, price: &Price) -> i64 {
        match memory.judge(price) {
            AuditVerdict::Counts => 1,
            AuditVerdict::Seen => 0,
            AuditVerdict::Late { late_ms } => -late_ms,
        }
    }

    #[test]
    fn sparse_ids_of_one_second_all_count_and_never_twice() {
        let mut memory = memory();
        let many = 3 * REMEMBERED_MAX as u64;
        for id in (0..2 * many).step_by(2) {
            assert_eq!(judge(&mut memory, &trade(1_000, id)), 1, "{id}");
        }
        assert_eq!(memory.runs.len(), REMEMBERED_MAX);
        let first_known = 2 * (many - REMEMBERED_MAX as u64);
        let found = [0, first_known - 2, first_known, first_known - 1].map(|id| judge(&mut memory, &trade(1_000, id)));
        assert_eq!(found, [-1, -1, 0, 1]);
        assert_eq!([judge(&mut memory, &trade(990, 7)), judge(&mut memory, &trade(1_001, 0))], [-10, 1]);
    }

    #[test]
    fn trades_without_a_hole_between_their_ids_are_one_run() {
        let mut memory = memory();
        let ids = [5, 3, 4, 9, 7, 8, 6, 0, 1, 2, u64::MAX];
        assert_eq!(ids.map(|id| judge(&mut memory, &trade(1_000, id))), [1; 11]);
        assert_eq!(memory.runs.len(), 2, "0 to 9, and the last number that there is");
        assert_eq!(ids.map(|id| judge(&mut memory, &trade(1_000, id))), [0; 11]);
        let bar = Price { grain_ms: Some(MINUTE_MS), ..trade(1_000, 4) };
        let others = [trade(1_000, None), trade(1_001, 4), bar];
        assert_eq!(others.each_ref().map(|price| judge(&mut memory, price)), [1; 3], "each is another tick");
        assert_eq!(others.map(|price| judge(&mut memory, &price)), [0; 3]);
    }
}
