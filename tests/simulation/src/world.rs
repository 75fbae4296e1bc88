//! The simulated world: processes of both steps with their leases, a publisher, a trimmer, the network between them and
//! JetStream, and disruptions.
//!
//! A [`RunPlan`] defines the processes and the disruptions. `World::run` runs it until the disruptions are over and
//! everything that was published is processed.

mod client;
mod committer;
mod disruptions;
mod ending;
mod executor;
mod fault;
mod feed;
mod membership;
mod nodes;
mod plan;
mod process;
mod publisher;
mod reader;
mod servers;
mod state;
mod trimmer;
pub(crate) mod wire;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::jetstream::{JetStream, StreamConfig};
use crate::network::{Link, LinkQuality, Queue};
use crate::world::state::{AMPLE, ActiveDisruptions, CHECK_INTERVAL_US, FEED_AGE_US, Node, Role, SimEvent};

pub(crate) use ending::{RunResult, Stop};
pub use fault::Fault;
pub use feed::Published;
pub use plan::{Disruption, RunPlan, ScheduledDisruption};
pub use state::World;

/// Time limit for the rest of the run once the disruptions are over.
const DRAIN_MAX: Duration = Duration::from_secs(90);
/// Upper bound of the interval at which a partition checks whether skipped messages were deleted.
const INPUT_CHECK_MAX: Duration = Duration::from_secs(6);

impl World {
    /// A run of a plan, optionally with a planted fault.
    pub fn new(plan: RunPlan, fault: Option<Fault>, is_traced: bool) -> Self {
        let mut jet = if plan.servers == 1 { JetStream::single(plan.sync) } else { JetStream::cluster(plan.sync) };
        jet.create(StreamConfig::feed(plan.partitions, AMPLE, FEED_AGE_US));
        jet.create(StreamConfig::market(AMPLE));
        jet.create(StreamConfig::checkpointed("STATS", "stats", "live.stats", AMPLE));
        jet.create(StreamConfig::leases(AMPLE));
        let (network, chance) = (plan.seed.random("network"), plan.seed.random("servers"));
        Self {
            disruptions: ActiveDisruptions::new(plan.servers),
            plan,
            fault,
            is_traced,
            crash_at: None,
            script: None,
            queue: Queue::default(),
            jet,
            nodes: Vec::new(),
            network,
            chance,
            tickets: BTreeMap::new(),
            waiting_pulls: BTreeMap::new(),
            pulls: 0,
            trimmed: 0,
            published: Arc::default(),
            stops: BTreeMap::new(),
            exits: Vec::new(),
            feed_losses: Vec::new(),
            notes: VecDeque::new(),
        }
    }

    /// Publishes these messages instead of those of the seed.
    #[must_use]
    pub fn publishing(self, script: Vec<Published>) -> Self {
        Self { script: Some(script), ..self }
    }

    /// Crashes all processes of steps after a number of events.
    #[must_use]
    pub fn crashing_at(self, event: u64) -> Self {
        Self { crash_at: Some(event), ..self }
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> RunResult {
        self.begin();
        let (mut events, mut stall) = (0, None);
        let end_us = (self.plan.calm_at + DRAIN_MAX).as_micros() as u64;
        while let Some(event) = self.queue.pop() {
            events += 1;
            if self.crash_at == Some(events) {
                self.crash_steps(Duration::from_millis(200));
            }
            if self.queue.now_us() > end_us {
                stall = Some(self.unfinished().unwrap_or_else(|| "the end was not noticed".to_owned()));
                break;
            }
            let is_check = matches!(event, SimEvent::CheckServers);
            self.handle(event);
            // A partition that skipped input which FEED lost notices it in its next check.
            let checks = if self.plan.loses_feed() { INPUT_CHECK_MAX * 2 } else { Duration::ZERO };
            let is_calm = self.queue.now_us() > (self.plan.calm_at + checks).as_micros() as u64;
            if is_check && is_calm && self.unfinished().is_none() {
                break;
            }
        }
        self.result(events, stall)
    }

    fn begin(&mut self) {
        let mut roles = vec![Role::Processor; self.plan.instances];
        roles.extend(vec![Role::Aggregator; self.plan.instances]);
        roles.push(Role::Publisher);
        roles.extend(self.plan.trims.then_some(Role::Trimmer));
        for (node, role) in roles.into_iter().enumerate() {
            // Each process has a clock of its own.
            let offset = Duration::from_micros(if role == Role::Publisher { 0 } else { self.chance.below(3_000_000) });
            let io = self.io(node, 0, offset);
            let link = || Link::new(LinkQuality::CALM);
            let (to, from) = (link(), link());
            let held = VecDeque::new();
            self.nodes.push(Node {
                role,
                life: 0,
                io,
                program: None,
                offset,
                is_frozen: false,
                held,
                wake_us: None,
                to,
                from,
            });
            let start_us = self.chance.below(200_000);
            self.queue.at(start_us, SimEvent::Begin(node));
        }
        for (idx, disruption) in self.plan.disruptions.iter().enumerate() {
            self.queue.at(disruption.at.as_micros() as u64, SimEvent::DisruptionStart(idx));
            self.queue.at((disruption.at + disruption.lasts).as_micros() as u64, SimEvent::DisruptionEnd(idx));
        }
        self.queue.at(self.plan.calm_at.as_micros() as u64, SimEvent::DisruptionsOver);
        self.queue.at(CHECK_INTERVAL_US, SimEvent::CheckServers);
    }

    fn handle(&mut self, event: SimEvent) {
        match event {
            SimEvent::Request(address, sent) => self.serve(address, sent),
            SimEvent::Answer(address, id, response) => self.deliver(address, id, response),
            SimEvent::Wake(address) => {
                let now_us = self.queue.now_us();
                let node = &mut self.nodes[address.node];
                node.wake_us = node.wake_us.filter(|&at_us| at_us > now_us);
                if node.life == address.life {
                    self.proceed(address.node);
                }
            }
            SimEvent::Begin(node) => self.start(node),
            SimEvent::DisruptionStart(idx) => self.start_disruption(idx),
            SimEvent::DisruptionEnd(idx) => self.end_disruption(idx),
            SimEvent::Decide(stream) => self.decide(stream),
            SimEvent::CatchUp(stream, server) => self.catch_up(stream, server),
            SimEvent::Expire(pull_id) => self.expire(pull_id),
            SimEvent::CheckServers => self.check_servers(),
            SimEvent::DisruptionsOver => self.end_all_disruptions(),
        }
    }
}
