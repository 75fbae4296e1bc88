//! Which lines of FEED count: judged one after the other, by time and identity.

use std::collections::{BTreeMap, BTreeSet};

use super::feed::{self, Message, Said};
use super::rows::{Gap, Heartbeat, Identity, Late, Price, Rejected};
use super::{Bounds, Names};

/// Most runs of ticks of an instrument that are remembered; what is older than all of them is late. A run has one time, one
/// length and ids without a hole.
const REMEMBERED_MAX: usize = 4_096;
const REFUSED_HEAD_BYTES: usize = 256;
const MINUTE_MS: i64 = 60_000;

/// A row of MARKET that must be there, with the number of the line that made it. Lines of FEED are counted from 0, those
/// of one instrument, all kinds together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Made<R> {
    pub(super) at: usize,
    pub(super) row: R,
}

/// What FEED comes to for one instrument, line by line.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) prices: Vec<Made<Price>>,
    pub(super) late: Vec<Made<Late>>,
    pub(super) rejected: Vec<Made<Rejected>>,
    pub(super) heartbeats: Vec<Made<Heartbeat>>,
    pub(super) gaps: Vec<Made<Gap>>,
    /// The watermark after each line.
    pub(super) watermarks: Vec<i64>,
}

/// Judges the messages of one instrument, in order.
pub(super) fn judge(messages: &[Message], names: Names<'_>, bounds: Bounds) -> Judged {
    let mut judged = Judged::default();
    let mut memory = Memory {
        newest_ms: i64::MIN,
        floor_ms: i64::MIN,
        seen: BTreeSet::new(),
        runs: BTreeMap::new(),
        run_count: 0,
        bounds,
    };
    for message in messages {
        for line in feed::lines(message, names) {
            let at = judged.watermarks.len();
            match line.said {
                Ok(Said::Tick(price)) => match memory.judge(&price) {
                    Verdict::Counts => judged.prices.push(Made { at, row: price }),
                    Verdict::Late { late_ms } => {
                        judged.late.push(Made { at, row: Late { price, line: line.number, late_ms } });
                    }
                    Verdict::Seen => {}
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

enum Verdict {
    Counts,
    Seen,
    Late { late_ms: i64 },
}

struct Memory {
    newest_ms: i64,
    /// Ticks before this are late whatever their minute says.
    floor_ms: i64,
    seen: BTreeSet<Identity>,
    /// How many runs there are of each time.
    runs: BTreeMap<i64, usize>,
    /// Of all times together.
    run_count: usize,
    bounds: Bounds,
}

impl Memory {
    fn watermark_ms(&self) -> i64 {
        self.newest_ms.saturating_sub(self.bounds.disorder_ms)
    }

    fn judge(&mut self, price: &Price) -> Verdict {
        if price.event_ms < self.floor_ms || self.is_past(price.event_ms) {
            return Verdict::Late { late_ms: self.watermark_ms().max(self.floor_ms) - price.event_ms };
        }
        if !self.remember(price.identity()) {
            return Verdict::Seen;
        }
        self.newest_ms = self.newest_ms.max(price.event_ms);
        while let Some((&oldest_ms, _)) = self.runs.first_key_value()
            && self.is_past(oldest_ms)
        {
            self.forget_before(oldest_ms + 1);
        }
        // All ticks of one millisecond are forgotten together, or one of them could come twice.
        while let Some((&oldest_ms, _)) = self.runs.first_key_value()
            && self.run_count > REMEMBERED_MAX
        {
            self.floor_ms = oldest_ms + 1;
            self.forget_before(self.floor_ms);
        }
        Verdict::Counts
    }

    /// Returns whether it was not known.
    fn remember(&mut self, identity: Identity) -> bool {
        if !self.seen.insert(identity) {
            return false;
        }
        let (event_ms, id, grain_ms) = identity;
        let neighbours = id.into_iter().flat_map(|id| [id.checked_sub(1), id.checked_add(1)]).flatten();
        let known = neighbours.filter(|&id| self.seen.contains(&(event_ms, Some(id), grain_ms))).count();
        // Alone it is a run; beside one it makes that longer; between two it makes them one.
        let runs = self.runs.entry(event_ms).or_default();
        *runs = *runs + 1 - known;
        self.run_count = self.run_count + 1 - known;
        true
    }

    fn forget_before(&mut self, ms: i64) {
        while self.seen.first().is_some_and(|oldest| oldest.0 < ms) {
            self.seen.pop_first();
        }
        while let Some(oldest) = self.runs.first_entry().filter(|oldest| *oldest.key() < ms) {
            self.run_count -= oldest.remove();
        }
    }

    /// Whether the minute of an event time can no longer be revised.
    fn is_past(&self, event_ms: i64) -> bool {
        let minute_end_ms = (event_ms.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
        self.watermark_ms() >= minute_end_ms + self.bounds.lateness_ms
    }
}
