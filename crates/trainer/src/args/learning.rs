//! Flags of learning, and the defaults of each recipe.

use anyhow::bail;
use learn::booster::{BaseScore, Boosting};
use learn::candles::Interval;
use learn::config::LearnConfig;
use learn::lookback::HORIZON_MAX;
use learn::split::Split;
use market::{Instrument, Recipe};

use super::parse::{coverage, rate, share};

/// Flags of learning.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Learning")]
pub struct LearnArgs {
    /// Target and features: `returns` (the next log return from trailing returns, volatility, range, volume and
    /// time), `volatility` (the next log(high/low) from trailing ranges, returns, volume and time) or
    /// `calendar` (each tick's price from its time alone, as the original program did)
    #[arg(long, env = "CANDLEWIRE_RECIPE", default_value = "returns")]
    pub recipe: Recipe,

    /// Length of the candles: 1m, 5m, 15m, 1h, 1d, or auto: for `train` the longest that gives 2,000 rows, for `run`
    /// 15m
    #[arg(long, env = "CANDLEWIRE_INTERVAL", default_value = "auto")]
    pub interval: Interval,

    /// How many intervals ahead to predict, 1 to 100
    #[arg(long, env = "CANDLEWIRE_HORIZON", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=HORIZON_MAX as i64))]
    pub horizon: u16,

    /// Candles of less coverage count as missing, 0 to 1
    #[arg(long, env = "CANDLEWIRE_MIN_COVERAGE", default_value = "0.5", value_name = "SHARE", value_parser = coverage)]
    pub min_coverage: f64,

    /// How to hold rows out
    #[arg(long, env = "CANDLEWIRE_SPLIT", value_enum, default_value = "time")]
    pub split: Split,

    /// Seed of the random split and of the learner
    #[arg(long, env = "CANDLEWIRE_SEED", default_value = "42", value_parser = clap::value_parser!(u32))]
    pub seed: u32,

    /// Share of the rows to hold out, such as 0.2
    #[arg(long, env = "CANDLEWIRE_HOLDOUT", default_value = "0.2", value_parser = share)]
    pub holdout: f64,

    /// Rolling-origin folds inside the training part (split by time)
    #[arg(long, env = "CANDLEWIRE_FOLDS", default_value = "5", value_parser = clap::value_parser!(u16).range(..=100))]
    pub folds: u16,

    /// Maximum number of boosting rounds [default: 100 for calendar; 300 for returns and 500 for volatility, which stop
    /// earlier when more do not help]
    #[arg(long, env = "CANDLEWIRE_ROUNDS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: Option<u32>,

    /// Maximum depth of a tree [default: 5 for calendar, 3 for returns, 4 for volatility]
    #[arg(long, env = "CANDLEWIRE_DEPTH", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub depth: Option<u32>,

    /// Learning rate: the share of each tree's correction that counts [default: 0.1 for calendar, else 0.05]
    #[arg(long, env = "CANDLEWIRE_LEARNING_RATE", value_parser = rate)]
    pub learning_rate: Option<f64>,

    /// Threads of the learner; part of a model's identity, because sums over another number of threads may round
    /// differently
    #[arg(long, env = "CANDLEWIRE_THREADS", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

impl LearnArgs {
    /// Returns what to learn of an instrument, and how.
    ///
    /// # Errors
    /// The flags contradict each other.
    pub fn config(&self, instrument: Instrument) -> anyhow::Result<LearnConfig> {
        let defaults = Defaults::of(self.recipe);
        if self.recipe == Recipe::Calendar && (self.horizon != 1 || self.interval != Interval::Auto) {
            bail!("--recipe calendar predicts tick by tick: it has no --horizon and no --interval");
        }
        Ok(LearnConfig {
            instrument,
            recipe: self.recipe,
            interval: self.interval,
            horizon: usize::from(self.horizon),
            min_coverage: self.min_coverage,
            split: self.split,
            holdout: self.holdout,
            folds: usize::from(self.folds),
            boosting: Boosting {
                rounds_max: self.rounds.unwrap_or(defaults.rounds),
                depth: self.depth.unwrap_or(defaults.depth),
                learning_rate: self.learning_rate.unwrap_or(defaults.rate),
                leaf_rows_min: defaults.leaf_rows_min,
                base_score: defaults.base_score,
                seed: u64::from(self.seed),
                threads: usize::from(self.threads),
            },
        })
    }
}

/// How a recipe is fitted without flags.
struct Defaults {
    rounds: u32,
    depth: u32,
    rate: f64,
    leaf_rows_min: u32,
    base_score: BaseScore,
}

impl Defaults {
    /// Returns values that were found on folds inside the training parts of several recordings.
    fn of(recipe: Recipe) -> Self {
        match recipe {
            // As in the original program.
            Recipe::Calendar => {
                Self { rounds: 100, depth: 5, rate: 0.1, leaf_rows_min: 1, base_score: BaseScore::Mean }
            }
            // Returns are nearly all noise: small trees, small steps, and leaves of many rows.
            Recipe::Returns => {
                Self { rounds: 300, depth: 3, rate: 0.05, leaf_rows_min: 20, base_score: BaseScore::Zero }
            }
            // Ranges can be predicted, and their mean is near the level but not equal to it.
            Recipe::Volatility => {
                Self { rounds: 500, depth: 4, rate: 0.05, leaf_rows_min: 50, base_score: BaseScore::Mean }
            }
        }
    }
}
