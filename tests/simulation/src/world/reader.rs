//! A reader like `bus::reader`: in order, through a consumer that is created again on a gap, silence or error.

use std::time::Duration;

use bus::leader::{RETRY_DELAY, may_catch_up};
use bus::protocol::LogId;
use bus::reader::{Delivery, DeliveryOrder};
use bus::topology::StreamInfo;

use crate::jetstream::{Answer, Delivery as Delivered, Request, Subject};
use crate::world::desk::{Mailbox, To};
use crate::world::fault::Fault;
use crate::world::source::{ANSWER_MAX, Asking};
use crate::world::wire::{self, Limits};

/// Messages per pull request.
const PULL: usize = 40;
/// Messages that are buffered for the partition.
const AHEAD: usize = 64;
/// A server without messages says so within a second.
const SILENCE_MAX: Duration = Duration::from_millis(2_100);
const IDLE_LOOK: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// An event of a reader, in order.
pub(crate) enum Read {
    Attached { info: Box<StreamInfo>, pending: u64 },
    Message(Delivery),
}

/// A reader of some subjects of a stream.
pub(crate) struct Reader {
    pub(crate) asking: Asking,
    pub(crate) limits: Limits,
    pub(crate) stream: &'static str,
    pub(crate) filters: Vec<Subject>,
    /// Next sequence to read.
    pub(crate) next: u64,
    /// A sequence that the stream is known to reach.
    pub(crate) reaches: u64,
    pub(crate) log: Option<LogId>,
    pub(crate) events: Mailbox<Read>,
}

/// The reason to create a new consumer.
struct Doubt(&'static str);

/// A consumer: its server, id and the number of deliveries.
struct Following {
    server: usize,
    consumer: u64,
    delivered: u64,
}

impl Reader {
    /// Reads without end.
    pub(crate) async fn run(mut self) {
        let mut delay = RETRY_MIN;
        loop {
            let before = self.next;
            let Err(Doubt(why)) = self.attach_and_follow().await;
            self.asking.io.note(|| format!("reading {} anew from {}: {why}", self.stream, self.next));
            if self.next > before {
                delay = RETRY_MIN;
            }
            self.asking.io.sleep(delay).await;
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn attach_and_follow(&mut self) -> Result<std::convert::Infallible, Doubt> {
        let io = self.asking.io.clone();
        let info = self.info_reaching().await?;
        let (mut following, pending) = self.consume().await?;
        if pending == 0 {
            self.check_replica(&info).await?;
        }
        self.events.put(&io, Read::Attached { info: Box::new(info), pending });
        let mut look_at = io.now() + IDLE_LOOK;
        loop {
            while self.events.len() >= AHEAD {
                io.sleep(Duration::from_millis(10)).await;
            }
            let is_look = io.now() >= look_at;
            let info = if is_look { Some(self.info_reaching().await?) } else { None };
            let to = if is_look { To::Server(following.server) } else { To::Patient(following.server) };
            let deliveries = self.pull(&following, to).await?;
            if !deliveries.is_empty() || is_look {
                look_at = io.now() + IDLE_LOOK;
            }
            if let Some(info) = info.filter(|_| deliveries.is_empty()) {
                self.check_replica(&info).await?;
                self.events.put(&io, Read::Attached { info: Box::new(info), pending: 0 });
            }
            for delivery in deliveries {
                self.take(&mut following, &delivery)?;
            }
        }
    }

    async fn consume(&self) -> Result<(Following, u64), Doubt> {
        let (stream, filters) = (self.stream.to_owned(), self.filters.clone());
        let request = Request::Consume { stream, filters, from: self.next };
        let packet = self.asking.io.ask(To::Any, request, ANSWER_MAX).await.ok_or(Doubt("no consumer"))?;
        let Answer::Consumer { id, pending } = packet.answer else { return Err(Doubt("no consumer")) };
        Ok((Following { server: packet.server, consumer: id, delivered: 0 }, pending))
    }

    async fn pull(&self, following: &Following, to: To) -> Result<Vec<Delivered>, Doubt> {
        let request = Request::Pull { stream: self.stream.to_owned(), consumer: following.consumer, max: PULL };
        match self.asking.io.ask(to, request, SILENCE_MAX).await.map(|packet| packet.answer) {
            Some(Answer::Deliveries(deliveries)) => Ok(deliveries),
            Some(_) => Err(Doubt("unexpected status")),
            None => Err(Doubt("silence")),
        }
    }

    fn take(&mut self, following: &mut Following, delivered: &Delivered) -> Result<(), Doubt> {
        following.delivered += 1;
        let place = (delivered.stored.seq, delivered.consumer_seq);
        let is_blind = self.asking.fault == Some(Fault::GapNotNoticed) && place.0 >= self.next;
        match arrival(self.next, following.delivered, place) {
            Arrival::Again if !is_blind => return Err(Doubt("a message came again")),
            Arrival::OutOfOrder if !is_blind => return Err(Doubt("out of order")),
            _ => self.next = place.0 + 1,
        }
        self.events.put(&self.asking.io, Read::Message(wire::delivery(delivered)));
        Ok(())
    }

    async fn info(&self) -> Result<StreamInfo, Doubt> {
        let request = Request::Info { stream: self.stream.to_owned() };
        let packet = self.asking.io.ask(To::Leader, request, ANSWER_MAX).await;
        wire::info(packet, self.limits).map_err(|_| Doubt("no answer about the stream"))
    }

    /// Reads the description of the stream from a leader that has everything that was read.
    async fn info_reaching(&mut self) -> Result<StreamInfo, Doubt> {
        let io = self.asking.io.clone();
        let (start, read) = (io.now(), self.reaches.max(self.next.saturating_sub(1)));
        loop {
            let info = self.info().await?;
            let log = info.log().map_err(|_| Doubt("no log"))?;
            let is_other = self.log.as_ref().is_some_and(|known| *known != log);
            if is_other || !may_catch_up(&info, read, io.now() - start) {
                self.log.get_or_insert(log);
                return Ok(info);
            }
            io.sleep(AGAIN).await;
        }
    }

    /// A consumer with nothing to deliver knows only the replica of its own server, which may lag behind the leader.
    async fn check_replica(&self, leader: &StreamInfo) -> Result<(), Doubt> {
        let is_behind = leader.replicas() > 1 && leader.state.last_seq >= self.next;
        if !is_behind || self.asking.fault == Some(Fault::LaggingEndAccepted) {
            return Ok(());
        }
        for filter in &self.filters {
            let next = self.asking.next(self.stream, filter, self.next).await.map_err(|_| Doubt("no answer"))?;
            if next.is_some_and(|seq| seq <= leader.state.last_seq) {
                return Err(Doubt("the copy that is read lags behind the leader's"));
            }
        }
        let still = self.info().await?;
        if still.leader() == leader.leader() { Ok(()) } else { Err(Doubt("the stream has another leader")) }
    }
}
