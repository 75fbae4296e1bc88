//! Flags for the limits of the streams.

use bus::stream::{ARTIFACTS_STREAM, Stream};
use bus::topology::{Limits, PARTITIONS_MAX, StreamInfo};

const DAY_NS: u64 = 86_400 * 1_000_000_000;

/// Limits of the streams, one flag each. A limit without a flag keeps its current value, and starts with the default.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LimitArgs {
    /// Partitions; fixed once the streams exist [default: 16]
    #[arg(long, env = "CANDLEWIRE_PARTITIONS", value_parser = clap::value_parser!(u32).range(1..=i64::from(PARTITIONS_MAX)))]
    partitions: Option<u32>,
    /// Copies of each stream: 1, or 3 on a cluster [default: 1]
    #[arg(long, env = "CANDLEWIRE_REPLICAS", value_parser = clap::value_parser!(u32).range(1..=5))]
    replicas: Option<u32>,
    /// Days that FEED keeps its messages [default: 90]
    #[arg(long, env = "CANDLEWIRE_FEED_DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    feed_days: Option<u64>,
    /// Maximum bytes of FEED; the oldest messages are dropped first [default: 4GiB]
    #[arg(long, env = "CANDLEWIRE_FEED_BYTES", value_parser = bytes)]
    feed_bytes: Option<u64>,
    /// Maximum bytes of MARKET; when it is full the stream-processor waits [default: 8GiB]
    #[arg(long, env = "CANDLEWIRE_MARKET_BYTES", value_parser = bytes)]
    market_bytes: Option<u64>,
    /// Maximum bytes of STATS; when it is full the aggregator waits [default: 2GiB]
    #[arg(long, env = "CANDLEWIRE_STATS_BYTES", value_parser = bytes)]
    stats_bytes: Option<u64>,
    /// Maximum bytes of FORECAST; when it is full the trainer waits [default: 1GiB]
    #[arg(long, env = "CANDLEWIRE_FORECAST_BYTES", value_parser = bytes)]
    forecast_bytes: Option<u64>,
    /// Maximum bytes of models and predictions [default: 2GiB]
    #[arg(long, env = "CANDLEWIRE_ARTIFACTS_BYTES", value_parser = bytes)]
    artifacts_bytes: Option<u64>,
}

impl LimitArgs {
    /// Returns the limits of the flags; limits without a flag are those of the existing streams, but at least the
    /// default.
    pub(crate) fn resolve(&self, streams: &[StreamInfo]) -> Limits {
        let default = Limits::default();
        let most = |figure: fn(&StreamInfo) -> Option<u64>| streams.iter().filter_map(figure).max();
        let of = |name: &str| streams.iter().find(|info| info.config["name"] == name);
        let bytes = |flag: Option<u64>, name: &str, default: u64| {
            flag.unwrap_or_else(|| default.max(of(name).and_then(StreamInfo::max_bytes).unwrap_or_default()))
        };
        let replicas = most(|info| info.config["num_replicas"].as_u64()).and_then(|number| u32::try_from(number).ok());
        let feed_days = of(Stream::Feed.name()).map_or(0, |info| info.max_age_ns() / DAY_NS);
        Limits {
            partitions: self
                .partitions
                .or_else(|| streams.iter().find_map(StreamInfo::partitions))
                .unwrap_or(default.partitions),
            replicas: self.replicas.unwrap_or_else(|| default.replicas.max(replicas.unwrap_or_default())),
            feed_days: self.feed_days.unwrap_or_else(|| default.feed_days.max(feed_days)),
            feed_bytes: bytes(self.feed_bytes, Stream::Feed.name(), default.feed_bytes),
            market_bytes: bytes(self.market_bytes, Stream::Market.name(), default.market_bytes),
            stats_bytes: bytes(self.stats_bytes, Stream::Stats.name(), default.stats_bytes),
            forecast_bytes: bytes(self.forecast_bytes, Stream::Forecast.name(), default.forecast_bytes),
            artifacts_bytes: bytes(self.artifacts_bytes, ARTIFACTS_STREAM, default.artifacts_bytes),
        }
    }
}

/// Parses an integer with an optional unit: `512MiB`, `4GiB`, `1048576`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        other => return Err(format!("unknown unit {other:?}: use KiB, MiB, GiB or TiB")),
    };
    let count: u64 = digits.parse().map_err(|_| format!("{text:?} is not a size such as 4GiB"))?;
    count.checked_mul(unit).filter(|bytes| (1 << 20..1 << 60).contains(bytes)).ok_or_else(|| "at least 1MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn limits_without_a_flag_keep_their_value_or_the_default() {
        let stream = |name: &str, gib: u64| {
            let config = json!({
                "name": name, "max_bytes": gib << 30, "max_age": 100 * DAY_NS, "num_replicas": 3,
                "metadata": { "candlewire.partitions": "8" },
            });
            let state = json!({ "messages": 0, "bytes": 0, "first_seq": 1, "last_seq": 0 });
            serde_json::from_value(json!({ "created": "then", "config": config, "state": state })).unwrap()
        };
        let streams: [StreamInfo; 2] = [stream("FEED", 1), stream("STATS", 3)];
        let resolve = |flags: &[&str], streams: &[StreamInfo]| {
            Flags::try_parse_from([&["topology"], flags].concat()).unwrap().limits.resolve(streams)
        };
        assert_eq!(resolve(&[], &[]), Limits::default());
        let kept = resolve(&[], &streams);
        assert_eq!((kept.partitions, kept.replicas, kept.feed_days, kept.stats_bytes >> 30), (8, 3, 100, 3));
        assert_eq!(kept.feed_bytes, Limits::default().feed_bytes);
        let told = resolve(&["--stats-bytes", "2GiB", "--replicas", "1", "--feed-days", "90"], &streams);
        assert_eq!((told.replicas, told.feed_days, told.stats_bytes >> 30), (1, 90, 2));
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("4GiB"), Ok(4 << 30));
        assert_eq!(bytes("1048576"), Ok(1 << 20));
        for bad in ["", "x", "4GB", "-1GiB", "1B", "99999999999TiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
