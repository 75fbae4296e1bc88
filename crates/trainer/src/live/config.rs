//! The settings that shape forecasts.

use learn::config::LearnConfig;
use learn::row_spec::RowSpec;
use market::windowing::EventTimePolicy;
use market::{Instrument, Recipe, Span, Window};

/// The form in which the step stores the state of an instrument. A change of the stored structs raises it: states of
/// another form cannot be read, and FORECAST must be rebuilt.
const STATE_FORM: u32 = 4;

/// The settings that shape forecasts: other settings give other forecasts.
#[derive(Debug, Clone)]
pub struct ForecastConfig {
    /// Disorder bound and allowed lateness.
    pub event_time: EventTimePolicy,
    /// The recipe.
    pub recipe: Recipe,
    /// Length of the candles.
    pub interval: Window,
    /// How many candles ahead.
    pub horizon: usize,
    /// Candles of less coverage count as missing, 0 to 1.
    pub min_coverage: f64,
    /// A training is due when event time passes a multiple of this.
    pub every: Span,
    /// How many candles after its training was due a model begins to count.
    pub activation: u16,
    /// How long after its training a model makes forecasts, in event time.
    pub expire: Span,
    /// The only instrument to forecast; all when `None`.
    pub only: Option<Instrument>,
    /// How models are learned: see [`learning_fingerprint`].
    pub learning: String,
}

impl ForecastConfig {
    /// How rows are made of candles, the same for forecasts as in training.
    pub(crate) fn row_spec(&self) -> RowSpec {
        RowSpec { recipe: self.recipe, horizon: self.horizon, min_coverage: self.min_coverage }
    }

    /// Time from the candle that makes a training due to the candle from which its model counts.
    pub(crate) fn until_active(&self) -> Span {
        Span(self.interval.size().ms() * i64::from(self.activation))
    }

    /// Time from a forecast to its truth.
    pub(crate) fn target(&self) -> Span {
        Span(self.interval.size().ms() * self.horizon as i64)
    }

    /// Everything that shapes the forecasts but the event-time policy, and the form of stored states. Steps with
    /// different fingerprints must not continue each other's FORECAST.
    pub(crate) fn fingerprint(&self) -> String {
        let Self { recipe, interval, horizon, min_coverage, every, activation, expire, learning, .. } = self;
        let only = self.only.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
        format!(
            "recipe={recipe} interval={interval} horizon={horizon} min-coverage={min_coverage} every={} activation={activation} expire={} \
             instruments={only} {learning} state={STATE_FORM}",
            every.ms(),
            expire.ms()
        )
    }
}

/// Everything that changes a model, but the instrument and the settings that [`ForecastConfig`] holds itself.
pub fn learning_fingerprint(config: &LearnConfig) -> String {
    let boosting = &config.boosting;
    format!(
        "holdout={} folds={} rounds={} depth={} rate={} leaf={} start={:?} seed={} threads={} format={}",
        config.holdout,
        config.folds,
        boosting.rounds_max,
        boosting.depth,
        boosting.learning_rate,
        boosting.leaf_rows_min,
        boosting.base_score,
        boosting.seed,
        boosting.threads,
        learn::forecaster::FORMAT,
    )
}
