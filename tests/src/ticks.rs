//! Synthetic ticks and heartbeats, for FEED or as a recording.

use std::path::{Path, PathBuf};

use bus::publish::{FeedMessage, Receipt, publish};
use bus::{Connection, RecordKind, codec, subject};
use bytes::Bytes;
use futures::future::join_all;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::{EventTime, Instrument, Span, Tick};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The instrument of most tests.
pub fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usd").unwrap()
}

/// The first of the coins `coin-0`, `coin-1`, … in a partition.
///
/// # Panics
/// There is no such partition.
pub fn coin_in(partition: u32, quote: &str, partitions: u32) -> String {
    assert!(partition < partitions, "there are {partitions} partitions");
    let mut names = (0..).map(|number| format!("coin-{number}"));
    let found = names.find(|coin| subject::partition(coin, quote, partitions) == partition);
    found.expect("a hash reaches every partition")
}

/// One instrument in each partition, in order.
pub fn instruments(partitions: u32) -> Vec<Instrument> {
    let instrument = |partition| Instrument::new(&coin_in(partition, "usd", partitions), "usd");
    (0..partitions).map(|partition| instrument(partition).unwrap()).collect()
}

/// A one-second tick of an instrument, whose close encodes its time.
pub fn tick_line(instrument: &Instrument, event_ms: i64) -> TickLine<'static> {
    let close = 100.0 + (event_ms % 1_000_003) as f64 / 1e4;
    let tick = Tick::bar(EventTime(event_ms), Span::SECOND, [close; 4]);
    TickLine::new(instrument.coin().to_owned(), instrument.quote().to_owned(), &tick, event_ms)
}

/// A message of one tick; instrument and time determine its id.
pub fn tick(instrument: &Instrument, event_ms: i64) -> FeedMessage {
    message(RecordKind::Tick, instrument, event_ms, codec::single(&tick_line(instrument, event_ms)))
}

/// A message of one quote: a tick of one moment, with this price.
pub fn quote(instrument: &Instrument, event_ms: i64, close: f64) -> FeedMessage {
    let line = TickLine { grain_ms: None, close, ..tick_line(instrument, event_ms) };
    message(RecordKind::Tick, instrument, event_ms, codec::single(&line))
}

/// A message of several ticks in rising order.
pub fn packed(instrument: &Instrument, times: impl IntoIterator<Item = i64>) -> FeedMessage {
    let (mut pack, mut last) = (codec::Pack::default(), 0);
    for event_ms in times {
        pack.push(&tick_line(instrument, event_ms));
        last = event_ms;
    }
    message(RecordKind::Tick, instrument, last, pack.into_payloads().swap_remove(0))
}

/// A heartbeat: no earlier event time will follow.
pub fn heartbeat(instrument: &Instrument, event_ms: i64) -> FeedMessage {
    let (coin, quote) = (instrument.coin().into(), instrument.quote().into());
    let line = HeartbeatLine { coin, quote, event_ms, complete_ms: None, ingest_ms: event_ms, flush: false };
    message(RecordKind::Heartbeat, instrument, event_ms, codec::single(&line))
}

/// Publishes messages of different instruments concurrently, each by itself.
///
/// # Errors
/// Errors that retries do not resolve.
pub async fn publish_each(connection: &Connection, messages: &[FeedMessage]) -> Result<(), bus::Error> {
    let published = join_all(messages.iter().map(|message| publish(connection, message))).await;
    published.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
}

/// Publishes one tick of an instrument.
pub async fn publish_tick_of(connection: &Connection, instrument: &Instrument, event_ms: i64) -> Receipt {
    publish(connection, &tick(instrument, event_ms)).await.unwrap()
}

/// Publishes one tick of bitcoin.
pub async fn publish_tick(connection: &Connection, event_ms: i64) -> Receipt {
    publish_tick_of(connection, &bitcoin(), event_ms).await
}

/// Reproducible bytes that compression does not shorten.
pub fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

fn message(kind: RecordKind, instrument: &Instrument, event_ms: i64, payload: Bytes) -> FeedMessage {
    let id = format!("made-up/{kind}/{}/{event_ms}", instrument.coin());
    FeedMessage { kind, instrument: instrument.clone(), payload, id }
}

/// A recording of this many minutes from 2020-03-01 on, with swinging prices, so that a model can be trained on them.
pub fn minutes(dir: &Path, count: u32) -> PathBuf {
    let row = |minute: u32| {
        let close = 100.0 + (f64::from(minute) / 9.0).sin() + (f64::from(minute) / 2.3).cos();
        format!("{},{close},{close},{close},{close},1\n", 1_583_020_800_000 + i64::from(minute) * 60_000)
    };
    let rows: String = (0..count).map(row).collect();
    let path = dir.join("recording.csv");
    std::fs::write(&path, format!("timestamp_ms,open,high,low,close,volume\n{rows}")).unwrap();
    path
}
