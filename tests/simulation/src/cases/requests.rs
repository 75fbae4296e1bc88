//! Short constructors of messages and requests.

use std::ops::RangeInclusive;

use crate::jetstream::{Message, Request};

pub(super) fn result(text: &'static str) -> Message {
    Message::new("market.3.price.bitcoin.usd", text).schema("price/1")
}

pub(super) fn state(coin: &str, text: &'static str) -> Message {
    Message::new(&format!("checkpoint.market.3.state.{coin}.usd"), text).rollup()
}

pub(super) fn position(partition: u32, expected: u64, text: &'static str) -> Message {
    Message::new(&format!("checkpoint.market.{partition}.position"), text).rollup().expecting(expected)
}

pub(super) fn publish(message: Message) -> Request {
    Request::Publish(message)
}

/// A whole batch, numbered from 1.
pub(super) fn commit(id: &str, messages: Vec<Message>) -> Request {
    let numbers = 1..=messages.len() as u64;
    commit_numbered(id, messages, numbers)
}

pub(super) fn commit_numbered(id: &str, messages: Vec<Message>, numbers: RangeInclusive<u64>) -> Request {
    let last = *numbers.end();
    let numbered = messages.into_iter().zip(numbers);
    Request::Commit(numbered.map(|(message, number)| message.numbered(id, number, number == last)).collect())
}

pub(super) fn info(stream: &str) -> Request {
    Request::Info { stream: stream.to_owned() }
}

pub(super) fn last(stream: &str, filter: &str) -> Request {
    Request::Last { stream: stream.to_owned(), filter: filter.into() }
}

pub(super) fn next(stream: &str, filter: &str, from: u64) -> Request {
    Request::Next { stream: stream.to_owned(), filter: filter.into(), from }
}

pub(super) fn picture(stream: &str, filter: &str, up_to: u64) -> Request {
    Request::LastPerSubject { stream: stream.to_owned(), filter: filter.into(), up_to }
}

pub(super) fn consume(stream: &str, filters: &[&str], from: u64) -> Request {
    let filters = filters.iter().map(|&filter| filter.into()).collect();
    Request::Consume { stream: stream.to_owned(), filters, from }
}

/// Pulls from a consumer of the case, by its number.
pub(super) fn pull(stream: &str, consumer: u64, max: usize) -> Request {
    Request::Pull { stream: stream.to_owned(), consumer, max }
}

pub(super) fn purge(stream: &str, filter: &str, before: u64) -> Request {
    Request::Purge { stream: stream.to_owned(), filter: filter.into(), before }
}

pub(super) fn delete(stream: &str, seq: u64) -> Request {
    Request::Delete { stream: stream.to_owned(), seq }
}
