//! The end of a run, and its result.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::protocol::{Position, decode_position};
use bus::stream::{MARKET_STEP, STATS_STEP, Step, Stream};
use bus::{Error, subject};
use serde::de::IgnoredAny;

use crate::jetstream::LogEntry;
use crate::world::plan::RunPlan;
use crate::world::state::World;
use crate::world::wire;

/// A partition that stopped, and the reason.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    pub(crate) output: Stream,
    pub(crate) partition: u32,
    pub(crate) error: Error,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) plan: RunPlan,
    /// Every message of FEED, MARKET and STATS, including purged ones.
    pub(crate) histories: [Vec<LogEntry>; 3],
    /// The first sequence that FEED still has.
    pub(crate) feed_first: u64,
    /// The partitions that have stopped for good.
    pub(crate) stops: Vec<Stop>,
    /// The losses of FEED: time, and the sequence before which messages were deleted.
    pub(crate) feed_losses: Vec<(u64, u64)>,
    /// Processes that ended by themselves.
    pub(crate) exits: Vec<Error>,
    /// The reason why the run did not finish, if it did not.
    pub(crate) stall: Option<String>,
    /// Number of events.
    pub(crate) events: u64,
    /// The last events as trace lines.
    pub(crate) notes: Vec<String>,
}

impl RunResult {
    /// Whether results of a stream cannot be checked: STATS cannot continue after MARKET went back.
    pub(crate) fn follows_a_cut(&self, output: Stream) -> bool {
        output == Stream::Stats && self.plan.loses_market()
    }
}

impl World {
    pub(super) fn result(mut self, events: u64, stall: Option<String>) -> RunResult {
        let histories = ["FEED", "MARKET", "STATS"].map(|stream| self.jet.history(stream));
        let feed_end = histories[0].last().map_or(1, |last| last.seq + 1);
        let feed_first = match self.last_or_next("FEED", "feed.>", Some(1)) {
            Some(first) => first.seq,
            None => feed_end,
        };
        let stops = self.stops.into_iter();
        RunResult {
            histories,
            feed_first,
            stops: stops.map(|((output, partition, _), (_, error))| Stop { output, partition, error }).collect(),
            exits: self.exits,
            feed_losses: self.feed_losses,
            stall,
            events,
            notes: self.notes.into(),
            plan: self.plan,
        }
    }

    /// The work that is left, if any.
    pub(super) fn unfinished(&mut self) -> Option<String> {
        if !self.published.load(Ordering::Relaxed) {
            return Some("not everything is published".to_owned());
        }
        [MARKET_STEP, STATS_STEP].into_iter().find_map(|step| self.unfinished_step(step))
    }

    fn unfinished_step(&mut self, step: Step) -> Option<String> {
        if step == STATS_STEP && self.plan.loses_market() {
            return None;
        }
        for partition in 0..self.plan.partitions {
            let now = Duration::from_micros(self.queue.now_us());
            let of_it = (step.output, partition, 0)..=(step.output, partition, usize::MAX);
            let stop = self.stops.range(of_it).map(|(_, (since, _))| now - *since).max();
            // By then a former owner knows that it has lost the partition.
            let notice_max = self.plan.lease_ttl * 2 + Duration::from_secs(3);
            if stop.is_some_and(|ago| ago > notice_max) {
                continue;
            }
            let filters = subject::inputs(step, partition);
            let last = filters.iter().filter_map(|filter| self.last_or_next(step.input.name(), filter, None));
            let input = last.map(|last| last.seq).max().unwrap_or(0);
            let position = self.last_or_next(step.output.name(), &subject::position(step.output, partition), None);
            let position =
                position.and_then(|stored| decode_position::<Position<IgnoredAny>>(&wire::stored(&stored)).ok());
            let done = position.as_ref().map_or(0, Position::needless);
            if done < input {
                let place = position.map(|position| (position.position, position.settled));
                return Some(format!("{} {partition}: input {input}, position {place:?}", step.service));
            }
        }
        None
    }
}
