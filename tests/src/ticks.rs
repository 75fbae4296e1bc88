//! Ticks for tests that publish by hand.

use bus::publish::{FeedMessage, Receipt, publish};
use bus::{Connection, Kind, codec};
use market::Instrument;
use market::tick::TickLine;

/// The instrument of most tests.
pub fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usd").unwrap()
}

/// A second of an instrument, whose close tells its time.
pub fn tick_line(instrument: &Instrument, event_ms: i64) -> TickLine<'static> {
    TickLine {
        coin: instrument.coin().to_owned().into(),
        quote: instrument.quote().to_owned().into(),
        event_ms,
        grain_ms: 1_000,
        id: None,
        open: None,
        high: None,
        low: None,
        close: 100.0 + event_ms as f64 / 1e6,
        volume: None,
        ingest_ms: event_ms,
        source: None,
        market_cap: None,
        volume_24h: None,
        high_24h: None,
        low_24h: None,
    }
}

/// The message of one tick.
pub fn tick_message(instrument: &Instrument, event_ms: i64) -> FeedMessage {
    let id = format!("test/{}/{event_ms}", instrument.coin());
    let payload = codec::single(&tick_line(instrument, event_ms));
    FeedMessage { kind: Kind::Tick, instrument: instrument.clone(), payload, id }
}

/// Publishes one tick of an instrument.
pub async fn publish_tick_of(connection: &Connection, instrument: &Instrument, event_ms: i64) -> Receipt {
    publish(connection, &tick_message(instrument, event_ms)).await.unwrap()
}

/// Publishes one tick of bitcoin.
pub async fn publish_tick(connection: &Connection, event_ms: i64) -> Receipt {
    publish_tick_of(connection, &bitcoin(), event_ms).await
}
