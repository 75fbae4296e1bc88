//! Features and labels, row by row.
//!
//! There are three recipes. `calendar`, from the original program, has one row a tick: its time predicts its close.
//! `returns` has one row a candle: prices up to its end predict the log return over the horizon, from which the price
//! is rebuilt. `volatility` has one row a candle: ranges up to its end predict log(high ÷ low) over the horizon.

mod from_candles;
mod from_ticks;

use std::borrow::Cow;

use market::baseline::HALF_LIVES;
use market::{Baseline, EventTime, Recipe, Span};
use store::model_card::Skipped;

use crate::features::columns;
use crate::target;

/// Ranges that differ by less than this are equal.
const RANGE_NOISE: f64 = 1e-12;

/// A prediction to be made, and its truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DatasetRow {
    /// Event time at which the prediction is made. Its features hold nothing later.
    pub made: EventTime,
    /// Event time at which the truth is known: the end of the predicted candle (or tick).
    pub target_end: EventTime,
    /// The newest value at `made`: the last close, or the last log(high ÷ low).
    pub last: f64,
    /// The truth: the close at `target_end`, or log(high ÷ low) from `made` to `target_end`.
    pub actual: f64,
    /// The label that the model is fitted to. See [`target::label`].
    pub label: f32,
    /// The unit of errors in log: the trailing volatility over the horizon (`returns`), or 1. Positive.
    pub scale: f64,
}

/// Rows in time order, with their features.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The recipe of the rows.
    pub recipe: Recipe,
    /// Ascending by `made`.
    pub rows: Vec<DatasetRow>,
    /// Row-major: one value for each of [`columns`] a row.
    pub features: Vec<f32>,
    /// Running averages of the predicted value, one set a row, for `volatility`; empty otherwise.
    pub averages: Vec<[f64; HALF_LIVES.len()]>,
    /// Candles or ticks that gave no row, by cause.
    pub skipped: Skipped,
}

/// Why ticks give no dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// Two different minutes have the same value as f32.
    #[error("the ticks span {days} days, too long to tell the minutes around {at} apart as a feature")]
    TimesCollapse {
        /// Length of the recording in days.
        days: i64,
        /// The later of the two minutes.
        at: EventTime,
    },
}

impl Dataset {
    fn new(recipe: Recipe) -> Self {
        let (rows, features, averages) = (Vec::new(), Vec::new(), Vec::new());
        Self { recipe, rows, features, averages, skipped: Skipped::default() }
    }

    /// Returns the number of features of a row.
    pub fn width(&self) -> usize {
        columns(self.recipe).len()
    }

    /// Returns the features of the given rows, row-major; borrowed when the rows are adjacent.
    pub fn features_of(&self, rows: &[usize]) -> Cow<'_, [f32]> {
        let width = self.width();
        match (rows.first(), rows.last()) {
            (Some(&first), Some(&last)) if rows.is_sorted() && last - first + 1 == rows.len() => {
                Cow::Borrowed(&self.features[first * width..(last + 1) * width])
            }
            _ => rows.iter().flat_map(|row| &self.features[row * width..(row + 1) * width]).copied().collect(),
        }
    }

    /// Returns the labels of the given rows.
    pub fn labels_of(&self, rows: &[usize]) -> Vec<f32> {
        rows.iter().map(|&row| self.rows[row].label).collect()
    }

    /// Returns the reference of a row, which a model's output is relative to. See [`target::reference`].
    pub fn reference(&self, row: usize) -> f64 {
        target::reference(self.recipe, self.rows[row].last, self.averages.get(row))
    }

    /// Returns the prediction of a naive baseline for a row.
    ///
    /// # Panics
    /// The recipe has no such baseline.
    pub fn baseline(&self, row: usize, baseline: Baseline) -> f64 {
        baseline.predict(self.rows[row].last, self.averages.get(row))
    }

    /// Whether the predicted value never changes: then there is nothing to learn. Ranges are differences of logs, so
    /// their last bits are noise.
    pub fn is_constant(&self) -> bool {
        let noise = if self.recipe.predicts_prices() { 0.0 } else { RANGE_NOISE };
        self.rows.iter().all(|row| (row.actual - row.last).abs() <= noise)
    }

    /// Returns the longest time from a prediction to its truth, which a purge must span.
    pub fn horizon(&self) -> Span {
        self.rows.iter().map(|row| row.target_end - row.made).max().unwrap_or(Span(0))
    }

    fn push(&mut self, row: DatasetRow, features: &[f32]) {
        self.rows.push(row);
        self.features.extend_from_slice(features);
    }
}

#[cfg(test)]
pub(crate) mod tests;
