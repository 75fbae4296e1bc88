//! What can be asked for on the command line, and what it comes to.

mod learning;

use std::path::PathBuf;

use anyhow::bail;
use market::{Instrument, Recipe, Span, Window};
use service::{Code, WithCode};
use store::archive::Archive;
use store::archive::location::ArchiveLocation;

pub use self::learning::LearnArgs;
use learn::candles::Interval;
use learn::fit::Split;
use learn::training::LearnConfig;

use crate::check::CheckArgs;
use crate::data::DataArgs;
use crate::live::config::{Rules, learning_words};
use crate::upload::UploadArgs;

/// Keeps accepted ticks as Parquet, trains on them, and says how good the model is beside doing nothing.
#[derive(Debug, clap::Parser)]
#[command(name = "trainer", version)]
pub struct Args {
    /// What every program of ours is told.
    #[command(flatten)]
    pub process: service::ProcessArgs,

    /// Where NATS is.
    #[command(flatten)]
    pub nats: bus::NatsArgs,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl service::Program for Args {
    fn process(&self) -> &service::ProcessArgs {
        &self.process
    }

    fn is_service(&self) -> bool {
        matches!(self.command, Command::Run(_))
    }
}

/// What the trainer can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Bring the Parquet archive of accepted ticks up to date with MARKET, then stop
    Archive(ArchiveArgs),
    /// Train one model on the archive (brought up to date if a server answers) or on a recording, print how good it is
    Train(TrainArgs),
    /// Look for whatever could leak the future into such a model or flatter its score; exit code 1 when something does
    Check(CheckArgs),
    /// Run as a service: archive continuously, train whenever event time says so, forecast each candle and score it
    Run(RunArgs),
    /// How good the live forecasts were so far, model by model
    Evaluate(EvaluateArgs),
    /// Ask a running one whether it is ready; exit code 1 when it is not
    Health(service::AskArgs),
}

/// Flags of `archive`, and of everything that reads the archive.
#[derive(Debug, Clone, clap::Args)]
pub struct ArchiveArgs {
    /// Where the archive is: a folder, made if need be, or s3://BUCKET/PREFIX with the key in AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY
    #[arg(long, env = "CANDLEWIRE_ARCHIVE", default_value = "out/archive", value_name = "PLACE")]
    pub archive: ArchiveLocation,
}

impl ArchiveArgs {
    /// The archive that is there, or will be.
    ///
    /// # Errors
    /// When it is in a bucket for which there is no key; the exit code is that of a bad configuration.
    pub fn open(&self) -> anyhow::Result<Archive> {
        self.archive.archive().exit_code(Code::BadConfig)
    }
}

/// Flags of `train`.
#[derive(Debug, Clone, clap::Args)]
pub struct TrainArgs {
    /// Where the ticks are, and whose.
    #[command(flatten)]
    pub data: DataArgs,

    /// Folder for predictions.parquet, its zip, model.ubj and model-card.json, made if need be
    #[arg(long, env = "CANDLEWIRE_OUT", default_value = "out", value_name = "DIR")]
    pub out: PathBuf,

    /// What to learn.
    #[command(flatten)]
    pub learn: LearnArgs,

    /// Where the model also goes.
    #[command(flatten)]
    pub upload: UploadArgs,
}

/// Flags of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Where the ticks go.
    #[command(flatten)]
    pub archive: ArchiveArgs,

    /// Train when event time passes a multiple of this, such as 24h
    #[arg(long, env = "CANDLEWIRE_EVERY", default_value = "24h", value_name = "SPAN", value_parser = parse_span)]
    pub every: Span,

    /// A new model counts from so many candles after its training was due; there the forecasts wait for it
    #[arg(long, env = "CANDLEWIRE_ACTIVATION", default_value = "1", value_name = "CANDLES",
        value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub activation: u16,

    /// A model makes no more forecasts when its training is so long ago, in event time
    #[arg(long, env = "CANDLEWIRE_EXPIRE", default_value = "72h", value_name = "SPAN", value_parser = parse_span)]
    pub expire: Span,

    /// Write an archive file after at most this much time, such as 60s
    #[arg(long, env = "CANDLEWIRE_ARCHIVE_EVERY", default_value = "60s", value_name = "SPAN", value_parser = parse_span)]
    pub archive_every: Span,

    /// Also write the newest model's files to this folder
    #[arg(long, env = "CANDLEWIRE_OUT", value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Whose ticks.
    #[command(flatten)]
    pub instrument: InstrumentArgs,

    /// How event time is judged.
    #[command(flatten)]
    pub event_time: step::EventTimeArgs,

    /// How long this instance may be silent, and what it does where input is lost.
    #[command(flatten)]
    pub instance: step::InstanceArgs,

    /// Where its health can be asked.
    #[command(flatten)]
    pub health: service::HealthArgs,

    /// What to learn.
    #[command(flatten)]
    pub learn: LearnArgs,

    /// Where the model also goes.
    #[command(flatten)]
    pub upload: UploadArgs,
}

impl RunArgs {
    /// How models are learned; the instrument is each in its turn.
    ///
    /// # Errors
    /// When the flags contradict each other, or ask for what cannot be forecast.
    pub fn config(&self) -> anyhow::Result<LearnConfig> {
        let config = self.learn.config(Instrument::new("any", "any")?)?;
        if config.recipe == Recipe::Calendar {
            bail!("--recipe calendar cannot forecast, it knows nothing but the time: choose returns or volatility");
        }
        if config.split == Split::Random {
            bail!("--split random leaks the future, and a model is chosen by its scores: leave it to `trainer train`");
        }
        Ok(LearnConfig { interval: Interval::Fixed(self.window()), ..config })
    }

    /// What shapes the forecasts.
    ///
    /// # Errors
    /// As [`Self::config`], and spans that make no sense together.
    pub fn rules(&self) -> anyhow::Result<Rules> {
        let config = self.config()?;
        let interval = self.window();
        if self.every < interval.size() {
            bail!("--every is shorter than a candle of {interval}");
        }
        if self.expire <= Span(interval.size().ms() * i64::from(self.activation)) {
            bail!("--expire ends before a model counts, --activation {} candles after its training", self.activation);
        }
        Ok(Rules {
            settings: self.event_time.into(),
            recipe: config.recipe,
            interval,
            horizon: config.horizon,
            min_coverage: config.min_coverage,
            every: self.every,
            activation: self.activation,
            expire: self.expire,
            only: self.instrument.instrument()?,
            learning: learning_words(&config),
        })
    }

    fn window(&self) -> Window {
        match self.learn.interval {
            Interval::Fixed(window) => window,
            Interval::Auto => Window::QuarterHour,
        }
    }
}

/// Flags of `evaluate`.
#[derive(Debug, Clone, clap::Args)]
pub struct EvaluateArgs {
    /// Whose forecasts; all by default.
    #[command(flatten)]
    pub instrument: InstrumentArgs,

    /// Length of the spans whose scores are shown one by one, such as 24h
    #[arg(long, default_value = "24h", value_name = "SPAN", value_parser = parse_span)]
    pub by: Span,

    /// Leave out forecasts when less is known of a candle of their target, 0 to 1. `run` scores none below its own
    #[arg(long, env = "CANDLEWIRE_MIN_COVERAGE", default_value = "0.5", value_name = "SHARE", value_parser = parse_coverage)]
    pub min_coverage: f64,

    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// JSON, for machines
    Json,
}

/// Flags that name an instrument.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InstrumentArgs {
    /// Coin, such as bitcoin; with --quote. By default what there is: `train` wants exactly one, `run` forecasts each
    #[arg(long, requires = "quote")]
    pub coin: Option<String>,

    /// Quote currency, such as usdt
    #[arg(long, requires = "coin")]
    pub quote: Option<String>,
}

impl InstrumentArgs {
    /// The instrument that was named, if one was.
    ///
    /// # Errors
    /// When the name cannot be one.
    pub fn instrument(&self) -> anyhow::Result<Option<Instrument>> {
        let named = self.coin.as_deref().zip(self.quote.as_deref());
        Ok(named.map(|(coin, quote)| Instrument::new(coin, quote)).transpose()?)
    }
}

/// Reads a span such as 24h: at least a second.
pub(crate) fn parse_span(text: &str) -> Result<Span, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match i64::try_from(duration.as_millis()) {
        Ok(ms) if ms >= 1_000 => Ok(Span(ms)),
        _ => Err("at least one second".to_owned()),
    }
}

/// Reads the share of a candle that is to be known.
fn parse_coverage(text: &str) -> Result<f64, String> {
    let within = |coverage: &f64| (0.0..=1.0).contains(coverage);
    text.parse().ok().filter(within).ok_or_else(|| "a share of a candle's time, from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    fn learn(flags: &[&str]) -> anyhow::Result<LearnConfig> {
        let args =
            Args::try_parse_from([&["trainer", "train", "--coin", "bitcoin", "--quote", "usd"], flags].concat())?;
        let Command::Train(train) = args.command else { panic!("train was asked for") };
        train.learn.config(train.data.instrument.instrument()?.expect("it was named"))
    }

    #[test]
    fn flags_are_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_coverage_is_a_share() {
        let min_coverage = |flags: &[&str]| learn(flags).map(|config| config.min_coverage);
        assert_eq!(min_coverage(&[]).expect("valid"), 0.5);
        assert_eq!(min_coverage(&["--min-coverage", "0"]).expect("valid"), 0.0);
        for wrong in ["1.01", "50", "NaN", "half"] {
            let error = min_coverage(&["--min-coverage", wrong]).expect_err("no share").to_string();
            assert!(error.contains("from 0 to 1"), "{error}");
        }
    }

    #[test]
    fn each_recipe_has_its_own_defaults_and_flags_go_before_them() {
        let returns = learn(&[]).expect("valid");
        assert_eq!((returns.recipe, returns.split, returns.folds), (Recipe::Returns, Split::Time, 5));
        let calendar = learn(&["--recipe", "calendar", "--split", "random", "--depth", "7"]).expect("valid");
        let boosting = calendar.boosting;
        assert_eq!((boosting.rounds_max, boosting.depth, boosting.learning_rate, boosting.seed), (100, 7, 0.1, 42));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            vec!["--holdout", "1.5"],
            vec!["--holdout", "NaN"],
            vec!["--learning-rate", "0"],
            vec!["--horizon", "0"],
            vec!["--interval", "2m"],
            vec!["--interval", "1h-30m"],
            vec!["--recipe", "calendar", "--horizon", "2"],
            vec!["--threads", "0"],
        ] {
            assert!(learn(&bad).is_err(), "{bad:?}");
        }
    }
}
