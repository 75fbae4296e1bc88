//! A reader like `bus::reader`: in order, through a consumer that is created again on a gap, silence or error.

use std::time::Duration;

use bus::leader::{RETRY_DELAY, may_catch_up};
use bus::protocol::LogId;
use bus::reader::{Delivery, DeliveryOrder};
use bus::retry::Backoff;
use bus::topology::StreamInfo;

use crate::jetstream::{Answer, ConsumerDelivery, Request, Subject};
use crate::world::client::{ANSWER_MAX, Client};
use crate::world::executor::{Destination, Mailbox};
use crate::world::fault::Fault;
use crate::world::wire::{self, Limits};

/// Messages per pull request.
const PULL: usize = 40;
/// Messages that are buffered for the partition.
const AHEAD: usize = 64;
/// A server without messages says so within a second.
const SILENCE_MAX: Duration = Duration::from_millis(2_100);
const IDLE_CHECK: Duration = Duration::from_secs(5);
const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));

/// An event of a reader, in order.
pub(crate) enum ReaderEvent {
    Attached { info: Box<StreamInfo>, pending: u64 },
    Message(Delivery),
}

/// A reader of some subjects of a stream.
pub(crate) struct Reader {
    pub(crate) client: Client,
    pub(crate) limits: Limits,
    pub(crate) stream: &'static str,
    pub(crate) filters: Vec<Subject>,
    /// Next sequence to read.
    pub(crate) next: u64,
    /// A sequence that the stream is known to reach.
    pub(crate) reaches: u64,
    pub(crate) log: Option<LogId>,
    pub(crate) events: Mailbox<ReaderEvent>,
}

/// The reason to create a new consumer.
struct Interruption(&'static str);

/// A consumer: its server, id and the number of deliveries.
struct Following {
    server: usize,
    consumer: u64,
    delivered: u64,
}

impl Reader {
    /// Reads without end.
    pub(crate) async fn run(mut self) {
        let mut delays = RETRY.delays();
        loop {
            let before = self.next;
            let Err(Interruption(why)) = self.attach_and_follow().await;
            self.client.io.note(|| format!("reading {} again from {}: {why}", self.stream, self.next));
            if self.next > before {
                delays.reset();
            }
            self.client.io.sleep(delays.next_delay()).await;
        }
    }

    async fn attach_and_follow(&mut self) -> Result<std::convert::Infallible, Interruption> {
        let io = self.client.io.clone();
        let info = self.info_reaching().await?;
        let (mut following, pending) = self.consume().await?;
        if pending == 0 {
            self.check_replica(&info).await?;
        }
        self.events.put(&io, ReaderEvent::Attached { info: Box::new(info), pending });
        let mut check_at = io.now() + IDLE_CHECK;
        loop {
            while self.events.len() >= AHEAD {
                io.sleep(Duration::from_millis(10)).await;
            }
            let is_check = io.now() >= check_at;
            let info = if is_check { Some(self.info_reaching().await?) } else { None };
            let to =
                if is_check { Destination::Server(following.server) } else { Destination::LongPoll(following.server) };
            let deliveries = self.pull(&following, to).await?;
            if !deliveries.is_empty() || is_check {
                check_at = io.now() + IDLE_CHECK;
            }
            if let Some(info) = info.filter(|_| deliveries.is_empty()) {
                self.check_replica(&info).await?;
                self.events.put(&io, ReaderEvent::Attached { info: Box::new(info), pending: 0 });
            }
            for delivery in deliveries {
                self.take(&mut following, &delivery)?;
            }
        }
    }

    async fn consume(&self) -> Result<(Following, u64), Interruption> {
        let (stream, filters) = (self.stream.to_owned(), self.filters.clone());
        let request = Request::Consume { stream, filters, from: self.next };
        let response =
            self.client.io.ask(Destination::Any, request, ANSWER_MAX).await.ok_or(Interruption("no consumer"))?;
        let Answer::Consumer { id, pending } = response.answer else { return Err(Interruption("no consumer")) };
        Ok((Following { server: response.server, consumer: id, delivered: 0 }, pending))
    }

    async fn pull(&self, following: &Following, to: Destination) -> Result<Vec<ConsumerDelivery>, Interruption> {
        let request = Request::Pull { stream: self.stream.to_owned(), consumer: following.consumer, max: PULL };
        match self.client.io.ask(to, request, SILENCE_MAX).await.map(|response| response.answer) {
            Some(Answer::Deliveries(deliveries)) => Ok(deliveries),
            Some(_) => Err(Interruption("unexpected status")),
            None => Err(Interruption("silence")),
        }
    }

    fn take(&mut self, following: &mut Following, delivered: &ConsumerDelivery) -> Result<(), Interruption> {
        following.delivered += 1;
        let place = (delivered.stored.seq, delivered.consumer_seq);
        let is_blind = self.client.fault == Some(Fault::GapNotNoticed) && place.0 >= self.next;
        match DeliveryOrder::check(self.next, following.delivered, place) {
            DeliveryOrder::Repeated if !is_blind => return Err(Interruption("a message was delivered again")),
            DeliveryOrder::OutOfOrder if !is_blind => return Err(Interruption("out of order")),
            _ => self.next = place.0 + 1,
        }
        self.events.put(&self.client.io, ReaderEvent::Message(wire::delivery(delivered)));
        Ok(())
    }

    async fn info(&self) -> Result<StreamInfo, Interruption> {
        let request = Request::Info { stream: self.stream.to_owned() };
        let response = self.client.io.ask(Destination::Leader, request, ANSWER_MAX).await;
        wire::info(response, self.limits).map_err(|_| Interruption("no answer about the stream"))
    }

    /// Reads the description of the stream from a leader that has everything that was read.
    async fn info_reaching(&mut self) -> Result<StreamInfo, Interruption> {
        let io = self.client.io.clone();
        let (start, read) = (io.now(), self.reaches.max(self.next.saturating_sub(1)));
        loop {
            let info = self.info().await?;
            let log = info.log().map_err(|_| Interruption("no log"))?;
            let is_other = self.log.as_ref().is_some_and(|known| *known != log);
            if is_other || !may_catch_up(&info, read, io.now() - start) {
                self.log.get_or_insert(log);
                return Ok(info);
            }
            io.sleep(RETRY_DELAY).await;
        }
    }

    /// A consumer with nothing to deliver knows only the replica of its own server, which may lag behind the leader.
    async fn check_replica(&self, leader: &StreamInfo) -> Result<(), Interruption> {
        let is_behind = leader.replicas() > 1 && leader.state.last_seq >= self.next;
        if !is_behind || self.client.fault == Some(Fault::LaggingEndAccepted) {
            return Ok(());
        }
        for filter in &self.filters {
            let next = self.client.next(self.stream, filter, self.next).await.map_err(|_| Interruption("no answer"))?;
            if next.is_some_and(|seq| seq <= leader.state.last_seq) {
                return Err(Interruption("the replica lags behind the leader"));
            }
        }
        let still = self.info().await?;
        if still.leader() == leader.leader() { Ok(()) } else { Err(Interruption("the stream has another leader")) }
    }
}
