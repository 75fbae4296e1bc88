//! The limits of the streams, as flags.

use bus::topology::{Limits, PARTITIONS_MAX};

/// Limits of the streams, each a flag.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LimitArgs {
    /// Partitions; fixed once the streams exist
    #[arg(long, env = "CANDLEWIRE_PARTITIONS", default_value_t = Limits::default().partitions,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(PARTITIONS_MAX)))]
    partitions: u32,
    /// Copies of each stream: 1, or 3 on a cluster
    #[arg(long, env = "CANDLEWIRE_REPLICAS", default_value_t = Limits::default().replicas,
        value_parser = clap::value_parser!(u32).range(1..=5))]
    replicas: u32,
    /// Days that FEED keeps what entered
    #[arg(long, env = "CANDLEWIRE_FEED_DAYS", default_value_t = Limits::default().feed_days,
        value_parser = clap::value_parser!(u64).range(1..=36_500))]
    feed_days: u64,
    /// Most bytes of FEED, such as 4GiB; the oldest go first
    #[arg(long, env = "CANDLEWIRE_FEED_BYTES", default_value = "4GiB", value_parser = bytes)]
    feed_bytes: u64,
    /// Most bytes of MARKET; when it is full the stream-processor waits
    #[arg(long, env = "CANDLEWIRE_MARKET_BYTES", default_value = "8GiB", value_parser = bytes)]
    market_bytes: u64,
    /// Most bytes of STATS; when it is full the aggregator waits
    #[arg(long, env = "CANDLEWIRE_STATS_BYTES", default_value = "2GiB", value_parser = bytes)]
    stats_bytes: u64,
    /// Most bytes of FORECAST; when it is full the trainer waits
    #[arg(long, env = "CANDLEWIRE_FORECAST_BYTES", default_value = "1GiB", value_parser = bytes)]
    forecast_bytes: u64,
    /// Most bytes of models and predictions
    #[arg(long, env = "CANDLEWIRE_ARTIFACTS_BYTES", default_value = "2GiB", value_parser = bytes)]
    artifacts_bytes: u64,
}

impl From<LimitArgs> for Limits {
    fn from(args: LimitArgs) -> Self {
        Self {
            partitions: args.partitions,
            replicas: args.replicas,
            feed_days: args.feed_days,
            feed_bytes: args.feed_bytes,
            market_bytes: args.market_bytes,
            stats_bytes: args.stats_bytes,
            forecast_bytes: args.forecast_bytes,
            artifacts_bytes: args.artifacts_bytes,
        }
    }
}

/// A whole number with an optional unit: `512MiB`, `4GiB`, `1048576`.
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
    use super::bytes;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("4GiB"), Ok(4 << 30));
        assert_eq!(bytes("1048576"), Ok(1 << 20));
        for bad in ["", "x", "4GB", "-1GiB", "1B", "99999999999TiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
