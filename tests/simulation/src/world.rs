//! The simulated world: processes of both steps with their leases, a publisher, a trimmer, the network between them and
//! JetStream, and disruptions.
//!
//! A [`Plan`] defines the processes and the disruptions. `World::run` runs it until the disruptions are over and
//! everything that was published is processed.

mod committer;
mod desk;
mod ending;
mod fault;
mod feed;
mod keeper;
mod plan;
mod process;
mod publisher;
mod reader;
mod servers;
mod source;
mod trimmer;
mod troubles;
pub(crate) mod wire;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aggregator::Aggregation;
use bus::Error;
use bus::stream::Stream;
use market::windowing::EventTimePolicy;
use stream_processor::Processing;

use crate::jetstream::{Config, JetStream, Ticket};
use crate::network::{Link, Queue, Weather};
use crate::random::Random;
use crate::world::desk::{Io, Packet, Sent};
use crate::world::process::{Flags, News, Process, Program};
use crate::world::publisher::{Publisher, Script};
use crate::world::source::Asking;
use crate::world::trimmer::Trimmer;
use crate::world::wire::Limits;

pub(crate) use ending::{Remains, Stop};
pub use fault::Fault;
pub use feed::Published;
pub use plan::{Disaster, Plan, Trouble};

const FEED_AGE_US: u64 = 86_400_000_000;
const AMPLE: u64 = 1 << 30;
/// The streams, by index.
const STREAMS: [&str; 4] = ["FEED", "MARKET", "STATS", keeper::LEASES];
/// Interval of the checks of the servers and of the end of the run.
const STEWARD_US: u64 = 100_000;
/// Time limit for the rest of the run once the disruptions are over.
const DRAIN_MAX: Duration = Duration::from_secs(90);
/// Upper bound of the interval at which a partition checks whether skipped messages were deleted.
const LOOK: Duration = Duration::from_secs(6);
/// Maximum number of trace lines that are kept.
const NOTES_MAX: usize = 4_000;
/// Maximum length of a trace line in characters.
const NOTE_MAX: usize = 160;

/// A process in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    node: usize,
    life: u32,
}

#[derive(Debug, Clone)]
enum Happening {
    Request(Address, Sent),
    Answer(Address, u64, Packet),
    Wake(Address),
    Begin(usize),
    Trouble(usize),
    Over(usize),
    Decide(usize),
    CatchUp(usize, usize),
    Expire(u64),
    Steward,
    Calm,
}

/// The kind of process at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Processor,
    Aggregator,
    Publisher,
    Trimmer,
}

/// A node: a process with its links.
struct Node {
    role: Role,
    life: u32,
    io: Io,
    program: Option<Box<dyn Program>>,
    /// Offset of its clock.
    offset: Duration,
    is_frozen: bool,
    /// Answers that arrived while it was frozen.
    held: VecDeque<(u64, Packet)>,
    /// Its next wake-up, in world time.
    wake_us: Option<u64>,
    to: Link,
    from: Link,
}

/// A run.
pub struct World {
    plan: Plan,
    fault: Option<Fault>,
    is_traced: bool,
    /// All processes of steps crash at this event.
    crash_at: Option<u64>,
    script: Option<Vec<Published>>,
    queue: Queue<Happening>,
    jet: JetStream,
    nodes: Vec<Node>,
    network: Random,
    chance: Random,
    tickets: BTreeMap<Ticket, (Address, u64)>,
    parked: BTreeMap<u64, servers::Parked>,
    parkings: u64,
    trimmed: u64,
    troubles: troubles::Ongoing,
    published: Arc<AtomicBool>,
    /// The partitions that have stopped, by node, with time and reason.
    stops: BTreeMap<(Stream, u32, usize), (Duration, Error)>,
    exits: Vec<Error>,
    feed_losses: Vec<(u64, u64)>,
    notes: VecDeque<String>,
}

impl World {
    /// A run of a plan, optionally with a planted fault.
    pub fn new(plan: Plan, fault: Option<Fault>, is_traced: bool) -> Self {
        let mut jet = if plan.servers == 1 { JetStream::single(plan.sync) } else { JetStream::cluster(plan.sync) };
        jet.create(Config::feed(plan.partitions, AMPLE, FEED_AGE_US));
        jet.create(Config::market(AMPLE));
        jet.create(Config::checkpointed("STATS", "stats", "live.stats", AMPLE));
        jet.create(Config::leases(AMPLE));
        let (network, chance) = (plan.seed.random("network"), plan.seed.random("servers"));
        Self {
            troubles: troubles::Ongoing::new(plan.servers),
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
            parked: BTreeMap::new(),
            parkings: 0,
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
    pub(crate) fn run(mut self) -> Remains {
        self.begin();
        let (mut events, mut stall) = (0, None);
        let end_us = (self.plan.calm_at + DRAIN_MAX).as_micros() as u64;
        while let Some(happening) = self.queue.pop() {
            events += 1;
            if self.crash_at == Some(events) {
                self.crash_steps(Duration::from_millis(200));
            }
            if self.queue.now_us() > end_us {
                stall = Some(self.unfinished().unwrap_or_else(|| "the end was not noticed".to_owned()));
                break;
            }
            let is_check = matches!(happening, Happening::Steward);
            self.handle(happening);
            // A partition that skipped input which FEED lost notices it in its next check.
            let looks = if self.plan.loses_feed() { LOOK * 2 } else { Duration::ZERO };
            let is_calm = self.queue.now_us() > (self.plan.calm_at + looks).as_micros() as u64;
            if is_check && is_calm && self.unfinished().is_none() {
                break;
            }
        }
        self.remains(events, stall)
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
            let link = || Link::new(Weather::CALM);
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
            self.queue.at(start_us, Happening::Begin(node));
        }
        for (idx, disaster) in self.plan.disasters.iter().enumerate() {
            self.queue.at(disaster.at.as_micros() as u64, Happening::Trouble(idx));
            self.queue.at((disaster.at + disaster.lasts).as_micros() as u64, Happening::Over(idx));
        }
        self.queue.at(self.plan.calm_at.as_micros() as u64, Happening::Calm);
        self.queue.at(STEWARD_US, Happening::Steward);
    }

    fn io(&self, node: usize, life: u32, offset: Duration) -> Io {
        let random = self.plan.seed.random(&format!("process {node} {life}"));
        Io::new(random, Duration::from_micros(self.queue.now_us()) + offset, self.is_traced)
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Request(address, sent) => self.serve(address, sent),
            Happening::Answer(address, id, packet) => self.deliver(address, id, packet),
            Happening::Wake(address) => {
                let now_us = self.queue.now_us();
                let node = &mut self.nodes[address.node];
                node.wake_us = node.wake_us.filter(|&at_us| at_us > now_us);
                if node.life == address.life {
                    self.go_on(address.node);
                }
            }
            Happening::Begin(node) => self.start(node),
            Happening::Trouble(idx) => self.trouble(idx),
            Happening::Over(idx) => self.over(idx),
            Happening::Decide(stream) => self.decide(stream),
            Happening::CatchUp(stream, server) => self.catch_up(stream, server),
            Happening::Expire(parking) => self.expire(parking),
            Happening::Steward => self.steward(),
            Happening::Calm => self.calm_down(),
        }
    }

    /// Starts a process, unless it is running.
    fn start(&mut self, node: usize) {
        if self.nodes[node].program.is_some() {
            return;
        }
        let (role, life, offset) = (self.nodes[node].role, self.nodes[node].life + 1, self.nodes[node].offset);
        let io = self.io(node, life, offset);
        let asking = Asking { io: io.clone(), fault: self.fault };
        let limits = Limits { replicas: self.plan.servers, max_age_us: 0 };
        let (partitions, accept_loss, lease_ttl) = (self.plan.partitions, self.plan.accept_loss, self.plan.lease_ttl);
        let flags = |input| Flags { partitions, accept_loss, lease_ttl, input };
        let program: Box<dyn Program> = match role {
            Role::Processor => {
                let input = Limits { max_age_us: FEED_AGE_US, ..limits };
                Box::new(Process::new(Processing::new(EventTimePolicy::default()), asking, flags(input)))
            }
            Role::Aggregator => {
                Box::new(Process::new(Aggregation::new(EventTimePolicy::default()), asking, flags(limits)))
            }
            Role::Publisher => {
                let drawn = || Script::Drawn { random: self.plan.seed.random("feed"), count: self.plan.messages };
                let script = self.script.take().map_or_else(drawn, Script::Fixed);
                Box::new(Publisher::new(io.clone(), script, self.plan.calm_at, Arc::clone(&self.published)))
            }
            Role::Trimmer => Box::new(Trimmer::new(asking, partitions)),
        };
        let place = &mut self.nodes[node];
        (place.life, place.io, place.program, place.is_frozen) = (life, io, Some(program), false);
        place.held.clear();
        self.note(|| format!("{role:?} {node} begins"));
        self.go_on(node);
    }

    fn deliver(&mut self, address: Address, id: u64, packet: Packet) {
        let node = &mut self.nodes[address.node];
        if node.life != address.life {
            return;
        }
        if node.is_frozen {
            node.held.push_back((id, packet));
            return;
        }
        node.io.answer(id, packet);
        self.go_on(address.node);
    }

    /// Lets a process do everything that it can do now.
    fn go_on(&mut self, idx: usize) {
        let now_us = self.queue.now_us();
        let Self { nodes, queue, network, .. } = self;
        let node = &mut nodes[idx];
        let Some(program) = node.program.as_mut().filter(|_| !node.is_frozen) else { return };
        node.io.set_now(Duration::from_micros(now_us) + node.offset);
        program.run();
        let address = Address { node: idx, life: node.life };
        for sent in node.io.sent() {
            node.to.send(queue, network, Happening::Request(address, sent));
        }
        if let Some(at) = program.wakes_at() {
            let at_us = (at.saturating_sub(node.offset).as_micros() as u64).max(now_us + 1);
            if node.wake_us.is_none_or(|wake_us| at_us < wake_us) {
                node.wake_us = Some(at_us);
                queue.at(at_us, Happening::Wake(address));
            }
        }
        let news: Vec<News> = std::iter::from_fn(|| program.news()).collect();
        let notes = node.io.notes();
        notes.into_iter().filter(|words| !words.is_empty()).for_each(|words| self.note(|| format!("{idx} {words}")));
        news.into_iter().for_each(|news| self.learn(idx, news));
    }

    fn learn(&mut self, node: usize, news: News) {
        self.note(|| format!("{node} {news:?}"));
        match news {
            News::Stopped { output, number, error } => {
                let now = Duration::from_micros(self.queue.now_us());
                self.stops.insert((output, number, node), (now, error));
            }
            News::Dropped { output, number } => {
                // A partition that stopped at its former owner is of no interest.
                self.stops.remove(&(output, number, node));
            }
            News::Ended(error) => {
                self.exits.extend(error);
                self.end(node, Duration::from_secs(1));
            }
        }
    }

    /// Ends a process with everything in its memory, and starts it again after a pause.
    fn end(&mut self, node: usize, pause: Duration) {
        self.note(|| format!("{node} is gone"));
        self.stops.retain(|(.., at), _| *at != node);
        let place = &mut self.nodes[node];
        place.program = None;
        place.life += 1;
        place.wake_us = None;
        self.queue.after(pause.as_micros() as u64, Happening::Begin(node));
    }

    fn crash_steps(&mut self, pause: Duration) {
        for node in 0..2 * self.plan.instances {
            if self.nodes.get(node).is_some_and(|place| place.program.is_some()) {
                self.end(node, pause);
            }
        }
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.is_traced {
            if self.notes.len() == NOTES_MAX {
                self.notes.pop_front();
            }
            let words: String = words().chars().take(NOTE_MAX).collect();
            self.notes.push_back(format!("{:>10.6}  {words}", self.queue.now_us() as f64 / 1e6));
        }
    }
}
