//! Random requests, for cases that are not in the table.

use std::collections::BTreeMap;

use crate::jetstream::{Answer, Message, Refusal, Request};
use crate::random::Random;
use crate::seed::Seed;

use super::requests::{commit, consume, delete, info, last, next, picture, publish, pull, purge};

const PARTITIONS: u64 = 3;
const COINS: [&str; 3] = ["bitcoin", "ethereum", "solana"];
const KINDS: [&str; 2] = ["price", "candle-1m"];
const TEXTS: [&str; 4] = ["", "x", "some words", "rather many words, as of a whole candle with open, high, low"];

/// Draws random requests to MARKET that a step could make, most of them valid.
#[derive(Debug)]
pub struct RandomRequests {
    random: Random,
    /// The position of each partition, as far as it was committed here.
    fences: BTreeMap<u64, u64>,
    /// The partitions of the last commit, each with the distance of its position from the end of the batch.
    committing: Vec<(u64, u64)>,
    batches: u64,
    consumers: u64,
    last_seq: u64,
}

impl RandomRequests {
    /// The requests of a seed.
    pub fn new(seed: Seed) -> Self {
        Self {
            random: seed.random("requests"),
            fences: BTreeMap::new(),
            committing: Vec::new(),
            batches: 0,
            consumers: 0,
            last_seq: 0,
        }
    }

    /// The next request.
    pub fn draw(&mut self) -> Request {
        self.committing.clear();
        let seq = self.random.within(0..self.last_seq + 3);
        let filter = self.filter();
        match self.random.below(20) {
            0 => info("MARKET"),
            1 => last("MARKET", &filter),
            2 | 3 => next("MARKET", &filter, seq.max(1)),
            4 | 5 => picture("MARKET", &filter, if self.random.chance(500) { 0 } else { seq.max(1) }),
            6 if self.consumers < 20 => {
                self.consumers += 1;
                consume("MARKET", &[&filter], seq + self.random.below(2) * self.random.below(8))
            }
            6..=8 if self.consumers > 0 => {
                let max = 1 + self.random.index(20);
                pull("MARKET", 1 + self.random.below(self.consumers), max)
            }
            9 => purge("MARKET", "market.*.*.*.*", seq.saturating_sub(20).max(1)),
            10 => delete("MARKET", seq.max(1)),
            11 => publish(self.result(0)),
            _ => self.commit(),
        }
    }

    /// Number of consumers that were created.
    pub fn consumers(&self) -> u64 {
        self.consumers
    }

    /// Learns from the answer to the last request.
    pub fn record(&mut self, answer: &Answer) {
        match *answer {
            Answer::Committed { seq, .. } => {
                self.last_seq = seq;
                let fences = self.committing.iter().map(|&(partition, from_end)| (partition, seq - from_end));
                self.fences.extend(fences);
            }
            Answer::Stored { seq, .. } => self.last_seq = seq,
            Answer::Refused(Refusal { last_seq: Some(seq), .. }) => {
                // The sequence belongs to one of the partitions; a wrong guess is corrected later.
                let place = self.random.pick(&self.committing).copied();
                self.fences.extend(place.map(|(partition, _)| (partition, seq)));
            }
            _ => {}
        }
    }

    fn filter(&mut self) -> String {
        let partition = self.random.below(PARTITIONS + 1);
        let coin = COINS[self.random.index(COINS.len())];
        let filters = [
            "market.*.*.*.*".to_owned(),
            format!("market.{partition}.*.*.*"),
            format!("market.{partition}.price.{coin}.usd"),
            format!("market.*.*.{coin}.usd"),
            format!("checkpoint.market.{partition}.>"),
            format!("checkpoint.market.{partition}.position"),
            "checkpoint.market.*.position".to_owned(),
            ">".to_owned(),
        ];
        filters[self.random.index(filters.len())].clone()
    }

    fn text(&mut self) -> &'static str {
        TEXTS[self.random.index(TEXTS.len())]
    }

    fn result(&mut self, partition: u64) -> Message {
        let (kind, coin) = (KINDS[self.random.index(KINDS.len())], COINS[self.random.index(COINS.len())]);
        Message::new(&format!("market.{partition}.{kind}.{coin}.usd"), self.text()).schema("price/1")
    }

    /// A batch of one or two parts: results, states, position. Some are invalid.
    fn commit(&mut self) -> Request {
        let mut messages = Vec::new();
        let first = self.random.below(PARTITIONS);
        let parts = 1 + self.random.below(2);
        let mut places = Vec::new();
        for partition in (0..parts).map(|idx| (first + idx) % PARTITIONS) {
            for _ in 0..self.random.below(6) {
                messages.push(self.result(partition));
            }
            let states = self.random.index(COINS.len() + 1);
            for coin in &COINS[..states] {
                messages.push(
                    Message::new(&format!("checkpoint.market.{partition}.state.{coin}.usd"), self.text()).rollup(),
                );
            }
            let fence = self.fences.get(&partition).copied().unwrap_or_default();
            let expected = if self.random.chance(850) { fence } else { self.random.below(fence + 3) };
            let position = Message::new(&format!("checkpoint.market.{partition}.position"), self.text());
            messages.push(position.rollup().expecting(expected));
            places.push((partition, messages.len() as u64));
        }
        if self.random.chance(40) {
            let again = messages[self.random.index(messages.len())].clone();
            messages.push(again);
        }
        let count = messages.len() as u64;
        self.committing = places.into_iter().map(|(partition, number)| (partition, count - number)).collect();
        self.batches += 1;
        let mut request = commit(&format!("batch-{}", self.batches), messages);
        if let Request::Commit(messages) = &mut request
            && messages.len() > 1
            && self.random.chance(40)
        {
            // A message is lost on the way.
            messages.remove(self.random.index(messages.len() - 1));
        }
        request
    }
}
