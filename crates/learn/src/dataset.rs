//! Features and labels, row by row: what a model learns from and is scored on.
//!
//! Three recipes. `calendar` is the original program's: one row a tick, its time in, its close out. `returns` is one row a
//! candle: what prices did up to its end in, the log return over the horizon out, and the price rebuilt from it.
//! `volatility` is one row a candle too: what ranges did up to its end in, log(high ÷ low) over the horizon out.

mod calendar;
mod row_spec;

use std::borrow::Cow;

use market::Recipe;
use store::model_card::Skipped;

use crate::features::columns;
use crate::target;

pub use self::calendar::{DatasetError, calendar};
pub use self::row_spec::{RowSpec, Unusable};
use market::baseline::HALF_LIVES;
use market::{Baseline, Candle, EventTime, Span};

use crate::features::Observed;
use crate::lookback::{self, Known, Lookback};

/// Ranges that differ by less are equal.
const RANGE_NOISE: f64 = 1e-12;

/// One prediction to be made, and its truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// When it is made: its features hold nothing later.
    pub known: EventTime,
    /// When its truth is known: the end of the predicted candle (or tick).
    pub target_end: EventTime,
    /// The newest value known when predicting: the last close, or the last log(high ÷ low).
    pub last: f64,
    /// The truth: the close at `target_end`, or log(high ÷ low) from `known` to `target_end`.
    pub actual: f64,
    /// What the model is fitted to. See [`target::label`].
    pub label: f32,
    /// Errors in log are measured in units of this: the trailing volatility over the horizon (`returns`), or 1.
    /// Positive.
    pub scale: f64,
}

/// Rows in time order, with their features.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What is predicted, and from what.
    pub recipe: Recipe,
    /// Ascending by `known`.
    pub rows: Vec<Row>,
    /// Row-major: [`columns`] numbers a row.
    pub features: Vec<f32>,
    /// Running averages of what is predicted, one set a row, for `volatility`; empty otherwise.
    pub averages: Vec<[f64; HALF_LIVES.len()]>,
    /// What gave no row.
    pub skipped: Skipped,
}

impl Dataset {
    fn new(recipe: Recipe) -> Self {
        let (rows, features, averages) = (Vec::new(), Vec::new(), Vec::new());
        Self { recipe, rows, features, averages, skipped: Skipped::default() }
    }

    /// Numbers in a row of features.
    pub fn width(&self) -> usize {
        columns(self.recipe).len()
    }

    /// The features of the given rows, row-major; not copied when the rows are adjacent.
    pub fn features_of(&self, rows: &[usize]) -> Cow<'_, [f32]> {
        let width = self.width();
        match (rows.first(), rows.last()) {
            (Some(&first), Some(&last)) if rows.is_sorted() && last - first + 1 == rows.len() => {
                Cow::Borrowed(&self.features[first * width..(last + 1) * width])
            }
            _ => rows.iter().flat_map(|row| &self.features[row * width..(row + 1) * width]).copied().collect(),
        }
    }

    /// The labels of the given rows.
    pub fn labels_of(&self, rows: &[usize]) -> Vec<f32> {
        rows.iter().map(|&row| self.rows[row].label).collect()
    }

    /// What a model's output for a row is relative to. See [`target::anchor`].
    pub fn anchor(&self, row: usize) -> f64 {
        target::anchor(self.recipe, self.rows[row].last, self.averages.get(row))
    }

    /// What a baseline predicts for a row.
    ///
    /// # Panics
    /// When the recipe cannot be compared with it.
    pub fn baseline(&self, row: usize, baseline: Baseline) -> f64 {
        baseline.predict(self.rows[row].last, self.averages.get(row))
    }

    /// Whether what is predicted never changes: then there is nothing to learn. Ranges are differences of logs, whose
    /// last bits are noise.
    pub fn is_constant(&self) -> bool {
        let noise = if self.recipe.predicts_prices() { 0.0 } else { RANGE_NOISE };
        self.rows.iter().all(|row| (row.actual - row.last).abs() <= noise)
    }

    /// The longest time from a prediction to its truth: what a purge must span.
    pub fn horizon(&self) -> Span {
        self.rows.iter().map(|row| row.target_end - row.known).max().unwrap_or(Span(0))
    }

    fn push_known(&mut self, known: Known, target: &[Candle]) {
        let Known { at, features, last, averages, scale } = known;
        let end = &target[target.len() - 1];
        let actual = if self.recipe.predicts_prices() {
            end.close
        } else {
            let observed: Vec<_> = target.iter().map(Observed::new).collect();
            lookback::range(observed.iter())
        };
        let label = target::label(self.recipe, actual, target::anchor(self.recipe, last, averages.as_ref()));
        self.averages.extend(averages);
        self.push(Row { known: at, target_end: end.end, last, actual, label, scale }, &features);
    }

    fn push(&mut self, row: Row, features: &[f32]) {
        self.rows.push(row);
        self.features.extend_from_slice(features);
    }
}

/// What is known at the end of every candle whose trailing window is complete, by pushing all of them through a
/// [`Lookback`]. `candles` are of one instrument and one tumbling window, ascending and final.
///
/// # Panics
/// As [`Lookback::new`] and [`Lookback::push`].
pub fn known(spec: RowSpec, candles: &[Candle]) -> Vec<Known> {
    let mut trail = Lookback::new(spec);
    let push = |candle: &Candle| {
        trail.push(candle);
        trail.known()
    };
    candles.iter().filter_map(push).collect()
}

/// Makes the rows of a recipe that works on candles: final ones of one instrument and one tumbling window, ascending.
/// One row a candle, where neither the trailing window nor the horizon crosses a missing one.
///
/// # Panics
/// When candles are out of order or provisional, the recipe works on ticks, or the horizon is not within its bounds.
pub fn of_candles(spec: RowSpec, candles: &[Candle]) -> Dataset {
    let mut dataset = Dataset::new(spec.recipe);
    let mut trail = Lookback::new(spec);
    for (idx, candle) in candles.iter().enumerate() {
        trail.push(candle);
        if let Some(unusable) = spec.unusable(candle) {
            unusable.count_in(&mut dataset.skipped);
            continue;
        }
        let Some(known) = trail.known() else {
            dataset.skipped.trailing_window += 1;
            continue;
        };
        let Some(target) = target(spec, candles, idx) else {
            dataset.skipped.horizon += 1;
            continue;
        };
        dataset.push_known(known, target);
    }
    dataset
}

/// The candles of the horizon after a candle; None when one of them is missing.
fn target(spec: RowSpec, candles: &[Candle], idx: usize) -> Option<&[Candle]> {
    let target = candles.get(idx + 1..=idx + spec.horizon)?;
    let span = Span(candles[idx].window.size().ms() * spec.horizon as i64);
    // Candles do not overlap, so the last one ends this much later only if none is absent between.
    let is_adjacent = target[spec.horizon - 1].end == candles[idx].end + span;
    let is_whole = is_adjacent && target.iter().all(|candle| spec.unusable(candle).is_none());
    is_whole.then_some(target)
}

/// A feature that changes when later data is taken away: it looked ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("feature column {column} at {at} changes when the candles after it are taken away: it knows the future")]
pub struct Leak {
    /// When the row was known.
    pub at: EventTime,
    /// Position of the column; beyond the last one stand the newest value, the scale and the running averages.
    pub column: usize,
}

/// Recomputes what is known at the end of candle after candle from the history that ends there, and returns the first
/// number that differs from the one computed on all of it. One in `every` rows is checked: 1 checks all, at quadratic
/// cost. `of` is [`known`] of a recipe.
pub fn first_leak(candles: &[Candle], every: usize, of: impl Fn(&[Candle]) -> Vec<Known>) -> Option<Leak> {
    let whole = of(candles);
    whole.iter().step_by(every.max(1)).find_map(|known| {
        let end = candles.partition_point(|candle| candle.end <= known.at);
        let truncated = of(&candles[..end]);
        let Some(again) = truncated.last().filter(|last| last.at == known.at) else {
            return Some(Leak { at: known.at, column: 0 });
        };
        let column = bits(known).into_iter().zip(bits(again)).position(|(whole, truncated)| whole != truncated)?;
        Some(Leak { at: known.at, column })
    })
}

/// All numbers that are known, bit for bit.
fn bits(known: &Known) -> Vec<u64> {
    let others = [known.last, known.scale].into_iter().chain(known.averages.into_iter().flatten());
    let features = known.features.iter().map(|feature| u64::from(feature.to_bits()));
    features.chain(others.map(f64::to_bits)).collect()
}

#[cfg(test)]
pub(crate) mod tests;
