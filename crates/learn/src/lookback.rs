//! The bounded history of an instrument's candles from which feature rows are made.
//!
//! Training pushes all candles of an archive through a [`Lookback`], a live step one candle at a time. There is one
//! code path, so the same candles give the same features, bit for bit. The candles themselves may differ by late ticks:
//! training reads the newest revision of each, a forecast is made from its first issue.

use std::collections::VecDeque;

use market::baseline::HALF_LIVES;
use market::{Candle, EventTime, Recipe};
use serde::{Deserialize, Serialize};

use crate::features::observed::{Extremes, LOOKBACK, ObservedCandle};
use crate::features::returns;
use crate::features::volatility::{self, Averages};
use crate::row_spec::RowSpec;

/// Longest horizon, in candles: a lookback grows with it. Longer candles reach further ahead.
pub const HORIZON_MAX: usize = 100;

/// The trailing window of one instrument's tumbling candles, for a recipe that works on candles. It holds at most
/// max([`LOOKBACK`], horizon) candles, 34 bytes each, and six averages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lookback {
    spec: RowSpec,
    /// End of the newest candle; `None` when it is not usable, or before the first.
    end: Option<EventTime>,
    /// Close of the newest candle.
    close: f64,
    /// Adjacent candles, the newest last.
    observed: VecDeque<ObservedCandle>,
    /// Averages of the range over the horizon, for `volatility` only.
    averages: Averages,
}

/// The features at the end of a candle, and the values that a model's output is relative to.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureRow {
    /// End of the candle.
    pub at: EventTime,
    /// By [`columns`](crate::features::columns).
    pub features: Vec<f32>,
    /// The newest value of the predicted quantity: the last close, or log(high ÷ low) over as many last candles as the
    /// horizon has. The naive baseline `last` predicts this.
    pub last: f64,
    /// Running averages of the predicted quantity, by [`HALF_LIVES`], for `volatility`; `None` otherwise.
    pub averages: Option<[f64; HALF_LIVES.len()]>,
    /// The unit of errors in log: the trailing volatility over the horizon (`returns`), or 1. Positive.
    pub scale: f64,
}

impl Lookback {
    /// Starts without candles.
    ///
    /// # Panics
    /// The recipe does not work on candles, or the horizon is not 1 to [`HORIZON_MAX`].
    pub fn new(spec: RowSpec) -> Self {
        let RowSpec { recipe, horizon, .. } = spec;
        assert!(recipe.is_of_candles(), "{recipe} does not work on candles");
        assert!((1..=HORIZON_MAX).contains(&horizon), "a horizon is 1 to {HORIZON_MAX} candles: {horizon}");
        Self { spec, end: None, close: 0.0, observed: VecDeque::new(), averages: Averages::default() }
    }

    /// Adds the next final candle. A missing candle before it clears the history; a candle that is not usable counts as
    /// missing.
    ///
    /// # Panics
    /// The candle begins before the newest one ends, or is provisional.
    pub fn push(&mut self, candle: &Candle) {
        assert!(candle.is_final, "provisional candles are no truth");
        assert!(self.end.is_none_or(|end| end <= candle.start), "candles are sorted and do not overlap");
        let is_usable = self.spec.unusable(candle).is_none();
        if !is_usable || self.end != Some(candle.start) {
            self.end = None;
            self.observed.clear();
            self.averages = Averages::default();
        }
        if !is_usable {
            return;
        }
        self.end = Some(candle.end);
        self.close = candle.close;
        self.observed.push_back(ObservedCandle::new(candle));
        if self.observed.len() > self.spec.horizon.max(LOOKBACK) {
            self.observed.pop_front();
        }
        if self.spec.recipe == Recipe::Volatility
            && let Some(range) = self.actual()
        {
            self.averages.push(range);
        }
    }

    /// Returns the newest value of the predicted quantity, which is the truth of a prediction made one horizon ago: the
    /// last close, or log(high ÷ low) over as many last candles as the horizon has. `None` while one of them is
    /// missing.
    pub fn actual(&self) -> Option<f64> {
        match self.spec.recipe {
            Recipe::Calendar | Recipe::Returns => self.end.map(|_| self.close),
            Recipe::Volatility => {
                let first = self.observed.len().checked_sub(self.spec.horizon)?;
                Some(range(self.observed.range(first..)))
            }
        }
    }

    /// Returns the feature row at the end of the newest candle; `None` while the trailing window is incomplete.
    pub fn feature_row(&self) -> Option<FeatureRow> {
        let first = self.observed.len().checked_sub(LOOKBACK)?;
        let (at, last) = (self.end?, self.actual()?);
        let mut trailing = [self.observed[first]; LOOKBACK];
        trailing.iter_mut().zip(self.observed.range(first..)).for_each(|(to, candle)| *to = *candle);
        Some(match self.spec.recipe {
            Recipe::Calendar | Recipe::Returns => FeatureRow {
                at,
                features: returns::row(&trailing, at).to_vec(),
                last,
                averages: None,
                scale: returns::volatility(&trailing) * (self.spec.horizon as f64).sqrt(),
            },
            Recipe::Volatility => {
                let averages = self.averages.values();
                let features = volatility::row(&trailing, &averages, at).to_vec();
                FeatureRow { at, features, last, averages: Some(averages), scale: 1.0 }
            }
        })
    }
}

/// Returns the feature rows of all candles whose trailing window is complete. `candles` are of one instrument and one
/// tumbling window, ascending and final.
///
/// # Panics
/// As [`Lookback::new`] and [`Lookback::push`].
pub fn feature_rows(spec: RowSpec, candles: &[Candle]) -> Vec<FeatureRow> {
    let mut lookback = Lookback::new(spec);
    let push = |candle: &Candle| {
        lookback.push(candle);
        lookback.feature_row()
    };
    candles.iter().filter_map(push).collect()
}

/// Returns log(high ÷ low) of candles taken together; NaN when none of them has a range.
pub fn range<'a>(candles: impl Iterator<Item = &'a ObservedCandle>) -> f64 {
    let wider =
        |a: Extremes, b: Extremes| Extremes { log_high: a.log_high.max(b.log_high), log_low: a.log_low.min(b.log_low) };
    let extremes = candles.filter_map(|candle| candle.extremes).reduce(wider);
    extremes.map_or(f64::NAN, |extremes| extremes.range())
}

#[cfg(test)]
mod tests;
