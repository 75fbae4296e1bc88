//! Processes of a run: start, delivery of answers, end.

use std::sync::Arc;
use std::time::Duration;

use aggregator::Aggregation;
use market::windowing::EventTimePolicy;
use stream_processor::Processing;

use crate::world::client::Client;
use crate::world::executor::{ProcessIo, Response};
use crate::world::process::{Flags, Process, ProcessEvent, Program};
use crate::world::publisher::{Publisher, Script};
use crate::world::state::{Address, FEED_AGE_US, Role, SimEvent, World};
use crate::world::trimmer::Trimmer;
use crate::world::wire::Limits;

/// Maximum number of trace lines that are kept.
const NOTES_MAX: usize = 4_000;
/// Maximum length of a trace line in characters.
const NOTE_MAX: usize = 160;

impl World {
    pub(super) fn io(&self, node: usize, life: u32, offset: Duration) -> ProcessIo {
        let random = self.plan.seed.random(&format!("process {node} {life}"));
        ProcessIo::new(random, Duration::from_micros(self.queue.now_us()) + offset, self.is_traced)
    }

    /// Starts a process, unless it is running.
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].program.is_some() {
            return;
        }
        let (role, life, offset) = (self.nodes[node].role, self.nodes[node].life + 1, self.nodes[node].offset);
        let io = self.io(node, life, offset);
        let client = Client { io: io.clone(), fault: self.fault };
        let limits = Limits { replicas: self.plan.servers, max_age_us: 0 };
        let (partitions, accept_loss, lease_ttl) = (self.plan.partitions, self.plan.accept_loss, self.plan.lease_ttl);
        let flags = |input| Flags { partitions, accept_loss, lease_ttl, input };
        let program: Box<dyn Program> = match role {
            Role::Processor => {
                let input = Limits { max_age_us: FEED_AGE_US, ..limits };
                Box::new(Process::new(Processing::new(EventTimePolicy::default()), client, flags(input)))
            }
            Role::Aggregator => {
                Box::new(Process::new(Aggregation::new(EventTimePolicy::default()), client, flags(limits)))
            }
            Role::Publisher => {
                let drawn = || Script::Drawn { random: self.plan.seed.random("feed"), count: self.plan.messages };
                let script = self.script.take().map_or_else(drawn, Script::Fixed);
                Box::new(Publisher::new(io.clone(), script, self.plan.calm_at, Arc::clone(&self.published)))
            }
            Role::Trimmer => Box::new(Trimmer::new(client, partitions)),
        };
        let place = &mut self.nodes[node];
        (place.life, place.io, place.program, place.is_frozen) = (life, io, Some(program), false);
        place.held.clear();
        self.note(|| format!("{role:?} {node} begins"));
        self.proceed(node);
    }

    pub(super) fn deliver(&mut self, address: Address, id: u64, response: Response) {
        let node = &mut self.nodes[address.node];
        if node.life != address.life {
            return;
        }
        if node.is_frozen {
            node.held.push_back((id, response));
            return;
        }
        node.io.answer(id, response);
        self.proceed(address.node);
    }

    /// Lets a process do everything that it can do now.
    pub(super) fn proceed(&mut self, idx: usize) {
        let now_us = self.queue.now_us();
        let Self { nodes, queue, network, .. } = self;
        let node = &mut nodes[idx];
        let Some(program) = node.program.as_mut().filter(|_| !node.is_frozen) else { return };
        node.io.set_now(Duration::from_micros(now_us) + node.offset);
        program.run();
        let address = Address { node: idx, life: node.life };
        for sent in node.io.sent() {
            node.to.send(queue, network, SimEvent::Request(address, sent));
        }
        if let Some(at) = program.wakes_at() {
            let at_us = (at.saturating_sub(node.offset).as_micros() as u64).max(now_us + 1);
            if node.wake_us.is_none_or(|wake_us| at_us < wake_us) {
                node.wake_us = Some(at_us);
                queue.at(at_us, SimEvent::Wake(address));
            }
        }
        let news: Vec<ProcessEvent> = std::iter::from_fn(|| program.news()).collect();
        let notes = node.io.notes();
        notes.into_iter().filter(|words| !words.is_empty()).for_each(|words| self.note(|| format!("{idx} {words}")));
        news.into_iter().for_each(|news| self.record(idx, news));
    }

    pub(super) fn record(&mut self, node: usize, news: ProcessEvent) {
        self.note(|| format!("{node} {news:?}"));
        match news {
            ProcessEvent::Stopped { output, number, error } => {
                let now = Duration::from_micros(self.queue.now_us());
                self.stops.insert((output, number, node), (now, error));
            }
            ProcessEvent::Dropped { output, number } => {
                // A partition that stopped at its former owner is of no interest.
                self.stops.remove(&(output, number, node));
            }
            ProcessEvent::Ended(error) => {
                self.exits.extend(error);
                self.end(node, Duration::from_secs(1));
            }
        }
    }

    /// Ends a process with everything in its memory, and starts it again after a pause.
    pub(super) fn end(&mut self, node: usize, pause: Duration) {
        self.note(|| format!("{node} is gone"));
        self.stops.retain(|(.., at), _| *at != node);
        let place = &mut self.nodes[node];
        place.program = None;
        place.life += 1;
        place.wake_us = None;
        self.queue.after(pause.as_micros() as u64, SimEvent::Begin(node));
    }

    pub(super) fn crash_steps(&mut self, pause: Duration) {
        for node in 0..2 * self.plan.instances {
            if self.nodes.get(node).is_some_and(|place| place.program.is_some()) {
                self.end(node, pause);
            }
        }
    }

    pub(super) fn note(&mut self, words: impl FnOnce() -> String) {
        if self.is_traced {
            if self.notes.len() == NOTES_MAX {
                self.notes.pop_front();
            }
            let words: String = words().chars().take(NOTE_MAX).collect();
            self.notes.push_back(format!("{:>10.6}  {words}", self.queue.now_us() as f64 / 1e6));
        }
    }
}
