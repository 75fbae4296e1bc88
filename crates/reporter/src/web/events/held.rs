//! Messages that are held back for a moment, so that a flood of prices becomes one event per instrument.
//!
//! The first message after a pause is not held. In a flood the newest price of an instrument replaces the ones before, and
//! takes their place in number and sequence; all other messages are kept, in order.

use std::collections::HashMap;

use bus::Stream;
use market::Instrument;
use tokio::time::{Duration, Instant};

use super::live::Load;
use crate::view::records::{Prices, Records, StoredRecords};

/// Shortest time between two releases: at most 50 times a second a number on the page changes.
const HOLD: Duration = Duration::from_millis(20);
/// Messages of one release from which prices replace each other.
const FLOOD: usize = 64;
/// Messages that are held, at most.
const MESSAGES_MAX: usize = 512;

/// A message that is held.
#[derive(Debug)]
pub(crate) struct HeldMessage {
    /// Its stream.
    pub(crate) stream: Stream,
    /// Its sequence.
    pub(crate) seq: u64,
    /// Its records.
    pub(crate) stored: StoredRecords,
}

impl HeldMessage {
    /// Whether it has prices.
    pub(crate) fn has_prices(&self) -> bool {
        matches!(self.stored.records, Records::Prices(_))
    }
}

/// The messages that are held, in order.
#[derive(Debug)]
pub(crate) struct Held {
    /// `None` for a price that was replaced.
    messages: Vec<Option<HeldMessage>>,
    /// Index of each instrument's last price.
    prices: HashMap<Instrument, usize>,
    released_at: Option<Instant>,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self { messages: Vec::new(), prices: HashMap::new(), released_at: None }
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, mut message: HeldMessage) {
        if let Records::Prices(prices) = &mut message.stored.records {
            let instrument = message.stored.instrument.clone();
            let before = self.prices.insert(instrument, self.messages.len());
            if let Some(before) = before.filter(|_| self.messages.len() >= FLOOD) {
                merge(self.messages[before].take(), prices);
            }
        }
        self.messages.push(Some(message));
    }

    /// Returns when the messages are to be released; `None` if there are none.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.messages.is_empty() {
            return None;
        }
        let held = self.released_at.filter(|_| self.messages.len() < MESSAGES_MAX);
        Some(held.map_or(now, |released_at| released_at + HOLD))
    }

    /// Releases all messages.
    pub(crate) fn release(&mut self, now: Instant) -> (Load, Vec<HeldMessage>) {
        let load = if self.messages.len() > FLOOD { Load::Flood } else { Load::Live };
        self.released_at = Some(now);
        self.prices.clear();
        (load, std::mem::take(&mut self.messages).into_iter().flatten().collect())
    }
}

/// Adds the prices of a replaced message: its number, and its newest price if that is newer.
fn merge(replaced: Option<HeldMessage>, prices: &mut Prices) {
    let Some(Records::Prices(before)) = replaced.map(|message| message.stored.records) else { return };
    prices.count += before.count;
    if before.newest.event_ms > prices.newest.event_ms {
        prices.newest = before.newest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::records::Depth;

    /// A message of one price of a coin.
    fn price(seq: u64, coin: &str, event_ms: i64) -> HeldMessage {
        let line = format!(r#"{{"coin":"{coin}","quote":"usd","event_ms":{event_ms},"close":1.5,"feed_seq":1}}"#);
        let subject = format!("market.0.price.{coin}.usd");
        let stored = StoredRecords::parse(&subject, seq, line.as_bytes(), Depth::Newest);
        HeldMessage { stream: Stream::Market, seq, stored: stored.expect("a price").expect("a price") }
    }

    fn released(held: &mut Held) -> (Load, Vec<(u64, i64, u64)>) {
        let (load, messages) = held.release(Instant::now());
        let told = messages.into_iter().map(|message| match message.stored.records {
            Records::Prices(prices) => (message.seq, prices.newest.event_ms, prices.count),
            other => panic!("no price: {other:?}"),
        });
        (load, told.collect())
    }

    #[test]
    fn prices_that_come_as_they_change_are_kept_apart() {
        let mut held = Held::new();
        (1..=3).for_each(|seq| held.push(price(seq, "bitcoin", 1_000 * seq as i64)));
        assert_eq!(released(&mut held), (Load::Live, vec![(1, 1_000, 1), (2, 2_000, 1), (3, 3_000, 1)]));
    }

    #[test]
    fn in_a_flood_each_instrument_has_one_price_in_its_newest_place() {
        let mut held = Held::new();
        let coin = |seq: u64| if seq.is_multiple_of(2) { "bitcoin" } else { "ethereum" };
        let all = FLOOD as u64 + 200;
        (1..=all).for_each(|seq| held.push(price(seq, coin(seq), 1_000)));
        // Late: accepted, and not the newest.
        held.push(price(all + 1, "bitcoin", 500));
        let (load, told) = released(&mut held);
        let apart = FLOOD as u64 - 2;
        assert_eq!((load, told.len() as u64), (Load::Flood, apart + 2));
        assert_eq!(told.iter().map(|(.., count)| count).sum::<u64>(), all + 1);
        assert_eq!(told[apart as usize..], [(all - 1, 1_000, 101), (all + 1, 1_000, 102)]);
        assert!(told.is_sorted());
    }

    #[test]
    fn only_what_follows_within_a_moment_is_held() {
        let (mut held, start) = (Held::new(), Instant::now());
        assert_eq!(held.due(start), None);
        held.push(price(1, "bitcoin", 1_000));
        assert_eq!(held.due(start), Some(start));
        held.release(start);
        held.push(price(2, "bitcoin", 2_000));
        assert_eq!(held.due(start), Some(start + HOLD));
        (0..MESSAGES_MAX as u64).for_each(|seq| held.push(price(3 + seq, "bitcoin", 3_000)));
        assert_eq!(held.due(start), Some(start));
    }
}
