//! The servers of JetStream and their streams: answers, and injected faults.

use crate::jetstream::batch::Allowed;
use crate::jetstream::config::StreamConfig;
use crate::jetstream::consumer::Consumer;
use crate::jetstream::disk::{Survivors, Sync};
use crate::jetstream::group::{Group, ServerState};
use crate::jetstream::message::{LogEntry, Message};
use crate::jetstream::replica::{Entry, Republished};
use crate::jetstream::request::{Answer, Refusal, Reply, Request, RequestTarget, Ticket};

/// Maximum number of subjects of a consistent read.
const PICTURE_MAX: usize = 1_024;

/// One server, or several with a replica of every stream each.
#[derive(Debug, Clone)]
pub struct JetStream {
    groups: Vec<Group>,
    states: Vec<ServerState>,
    sync: Sync,
    allowed: Allowed,
    /// Size limit of all streams together, in bytes.
    room: Option<u64>,
    tickets: u64,
    consumers: u64,
    created: u64,
}

impl JetStream {
    /// A single server, which answers at once.
    pub fn single(sync: Sync) -> Self {
        Self::of(1, sync)
    }

    /// Three servers. The first one leads every stream until another is elected.
    pub fn cluster(sync: Sync) -> Self {
        Self::of(3, sync)
    }

    fn of(servers: usize, sync: Sync) -> Self {
        Self {
            groups: Vec::new(),
            states: vec![ServerState::Up; servers],
            sync,
            allowed: Allowed::default(),
            room: None,
            tickets: 0,
            consumers: 0,
            created: 0,
        }
    }

    /// Changes the limits for batches.
    pub fn allow(&mut self, allowed: Allowed) {
        self.allowed = allowed;
    }

    /// Number of servers.
    pub fn servers(&self) -> usize {
        self.states.len()
    }

    /// Creates a stream, replacing one of the same name: the result is another log.
    pub fn create(&mut self, config: StreamConfig) {
        self.created += 1;
        let created = format!("created {}", self.created);
        self.groups.retain(|group| group.config.name != config.name);
        self.groups.push(Group::new(config, created, self.states.len()));
    }

    /// Changes the size limit of a stream.
    pub fn set_max_bytes(&mut self, stream: &str, max_bytes: Option<u64>) {
        if let Some(group) = named(&mut self.groups, stream) {
            group.config.max_bytes = max_bytes;
        }
    }

    /// Changes the size limit of all streams together; beyond it, publishing is refused with 10023.
    pub fn set_room(&mut self, room: Option<u64>) {
        self.room = room;
    }

    /// Asks the leader of the stream.
    pub fn ask(&mut self, now_us: u64, request: Request) -> Reply {
        match self.group_of(&request).map(|group| group.leader()) {
            Err(refusal) => Reply::Now(Answer::Refused(refusal)),
            Ok(Some(leader)) => self.ask_server(leader, now_us, request),
            Ok(None) if self.states.iter().all(|&state| state != ServerState::Up) => Reply::Now(Answer::Silence),
            Ok(None) => Reply::Now(Answer::Refused(Refusal::NO_LEADER)),
        }
    }

    /// Asks one server: any server may have a consumer or answer a consistent read, and one that was frozen may still
    /// believe to lead. A server that does not lead is silent to requests for the leader.
    pub fn ask_server(&mut self, server: usize, now_us: u64, request: Request) -> Reply {
        if self.states[server] != ServerState::Up {
            return Reply::Now(Answer::Silence);
        }
        match self.answer(server, now_us, request) {
            Ok(reply) => reply,
            Err(refusal) => Reply::Now(Answer::Refused(refusal)),
        }
    }

    /// Commits up to `count` proposals of a stream, in order; returns their answers. Without a majority there are none.
    pub fn decide(&mut self, stream: &str, count: usize) -> Vec<(Ticket, Answer)> {
        let Self { groups, states, sync, .. } = self;
        named(groups, stream).map(|group| group.decide(states, *sync, count)).unwrap_or_default()
    }

    /// Lets a server apply up to `count` commits of a stream that it lacks; returns how many it did. A former leader
    /// learns that it no longer leads.
    pub fn catch_up(&mut self, stream: &str, server: usize, count: usize) -> usize {
        let Self { groups, states, sync, .. } = self;
        named(groups, stream).map(|group| group.catch_up(server, states, *sync, count)).unwrap_or_default()
    }

    /// Number of commits of a stream that a server lacks.
    pub fn lag(&self, stream: &str, server: usize) -> usize {
        self.named(stream).map_or(0, |group| group.lag(server))
    }

    /// Makes a server the leader of a stream, if it is up and holds as much as a majority. It has applied what it had
    /// applied before, which may be less than what was read: see [`Self::catch_up`]. `kept` of the open proposals are
    /// stored, the others are lost, all unanswered. Returns whether it leads.
    pub fn elect(&mut self, stream: &str, server: usize, kept: usize) -> bool {
        let Self { groups, states, .. } = self;
        named(groups, stream).is_some_and(|group| group.elect(server, states, kept))
    }

    /// Leaves a stream without a leader, as during an election.
    pub fn depose(&mut self, stream: &str) {
        if let Some(group) = named(&mut self.groups, stream) {
            group.depose();
        }
    }

    /// The leader of a stream.
    pub fn leader(&self, stream: &str) -> Option<usize> {
        self.named(stream)?.leader()
    }

    /// Freezes a server: it answers nothing and applies nothing. When it wakes it may still believe to lead.
    pub fn freeze(&mut self, server: usize) {
        if self.states[server] == ServerState::Up {
            self.states[server] = ServerState::Frozen;
        }
    }

    /// Wakes a frozen server.
    pub fn wake(&mut self, server: usize) {
        if self.states[server] == ServerState::Frozen {
            self.states[server] = ServerState::Up;
        }
    }

    /// Kills the process of a server. It loses open batches and undrained republished results, but no stored message.
    pub fn kill(&mut self, server: usize) {
        self.states[server] = ServerState::Down;
        self.groups.iter_mut().for_each(|group| group.kill(server));
    }

    /// Cuts the power of a server: of the unsynced data only the survivors are left, in every stream.
    pub fn cut_power(&mut self, server: usize, survivors: Survivors) {
        self.states[server] = ServerState::Down;
        let sync = self.sync;
        self.groups.iter_mut().for_each(|group| group.cut_power(server, sync, survivors));
    }

    /// Restarts a server. A single server leads at once; in a cluster a leader must be elected.
    pub fn restart(&mut self, server: usize, now_us: u64) {
        if self.states[server] == ServerState::Down {
            self.states[server] = ServerState::Up;
            self.groups.iter_mut().for_each(|group| group.restart(server, now_us));
        }
    }

    /// Syncs all streams of a server to disk.
    pub fn sync(&mut self, server: usize) {
        self.groups.iter_mut().for_each(|group| group.replicas[server].sync());
    }

    /// Shows consumers on a server only the first messages of the latest commit, as while it is being applied. Other
    /// reads see all of it. The next commit, or [`Self::show_all`], shows the rest.
    pub fn show_only(&mut self, stream: &str, server: usize, messages: u64) {
        if let Some(group) = named(&mut self.groups, stream) {
            group.replicas[server].show_only(messages);
        }
    }

    /// Shows consumers on a server all messages.
    pub fn show_all(&mut self, stream: &str, server: usize) {
        if let Some(group) = named(&mut self.groups, stream) {
            group.replicas[server].show_all();
        }
    }

    /// The results that a stream has republished since the last call.
    pub fn drain_live(&mut self, stream: &str) -> Vec<Republished> {
        named(&mut self.groups, stream).map(Group::drain_live).unwrap_or_default()
    }

    /// All messages of a stream on a server, in order: for the checks of a run.
    pub fn stored(&self, stream: &str, server: usize) -> Vec<LogEntry> {
        self.named(stream).map(|group| group.replicas[server].log.iter().cloned().collect()).unwrap_or_default()
    }

    /// Every message that was ever stored in a stream, in order, including purged ones but without messages that were
    /// deleted one by one: for the checks of a run.
    pub fn history(&self, stream: &str) -> Vec<LogEntry> {
        self.named(stream).map(Group::history).unwrap_or_default()
    }

    /// Syncs one stream of a server to disk.
    pub fn sync_stream(&mut self, stream: &str, server: usize) {
        if let Some(group) = named(&mut self.groups, stream) {
            group.replicas[server].sync();
        }
    }

    /// Whether a server is up.
    pub fn is_up(&self, server: usize) -> bool {
        self.states[server] == ServerState::Up
    }

    /// The size of all streams together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.groups.iter().map(Group::bytes).sum()
    }

    /// The name of the stream of a request. A message goes to the stream with its subject.
    ///
    /// # Errors
    /// The refusal of a request that no stream accepts.
    pub fn stream_of(&self, request: &Request) -> Result<&str, Refusal> {
        self.group_of(request).map(|group| group.config.name.as_str())
    }

    fn group_of(&self, request: &Request) -> Result<&Group, Refusal> {
        match request.target().ok_or(Refusal::NO_RESPONDERS)? {
            RequestTarget::Stream(stream) => self.named(stream).ok_or(Refusal::NO_STREAM),
            RequestTarget::Subject(subject) => self.taking(subject).map(|idx| &self.groups[idx]),
        }
    }

    /// The index of the stream that stores a subject.
    fn taking(&self, subject: &str) -> Result<usize, Refusal> {
        self.groups.iter().position(|group| group.config.takes(subject)).ok_or(Refusal::NO_RESPONDERS)
    }

    fn named(&self, stream: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.config.name == stream)
    }

    fn place(&self, stream: &str) -> Result<usize, Refusal> {
        self.groups.iter().position(|group| group.config.name == stream).ok_or(Refusal::NO_STREAM)
    }

    fn group(&mut self, stream: &str) -> Result<&mut Group, Refusal> {
        named(&mut self.groups, stream).ok_or(Refusal::NO_STREAM)
    }

    fn answer(&mut self, server: usize, now_us: u64, request: Request) -> Result<Reply, Refusal> {
        let answer = match request {
            Request::Publish(message) => return self.publish(server, now_us, message),
            Request::Commit(messages) => return self.commit(server, now_us, messages),
            Request::Purge { stream, filter, before } => {
                return Ok(self.change(server, self.place(&stream)?, Entry::Purge { filter, before }));
            }
            Request::Delete { stream, seq } => {
                return Ok(self.change(server, self.place(&stream)?, Entry::Delete { seq }));
            }
            Request::Pull { stream, consumer, max } => {
                let replica = self.group(&stream)?.replica(server, now_us);
                let (log, end) = (&replica.log, replica.visible());
                let consumer = replica.consumers.get_mut(&consumer).ok_or(Refusal::NO_RESPONDERS)?;
                Answer::Deliveries(consumer.pull(log, end, max))
            }
            Request::Consume { stream, filters, from } => {
                let id = self.consumers + 1;
                let replica = self.group(&stream)?.replica(server, now_us);
                let consumer = Consumer::new(filters, from);
                let pending = consumer.pending(&replica.log, replica.visible());
                replica.consumers.insert(id, consumer);
                self.consumers = id;
                Answer::Consumer { id, pending }
            }
            Request::LastPerSubject { stream, filter, up_to } => {
                let log = &self.group(&stream)?.replica(server, now_us).log;
                let found = match up_to {
                    0 => log.last_per_subject(&filter, u64::MAX),
                    // A bound beyond the end finds nothing.
                    up_to if up_to > log.last_seq() => Vec::new(),
                    up_to => log.last_per_subject(&filter, up_to),
                };
                if found.len() > PICTURE_MAX {
                    return Err(Refusal::TOO_MANY);
                }
                Answer::Messages(found)
            }
            Request::Last { stream, filter } => {
                let Some(group) = self.led(server, &stream)? else { return Ok(Reply::Now(Answer::Silence)) };
                Answer::Message(group.replica(server, now_us).log.last(&filter).cloned())
            }
            Request::Next { stream, filter, from } => {
                let Some(group) = self.led(server, &stream)? else { return Ok(Reply::Now(Answer::Silence)) };
                Answer::Message(group.replica(server, now_us).log.next(&[filter], from).cloned())
            }
            Request::Info { stream } => {
                let Some(group) = self.led(server, &stream)? else { return Ok(Reply::Now(Answer::Silence)) };
                Answer::Info(group.info(server, now_us))
            }
        };
        Ok(Reply::Now(answer))
    }

    /// The stream, if the server leads it or believes to.
    fn led(&mut self, server: usize, stream: &str) -> Result<Option<&mut Group>, Refusal> {
        self.group(stream).map(|group| Some(group).filter(|group| group.leads(server)))
    }

    /// Publishes a whole batch; messages without a stream are dropped.
    fn commit(&mut self, server: usize, now_us: u64, mut messages: Vec<Message>) -> Result<Reply, Refusal> {
        let last = messages.pop().ok_or(Refusal::NO_RESPONDERS)?;
        for message in messages {
            // These messages have no reply subject: the answer to the last one shows that one of them was refused.
            drop(self.publish(server, now_us, message));
        }
        self.publish(server, now_us, last)
    }

    fn publish(&mut self, server: usize, now_us: u64, message: Message) -> Result<Reply, Refusal> {
        let place = self.taking(&message.subject)?;
        if !self.groups[place].leads(server) {
            return Ok(Reply::Now(Answer::Silence));
        }
        if self.is_full(&message) {
            return Err(Refusal::NO_ROOM);
        }
        match self.groups[place].receive(server, self.allowed, message, now_us)? {
            Err(answer) => Ok(Reply::Now(answer)),
            Ok(entry) => Ok(self.change(server, place, entry)),
        }
    }

    fn is_full(&self, message: &Message) -> bool {
        let used = || self.groups.iter().map(Group::bytes).sum::<u64>();
        self.room.is_some_and(|room| used() + message.size() > room)
    }

    /// Proposes a change, which a single server commits at once. A server that only believes to lead gets no majority.
    fn change(&mut self, server: usize, place: usize, entry: Entry) -> Reply {
        let group = &mut self.groups[place];
        if group.leader() != Some(server) {
            return Reply::Now(Answer::Silence);
        }
        if self.states.len() == 1 {
            return Reply::Now(group.store(self.sync, entry));
        }
        self.tickets += 1;
        group.propose(Ticket(self.tickets), entry);
        Reply::Later(Ticket(self.tickets))
    }
}

fn named<'a>(groups: &'a mut [Group], stream: &str) -> Option<&'a mut Group> {
    groups.iter_mut().find(|group| group.config.name == stream)
}
