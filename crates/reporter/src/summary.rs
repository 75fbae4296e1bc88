//! `reporter metrics`: a summary of a whole run in one small JSON file.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bus::{Connection, NatsArgs, Stream, protocol};
use serde::{Deserialize, Serialize};
use service::{Code, WithCode};
use store::atomic_file::atomic_write;
use store::model_card::{ModelCard, ModelCardError};

use crate::output;

/// Writes a summary of a run as JSON: holdout scores and record counts.
#[derive(Debug, Clone, clap::Args)]
pub struct MetricsArgs {
    /// Model card; without the file, the summary has no scores
    #[arg(long, env = "CANDLEWIRE_MODEL_CARD", default_value = "out/model-card.json", value_name = "FILE")]
    pub model_card: PathBuf,

    /// Summary file of the producer (its --summary); without it, only the counts of the stream-processor are used
    #[arg(long, env = "CANDLEWIRE_PRODUCER_SUMMARY", value_name = "FILE")]
    pub producer_summary: Option<PathBuf>,

    /// File of the summary
    #[arg(long, env = "CANDLEWIRE_METRICS", default_value = "out/metrics.json", value_name = "FILE")]
    pub out: PathBuf,
}

/// Used fields of the producer's summary. Other fields are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ProducerSummary {
    /// Repeated rows.
    #[serde(default)]
    pub duplicates: u64,
    /// Refused rows by reason.
    #[serde(default)]
    pub rejected: BTreeMap<String, u64>,
}

/// Counts of the stream-processor, in one partition or in all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketCounts {
    /// Accepted ticks.
    #[serde(default)]
    pub accepted: u64,
    /// Accepted ticks that their source fetched afterwards.
    #[serde(default)]
    pub filled: u64,
    /// Repeated ticks.
    #[serde(default)]
    pub duplicate: u64,
    /// Ticks beyond the allowed lateness.
    #[serde(default)]
    pub late: u64,
    /// Rejected records by reason.
    #[serde(default)]
    pub rejected: BTreeMap<String, u64>,
    /// 1-minute windows that became final.
    #[serde(default)]
    pub candles: u64,
}

impl MarketCounts {
    /// Adds the counts of another partition.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.filled += other.filled;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.candles += other.candles;
        for (reason, count) in &other.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
    }

    /// Reads the sum over all partitions, as of their last commits.
    ///
    /// # Errors
    /// The positions cannot be read.
    pub async fn read(connection: &Connection) -> Result<Self, bus::Error> {
        let mut sum = Self::default();
        for (_, position) in protocol::positions::<Self>(connection, Stream::Market).await? {
            sum.add(&position.counts);
        }
        Ok(sum)
    }

    /// Returns the number of rejected records.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// Summary of a run. Scores are of the holdout (of the test rows for a random split), and null without a model. Prices
/// and errors are in quote currency.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct RunSummary {
    #[serde(skip_serializing_if = "Option::is_none")]
    coin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quote: Option<String>,
    rows: Option<usize>,
    r2: Option<f64>,
    r2_return: Option<f64>,
    rmse: Option<f64>,
    mae: Option<f64>,
    baseline_rmse: Option<f64>,
    skill: Option<f64>,
    recipe: Option<String>,
    interval: Option<String>,
    split: Option<String>,
    ticks: u64,
    filled: u64,
    candles: u64,
    late: u64,
    duplicates: u64,
    rejected: u64,
    rejected_by: RejectedBy,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct RejectedBy {
    producer: BTreeMap<String, u64>,
    stream_processor: BTreeMap<String, u64>,
}

/// Writes the summary.
///
/// # Errors
/// Exit code 2 if the card or the producer's summary is unreadable or the file cannot be written; otherwise a failed
/// request to NATS.
pub async fn run(args: &MetricsArgs, nats: &NatsArgs) -> anyhow::Result<()> {
    let card = read_card(&args.model_card).exit_code(Code::BadConfig)?;
    let producer = match &args.producer_summary {
        Some(path) => read_summary(path).exit_code(Code::BadConfig)?,
        None => ProducerSummary::default(),
    };
    let connection = Connection::open(nats, Some(crate::user::USER)).await?;
    let market = MarketCounts::read(&connection).await?;
    let mut json =
        serde_json::to_vec_pretty(&summarize(card, producer, market)).context("cannot encode the summary")?;
    json.push(b'\n');
    atomic_write(&args.out, |file| file.write_all(&json))
        .map_err(|error: io::Error| {
            anyhow::anyhow!("cannot write {}: {error}; choose another place with --out", args.out.display())
        })
        .exit_code(Code::BadConfig)?;
    output::line(&args.out.display().to_string())?;
    Ok(())
}

/// Reads the model card. A run with too few rows to train has none.
fn read_card(path: &Path) -> anyhow::Result<Option<ModelCard>> {
    match ModelCard::read(path) {
        Ok(card) => Ok(Some(card)),
        Err(ModelCardError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            tracing::info!(path = %path.display(), "no model card, so the summary has no scores");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the model card {}", path.display())),
    }
}

fn read_summary(path: &Path) -> anyhow::Result<ProducerSummary> {
    let read = || anyhow::Ok(serde_json::from_slice(&std::fs::read(path)?)?);
    read().with_context(|| format!("cannot read the producer's summary from {} (--producer-summary)", path.display()))
}

fn summarize(card: Option<ModelCard>, producer: ProducerSummary, market: MarketCounts) -> RunSummary {
    let card = card.as_ref();
    let scores = card.map(|card| &card.holdout.scores);
    RunSummary {
        coin: card.map(|card| card.coin.clone()),
        quote: card.map(|card| card.quote.clone()),
        rows: scores.map(|scores| scores.rows),
        r2: scores.and_then(|scores| scores.r2),
        r2_return: scores.and_then(|scores| scores.r2_return),
        rmse: scores.map(|scores| scores.rmse),
        mae: scores.map(|scores| scores.mae),
        baseline_rmse: scores.map(|scores| scores.baseline_rmse),
        skill: scores.and_then(|scores| scores.skill),
        recipe: card.map(|card| card.recipe.to_string()),
        interval: card.map(|card| card.interval.clone()),
        split: card.map(|card| card.split.clone()),
        ticks: market.accepted,
        filled: market.filled,
        candles: market.candles,
        late: market.late,
        duplicates: producer.duplicates + market.duplicate,
        rejected: producer.rejected.values().sum::<u64>() + market.rejected_total(),
        rejected_by: RejectedBy { producer: producer.rejected, stream_processor: market.rejected },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_partitions_and_of_the_producer_are_added() {
        let counts = |json: &str| serde_json::from_str::<MarketCounts>(json).expect("counts");
        let mut market =
            counts(r#"{"accepted":5,"filled":2,"duplicate":1,"late":2,"rejected":{"future":3},"candles":4}"#);
        market.add(&counts(r#"{"accepted":1,"filled":1,"rejected":{"future":1,"zero-price":2},"newer":7}"#));
        let producer =
            serde_json::from_str(r#"{"published":9,"duplicates":2,"rejected":{"unparsable":6}}"#).expect("a summary");
        let metrics = serde_json::to_value(summarize(None, producer, market)).expect("json");
        let names = ["ticks", "filled", "candles", "late", "duplicates", "rejected"];
        assert_eq!(names.map(|name| metrics[name].as_u64()), [6, 3, 4, 2, 3, 12].map(Some));
        assert_eq!(metrics["rejected_by"]["stream_processor"]["future"], 4);
        assert!(metrics["r2"].is_null() && metrics.get("coin").is_none());
    }
}
