//! The committer of a process: it stores the sealed parts of its partitions in as few batches as possible.

use std::sync::Arc;
use std::time::Duration;

use bus::Error;
use bus::batch::Numbered;
use bus::stream::Stream;
use step::commit::CommitAnswer;
use step::part::Part;
use step::transaction::{batch_of, gather};

use crate::jetstream::{Answer, Message, Request};
use crate::world::client::Client;
use crate::world::executor::{Destination, Mailbox};
use crate::world::fault::Fault;
use crate::world::wire;

const ANSWER_MAX: Duration = Duration::from_secs(5);
const WHAT: &str = "a commit";

/// A sealed part, and the callback for the answer.
pub(crate) struct Sealed {
    pub(crate) part: Arc<Part>,
    pub(crate) done: Box<dyn Fn(CommitAnswer)>,
}

/// Stores sealed parts.
pub(crate) struct Committer {
    pub(crate) client: Client,
    pub(crate) output: Stream,
    pub(crate) prefix: String,
    pub(crate) sealed: Mailbox<Sealed>,
}

impl Committer {
    pub(crate) async fn run(self) {
        let mut counter = 0_u64;
        loop {
            self.sealed.filled(&self.client.io).await;
            let mut waiting = self.sealed.take_all();
            while !waiting.is_empty() {
                let group = gather(&mut waiting, |one| &*one.part);
                let parts: Vec<Arc<Part>> = group.iter().map(|one| Arc::clone(&one.part)).collect();
                let id = format!("{}-{counter:x}", self.prefix);
                counter += 1;
                let result = self.attempt(&parts, &id).await;
                self.client.io.note(|| format!("batch {id} of partitions {:?}: {result:?}", numbers(&parts)));
                for (idx, one) in group.into_iter().enumerate() {
                    let result = result.as_ref().map(|fences| fences[idx]).map_err(Clone::clone);
                    (one.done)(CommitAnswer { batch: id.clone(), result });
                }
                waiting.extend(self.sealed.take_all());
            }
        }
    }

    async fn attempt(&self, parts: &[Arc<Part>], id: &str) -> Result<Vec<u64>, Error> {
        let result = match self.client.fault {
            Some(Fault::PositionBeforeResults) => self.send_positions_first(parts, id).await,
            _ => self.send(parts, id).await,
        };
        let is_taken_for_refusal = match (&result, self.client.fault) {
            (Err(Error::Unanswered { .. }), Some(Fault::LostAnswerTakenForRefusal)) => true,
            (Err(error), Some(Fault::DuplicateTakenForRefusal)) => error.is_overtaken(),
            _ => false,
        };
        if is_taken_for_refusal { self.send_behind_new_fence(parts, id).await } else { result }
    }

    async fn send(&self, parts: &[Arc<Part>], id: &str) -> Result<Vec<u64>, Error> {
        let (batch, offsets) = batch_of(self.output, parts, id);
        let count = batch.len() as u64;
        let seq = self.send_batch(batch).await?;
        Ok(offsets.iter().map(|offset| seq + offset - count).collect())
    }

    /// Sends a batch; returns the sequence of its last message.
    async fn send_batch(&self, batch: Vec<Numbered>) -> Result<u64, Error> {
        let count = batch.len();
        let messages = batch.into_iter().zip(1..).map(|(message, number)| wire::message(message, number == count));
        let messages = messages.map(|message| self.planted(message)).collect();
        match self
            .client
            .io
            .ask(Destination::Leader, Request::Commit(messages), ANSWER_MAX)
            .await
            .map(|response| response.answer)
        {
            Some(Answer::Committed { seq, .. }) => Ok(seq),
            Some(answer) => Err(wire::failed(WHAT, answer)),
            None => Err(wire::unanswered(WHAT)),
        }
    }

    fn planted(&self, mut message: Message) -> Message {
        let is_state = message.subject.contains(".state.");
        match self.client.fault {
            Some(Fault::LeaseTrusted) => message.headers.expected = None,
            Some(Fault::StateWithoutLastSeq) if is_state => message.payload = without_last_seq(&message.payload).into(),
            _ => {}
        }
        message
    }

    /// Planted fault: sends positions and results as two batches.
    async fn send_positions_first(&self, parts: &[Arc<Part>], id: &str) -> Result<Vec<u64>, Error> {
        let without = |part: &Arc<Part>| Arc::new(Part { messages: Vec::new(), ..Part::clone(part) });
        let positions: Vec<Arc<Part>> = parts.iter().map(without).collect();
        let fences = self.send(&positions, id).await?;
        let (batch, offsets) = batch_of(self.output, parts, &format!("{id}r"));
        let results = batch.into_iter().zip(1..).filter(|(_, number)| !offsets.contains(number));
        let mut results: Vec<Numbered> = results.map(|(message, _)| message).collect();
        for ((_, headers, _), number) in results.iter_mut().zip(1..) {
            bus::batch::number(headers, &format!("{id}r"), number);
        }
        if !results.is_empty() {
            drop(self.send_batch(results).await);
        }
        Ok(fences)
    }

    /// Planted fault: sends an unconfirmed commit again, fenced by the latest position.
    async fn send_behind_new_fence(&self, parts: &[Arc<Part>], id: &str) -> Result<Vec<u64>, Error> {
        let mut again = Vec::new();
        for part in parts {
            let subject = bus::subject::position(self.output, part.partition);
            let last = self.client.last_message(self.output.name(), &subject).await?;
            again.push(Arc::new(Part { fence: last.map_or(0, |last| last.seq), ..Part::clone(part) }));
        }
        self.send(&again, &format!("{id}a")).await
    }
}

fn numbers(parts: &[Arc<Part>]) -> Vec<u32> {
    parts.iter().map(|part| part.partition).collect()
}

/// Replaces the last input in the encoding of a state (version, inputs applied, last input, in postcard) by 0.
fn without_last_seq(encoded: &[u8]) -> Vec<u8> {
    let after = |from: usize| from + encoded[from..].iter().take_while(|&&byte| byte >= 0x80).count() + 1;
    let (applied_end, last_seq_end) = (after(1), after(after(1)));
    [&encoded[..applied_end], &[0], &encoded[last_seq_end..]].concat()
}
