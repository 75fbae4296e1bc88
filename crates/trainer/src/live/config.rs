//! What shapes the forecasts.

use learn::dataset::RowSpec;
use learn::training::LearnConfig;
use market::windowing::EventTimePolicy;
use market::{Instrument, Recipe, Span, Window};

use super::state::FORM;

/// Everything that shapes the forecasts: other rules give other forecasts.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How event time is judged.
    pub settings: EventTimePolicy,
    /// What is predicted, and from what.
    pub recipe: Recipe,
    /// Length of the candles.
    pub interval: Window,
    /// How many candles ahead.
    pub horizon: usize,
    /// Candles of less coverage count as missing, 0 to 1.
    pub min_coverage: f64,
    /// A training is due when event time passes a multiple of this.
    pub every: Span,
    /// So many candles after it was due a model begins to count.
    pub activation: u16,
    /// So long after its training a model makes no more forecasts.
    pub expire: Span,
    /// The only instrument that is forecast; all when none is named.
    pub only: Option<Instrument>,
    /// How models are learned, in words.
    pub learning: String,
}

impl Rules {
    /// How rows are made of candles: for forecasts as in training.
    pub(crate) fn row_spec(&self) -> RowSpec {
        RowSpec { recipe: self.recipe, horizon: self.horizon, min_coverage: self.min_coverage }
    }

    /// From the candle that makes a training due to the one from which on its model counts.
    pub(crate) fn until_active(&self) -> Span {
        Span(self.interval.size().ms() * i64::from(self.activation))
    }

    /// From when a forecast is made to when its truth is known.
    pub(crate) fn target(&self) -> Span {
        Span(self.interval.size().ms() * self.horizon as i64)
    }

    /// All of it in words, but for how event time is judged; and the form of stored states.
    pub(crate) fn words(&self) -> String {
        let Self { recipe, interval, horizon, min_coverage, every, activation, expire, learning, .. } = self;
        let only = self.only.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
        format!(
            "recipe={recipe} interval={interval} horizon={horizon} min-coverage={min_coverage} every={} activation={activation} expire={} \
             instruments={only} {learning} state={FORM}",
            every.ms(),
            expire.ms()
        )
    }
}

/// How models are learned, in words: everything that changes a model.
pub fn learning_words(config: &LearnConfig) -> String {
    let boosting = &config.boosting;
    format!(
        "holdout={} folds={} rounds={} depth={} rate={} leaf={} start={:?} seed={} threads={} format={}",
        config.holdout,
        config.folds,
        boosting.rounds_max,
        boosting.depth,
        boosting.learning_rate,
        boosting.leaf_rows_min,
        boosting.start,
        boosting.seed,
        boosting.threads,
        learn::forecaster::FORMAT,
    )
}
