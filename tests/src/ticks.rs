//! Made-up ticks and heartbeats for FEED, one instrument a partition.

use bus::publish::FeedMessage;
use bus::{Kind, codec, subject};
use market::Instrument;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;

/// Grain of every tick.
const GRAIN_MS: i64 = 1_000;

/// The first of the coins `coin-0`, `coin-1`, … that falls into a partition.
///
/// # Panics
/// When there is no such partition.
pub fn coin_in(partition: u32, quote: &str, partitions: u32) -> String {
    assert!(partition < partitions, "there are {partitions} partitions");
    let mut names = (0..).map(|number| format!("coin-{number}"));
    let found = names.find(|coin| subject::partition(coin, quote, partitions) == partition);
    found.expect("a hash reaches every partition")
}

/// One instrument in each partition, in their order.
///
/// # Panics
/// Never: these names are instruments.
pub fn instruments(partitions: u32) -> Vec<Instrument> {
    let instrument = |partition| Instrument::new(&coin_in(partition, "usd", partitions), "usd");
    (0..partitions).map(|partition| instrument(partition).expect("a coin's name")).collect()
}

/// A tick; its id is that of its instrument and time.
pub fn tick(instrument: &Instrument, event_ms: i64) -> FeedMessage {
    let (coin, quote) = (instrument.coin(), instrument.quote());
    let line = TickLine {
        coin: coin.into(),
        quote: quote.into(),
        event_ms,
        grain_ms: GRAIN_MS,
        id: None,
        open: None,
        high: None,
        low: None,
        close: 100.0 + (event_ms % 1_000_003) as f64 / 1e4,
        volume: None,
        ingest_ms: event_ms,
        source: None,
        market_cap: None,
        volume_24h: None,
        high_24h: None,
        low_24h: None,
    };
    message(Kind::Tick, instrument, event_ms, codec::single(&line))
}

/// A heartbeat: nothing before this time will follow.
pub fn heartbeat(instrument: &Instrument, event_ms: i64) -> FeedMessage {
    let (coin, quote) = (instrument.coin().into(), instrument.quote().into());
    let line = HeartbeatLine { coin, quote, event_ms, ingest_ms: event_ms, flush: false };
    message(Kind::Heartbeat, instrument, event_ms, codec::single(&line))
}

fn message(kind: Kind, instrument: &Instrument, event_ms: i64, payload: bytes::Bytes) -> FeedMessage {
    let id = format!("made-up/{kind}/{}/{event_ms}", instrument.coin());
    FeedMessage { kind, instrument: instrument.clone(), payload, id }
}
