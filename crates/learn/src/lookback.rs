//! What is remembered of an instrument's past candles: enough to make the next row of features, and no more.
//!
//! Training pushes a whole archive through a [`Lookback`], live use one candle after the other: there is one code path, so
//! the same candles give the same features, bit for bit. The candles themselves may differ by late ticks: training knows
//! the newest revision of each, a forecast is made from its first issue.

use std::collections::VecDeque;

use market::baseline::HALF_LIVES;
use market::{Candle, EventTime, Recipe};
use serde::{Deserialize, Serialize};

use crate::dataset::RowSpec;
use crate::features::volatility::{self, Averages};
use crate::features::{Extremes, LOOKBACK, Observed, returns};

/// Longest horizon, in candles: what a trail remembers grows with it. Whoever wants more takes longer candles.
pub const HORIZON_MAX: usize = 100;

/// The trailing window of one instrument's tumbling candles, for a recipe that works on candles. It holds at most
/// max([`LOOKBACK`], horizon) candles, 34 bytes each, and some averages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lookback {
    spec: RowSpec,
    /// End of the newest candle, while adjacent candles are remembered.
    end: Option<EventTime>,
    /// Close of the newest candle.
    close: f64,
    /// Adjacent candles, the newest last.
    observed: VecDeque<Observed>,
    /// Of the range over the horizon; only `volatility` keeps them.
    averages: Averages,
}

/// What is known at the end of a candle: all that a model is told, and what its output is relative to.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The candle's end.
    pub at: EventTime,
    /// By [`Recipe::columns`].
    pub features: Vec<f32>,
    /// The newest value of what is predicted: the last close, or log(high ÷ low) of the last candles, as many as the
    /// horizon has. Doing nothing predicts this.
    pub last: f64,
    /// Running averages of what is predicted, by [`HALF_LIVES`], for `volatility`; none otherwise.
    pub averages: Option<[f64; HALF_LIVES.len()]>,
    /// Errors in the log of what is predicted are measured in units of this: the trailing volatility over the horizon
    /// (`returns`), or 1. Positive.
    pub scale: f64,
}

impl Lookback {
    /// Remembers nothing yet.
    ///
    /// # Panics
    /// When the recipe does not work on candles, or the horizon is not 1 to [`HORIZON_MAX`].
    pub fn new(spec: RowSpec) -> Self {
        let RowSpec { recipe, horizon, .. } = spec;
        assert!(recipe.is_of_candles(), "{recipe} does not work on candles");
        assert!((1..=HORIZON_MAX).contains(&horizon), "a horizon is 1 to {HORIZON_MAX} candles: {horizon}");
        Self { spec, end: None, close: 0.0, observed: VecDeque::new(), averages: Averages::default() }
    }

    /// Takes the next final candle. When one is missing before it, everything earlier is forgotten; one that
    /// is not usable counts as missing.
    ///
    /// # Panics
    /// When the candle begins before the newest one ends, or is provisional.
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
        self.observed.push_back(Observed::new(candle));
        if self.observed.len() > self.spec.horizon.max(LOOKBACK) {
            self.observed.pop_front();
        }
        if self.spec.recipe == Recipe::Volatility
            && let Some(range) = self.actual()
        {
            self.averages.push(range);
        }
    }

    /// The newest value of what is predicted, which is the truth of a prediction made one horizon ago: the last close,
    /// or log(high ÷ low) over the last candles, as many as the horizon has. None while a candle of them is missing.
    pub fn actual(&self) -> Option<f64> {
        match self.spec.recipe {
            Recipe::Calendar | Recipe::Returns => self.end.map(|_| self.close),
            Recipe::Volatility => {
                let first = self.observed.len().checked_sub(self.spec.horizon)?;
                Some(range(self.observed.range(first..)))
            }
        }
    }

    /// What is known at the end of the newest candle. None while the trailing window is incomplete.
    pub fn known(&self) -> Option<Known> {
        let first = self.observed.len().checked_sub(LOOKBACK)?;
        let (at, last) = (self.end?, self.actual()?);
        let mut trailing = [self.observed[first]; LOOKBACK];
        trailing.iter_mut().zip(self.observed.range(first..)).for_each(|(to, candle)| *to = *candle);
        Some(match self.spec.recipe {
            Recipe::Calendar | Recipe::Returns => Known {
                at,
                features: returns::row(&trailing, at).to_vec(),
                last,
                averages: None,
                scale: returns::volatility(&trailing) * (self.spec.horizon as f64).sqrt(),
            },
            Recipe::Volatility => {
                let averages = self.averages.values();
                let features = volatility::row(&trailing, &averages, at).to_vec();
                Known { at, features, last, averages: Some(averages), scale: 1.0 }
            }
        })
    }
}

/// log(high ÷ low) of candles taken together, at least one of which has a range.
pub fn range<'a>(candles: impl Iterator<Item = &'a Observed>) -> f64 {
    let wider =
        |a: Extremes, b: Extremes| Extremes { log_high: a.log_high.max(b.log_high), log_low: a.log_low.min(b.log_low) };
    let extremes = candles.filter_map(|candle| candle.extremes).reduce(wider);
    extremes.map_or(f64::NAN, |extremes| extremes.range())
}

#[cfg(test)]
mod tests;
