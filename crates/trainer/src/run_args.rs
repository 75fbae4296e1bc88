//! Flags of `trainer run`, and the settings that they give.

use std::path::PathBuf;

use anyhow::bail;
use learn::candles::Interval;
use learn::config::LearnConfig;
use learn::split::Split;
use market::span_text::at_least;
use market::{Instrument, Recipe, Span, Window};

use crate::args::{ArchiveArgs, InstrumentArgs, LearnArgs};
use crate::live::config::{ForecastConfig, learning_fingerprint};
use crate::upload::UploadArgs;

/// Flags of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The archive to write.
    #[command(flatten)]
    pub archive: ArchiveArgs,

    /// Train when event time passes a multiple of this, such as 24h
    #[arg(long, env = "CANDLEWIRE_EVERY", default_value = "24h", value_name = "SPAN", value_parser = at_least(Span::SECOND))]
    pub every: Span,

    /// A new model counts this many candles after its training was due; forecasts wait for it there
    #[arg(long, env = "CANDLEWIRE_ACTIVATION", default_value = "1", value_name = "CANDLES",
        value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub activation: u16,

    /// Stop using a model this long (event time) after it was trained
    #[arg(long, env = "CANDLEWIRE_EXPIRE", default_value = "72h", value_name = "SPAN", value_parser = at_least(Span::SECOND))]
    pub expire: Span,

    /// Write an archive file after at most this much time, such as 60s
    #[arg(long, env = "CANDLEWIRE_ARCHIVE_EVERY", default_value = "60s", value_name = "SPAN", value_parser = at_least(Span::SECOND))]
    pub archive_every: Span,

    /// Also write the newest model's files to this folder
    #[arg(long, env = "CANDLEWIRE_OUT", value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// The only instrument to forecast; all by default.
    #[command(flatten)]
    pub instrument: InstrumentArgs,

    /// Disorder bound and allowed lateness.
    #[command(flatten)]
    pub event_time: step::EventTimeArgs,

    /// The lease of this instance, and what it does where input is lost.
    #[command(flatten)]
    pub instance: step::InstanceArgs,

    /// Where the service answers about its health.
    #[command(flatten)]
    pub health: service::HealthArgs,

    /// Learning options.
    #[command(flatten)]
    pub learn: LearnArgs,

    /// A bucket that each model is uploaded to.
    #[command(flatten)]
    pub upload: UploadArgs,
}

impl RunArgs {
    /// Returns how models are learned. The instrument in it is a placeholder: each training puts its own in.
    ///
    /// # Errors
    /// The flags contradict each other, or ask for a model that cannot forecast.
    pub fn learn_config(&self) -> anyhow::Result<LearnConfig> {
        let config = self.learn.config(Instrument::new("any", "any")?)?;
        if config.recipe == Recipe::Calendar {
            bail!("--recipe calendar cannot forecast, its only feature is the time: choose returns or volatility");
        }
        if config.split == Split::Random {
            bail!("--split random leaks the future, and a model is chosen by its scores: leave it to `trainer train`");
        }
        Ok(LearnConfig { interval: Interval::Fixed(self.window()), ..config })
    }

    /// Returns the settings that shape the forecasts.
    ///
    /// # Errors
    /// As [`Self::learn_config`], and for spans that contradict each other.
    pub fn forecast_config(&self) -> anyhow::Result<ForecastConfig> {
        let config = self.learn_config()?;
        let interval = self.window();
        if self.every < interval.size() {
            bail!("--every is shorter than a candle of {interval}");
        }
        if self.expire <= Span(interval.size().ms() * i64::from(self.activation)) {
            bail!("--expire ends before a model counts, --activation {} candles after its training", self.activation);
        }
        Ok(ForecastConfig {
            event_time: self.event_time.into(),
            recipe: config.recipe,
            interval,
            horizon: config.horizon,
            min_coverage: config.min_coverage,
            every: self.every,
            activation: self.activation,
            expire: self.expire,
            only: self.instrument.instrument()?,
            learning: learning_fingerprint(&config),
        })
    }

    fn window(&self) -> Window {
        match self.learn.interval {
            Interval::Fixed(window) => window,
            Interval::Auto => Window::QuarterHour,
        }
    }
}
