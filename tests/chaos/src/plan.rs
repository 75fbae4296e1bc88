//! What happens to whom: a function of the seed and nothing else.

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
/// How long whoever was killed stays away, in milliseconds.
const SHORT_MS: std::ops::Range<u64> = 0..800;
/// How long nats-server stays away, in milliseconds.
const BROKER_MS: std::ops::Range<u64> = 0..1_500;

/// Whom a disturbance hits.
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

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// kill -9, and for some nats-server in the same instant.
    Kill {
        /// Whether nats-server goes too.
        with_broker: bool,
    },
    /// SIGTERM.
    Terminate,
    /// SIGSTOP, then SIGCONT. Its length is longer than a lease lives.
    Freeze,
    /// kill -9 of nats-server alone; the target is not used.
    Broker,
}

/// One disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disturbance {
    /// Pause since the one before.
    pub gap: Duration,
    /// How long the target must have been committing again before it is hit.
    pub settle: Duration,
    /// What is done.
    pub act: Act,
    /// To whom.
    pub target: Target,
    /// After what time it is undone: started again, or woken.
    pub away: Duration,
    /// How long nats-server stays away, when it is killed.
    pub broker_away: Duration,
    /// Of several nats-servers the leader of this stream is killed.
    pub stream: Stream,
}

impl Disturbance {
    /// Whether it counts as a kill.
    pub fn is_kill(&self) -> bool {
        matches!(self.act, Act::Kill { .. } | Act::Terminate)
    }

    /// Whether nats-server is killed.
    pub fn hits_broker(&self) -> bool {
        matches!(self.act, Act::Broker | Act::Kill { with_broker: true })
    }
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Kills and terminations, all together.
    pub kills: usize,
    /// Instances of each service.
    pub instances: usize,
    /// How long a lease lives without its owner.
    pub lease_ttl: Duration,
}

/// The plan of a seed: so many kills, with freezes and kills of nats-server between them, in random order.
pub fn plan(seed: u64, scale: Scale) -> Vec<Disturbance> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut acts = Vec::new();
    for idx in 0..scale.kills {
        acts.push(match idx % 10 {
            0..3 => Act::Terminate,
            number => Act::Kill { with_broker: number == 3 },
        });
    }
    acts.extend(std::iter::repeat_n(Act::Freeze, scale.kills.div_ceil(KILLS_A_FREEZE)));
    acts.extend(std::iter::repeat_n(Act::Broker, scale.kills.div_ceil(KILLS_A_BROKER)));
    acts.shuffle(&mut rng);
    let mut deck = Deck { targets: Vec::new(), instances: scale.instances };
    acts.into_iter().map(|act| disturbance(act, scale.lease_ttl, &mut deck, &mut rng)).collect()
}

fn disturbance(act: Act, lease_ttl: Duration, deck: &mut Deck, rng: &mut StdRng) -> Disturbance {
    let ms = |rng: &mut StdRng, range| Duration::from_millis(rng.random_range(range));
    let target = deck.draw(act == Act::Freeze, rng);
    // Others take over when the owner is away for longer than a lease lives.
    let beyond = lease_ttl.mul_f64(rng.random_range(1.1..1.6)) + Duration::from_millis(300);
    let is_long = act == Act::Freeze || rng.random_ratio(1, 6);
    Disturbance {
        gap: ms(rng, GAP_MS),
        settle: ms(rng, 0..400),
        act,
        target,
        away: if is_long { beyond } else { ms(rng, SHORT_MS) },
        broker_away: ms(rng, BROKER_MS),
        stream: Stream::ALL[rng.random_range(0..Stream::ALL.len())],
    }
}

/// Everybody once in random order, then again: nobody is left out by chance.
struct Deck {
    targets: Vec<Target>,
    instances: usize,
}

impl Deck {
    fn draw(&mut self, services_only: bool, rng: &mut StdRng) -> Target {
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
        let count = |is: fn(&Act) -> bool| plan.iter().filter(|one| is(&one.act)).count();
        assert_eq!(count(|act| matches!(act, Act::Kill { .. } | Act::Terminate)), 100);
        assert_eq!(count(|act| matches!(act, Act::Kill { with_broker: true })), 10);
        assert_eq!((count(|act| *act == Act::Freeze), count(|act| *act == Act::Broker)), (20, 13));
        for target in [Target::Producer, Target::Processor(0), Target::Processor(1), Target::Aggregator(1)] {
            assert!(plan.iter().filter(|one| one.target == target).count() > 10, "{target:?}");
        }
    }

    #[test]
    fn only_services_are_frozen_and_longer_than_a_lease_lives() {
        for one in plan(3, SCALE).iter().filter(|one| one.act == Act::Freeze) {
            assert!(one.target != Target::Producer && one.away > SCALE.lease_ttl, "{one:?}");
        }
    }
}
