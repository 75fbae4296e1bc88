//! Builders and parsers of all subjects.

use market::{Instrument, Window};

use crate::record_kind::RecordKind;
use crate::stream::{BUDGETS, LEASES, READERS, Step, Stream};

/// The subject on which a restore publishes a message of a stream; no other publisher uses it.
pub fn restored(stream: &str, subject: &str) -> String {
    format!("candlewire.restore.{stream}.{subject}")
}

/// All restore subjects of a stream.
pub fn restored_all(stream: &str) -> String {
    restored(stream, ">")
}

/// The partition of an instrument: the result of the server's `partition(P,2,3)` on ingest, which is the 32-bit FNV-1a
/// hash of both tokens modulo `partitions`.
pub fn partition(coin: &str, quote: &str, partitions: u32) -> u32 {
    let bytes = coin.bytes().chain(quote.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % partitions
}

/// The subject that a producer publishes to: `feed.tick.bitcoin.usd`. The server adds the partition.
pub fn feed(kind: RecordKind, instrument: &Instrument) -> String {
    format!("feed.{kind}.{}.{}", instrument.coin(), instrument.quote())
}

/// The stored subject of a message: `market.3.price.bitcoin.usd`.
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

/// All subjects that a step reads of one partition: `feed.3.>`, or `market.3.price.>` and `market.3.heartbeat.>`.
pub fn inputs(step: Step, partition: u32) -> Vec<String> {
    if step.input == Stream::Feed {
        // FEED has no other kinds, and one filter is far cheaper: for several filters the server compares each message
        // of a backlog with all subjects of the newest block of the stream.
        return vec![all_of_partition(Stream::Feed, partition)];
    }
    step.kinds.iter().map(|&kind| of_partition(step.input, partition, kind)).collect()
}

/// All stored messages of one partition: `market.3.>`.
pub fn all_of_partition(stream: Stream, partition: u32) -> String {
    format!("{}.{partition}.>", stream.root())
}

/// The instrument tokens of a stored subject: `bitcoin.usd` in `market.3.price.bitcoin.usd`.
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

/// The registration of a reader with a position outside the server: `$KV.READERS.market.9f3c`.
pub fn reader(stream: Stream, id: &str) -> String {
    format!("$KV.{READERS}.{}.{id}", stream.root())
}

/// The budget of an account at a source: `$KV.BUDGETS.coingecko.demo-9f3c`.
pub fn budget(source: &str, account: &str) -> String {
    format!("$KV.{BUDGETS}.{source}.{account}")
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

/// The instance id in a member key.
pub(crate) fn member_of<'a>(group: &str, subject: &'a str) -> Option<&'a str> {
    subject.strip_prefix(&member(group, ""))
}

/// The slot number in a slot key.
pub(crate) fn slot_of(group: &str, subject: &str) -> Option<u32> {
    subject.strip_prefix(&format!("$KV.{LEASES}.{group}.slot."))?.parse().ok()
}

/// Prefix of all live subjects.
pub const LIVE: &str = "live.";

/// The subject on which the server republishes committed results: `live.price.bitcoin.usd`,
/// `live.stats.1h.bitcoin.usd`, `live.forecast.next.bitcoin.usd`.
pub fn live(stream: Stream, kind: RecordKind, coin: &str, quote: &str) -> String {
    match stream {
        Stream::Stats | Stream::Forecast => format!("{LIVE}{}.{kind}.{coin}.{quote}", stream.root()),
        Stream::Feed | Stream::Market => format!("{LIVE}{kind}.{coin}.{quote}"),
    }
}

/// The stored subject behind an exact live subject; `None` for patterns and for subjects that are never stored.
pub fn stored_of_live(live: &str, partitions: u32) -> Option<(Stream, String)> {
    let tokens: Vec<&str> = live.split('.').collect();
    let (stream, kind, coin, quote) = match tokens[..] {
        ["live", kind, coin, quote] => (Stream::Market, kind, coin, quote),
        ["live", "stats", kind, coin, quote] => (Stream::Stats, kind, coin, quote),
        ["live", "forecast", kind, coin, quote] => (Stream::Forecast, kind, coin, quote),
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

/// All provisional candles.
pub const PROVISIONAL_ALL: &str = "live.provisional.>";

/// The subject of provisional candles: `live.provisional.1m.bitcoin.usd`.
pub fn provisional(window: Window, coin: &str, quote: &str) -> String {
    format!("live.provisional.{window}.{coin}.{quote}")
}

/// The tokens of a stored subject `<root>.<partition>.<kind>.<coin>.<quote>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectParts<'a> {
    /// The partition.
    pub partition: u32,
    /// The token of the kind.
    pub kind: &'a str,
    /// The coin.
    pub coin: &'a str,
    /// The quote currency.
    pub quote: &'a str,
}

impl<'a> SubjectParts<'a> {
    /// Splits a stored subject; `None` when it has another form.
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
    fn an_exact_live_subject_has_a_stored_subject() {
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
