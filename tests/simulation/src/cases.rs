//! Cases on which the model and nats-server agree: requests in order, each with its answer in one line.
//!
//! The table is written once. A test of this crate asks the model, and a test of `pipeline-tests` asks a real server.
//! Where they differ, the server is right and the model is changed.

mod chance;
mod commits;
mod feed;
mod keys;
mod limits;
mod reads;
mod refusals;

use std::ops::RangeInclusive;

use crate::jetstream::{Answer, Config, JetStream, Message, Reply, Request, Sync};

pub use chance::Chance;

/// Requests in order, with their answers.
#[derive(Debug)]
pub struct Case {
    /// The behavior that it shows.
    pub name: &'static str,
    /// The streams at its start.
    pub streams: Vec<Config>,
    /// Each request with its answer.
    pub steps: Vec<(Request, &'static str)>,
    /// The results that MARKET has republished by the end; empty if the case does not check them.
    pub live: &'static [&'static str],
}

/// Every case.
pub fn all() -> Vec<Case> {
    [commits::cases(), refusals::cases(), limits::cases(), reads::cases(), feed::cases(), keys::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Enough bytes for everything that a case stores.
pub const AMPLE: u64 = 64 << 20;
/// Partitions of FEED.
pub const PARTITIONS: u32 = 16;
/// Age limit of FEED.
pub const FEED_AGE_US: u64 = 86_400_000_000;

/// A model with some streams.
pub fn model(streams: &[Config]) -> JetStream {
    let mut model = JetStream::single(Sync::Always);
    streams.iter().for_each(|config| model.create(config.clone()));
    model
}

/// The answer of a single server, which comes at once.
pub fn answer(model: &mut JetStream, request: Request) -> Answer {
    match model.ask(0, request) {
        Reply::Now(answer) => answer,
        Reply::Later(_) => Answer::Silence,
    }
}

/// The results that MARKET has republished, in lines.
pub fn live(model: &mut JetStream) -> Vec<String> {
    let line = |live: &crate::jetstream::Live| {
        let text = String::from_utf8_lossy(&live.message.payload);
        format!("{} {} after {} {text:.20}", live.subject, live.seq, live.previous)
    };
    model.drain_live("MARKET").iter().map(line).collect()
}

/// A case of MARKET.
fn market(name: &'static str, steps: Vec<(Request, &'static str)>) -> Case {
    Case { name, streams: vec![Config::market(AMPLE)], steps, live: &[] }
}

fn result(text: &'static str) -> Message {
    Message::new("market.3.price.bitcoin.usd", text).schema("price/1")
}

fn state(coin: &str, text: &'static str) -> Message {
    Message::new(&format!("checkpoint.market.3.state.{coin}.usd"), text).rollup()
}

fn position(partition: u32, expected: u64, text: &'static str) -> Message {
    Message::new(&format!("checkpoint.market.{partition}.position"), text).rollup().expecting(expected)
}

fn publish(message: Message) -> Request {
    Request::Publish(message)
}

/// A whole batch, numbered from 1.
fn commit(id: &str, messages: Vec<Message>) -> Request {
    let numbers = 1..=messages.len() as u64;
    commit_numbered(id, messages, numbers)
}

fn commit_numbered(id: &str, messages: Vec<Message>, numbers: RangeInclusive<u64>) -> Request {
    let last = *numbers.end();
    let numbered = messages.into_iter().zip(numbers);
    Request::Commit(numbered.map(|(message, number)| message.numbered(id, number, number == last)).collect())
}

fn info(stream: &str) -> Request {
    Request::Info { stream: stream.to_owned() }
}

fn last(stream: &str, filter: &str) -> Request {
    Request::Last { stream: stream.to_owned(), filter: filter.into() }
}

fn next(stream: &str, filter: &str, from: u64) -> Request {
    Request::Next { stream: stream.to_owned(), filter: filter.into(), from }
}

fn picture(stream: &str, filter: &str, up_to: u64) -> Request {
    Request::LastPerSubject { stream: stream.to_owned(), filter: filter.into(), up_to }
}

fn consume(stream: &str, filters: &[&str], from: u64) -> Request {
    let filters = filters.iter().map(|&filter| filter.into()).collect();
    Request::Consume { stream: stream.to_owned(), filters, from }
}

/// Pulls from a consumer of the case, by its number.
fn pull(stream: &str, consumer: u64, max: usize) -> Request {
    Request::Pull { stream: stream.to_owned(), consumer, max }
}

fn purge(stream: &str, filter: &str, before: u64) -> Request {
    Request::Purge { stream: stream.to_owned(), filter: filter.into(), before }
}

fn delete(stream: &str, seq: u64) -> Request {
    Request::Delete { stream: stream.to_owned(), seq }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_answers_as_the_cases_require() {
        for case in all() {
            let mut model = model(&case.streams);
            for (idx, (request, expected)) in case.steps.into_iter().enumerate() {
                let found = answer(&mut model, request.clone()).to_string();
                assert_eq!(found, expected, "{}, step {}: {request:?}", case.name, idx + 1);
            }
            if !case.live.is_empty() {
                assert_eq!(live(&mut model), case.live, "{}", case.name);
            }
        }
    }
}
