//! The servers as processes meet them: routing, delays, consensus.

use crate::jetstream::{Answer, Message, Reply, Request, Stored};
use crate::world::desk::{Packet, Sent, To};
use crate::world::fault::Fault;
use crate::world::{Address, Happening, Role, STEWARD_US, STREAMS, World};

/// Time limit of a pull without messages.
const PATIENCE_US: u64 = 1_000_000;
const ALL: usize = usize::MAX;

/// A pull that waits for messages.
#[derive(Debug, Clone)]
pub(super) struct Parked {
    address: Address,
    id: u64,
    server: usize,
    stream: usize,
    request: Request,
}

impl World {
    /// Handles a request that has reached the servers.
    pub(super) fn serve(&mut self, address: Address, Sent { id, to, mut request }: Sent) {
        if self.fault == Some(Fault::FenceLeftOut) {
            ignore_expectations(&mut request);
        }
        let stream = stream_of(&request);
        if let Request::Purge { before, .. } = &request
            && STREAMS[stream] == "MARKET"
        {
            // Recorded before the purge.
            self.trimmed = self.trimmed.max(before - 1);
        }
        let Some(server) = self.server_for(address.node, stream, to, &request) else { return };
        match self.jet.ask_server(server, self.queue.now_us(), request.clone()) {
            Reply::Now(Answer::Silence) => {}
            Reply::Now(Answer::Deliveries(deliveries)) if deliveries.is_empty() && matches!(to, To::Patient(_)) => {
                self.parkings += 1;
                self.parked.insert(self.parkings, Parked { address, id, server, stream, request });
                self.queue.after(PATIENCE_US, Happening::Expire(self.parkings));
            }
            Reply::Now(answer) => {
                let is_change = !matches!(request, Request::Pull { .. } | Request::Last { .. } | Request::Info { .. });
                self.respond(address, id, (server, stream), answer);
                if is_change {
                    self.stir(stream);
                }
            }
            Reply::Later(ticket) => {
                self.tickets.insert(ticket, (address, id));
                let delay_us = self.chance.within(200..3_000);
                self.queue.after(delay_us, Happening::Decide(stream));
            }
        }
    }

    /// The server that receives a request; `None` if the request is lost.
    fn server_for(&mut self, node: usize, stream: usize, to: To, request: &Request) -> Option<usize> {
        let servers = self.plan.servers;
        // Trimmed messages are older than any hang of a server, so no leader lacks so much.
        let is_trimmer = self.nodes[node].role == Role::Trimmer;
        match to {
            To::Server(server) | To::Patient(server) => Some(server),
            To::Any => {
                let first = self.chance.index(servers);
                let mut others = (0..servers).map(|idx| (first + idx) % servers);
                others.find(|&server| self.jet.is_up(server))
            }
            To::Leader => {
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
            && self.troubles.gaps > 0
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
        let packet = Packet { server, answer, trimmed };
        let node = &mut self.nodes[address.node];
        node.from.send(&mut self.queue, &mut self.network, Happening::Answer(address, id, packet));
    }

    /// A stream may have changed: waiting pulls are tried again.
    pub(super) fn stir(&mut self, stream: usize) {
        let waiting: Vec<u64> =
            self.parked.iter().filter(|(_, parked)| parked.stream == stream).map(|(&parking, _)| parking).collect();
        for parking in waiting {
            self.unpark(parking, false);
        }
    }

    pub(super) fn expire(&mut self, parking: u64) {
        self.unpark(parking, true);
    }

    fn unpark(&mut self, parking: u64, is_over: bool) {
        let Some(Parked { address, id, server, stream, request }) = self.parked.get(&parking).cloned() else { return };
        match self.jet.ask_server(server, self.queue.now_us(), request) {
            Reply::Now(Answer::Deliveries(deliveries)) if deliveries.is_empty() && !is_over => return,
            // A server that went down says nothing.
            Reply::Now(Answer::Silence) if !is_over => return,
            Reply::Now(Answer::Silence) | Reply::Later(_) => {}
            Reply::Now(answer) => self.respond(address, id, (server, stream), answer),
        }
        self.parked.remove(&parking);
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
            self.queue.after(delay_us, Happening::CatchUp(stream, server));
        }
        self.stir(stream);
    }

    fn delay_of(&mut self, server: usize) -> u64 {
        let is_lagging = self.troubles.lags[server] > 0;
        self.chance.within(if is_lagging { 300_000..5_000_000 } else { 300..20_000 })
    }

    pub(super) fn catch_up(&mut self, stream: usize, server: usize) {
        if self.jet.catch_up(STREAMS[stream], server, ALL) > 0 {
            self.stir(stream);
        }
    }

    /// Lets servers be elected and catch up, once per interval.
    pub(super) fn steward(&mut self) {
        self.queue.after(STEWARD_US, Happening::Steward);
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
                    self.queue.after(delay_us, Happening::CatchUp(stream, server));
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
            self.queue.after(delay_us, Happening::CatchUp(stream, server));
        }
    }

    /// The last message on a filter, or the first at or after a sequence, from the server with the most complete log.
    pub(super) fn last_or_next(&mut self, stream: &str, filter: &str, from: Option<u64>) -> Option<Stored> {
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

/// The index of the stream of a request.
fn stream_of(request: &Request) -> usize {
    let of = |name: &str| STREAMS.iter().position(|stream| *stream == name).unwrap_or_default();
    let of_message = |message: &Message| {
        let mut tokens = message.subject.split('.');
        match tokens.next() {
            Some("$KV") => 3,
            Some("checkpoint") => of(&tokens.next().unwrap_or_default().to_uppercase()),
            root => of(&root.unwrap_or_default().to_uppercase()),
        }
    };
    match request {
        Request::Publish(message) => of_message(message),
        Request::Commit(messages) => messages.last().map_or(0, of_message),
        Request::Last { stream, .. }
        | Request::Next { stream, .. }
        | Request::LastPerSubject { stream, .. }
        | Request::Info { stream }
        | Request::Consume { stream, .. }
        | Request::Pull { stream, .. }
        | Request::Purge { stream, .. }
        | Request::Delete { stream, .. } => of(stream),
    }
}

/// Planted fault: the server ignores the expected sequences of a commit.
fn ignore_expectations(request: &mut Request) {
    if let Request::Commit(messages) = request {
        messages.iter_mut().for_each(|message| message.headers.expected = None);
    }
}
