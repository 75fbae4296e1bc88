//! When a run is over, and what is left of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::protocol::{Position, decode_position};
use bus::stream::{MARKET_STEP, STATS_STEP, Step, Stream};
use bus::{Error, subject};
use serde::de::IgnoredAny;

use crate::jetstream::Stored;
use crate::world::plan::Plan;
use crate::world::{World, wire};

/// Why a partition has no more to show than it does.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    pub(crate) output: Stream,
    pub(crate) partition: u32,
    pub(crate) error: Error,
}

/// What is left of a run.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) plan: Plan,
    /// Every message of FEED, MARKET and STATS, whether it was purged since or not.
    pub(crate) histories: [Vec<Stored>; 3],
    /// The first sequence that FEED still has.
    pub(crate) feed_first: u64,
    /// The partitions that have stopped for good.
    pub(crate) stops: Vec<Stop>,
    /// What FEED lost: when, and before which sequence.
    pub(crate) feed_losses: Vec<(u64, u64)>,
    /// Processes that ended by themselves.
    pub(crate) exits: Vec<Error>,
    /// Why it did not come to its end, if it did not.
    pub(crate) stall: Option<String>,
    /// Things that happened.
    pub(crate) events: u64,
    /// The last of them, in words.
    pub(crate) notes: Vec<String>,
}

impl World {
    pub(super) fn remains(mut self, events: u64, stall: Option<String>) -> Remains {
        let histories = ["FEED", "MARKET", "STATS"].map(|stream| self.jet.history(stream));
        let feed_end = histories[0].last().map_or(1, |last| last.seq + 1);
        let feed_first = match self.last_or_next("FEED", "feed.>", Some(1)) {
            Some(first) => first.seq,
            None => feed_end,
        };
        let stops = self.stops.into_iter();
        Remains {
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

    /// What is still to be done, if anything is.
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
            // One that is not the owner any more learns it by then.
            let patience = self.plan.lease_ttl * 2 + Duration::from_secs(3);
            if stop.is_some_and(|ago| ago > patience) {
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
