//! The requests of a recovery over the simulated network; `step::checkpoint` handles the answers.

use std::time::Duration;

use bus::query::StoredMessage;
use bus::stream::Stream;
use bus::{Error, subject};
use step::checkpoint::CheckpointSource;

use crate::jetstream::{Answer, Request};
use crate::world::executor::{Destination, ProcessIo};
use crate::world::fault::Fault;
use crate::world::wire;

/// Time limit for an answer.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The client of a process.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) io: ProcessIo,
    pub(crate) fault: Option<Fault>,
}

impl Client {
    /// The last message on a subject, from the leader.
    pub(crate) async fn last_message(&self, stream: &str, subject: &str) -> Result<Option<StoredMessage>, Error> {
        const WHAT: &str = "the last message";
        let request = Request::Last { stream: stream.to_owned(), filter: subject.into() };
        match self.io.ask(Destination::Leader, request, ANSWER_MAX).await.map(|response| response.answer) {
            Some(Answer::Message(found)) => Ok(found.as_ref().map(wire::stored)),
            Some(answer) => Err(wire::failed(WHAT, answer)),
            None => Err(wire::unanswered(WHAT)),
        }
    }

    /// The first message on a subject at or after a sequence, from the leader.
    pub(crate) async fn next(&self, stream: &str, subject: &str, from: u64) -> Result<Option<u64>, Error> {
        const WHAT: &str = "the next message";
        let request = Request::Next { stream: stream.to_owned(), filter: subject.into(), from };
        match self.io.ask(Destination::Leader, request, ANSWER_MAX).await.map(|response| response.answer) {
            Some(Answer::Message(found)) => Ok(found.map(|found| found.seq)),
            Some(answer) => Err(wire::failed(WHAT, answer)),
            None => Err(wire::unanswered(WHAT)),
        }
    }

    /// The last message on each subject, from any replica.
    pub(crate) async fn picture(&self, stream: &str, subject: &str) -> Result<Vec<StoredMessage>, Error> {
        const WHAT: &str = "the last messages";
        let request = Request::LastPerSubject { stream: stream.to_owned(), filter: subject.into(), up_to: 0 };
        match self.io.ask(Destination::Any, request, ANSWER_MAX).await.map(|response| response.answer) {
            Some(Answer::Messages(found)) => Ok(found.iter().map(wire::stored).collect()),
            Some(answer) => Err(wire::failed(WHAT, answer)),
            None => Err(wire::unanswered(WHAT)),
        }
    }
}

impl CheckpointSource for Client {
    async fn last(&self, stream: Stream, subject: &str) -> Result<Option<StoredMessage>, Error> {
        if self.fault == Some(Fault::LaggingCopyAccepted) && subject.ends_with(".position") {
            return Ok(self.picture(stream.name(), subject).await?.pop());
        }
        self.last_message(stream.name(), subject).await
    }

    async fn checkpoint(&self, stream: Stream, partition: u32, _: u64) -> Result<(Vec<StoredMessage>, bool), Error> {
        Ok((self.picture(stream.name(), &subject::checkpoint(stream, partition)).await?, true))
    }

    async fn between(&self, stream: Stream, subject: &str, (after, before): (u64, u64)) -> Result<Vec<u64>, Error> {
        let (mut found, mut from) = (Vec::new(), after + 1);
        while let Some(seq) = self.next(stream.name(), subject, from).await?.filter(|&seq| seq < before) {
            found.push(seq);
            from = seq + 1;
        }
        Ok(found)
    }

    async fn remove(&self, stream: Stream, seq: u64) -> Result<(), Error> {
        const WHAT: &str = "a removal";
        if self.fault == Some(Fault::OrphansLeft) {
            return Ok(());
        }
        let request = Request::Delete { stream: stream.name().to_owned(), seq };
        match self.io.ask(Destination::Leader, request, ANSWER_MAX).await.map(|response| response.answer) {
            Some(Answer::Deleted) => Ok(()),
            Some(answer) => Err(wire::failed(WHAT, answer)),
            None => Err(wire::unanswered(WHAT)),
        }
    }

    async fn pause(&self, time: Duration) {
        self.io.sleep(time).await;
    }
}
