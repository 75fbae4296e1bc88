//! The servers as processes meet them: routing, delays, consensus.

use crate::jetstream::{Answer, LogEntry, Reply, Request};
use crate::world::executor::{Destination, Response, SentRequest};
use crate::world::fault::Fault;
use crate::world::state::{Address, CHECK_INTERVAL_US, Role, STREAMS, SimEvent, WaitingPull, World};

/// Time limit of a pull without messages.
const PULL_MAX_US: u64 = 1_000_000;
const ALL: usize = usize::MAX;

impl World {
    /// Handles a request that has reached the servers.
    pub(super) fn serve(&mut self, address: Address, SentRequest { id, to, mut request }: SentRequest) {
        if self.fault == Some(Fault::FenceLeftOut) {
            ignore_expectations(&mut request);
        }
        let stream = self.jet.stream_of(&request).map_or(0, index_of);
        if let Request::Purge { before, .. } = &request
            && STREAMS[stream] == "MARKET"
        {
            // StreamContents before the purge.
            self.trimmed = self.trimmed.max(before - 1);
        }
        let Some(server) = self.server_for(address.node, stream, to, &request) else { return };
        match self.jet.ask_server(server, self.queue.now_us(), request.clone()) {
            Reply::Now(Answer::Silence) => {}
            Reply::Now(Answer::Deliveries(deliveries))
                if deliveries.is_empty() && matches!(to, Destination::LongPoll(_)) =>
            {
                self.pulls += 1;
                self.waiting_pulls.insert(self.pulls, WaitingPull { address, id, server, stream, request });
                self.queue.after(PULL_MAX_US, SimEvent::Expire(self.pulls));
            }
            Reply::Now(answer) => {
                let is_change = !matches!(request, Request::Pull { .. } | Request::Last { .. } | Request::Info { .. });
                self.respond(address, id, (server, stream), answer);
                if is_change {
                    self.retry_pulls(stream);
                }
            }
            Reply::Later(ticket) => {
                self.tickets.insert(ticket, (address, id));
                let delay_us = self.chance.within(200..3_000);
                self.queue.after(delay_us, SimEvent::Decide(stream));
            }
        }
    }

    /// The server that receives a request; `None` if the request is lost.
    fn server_for(&mut self, node: usize, stream: usize, to: Destination, request: &Request) -> Option<usize> {
        let servers = self.plan.servers;
        // Trimmed messages are older than any hang of a server, so no leader lacks so much.
        let is_trimmer = self.nodes[node].role == Role::Trimmer;
        match to {
            Destination::Server(server) | Destination::LongPoll(server) => Some(server),
            Destination::Any => {
                let first = self.chance.index(servers);
                let mut others = (0..servers).map(|idx| (first + idx) % servers);
                others.find(|&server| self.jet.is_up(server))
            }
            Destination::Leader => {
                let other = self.chance.index(servers);
                let is_read = matches!(request, Request::Last { .. } | Request::Next { .. } | Request::Info { .. });
                if servers > 1 && is_read && self.chance.chance(300) && !is_trimmer && self.jet.is_up(other) {
                    // A server that was frozen may still believe to lead, and answers first.
                    let reply = self.jet.ask_server(other, self.queue.now_us(), request.clone());
                    if reply != Reply::Now(Answer::Silence) {
                        return Some(other);
                    }
                }
                let leader = self.jet.leader(STREAMS[stream])?;
                (!is_trimmer || self.jet.lag(STREAMS[stream], leader) == 0).then_some(leader)
            }
        }
    }

    fn respond(&mut self, address: Address, id: u64, (server, stream): (usize, usize), mut answer: Answer) {
        if let Answer::Deliveries(deliveries) = &mut answer
            && self.disruptions.gaps > 0
            && deliveries.len() > 1
            && self.chance.chance(400)
        {
            let (one, other) = (self.chance.index(deliveries.len() - 1), self.chance.index(deliveries.len()));
            match self.chance.below(3) {
                0 => drop(deliveries.remove(one)),
                1 => deliveries.swap(one, other),
                _ => deliveries.insert(other, deliveries[one].clone()),
            }
        }
        let trimmed = if STREAMS[stream] == "MARKET" { self.trimmed } else { 0 };
        let response = Response { server, answer, trimmed };
        let node = &mut self.nodes[address.node];
        node.from.send(&mut self.queue, &mut self.network, SimEvent::Answer(address, id, response));
    }

    /// A stream may have changed: waiting pulls are tried again.
    pub(super) fn retry_pulls(&mut self, stream: usize) {
        let waiting: Vec<u64> = self
            .waiting_pulls
            .iter()
            .filter(|(_, waiting_pulls)| waiting_pulls.stream == stream)
            .map(|(&pull_id, _)| pull_id)
            .collect();
        for pull_id in waiting {
            self.retry_pull(pull_id, false);
        }
    }

    pub(super) fn expire(&mut self, pull_id: u64) {
        self.retry_pull(pull_id, true);
    }

    fn retry_pull(&mut self, pull_id: u64, is_over: bool) {
        let Some(WaitingPull { address, id, server, stream, request }) = self.waiting_pulls.get(&pull_id).cloned()
        else {
            return;
        };
        match self.jet.ask_server(server, self.queue.now_us(), request) {
            Reply::Now(Answer::Deliveries(deliveries)) if deliveries.is_empty() && !is_over => return,
            // A server that went down says nothing.
            Reply::Now(Answer::Silence) if !is_over => return,
            Reply::Now(Answer::Silence) | Reply::Later(_) => {}
            Reply::Now(answer) => self.respond(address, id, (server, stream), answer),
        }
        self.waiting_pulls.remove(&pull_id);
    }

    /// Commits the proposals of a stream.
    pub(super) fn decide(&mut self, stream: usize) {
        let answers = self.jet.decide(STREAMS[stream], ALL);
        if answers.is_empty() {
            return;
        }
        let leader = self.jet.leader(STREAMS[stream]).unwrap_or_default();
        for (ticket, answer) in answers {
            if let Some((address, id)) = self.tickets.remove(&ticket) {
                self.respond(address, id, (leader, stream), answer);
            }
        }
        for server in (0..self.plan.servers).filter(|&server| server != leader) {
            let delay_us = self.delay_of(server);
            self.queue.after(delay_us, SimEvent::CatchUp(stream, server));
        }
        self.retry_pulls(stream);
    }

    fn delay_of(&mut self, server: usize) -> u64 {
        let is_lagging = self.disruptions.lags[server] > 0;
        self.chance.within(if is_lagging { 300_000..5_000_000 } else { 300..20_000 })
    }

    pub(super) fn catch_up(&mut self, stream: usize, server: usize) {
        if self.jet.catch_up(STREAMS[stream], server, ALL) > 0 {
            self.retry_pulls(stream);
        }
    }

    /// Lets servers be elected and catch up, once per interval.
    pub(super) fn check_servers(&mut self) {
        self.queue.after(CHECK_INTERVAL_US, SimEvent::CheckServers);
        if self.plan.servers == 1 {
            return;
        }
        for (stream, name) in STREAMS.iter().enumerate() {
            let leader = self.jet.leader(name).filter(|&leader| self.jet.is_up(leader));
            let Some(leader) = leader else {
                // An election takes a while.
                if self.chance.chance(150) {
                    let server = self.chance.index(self.plan.servers);
                    self.lead(stream, server);
                }
                continue;
            };
            if self.jet.lag(name, leader) > 0 && self.chance.chance(400) {
                self.catch_up(stream, leader);
            }
            self.decide(stream);
            for server in 0..self.plan.servers {
                if self.jet.lag(name, server) > 0 && self.chance.chance(100) {
                    let delay_us = self.delay_of(server);
                    self.queue.after(delay_us, SimEvent::CatchUp(stream, server));
                }
            }
        }
    }

    /// Elects another leader of a stream, if possible. It answers before it has applied all of its log.
    pub(super) fn lead(&mut self, stream: usize, server: usize) {
        let kept = self.chance.index(3);
        if self.jet.elect(STREAMS[stream], server, kept) {
            self.note(|| format!("server {server} leads {}", STREAMS[stream]));
            let delay_us = self.chance.within(1_000..600_000);
            self.queue.after(delay_us, SimEvent::CatchUp(stream, server));
        }
    }

    /// The last message on a filter, or the first at or after a sequence, from the server with the most complete log.
    pub(super) fn last_or_next(&mut self, stream: &str, filter: &str, from: Option<u64>) -> Option<LogEntry> {
        let (stream, filter) = (stream.to_owned(), filter.into());
        let request = match from {
            None => Request::Last { stream, filter },
            Some(from) => Request::Next { stream, filter, from },
        };
        match self.jet.ask(self.queue.now_us(), request) {
            Reply::Now(Answer::Message(found)) => found,
            _ => None,
        }
    }
}

/// The index of a stream.
fn index_of(stream: &str) -> usize {
    STREAMS.iter().position(|name| *name == stream).unwrap_or_default()
}

/// Planted fault: the server ignores the expected sequences of a commit.
fn ignore_expectations(request: &mut Request) {
    if let Request::Commit(messages) = request {
        messages.iter_mut().for_each(|message| message.headers.expected = None);
    }
}
