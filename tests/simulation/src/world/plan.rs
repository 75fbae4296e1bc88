//! The plan of a run: its processes and its disruptions. All of it is a function of the seed, and parts of it can be
//! left out.

use std::fmt;
use std::time::Duration;

use crate::jetstream::Sync;
use crate::random::Random;
use crate::seed::Seed;

/// A disruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disruption {
    /// A process crashes, and starts again after a while.
    Crash {
        /// Which process, counted over both steps.
        process: usize,
    },
    /// A process is told to stop in order, and starts again after a while.
    Stop {
        /// Which process.
        process: usize,
    },
    /// A process hangs for a while.
    Freeze {
        /// Which process.
        process: usize,
    },
    /// The clock of a process jumps ahead, as after a suspend of its machine.
    Jump {
        /// Which process.
        process: usize,
    },
    /// A process is disconnected for a while.
    Cut {
        /// Which process.
        process: usize,
    },
    /// Messages between all processes and the servers are late, lost, duplicated and reordered for a while.
    Rough,
    /// Deliveries of consumers are lost, duplicated and reordered for a while.
    Gaps,
    /// The keys of the leases are deleted.
    LoseLeases,
    /// A server hangs for a while; another one leads meanwhile.
    Hang {
        /// Which server.
        server: usize,
    },
    /// A server is killed, and starts again after a while.
    Kill {
        /// Which server.
        server: usize,
    },
    /// A server loses power, with the unsynced messages of one stream.
    PowerCut {
        /// Which stream loses messages: STATS, or otherwise MARKET.
        is_stats: bool,
        /// Number of unsynced commits that survive.
        commits: usize,
        /// Number of messages of the next commit that survive.
        messages: usize,
    },
    /// Another server leads a stream from now on.
    StepDown {
        /// Which stream.
        stream: usize,
    },
    /// A server lags for a while.
    Lag {
        /// Which server.
        server: usize,
    },
    /// Consumers of a stream see only the beginning of the latest commit for a while.
    Halfway {
        /// Which stream.
        stream: usize,
    },
    /// The disks are full for a while.
    Full,
    /// FEED loses its oldest messages.
    LoseFeed {
        /// How much of it, in thousandths.
        per_mille: u64,
    },
}

/// A disruption with its time and duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledDisruption {
    /// Start.
    pub at: Duration,
    /// Duration, if it has one.
    pub lasts: Duration,
    /// Kind.
    pub kind: Disruption,
}

impl fmt::Display for ScheduledDisruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {:?}, {:.3} s", self.at.as_secs_f64(), self.kind, self.lasts.as_secs_f64())
    }
}

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlan {
    /// Determines everything that is not planned: delays, prices, names.
    pub seed: Seed,
    /// Number of servers: 1 or 3.
    pub servers: usize,
    /// When servers sync to disk.
    pub sync: Sync,
    /// Partitions of both steps.
    pub partitions: u32,
    /// Processes of each step.
    pub instances: usize,
    /// Whether the steps accept a loss of input.
    pub accept_loss: bool,
    /// Whether MARKET is trimmed.
    pub trims: bool,
    /// Messages that are published before the disruptions end.
    pub messages: usize,
    /// The time from which there are no disruptions.
    pub calm_at: Duration,
    /// Time to live of the leases.
    pub lease_ttl: Duration,
    /// Whether all processes restart when the disruptions end, so that the last messages meet recovered states.
    pub restarts_at_end: bool,
    /// The disruptions, in order.
    pub disruptions: Vec<ScheduledDisruption>,
}

impl RunPlan {
    /// The plan of a seed.
    pub fn of(seed: Seed) -> Self {
        let mut random = seed.random("plan");
        let random = &mut random;
        let servers = if random.chance(500) { 1 } else { 3 };
        let is_torn = servers == 1 && random.chance(120);
        let calm_at = Duration::from_millis(random.within(3_000..12_000));
        let mut plan = Self {
            seed,
            servers,
            sync: if is_torn { Sync::Later } else { Sync::Always },
            partitions: 2 + random.below(3) as u32,
            instances: 1 + random.index(2),
            accept_loss: random.chance(500),
            // In a MARKET that went back, trimmed messages cannot be distinguished from lost ones.
            trims: random.chance(400) && !is_torn,
            messages: 15 + random.index(70),
            calm_at,
            lease_ttl: Duration::from_millis([1_000, 2_000, 4_000][random.index(3)]),
            restarts_at_end: random.chance(700),
            disruptions: Vec::new(),
        };
        let count = match random.below(10) {
            0 => 0,
            1..4 => 1 + random.index(3),
            _ => 3 + random.index(10),
        };
        plan.disruptions = (0..count).map(|_| plan.disruption(random)).collect();
        // A process that starts next to a lagging server may read from it.
        let lagging: Vec<ScheduledDisruption> = plan
            .disruptions
            .iter()
            .filter(|disruption| matches!(disruption.kind, Disruption::Lag { .. }))
            .copied()
            .collect();
        for ScheduledDisruption { at, lasts, .. } in lagging {
            let at = at + Duration::from_micros(random.below(lasts.as_micros() as u64));
            let process = random.index(2 * plan.instances);
            let pause = Duration::from_millis(random.within(20..300));
            plan.disruptions.push(ScheduledDisruption { at, lasts: pause, kind: Disruption::Crash { process } });
        }
        // In some runs only: checks are less strict with the following disruptions.
        let per_mille = random.within(100..1_001);
        let losing = random.chance(120).then_some(Disruption::LoseFeed { per_mille });
        let (is_stats, commits, messages) = (random.chance(500), random.index(3), random.index(8));
        let tearing = is_torn.then_some(Disruption::PowerCut { is_stats, commits, messages });
        let more: Vec<_> = [losing, tearing].into_iter().flatten().map(|kind| plan.during(random, kind)).collect();
        plan.disruptions.extend(more);
        plan.disruptions.sort_by_key(|disruption| disruption.at);
        plan
    }

    fn disruption(&self, random: &mut Random) -> ScheduledDisruption {
        let (process, server) = (random.index(2 * self.instances), random.index(self.servers));
        let stream = random.index(3);
        let is_cluster = self.servers > 1;
        let kind = match random.below(27) {
            5 => Disruption::Stop { process },
            6 | 7 => Disruption::Freeze { process },
            8 => Disruption::Jump { process },
            9 => Disruption::Cut { process },
            10..13 => Disruption::Rough,
            13 => Disruption::Gaps,
            14 => Disruption::LoseLeases,
            15 if is_cluster => Disruption::Hang { server },
            15 | 16 => Disruption::Kill { server },
            17 if is_cluster => Disruption::StepDown { stream },
            18..20 | 23..26 if is_cluster => Disruption::Lag { server },
            23 | 24 => Disruption::Gaps,
            20 => Disruption::Halfway { stream },
            21 => Disruption::Full,
            _ => Disruption::Crash { process },
        };
        self.during(random, kind)
    }

    /// A disruption at a random time before the disruptions end, for a random duration.
    fn during(&self, random: &mut Random, kind: Disruption) -> ScheduledDisruption {
        let at = Duration::from_micros(random.within(100_000..self.calm_at.as_micros() as u64));
        let longest = if random.chance(700) { 800 } else { 6_000 };
        ScheduledDisruption { at, lasts: Duration::from_millis(random.within(20..longest)), kind }
    }
}

impl fmt::Display for RunPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, sync, partitions, instances, accept_loss, trims, messages, .. } = self;
        writeln!(
            f,
            "  {servers} servers (sync {sync:?}), {partitions} partitions, {instances} processes a step, {messages} messages, \
             accept loss {accept_loss}, trims {trims}, restarts at the end {}, calm at {:.3} s",
            self.restarts_at_end,
            self.calm_at.as_secs_f64()
        )?;
        self.disruptions.iter().try_for_each(|disruption| writeln!(f, "  {disruption}"))
    }
}
