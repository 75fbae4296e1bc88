//! Every subject, as functions of what it names.

use std::fmt;

use market::{Instrument, Window};

use crate::topology::{LEASES, READERS, Step, Stream};

/// Where a message of a stream is published while it is restored: nobody else publishes there.
pub fn restored(stream: &str, subject: &str) -> String {
    format!("candlewire.restore.{stream}.{subject}")
}

/// All of these of a stream.
pub fn restored_all(stream: &str) -> String {
    restored(stream, ">")
}

/// What a message holds: the third token of a stored subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// FEED: observations.
    Tick,
    /// FEED and MARKET: a promise that nothing earlier follows.
    Heartbeat,
    /// FEED and MARKET: a span without data.
    Gap,
    /// MARKET: accepted ticks.
    Price,
    /// MARKET: final 1-minute candles.
    Candle,
    /// MARKET: ticks beyond the allowed lateness.
    Late,
    /// MARKET: refused records.
    Rejected,
    /// STATS: final candles of a longer window.
    Stats(Window),
    /// STATS: rows of the hour-of-day profile.
    HourOfDay,
    /// FORECAST: what a model says of a candle to come.
    Next,
    /// FORECAST: a forecast that has met its truth.
    Score,
    /// FORECAST: a model that was trained, and what became of it.
    Model,
}

impl RecordKind {
    /// The kind as a token.
    pub fn token(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Heartbeat => "heartbeat",
            Self::Gap => "gap",
            Self::Price => "price",
            Self::Candle => "candle-1m",
            Self::Late => "late",
            Self::Rejected => "rejected",
            Self::Stats(window) => window.name(),
            Self::HourOfDay => "hour-of-day",
            Self::Next => "next",
            Self::Score => "score",
            Self::Model => "model",
        }
    }

    /// Whether a reader must see messages of this kind in the order of their inputs among the others that are: what
    /// counts as late depends on what came before.
    pub fn is_sequenced(self) -> bool {
        matches!(self, Self::Heartbeat | Self::Gap | Self::Price)
    }

    /// The record that messages of this kind hold, as the schema header names it.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Tick => "tick/1",
            Self::Heartbeat => "heartbeat/1",
            Self::Gap => "gap/1",
            Self::Price => "price/1",
            Self::Candle | Self::Stats(_) => "candle/1",
            Self::Late => "late/1",
            Self::Rejected => "rejected/1",
            Self::HourOfDay => "hour-of-day/1",
            Self::Next => "next/1",
            Self::Score => "score/2",
            Self::Model => "model/4",
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

/// The partition of an instrument among `partitions`: what the server's `partition(P,2,3)` gives on ingest, the 32-bit
/// FNV-1a hash of the two tokens, modulo P.
pub fn partition(coin: &str, quote: &str, partitions: u32) -> u32 {
    let bytes = coin.bytes().chain(quote.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % partitions
}

/// Where a producer publishes: `feed.tick.bitcoin.usd`. The server adds the partition.
pub fn feed(kind: RecordKind, instrument: &Instrument) -> String {
    format!("feed.{kind}.{}.{}", instrument.coin(), instrument.quote())
}

/// Where a message is stored: `market.3.price.bitcoin.usd`.
pub fn stored(stream: Stream, partition: u32, kind: RecordKind, coin: &str, quote: &str) -> String {
    format!("{}.{partition}.{kind}.{coin}.{quote}", stream.root())
}

/// All stored messages of one kind in one partition: `market.3.price.>`.
pub fn of_partition(stream: Stream, partition: u32, kind: RecordKind) -> String {
    format!("{}.{partition}.{kind}.>", stream.root())
}

/// All stored messages of a stream, without checkpoints: `market.>`.
pub fn all(stream: Stream) -> String {
    format!("{}.>", stream.root())
}

/// All that a step reads of one partition: `feed.3.>`, or `market.3.price.>` and `market.3.heartbeat.>`.
pub fn inputs(step: Step, partition: u32) -> Vec<String> {
    if step.input == Stream::Feed {
        // FEED has no other kinds, and one filter costs the server far less: for several it compares all subjects of the
        // stream's newest messages with them, for each message of a backlog.
        return vec![all_of_partition(Stream::Feed, partition)];
    }
    step.kinds.iter().map(|&kind| of_partition(step.input, partition, kind)).collect()
}

/// All stored messages of one partition: `market.3.>`.
pub fn all_of_partition(stream: Stream, partition: u32) -> String {
    format!("{}.{partition}.>", stream.root())
}

/// What names the instrument in the stored subject of a message: `bitcoin.usd` in `market.3.price.bitcoin.usd`.
pub fn instrument_of(stored: &str) -> Option<&str> {
    stored.splitn(4, '.').nth(3)
}

/// All stored messages of one kind, of one instrument or of all: `market.*.price.bitcoin.usd`, `market.*.price.>`.
pub fn of_kind(stream: Stream, kind: RecordKind, instrument: Option<&Instrument>) -> String {
    match instrument {
        Some(instrument) => format!("{}.*.{kind}.{}.{}", stream.root(), instrument.coin(), instrument.quote()),
        None => format!("{}.*.{kind}.>", stream.root()),
    }
}

/// Where a reader that keeps its place elsewhere says how far it is: `$KV.READERS.market.9f3c`.
pub fn reader(stream: Stream, id: &str) -> String {
    format!("$KV.{READERS}.{}.{id}", stream.root())
}

/// The position of a partition: `checkpoint.market.3.position`.
pub fn position(output: Stream, partition: u32) -> String {
    format!("checkpoint.{}.{partition}.position", output.root())
}

/// The positions of all partitions: `checkpoint.market.*.position`.
pub fn positions(output: Stream) -> String {
    format!("checkpoint.{}.*.position", output.root())
}

/// The state of an instrument: `checkpoint.market.3.state.bitcoin.usd`.
pub fn state(output: Stream, partition: u32, coin: &str, quote: &str) -> String {
    format!("checkpoint.{}.{partition}.state.{coin}.{quote}", output.root())
}

/// The whole checkpoint of a partition: `checkpoint.market.3.>`.
pub fn checkpoint(output: Stream, partition: u32) -> String {
    format!("checkpoint.{}.{partition}.>", output.root())
}

/// All keys of a group in the bucket of leases: `$KV.LEASES.aggregator.>`.
pub fn leases(group: &str) -> String {
    format!("$KV.{LEASES}.{group}.>")
}

/// The key of an instance: `$KV.LEASES.aggregator.member.1f3a55c0`.
pub fn member(group: &str, id: &str) -> String {
    format!("$KV.{LEASES}.{group}.member.{id}")
}

/// The key of a slot: `$KV.LEASES.aggregator.slot.3`.
pub fn slot(group: &str, slot: u32) -> String {
    format!("$KV.{LEASES}.{group}.slot.{slot}")
}

/// The instance whose key this is.
pub(crate) fn member_of<'a>(group: &str, subject: &'a str) -> Option<&'a str> {
    subject.strip_prefix(&member(group, ""))
}

/// The slot whose key this is.
pub(crate) fn slot_of(group: &str, subject: &str) -> Option<u32> {
    subject.strip_prefix(&format!("$KV.{LEASES}.{group}.slot."))?.parse().ok()
}

/// Every live subject begins like this.
pub const LIVE: &str = "live.";

/// Where the server republishes what is committed: `live.price.bitcoin.usd`, `live.stats.1h.bitcoin.usd`,
/// `live.forecast.next.bitcoin.usd`.
pub fn live(stream: Stream, kind: RecordKind, coin: &str, quote: &str) -> String {
    match stream {
        Stream::Stats | Stream::Forecast => format!("{LIVE}{}.{kind}.{coin}.{quote}", stream.root()),
        Stream::Feed | Stream::Market => format!("{LIVE}{kind}.{coin}.{quote}"),
    }
}

/// Where the messages of an exact live subject are stored; `None` for patterns and for what is never stored.
pub fn stored_of_live(live: &str, partitions: u32) -> Option<(Stream, String)> {
    let tokens: Vec<&str> = live.split('.').collect();
    let (stream, kind, coin, quote) = match tokens[..] {
        [_, kind, coin, quote] => (Stream::Market, kind, coin, quote),
        [_, "stats", kind, coin, quote] => (Stream::Stats, kind, coin, quote),
        [_, "forecast", kind, coin, quote] => (Stream::Forecast, kind, coin, quote),
        _ => return None,
    };
    let kinds: Vec<RecordKind> = match stream {
        Stream::Stats => Window::ALL.into_iter().map(RecordKind::Stats).chain([RecordKind::HourOfDay]).collect(),
        Stream::Forecast => vec![RecordKind::Next, RecordKind::Score, RecordKind::Model],
        Stream::Feed | Stream::Market => {
            vec![
                RecordKind::Price,
                RecordKind::Candle,
                RecordKind::Heartbeat,
                RecordKind::Gap,
                RecordKind::Late,
                RecordKind::Rejected,
            ]
        }
    };
    let kind = kinds.into_iter().find(|known| known.token() == kind)?;
    let instrument = Instrument::new(coin, quote).ok()?;
    let (coin, quote) = (instrument.coin(), instrument.quote());
    Some((stream, stored(stream, partition(coin, quote, partitions), kind, coin, quote)))
}

/// Where provisional candles go: `live.provisional.1m.bitcoin.usd`.
pub fn provisional(window: Window, coin: &str, quote: &str) -> String {
    format!("live.provisional.{window}.{coin}.{quote}")
}

/// A stored subject, taken apart: `<root>.<partition>.<kind>.<coin>.<quote>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectParts<'a> {
    /// The partition.
    pub partition: u32,
    /// The kind, as it stands there.
    pub kind: &'a str,
    /// The coin.
    pub coin: &'a str,
    /// The quote currency.
    pub quote: &'a str,
}

impl<'a> SubjectParts<'a> {
    /// Takes a stored subject apart; `None` when it has another form.
    pub fn parse(subject: &'a str) -> Option<Self> {
        let mut tokens = subject.split('.').skip(1);
        let partition = tokens.next()?.parse().ok()?;
        let (kind, coin, quote) = (tokens.next()?, tokens.next()?, tokens.next()?);
        tokens.next().is_none().then_some(Self { partition, kind, coin, quote })
    }
}

/// The instrument of a state subject `checkpoint.<root>.<partition>.state.<coin>.<quote>`.
pub fn state_instrument(subject: &str) -> Option<(&str, &str)> {
    let mut tokens = subject.split('.').skip(3);
    if tokens.next()? != "state" {
        return None;
    }
    let (coin, quote) = (tokens.next()?, tokens.next()?);
    tokens.next().is_none().then_some((coin, quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_read_as_they_are_written() {
        let subject = stored(Stream::Market, 3, RecordKind::Price, "bitcoin", "usd");
        assert_eq!(subject, "market.3.price.bitcoin.usd");
        let expected = SubjectParts { partition: 3, kind: "price", coin: "bitcoin", quote: "usd" };
        assert_eq!(SubjectParts::parse(&subject), Some(expected));
        assert_eq!(SubjectParts::parse("market.x.price.bitcoin.usd"), None);
        assert_eq!(SubjectParts::parse("market.3.price.bitcoin"), None);
        let state = state(Stream::Stats, 0, "bitcoin", "usd");
        assert_eq!(state_instrument(&state), Some(("bitcoin", "usd")));
        assert_eq!(state_instrument(&position(Stream::Stats, 0)), None);
    }

    #[test]
    fn an_exact_live_subject_has_a_place_where_its_messages_are() {
        let stored = |live: &str| stored_of_live(live, 1).map(|(_, stored)| stored);
        assert_eq!(stored("live.price.bitcoin.usd").as_deref(), Some("market.0.price.bitcoin.usd"));
        assert_eq!(stored("live.stats.1h-30m.bitcoin.usd").as_deref(), Some("stats.0.1h-30m.bitcoin.usd"));
        assert_eq!(stored("live.forecast.next.bitcoin.usd").as_deref(), Some("forecast.0.next.bitcoin.usd"));
        let hourly = live(Stream::Stats, RecordKind::Stats(Window::Hour), "bitcoin", "usd");
        assert_eq!(stored(&hourly).as_deref(), Some("stats.0.1h.bitcoin.usd"));
        for none in ["live.price.>", "live.price.*.usd", "live.provisional.1m.bitcoin.usd", "live.nonsense.bitcoin.usd"]
        {
            assert_eq!(stored(none), None, "{none}");
        }
    }

    #[test]
    fn partitions_follow_fnv_1a() {
        // The published FNV-1a test vectors "foobar" and "a", as two tokens.
        assert_eq!(partition("foo", "bar", u32::MAX), 0xbf9c_f968);
        assert_eq!(partition("a", "", u32::MAX), 0xe40c_292c);
    }
}
