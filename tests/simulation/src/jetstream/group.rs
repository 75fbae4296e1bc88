//! The Raft group of a stream: its servers, and the entries that they agree on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::jetstream::batch::{Allowed, InFlight, Staging, View};
use crate::jetstream::config::StreamConfig;
use crate::jetstream::disk::{Survivors, Sync};
use crate::jetstream::message::{LogEntry, Message};
use crate::jetstream::replica::{Entry, Replica, Republished};
use crate::jetstream::request::{Answer, Info, Refusal, Ticket};

/// State of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerState {
    Up,
    Frozen,
    Down,
}

/// A stream on all its servers.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) config: StreamConfig,
    created: String,
    pub(crate) replicas: Vec<Replica>,
    /// The agreed entries, in order.
    entries: Vec<Arc<Entry>>,
    leader: Option<usize>,
    /// Former leaders that do not know the new leader yet.
    deposed: BTreeSet<usize>,
    proposals: VecDeque<(Ticket, Arc<Entry>)>,
    in_flight: InFlight,
    staging: Staging,
    live: Vec<Republished>,
}

impl Group {
    pub(crate) fn new(config: StreamConfig, created: String, servers: usize) -> Self {
        Self {
            config,
            created,
            replicas: vec![Replica::default(); servers],
            entries: Vec::new(),
            leader: Some(0),
            deposed: BTreeSet::new(),
            proposals: VecDeque::new(),
            in_flight: InFlight::default(),
            staging: Staging::default(),
            live: Vec::new(),
        }
    }

    fn is_alone(&self) -> bool {
        self.replicas.len() == 1
    }

    pub(crate) fn leader(&self) -> Option<usize> {
        self.leader
    }

    /// Whether a server answers requests for the leader.
    pub(crate) fn leads(&self, server: usize) -> bool {
        self.leader == Some(server) || self.deposed.contains(&server)
    }

    /// The replica of a server at a time.
    pub(crate) fn replica(&mut self, server: usize, now_us: u64) -> &mut Replica {
        let replica = &mut self.replicas[server];
        replica.grow_older(&self.config, now_us);
        replica
    }

    pub(crate) fn info(&mut self, server: usize, now_us: u64) -> Info {
        let (created, leader) = (self.created.clone(), (!self.is_alone()).then_some(server));
        let log = &self.replica(server, now_us).log;
        Info {
            created,
            leader,
            first_seq: log.first_seq(),
            last_seq: log.last_seq(),
            messages: log.messages(),
            bytes: log.bytes(),
        }
    }

    /// Handles a message at a server that leads, or believes to: `Ok(Err)` is the answer, `Ok(Ok)` an entry to propose.
    pub(crate) fn receive(
        &mut self,
        server: usize,
        allowed: Allowed,
        message: Message,
        now_us: u64,
    ) -> Result<Result<Entry, Answer>, Refusal> {
        if self.leader == Some(server) && self.replicas[server].applied < self.entries.len() {
            // It was just elected and lacks the state to check against.
            return Err(Refusal::NO_LEADER);
        }
        let message = Arc::new(self.config.transformed(message));
        let (messages, is_batch) = match &message.headers.batch {
            None => {
                let seq =
                    message.headers.message_id.as_ref().and_then(|id| self.replica(server, now_us).duplicates.seq(id));
                if let Some(seq) = seq {
                    return Ok(Err(Answer::Stored { seq, is_duplicate: true }));
                }
                (vec![message], false)
            }
            Some(_) if !self.config.allows_batches => return Err(Refusal::NO_BATCHES),
            Some(place) => match self.staging.add(allowed, place, Arc::clone(&message), now_us)? {
                None => return Ok(Err(Answer::Staged)),
                Some(messages) => (messages, true),
            },
        };
        self.replica(server, now_us);
        let Replica { log, duplicates, .. } = &self.replicas[server];
        let view = View { config: &self.config, log, duplicates, in_flight: &self.in_flight };
        view.judge(&messages)?;
        Ok(Ok(Entry::Store { messages, stored_us: now_us, is_batch }))
    }

    /// Stores an entry on a single server.
    pub(crate) fn store(&mut self, sync: Sync, entry: Entry) -> Answer {
        let answer = self.replicas[0].apply(&self.config, sync, &entry, Some(&mut self.live));
        self.entries.push(Arc::new(entry));
        answer
    }

    /// Proposes an entry at the leader.
    pub(crate) fn propose(&mut self, ticket: Ticket, entry: Entry) {
        if let Entry::Store { messages, .. } = &entry {
            self.in_flight.add(messages);
        }
        self.proposals.push_back((ticket, Arc::new(entry)));
    }

    /// Commits up to `count` proposals and applies them at the leader, if a majority is reachable.
    pub(crate) fn decide(&mut self, states: &[ServerState], sync: Sync, count: usize) -> Vec<(Ticket, Answer)> {
        let Some(leader) = self.leader.filter(|&leader| states[leader] == ServerState::Up) else { return Vec::new() };
        let up = states.iter().filter(|&&state| state == ServerState::Up).count();
        let has_applied = self.replicas[leader].applied == self.entries.len();
        if up * 2 <= self.replicas.len() || !has_applied {
            return Vec::new();
        }
        let mut answers = Vec::new();
        while answers.len() < count
            && let Some((ticket, entry)) = self.proposals.pop_front()
        {
            self.settle(&entry);
            let answer = self.replicas[leader].apply(&self.config, sync, &entry, Some(&mut self.live));
            self.entries.push(entry);
            answers.push((ticket, answer));
        }
        let held = self.entries.len();
        let replicas = self.replicas.iter_mut().zip(states);
        replicas.filter(|(_, state)| **state == ServerState::Up).for_each(|(replica, _)| replica.held = held);
        answers
    }

    fn settle(&mut self, entry: &Entry) {
        if let Entry::Store { messages, .. } = entry {
            self.in_flight.remove(messages);
        }
    }

    /// Lets a server apply up to `count` more entries and follow the leader; returns how many it applied.
    pub(crate) fn catch_up(&mut self, server: usize, states: &[ServerState], sync: Sync, count: usize) -> usize {
        let has_leader = self.leader.is_some_and(|leader| states[leader] == ServerState::Up);
        if states[server] != ServerState::Up || !has_leader {
            return 0;
        }
        if self.leader != Some(server) {
            self.deposed.remove(&server);
        }
        let replica = &mut self.replicas[server];
        replica.held = self.entries.len();
        let todo: Vec<_> = self.entries[replica.applied..].iter().take(count).cloned().collect();
        todo.iter().for_each(|entry| drop(replica.apply(&self.config, sync, entry, None)));
        todo.len()
    }

    /// Makes a server the leader, if it holds no less than a majority of those that are up. `kept` of the former
    /// leader's proposals are stored, unanswered; the others are lost.
    pub(crate) fn elect(&mut self, server: usize, states: &[ServerState], kept: usize) -> bool {
        let held = self.replicas[server].held;
        let is_up = |idx: &usize| states[*idx] == ServerState::Up;
        let votes = (0..self.replicas.len()).filter(|idx| is_up(idx) && self.replicas[*idx].held <= held).count();
        if !is_up(&server) || votes * 2 <= self.replicas.len() {
            return false;
        }
        if let Some(before) = self.leader.filter(|&before| before != server && states[before] == ServerState::Frozen) {
            self.deposed.insert(before);
        }
        self.deposed.remove(&server);
        self.forget_what_was_lost(held);
        let proposals = std::mem::take(&mut self.proposals).into_iter().take(kept);
        self.entries.extend(proposals.map(|(_, entry)| entry));
        self.replicas[server].held = self.entries.len();
        self.in_flight = InFlight::default();
        self.staging.clear();
        self.leader = Some(server);
        true
    }

    /// Only power cuts lose entries that a majority held: then the log continues without them on every server.
    fn forget_what_was_lost(&mut self, held: usize) {
        self.entries.truncate(held);
        for replica in self.replicas.iter_mut().filter(|replica| replica.applied > held) {
            *replica = Replica::default();
        }
    }

    /// Leaves the group without a leader.
    pub(crate) fn depose(&mut self) {
        self.leader = None;
        self.staging.clear();
    }

    /// Kills a server.
    pub(crate) fn kill(&mut self, server: usize) {
        self.deposed.remove(&server);
        if self.leader == Some(server) {
            self.depose();
            self.live.clear();
        }
    }

    /// Cuts the power of a server.
    pub(crate) fn cut_power(&mut self, server: usize, sync: Sync, survivors: Survivors) {
        self.kill(server);
        let torn = self.replicas[server].lose(sync, survivors);
        if !self.is_alone() {
            // The other servers send everything that it lacks.
            return;
        }
        let next = self.entries.get(self.replicas[server].applied).map(Arc::clone);
        self.entries.truncate(self.replicas[server].applied);
        if torn > 0
            && let Some(Entry::Store { messages, stored_us, is_batch }) = next.as_deref()
        {
            let messages = messages.iter().take(torn).cloned().collect();
            let entry = Entry::Store { messages, stored_us: *stored_us, is_batch: *is_batch };
            drop(self.replicas[server].apply(&self.config, sync, &entry, None));
            self.replicas[server].sync();
            self.entries.push(Arc::new(entry));
        }
    }

    /// Restarts a server.
    pub(crate) fn restart(&mut self, server: usize, now_us: u64) {
        let is_alone = self.is_alone();
        self.replicas[server].restart(&self.config, is_alone, now_us);
        if is_alone {
            self.leader = Some(server);
        }
    }

    /// The results that were republished since the last call.
    pub(crate) fn drain_live(&mut self) -> Vec<Republished> {
        std::mem::take(&mut self.live)
    }

    /// Every agreed message, in order, including purged ones but without messages that were deleted one by one.
    pub(crate) fn history(&self) -> Vec<LogEntry> {
        let (mut history, mut seq) = (Vec::new(), 0);
        for entry in &self.entries {
            match entry.as_ref() {
                Entry::Store { messages, stored_us, .. } => {
                    history.extend(messages.iter().zip(seq + 1..).map(|(message, seq)| {
                        let (stored_us, message) = (*stored_us, Arc::clone(message));
                        LogEntry { seq, stored_us, message }
                    }));
                    seq += messages.len() as u64;
                }
                Entry::Delete { seq } => history.retain(|stored| stored.seq != *seq),
                Entry::Purge { .. } => {}
            }
        }
        history
    }

    /// Number of agreed entries that a server has not applied.
    pub(crate) fn lag(&self, server: usize) -> usize {
        self.entries.len().saturating_sub(self.replicas[server].applied)
    }

    /// The size of its largest replica in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.log.bytes()).max().unwrap_or_default()
    }
}
