//! The state of a run: queue, servers, nodes and results so far.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bus::Error;
use bus::stream::Stream;

use crate::jetstream::{JetStream, Request, Ticket};
use crate::network::{Link, Queue};
use crate::random::Random;
use crate::world::executor::{ProcessIo, Response, SentRequest};
use crate::world::fault::Fault;
use crate::world::feed::Published;
use crate::world::membership;
use crate::world::plan::RunPlan;
use crate::world::process::Program;

pub(super) const FEED_AGE_US: u64 = 86_400_000_000;
pub(super) const AMPLE: u64 = 1 << 30;
/// The streams, by index.
pub(super) const STREAMS: [&str; 4] = ["FEED", "MARKET", "STATS", membership::LEASES];
/// Interval of the checks of the servers and of the end of the run.
pub(super) const CHECK_INTERVAL_US: u64 = 100_000;

/// A process in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) node: usize,
    pub(super) life: u32,
}

#[derive(Debug, Clone)]
pub(super) enum SimEvent {
    Request(Address, SentRequest),
    Answer(Address, u64, Response),
    Wake(Address),
    Begin(usize),
    DisruptionStart(usize),
    DisruptionEnd(usize),
    Decide(usize),
    CatchUp(usize, usize),
    Expire(u64),
    CheckServers,
    DisruptionsOver,
}

/// The kind of process at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Processor,
    Aggregator,
    Publisher,
    Trimmer,
}

/// A node: a process with its links.
pub(super) struct Node {
    pub(super) role: Role,
    pub(super) life: u32,
    pub(super) io: ProcessIo,
    pub(super) program: Option<Box<dyn Program>>,
    /// Offset of its clock.
    pub(super) offset: Duration,
    pub(super) is_frozen: bool,
    /// Answers that arrived while it was frozen.
    pub(super) held: VecDeque<(u64, Response)>,
    /// Its next wake-up, in world time.
    pub(super) wake_us: Option<u64>,
    pub(super) to: Link,
    pub(super) from: Link,
}

/// A run.
pub struct World {
    pub(super) plan: RunPlan,
    pub(super) fault: Option<Fault>,
    pub(super) is_traced: bool,
    /// All processes of steps crash at this event.
    pub(super) crash_at: Option<u64>,
    pub(super) script: Option<Vec<Published>>,
    pub(super) queue: Queue<SimEvent>,
    pub(super) jet: JetStream,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Random,
    pub(super) chance: Random,
    pub(super) tickets: BTreeMap<Ticket, (Address, u64)>,
    pub(super) waiting_pulls: BTreeMap<u64, WaitingPull>,
    pub(super) pulls: u64,
    pub(super) trimmed: u64,
    pub(super) disruptions: ActiveDisruptions,
    pub(super) published: Arc<AtomicBool>,
    /// The partitions that have stopped, by node, with time and reason.
    pub(super) stops: BTreeMap<(Stream, u32, usize), (Duration, Error)>,
    pub(super) exits: Vec<Error>,
    pub(super) feed_losses: Vec<(u64, u64)>,
    pub(super) notes: VecDeque<String>,
}

/// A pull that waits for messages.
#[derive(Debug, Clone)]
pub(super) struct WaitingPull {
    pub(super) address: Address,
    pub(super) id: u64,
    pub(super) server: usize,
    pub(super) stream: usize,
    pub(super) request: Request,
}

/// Disruptions in progress, counted by kind.
#[derive(Debug, Default)]
pub(super) struct ActiveDisruptions {
    pub(super) rough: u32,
    pub(super) gaps: u32,
    /// By server.
    pub(super) lags: Vec<u32>,
}

impl ActiveDisruptions {
    pub(super) fn new(servers: usize) -> Self {
        Self { lags: vec![0; servers], ..Self::default() }
    }
}
