//! Configuration of a stream: the part of `bus::topology` that the model needs.

use crate::jetstream::message::{Message, Subject, matches};

/// The configuration of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Its name.
    pub name: String,
    /// The subjects that it stores.
    pub subjects: Vec<String>,
    /// Size limit in bytes.
    pub max_bytes: Option<u64>,
    /// Behavior when it is full.
    pub discard: Discard,
    /// Age limit, in microseconds.
    pub max_age_us: Option<u64>,
    /// Maximum number of messages per subject; the oldest are deleted.
    pub max_per_subject: Option<u64>,
    /// Deduplication window, in microseconds.
    pub duplicates_us: u64,
    /// Whether atomic batches are allowed.
    pub allows_batches: bool,
    /// Whether roll-ups are allowed.
    pub allows_rollup: bool,
    /// Whether messages may have a TTL.
    pub allows_ttl: bool,
    /// Number of partitions; the stored subject has the partition after its first token.
    pub partitions: Option<u32>,
    /// Prefix of republished results, which replaces their first two tokens.
    pub live: Option<String>,
}

/// Behavior of a full stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// Refuses new messages.
    New,
    /// Deletes the oldest messages.
    Old,
}

/// The server's default deduplication window.
const DUPLICATES_US: u64 = 120_000_000;

impl StreamConfig {
    /// FEED, with a size limit in bytes.
    pub fn feed(partitions: u32, max_bytes: u64, max_age_us: u64) -> Self {
        Self {
            name: "FEED".to_owned(),
            subjects: ["tick", "heartbeat", "gap"].map(|kind| format!("feed.{kind}.*.*")).to_vec(),
            discard: Discard::Old,
            max_age_us: Some(max_age_us),
            duplicates_us: 600_000_000,
            allows_rollup: false,
            partitions: Some(partitions),
            ..Self::of("FEED", max_bytes)
        }
    }

    /// A stream with results and checkpoints, such as MARKET with `market` and `live`.
    pub fn checkpointed(name: &str, root: &str, live: &str, max_bytes: u64) -> Self {
        Self {
            subjects: vec![format!("{root}.*.*.*.*"), format!("checkpoint.{root}.>")],
            live: Some(live.to_owned()),
            ..Self::of(name, max_bytes)
        }
    }

    /// MARKET, with a size limit in bytes.
    pub fn market(max_bytes: u64) -> Self {
        Self::checkpointed("MARKET", "market", "live", max_bytes)
    }

    /// The bucket of leases.
    pub fn leases(max_bytes: u64) -> Self {
        Self {
            subjects: vec!["$KV.LEASES.>".to_owned()],
            max_per_subject: Some(1),
            allows_batches: false,
            allows_ttl: true,
            ..Self::of("KV_LEASES", max_bytes)
        }
    }

    fn of(name: &str, max_bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            subjects: Vec::new(),
            max_bytes: Some(max_bytes),
            discard: Discard::New,
            max_age_us: None,
            max_per_subject: None,
            duplicates_us: DUPLICATES_US,
            allows_batches: true,
            allows_rollup: true,
            allows_ttl: false,
            partitions: None,
            live: None,
        }
    }

    /// Whether it stores messages of a subject.
    pub(crate) fn takes(&self, subject: &str) -> bool {
        self.subjects.iter().any(|filter| matches(filter, subject))
    }

    /// The message in its stored form.
    pub(crate) fn transformed(&self, message: Message) -> Message {
        let Some(partitions) = self.partitions else { return message };
        let tokens: Vec<&str> = message.subject.split('.').collect();
        let [root, kind, coin, quote] = tokens[..] else { return message };
        let partition = partition(coin, quote, partitions);
        let subject = format!("{root}.{partition}.{kind}.{coin}.{quote}").into();
        Message { subject, ..message }
    }

    /// The live subject of a stored message.
    pub(crate) fn live_subject(&self, stored: &str) -> Option<Subject> {
        let (live, root) = (self.live.as_ref()?, self.subjects.first()?);
        if !matches(root, stored) {
            return None;
        }
        let rest = stored.splitn(3, '.').nth(2)?;
        Some(format!("{live}.{rest}").into())
    }
}

/// The server's partition function: FNV-1a of the tokens.
fn partition(coin: &str, quote: &str, partitions: u32) -> u32 {
    let hash = coin
        .bytes()
        .chain(quote.bytes())
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_are_republished() {
        let market = StreamConfig::market(1);
        assert_eq!(market.live_subject("market.3.price.bitcoin.usd").as_deref(), Some("live.price.bitcoin.usd"));
        assert_eq!(market.live_subject("checkpoint.market.3.position"), None);
        assert_eq!(StreamConfig::feed(16, 1, 1).live_subject("feed.3.tick.bitcoin.usd"), None);
    }
}
