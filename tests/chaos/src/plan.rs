//! Plan of a run: a function of the seed and nothing else.

use std::fmt;
use std::time::Duration;

use bus::Stream;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Kills for each freeze.
const KILLS_A_FREEZE: usize = 5;
/// Kills for each time that nats-server is killed alone.
const KILLS_A_BROKER: usize = 8;
/// Pause between two disturbances, in milliseconds.
const GAP_MS: std::ops::Range<u64> = 200..1_000;
/// Downtime of a killed process, in milliseconds.
const SHORT_MS: std::ops::Range<u64> = 0..800;
/// Downtime of nats-server, in milliseconds.
const BROKER_MS: std::ops::Range<u64> = 0..1_500;

/// Target of a disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The producer.
    Producer,
    /// One of the stream-processors, from 0.
    Processor(usize),
    /// One of the aggregators, from 0.
    Aggregator(usize),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Producer => f.write_str("producer"),
            Self::Processor(idx) => write!(f, "stream-processor.{idx}"),
            Self::Aggregator(idx) => write!(f, "aggregator.{idx}"),
        }
    }
}

/// Kind of a disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// kill -9, and for some nats-server in the same instant.
    Kill {
        /// Whether nats-server is killed too.
        with_broker: bool,
    },
    /// SIGTERM.
    Terminate,
    /// SIGSTOP, then SIGCONT, after longer than the lease time to live.
    Freeze,
    /// kill -9 of nats-server alone; the target is not used.
    Broker,
}

/// One disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disturbance {
    /// Pause after the previous disturbance.
    pub gap: Duration,
    /// How long the target must have been committing before it is hit.
    pub settle: Duration,
    /// The kind.
    pub action: Action,
    /// The target.
    pub target: Target,
    /// Time until the target is restarted or woken.
    pub away: Duration,
    /// Downtime of nats-server, when it is killed.
    pub broker_away: Duration,
    /// Stream whose leader is killed, of several nats-servers.
    pub stream: Stream,
}

impl Disturbance {
    /// Whether it counts as a kill.
    pub fn is_kill(&self) -> bool {
        matches!(self.action, Action::Kill { .. } | Action::Terminate)
    }

    /// Whether nats-server is killed.
    pub fn hits_broker(&self) -> bool {
        matches!(self.action, Action::Broker | Action::Kill { with_broker: true })
    }
}

/// Size of a run.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Kills and terminations in total.
    pub kills: usize,
    /// Instances of each service.
    pub instances: usize,
    /// Lease time to live.
    pub lease_ttl: Duration,
}

/// Makes the plan of a seed: kills, freezes and kills of nats-server in random order.
pub fn plan(seed: u64, scale: Scale) -> Vec<Disturbance> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut actions = Vec::new();
    for idx in 0..scale.kills {
        actions.push(match idx % 10 {
            0..3 => Action::Terminate,
            number => Action::Kill { with_broker: number == 3 },
        });
    }
    actions.extend(std::iter::repeat_n(Action::Freeze, scale.kills.div_ceil(KILLS_A_FREEZE)));
    actions.extend(std::iter::repeat_n(Action::Broker, scale.kills.div_ceil(KILLS_A_BROKER)));
    actions.shuffle(&mut rng);
    let mut queue = TargetQueue { targets: Vec::new(), instances: scale.instances };
    actions.into_iter().map(|action| disturbance(action, scale.lease_ttl, &mut queue, &mut rng)).collect()
}

fn disturbance(action: Action, lease_ttl: Duration, queue: &mut TargetQueue, rng: &mut StdRng) -> Disturbance {
    let ms = |rng: &mut StdRng, range| Duration::from_millis(rng.random_range(range));
    let target = queue.next(action == Action::Freeze, rng);
    // Other instances take over when the owner is away for longer than the lease time to live.
    let beyond = lease_ttl.mul_f64(rng.random_range(1.1..1.6)) + Duration::from_millis(300);
    let is_long = action == Action::Freeze || rng.random_ratio(1, 6);
    Disturbance {
        gap: ms(rng, GAP_MS),
        settle: ms(rng, 0..400),
        action,
        target,
        away: if is_long { beyond } else { ms(rng, SHORT_MS) },
        broker_away: ms(rng, BROKER_MS),
        stream: Stream::ALL[rng.random_range(0..Stream::ALL.len())],
    }
}

/// Draws every target once in random order before any target again, so that chance leaves none out.
struct TargetQueue {
    targets: Vec<Target>,
    instances: usize,
}

impl TargetQueue {
    fn next(&mut self, services_only: bool, rng: &mut StdRng) -> Target {
        loop {
            if let Some(idx) = self.targets.iter().rposition(|&target| !services_only || target != Target::Producer) {
                return self.targets.remove(idx);
            }
            let services = (0..self.instances).flat_map(|idx| [Target::Processor(idx), Target::Aggregator(idx)]);
            self.targets.extend(services.chain([Target::Producer]));
            self.targets.shuffle(rng);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { kills: 100, instances: 2, lease_ttl: Duration::from_secs(5) };

    #[test]
    fn a_plan_is_a_function_of_its_seed() {
        assert_eq!(plan(7, SCALE), plan(7, SCALE));
        assert_ne!(plan(7, SCALE), plan(8, SCALE));
    }

    #[test]
    fn a_plan_has_as_many_kills_as_asked_for_and_some_of_everything() {
        let plan = plan(1, SCALE);
        let count = |is: fn(&Action) -> bool| plan.iter().filter(|one| is(&one.action)).count();
        assert_eq!(count(|action| matches!(action, Action::Kill { .. } | Action::Terminate)), 100);
        assert_eq!(count(|action| matches!(action, Action::Kill { with_broker: true })), 10);
        assert_eq!((count(|action| *action == Action::Freeze), count(|action| *action == Action::Broker)), (20, 13));
        for target in [Target::Producer, Target::Processor(0), Target::Processor(1), Target::Aggregator(1)] {
            assert!(plan.iter().filter(|one| one.target == target).count() > 10, "{target:?}");
        }
    }

    #[test]
    fn only_services_are_frozen_and_longer_than_the_lease_ttl() {
        for one in plan(3, SCALE).iter().filter(|one| one.action == Action::Freeze) {
            assert!(one.target != Target::Producer && one.away > SCALE.lease_ttl, "{one:?}");
        }
    }
}
