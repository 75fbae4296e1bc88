//! Features and labels, row by row: what a model learns from and is scored on.
//!
//! Two recipes. `calendar` is the original program's: one row a tick, its time in, its close out. `returns` is one row a
//! candle: what prices did up to its end in, the log return over the horizon out, and the price rebuilt from it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::candle::Candle;
use crate::feature::{self, CALENDAR_COLUMNS, LOOKBACK, Observed, RETURNS_COLUMNS};
use crate::tick::Tick;
use crate::time::{EventTime, Span};
use crate::validate::{PRICE_MAX, PRICE_MIN};

/// What is predicted, and from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// Time, hour and day of the week → close, per tick: the original program's.
    Calendar,
    /// Trailing returns, volatility, range, volume and calendar → the next log return, per candle.
    Returns,
}

impl Recipe {
    /// Every recipe.
    pub const ALL: [Self; 2] = [Self::Calendar, Self::Returns];

    /// The name in flags, records and object keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
            Self::Returns => "returns",
        }
    }

    /// The columns of its features, in order.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Calendar => &CALENDAR_COLUMNS,
            Self::Returns => &RETURNS_COLUMNS,
        }
    }

    /// The price that a model's raw output stands for, given the last close known when predicting: the output itself
    /// (`calendar`), or last × e^output (`returns`). Held within the range of prices, so that it is always positive.
    pub fn price(self, output: f32, last: f64) -> f64 {
        let price = match self {
            Self::Calendar => f64::from(output),
            Self::Returns => last * f64::from(output).exp(),
        };
        price.clamp(PRICE_MIN, PRICE_MAX)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of the recipes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown recipe {0:?}: one of calendar, returns")]
pub struct UnknownRecipe(String);

impl FromStr for Recipe {
    type Err = UnknownRecipe;

    fn from_str(name: &str) -> Result<Self, UnknownRecipe> {
        Self::ALL.into_iter().find(|recipe| recipe.name() == name).ok_or_else(|| UnknownRecipe(name.to_owned()))
    }
}

/// One prediction to be made, and its truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// When it is made: its features hold nothing later.
    pub known: EventTime,
    /// When its truth is known: the end of the predicted candle (or tick).
    pub target_end: EventTime,
    /// The last close known when predicting: the baseline.
    pub last: f64,
    /// The close at `target_end`: the truth.
    pub actual: f64,
    /// What the model is fitted to: `actual` (`calendar`) or log(actual ÷ last) (`returns`).
    pub label: f32,
    /// Errors in log price are measured in units of this: the trailing volatility over the horizon (`returns`), 1
    /// (`calendar`). Positive.
    pub scale: f64,
}

/// Candles or ticks that gave no row, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The trailing window begins before the data or crosses a missing candle.
    pub trailing_window: usize,
    /// The horizon ends after the data or crosses a missing candle.
    pub horizon: usize,
    /// Ticks stand for longer spans than the candle: coarse.
    pub coarse: usize,
}

/// Rows in time order, with their features.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What is predicted, and from what.
    pub recipe: Recipe,
    /// Ascending by `known`.
    pub rows: Vec<Row>,
    /// Row-major: [`Recipe::columns`] numbers a row.
    pub features: Vec<f32>,
    /// What gave no row.
    pub skipped: Skipped,
}

impl Dataset {
    fn new(recipe: Recipe) -> Self {
        Self { recipe, rows: Vec::new(), features: Vec::new(), skipped: Skipped::default() }
    }

    /// Numbers in a row of features.
    pub fn width(&self) -> usize {
        self.recipe.columns().len()
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

    /// The longest time from a prediction to its truth: what a purge must span.
    pub fn horizon(&self) -> Span {
        self.rows.iter().map(|row| row.target_end - row.known).max().unwrap_or(Span(0))
    }

    fn push(&mut self, row: Row, features: &[f32]) {
        self.rows.push(row);
        self.features.extend_from_slice(features);
    }
}

/// Why ticks cannot become a dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// An f32 cannot tell two different minutes apart.
    #[error("the ticks span {days} days, too long to tell the minutes around {at} apart as a feature")]
    TimesCollapse {
        /// Length of the recording in days.
        days: i64,
        /// Where two minutes became one number.
        at: EventTime,
    },
}

/// Makes the `calendar` rows: one a tick, but for the first, which has no last price. `ticks` are ascending by
/// (event time, id). Times are counted from the first tick, which is a training tick in every split by time.
///
/// # Errors
/// When two different minutes become the same f32; that takes a recording of 31 years.
///
/// # Panics
/// When ticks are out of order.
pub fn calendar(ticks: &[Tick]) -> Result<Dataset, DatasetError> {
    let mut dataset = Dataset::new(Recipe::Calendar);
    let Some(first) = ticks.first() else { return Ok(dataset) };
    dataset.skipped.trailing_window = 1;
    let mut before = feature::calendar_row(first.event, first.event);
    for pair in ticks.windows(2) {
        let (last, tick) = (&pair[0], &pair[1]);
        assert!(last.identity() <= tick.identity(), "ticks are sorted by (event time, id)");
        let features = feature::calendar_row(tick.event, first.event);
        if features[0] == before[0] && tick.event.floor(Span::MINUTE) != last.event.floor(Span::MINUTE) {
            let days = (tick.event - first.event).ms() / Span::DAY.ms();
            return Err(DatasetError::TimesCollapse { days, at: tick.event });
        }
        before = features;
        let row = Row {
            known: tick.event,
            target_end: tick.event + tick.grain,
            last: last.close,
            actual: tick.close,
            label: tick.close as f32,
            scale: 1.0,
        };
        dataset.push(row, &features);
    }
    Ok(dataset)
}

/// What a candle tells a model at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Position of the candle among those given.
    pub candle_idx: usize,
    /// The candle's end.
    pub at: EventTime,
    /// By [`RETURNS_COLUMNS`].
    pub features: [f32; RETURNS_COLUMNS.len()],
    /// See [`feature::volatility`].
    pub volatility: f64,
}

/// The features at the end of every candle whose trailing window of [`LOOKBACK`] adjacent candles is complete.
/// `candles` are of one instrument and one tumbling window, ascending, final and not coarse.
pub fn returns_features(candles: &[Candle]) -> Vec<Known> {
    let observed: Vec<_> = candles.iter().map(Observed::new).collect();
    let mut adjacent = 0;
    let mut features = Vec::with_capacity(candles.len());
    for (candle_idx, candle) in candles.iter().enumerate() {
        let follows = candle_idx > 0 && candles[candle_idx - 1].end == candle.start;
        adjacent = if follows { adjacent + 1 } else { 1 };
        if adjacent >= LOOKBACK {
            let trailing = &observed[candle_idx + 1 - LOOKBACK..=candle_idx];
            let row = feature::returns_row(trailing, candle.end);
            let volatility = feature::volatility(trailing);
            features.push(Known { candle_idx, at: candle.end, features: row, volatility });
        }
    }
    features
}

/// Makes the `returns` rows of final candles of one instrument and one tumbling window, ascending: one a candle, where
/// neither the trailing window nor the `horizon` (in candles) crosses a missing one. Coarse candles count as missing.
///
/// # Panics
/// When candles are out of order, provisional, or the horizon is 0.
pub fn returns(candles: &[Candle], horizon: usize) -> Dataset {
    assert!(horizon > 0, "a prediction is about a later candle");
    assert!(candles.windows(2).all(|pair| pair[0].end <= pair[1].start), "candles are sorted and do not overlap");
    assert!(candles.iter().all(|candle| candle.is_final), "provisional candles are no truth");
    let fine: Vec<Candle> = candles.iter().filter(|candle| !candle.is_coarse()).cloned().collect();
    let mut dataset = Dataset::new(Recipe::Returns);
    let known = returns_features(&fine);
    dataset.skipped.coarse = candles.len() - fine.len();
    dataset.skipped.trailing_window = fine.len() - known.len();
    for Known { candle_idx, at, features, volatility } in known {
        let last = &fine[candle_idx];
        let span = Span(last.window.size().ms() * horizon as i64);
        // Candles do not overlap, so the one this far on ends this much later only if none is missing between.
        let Some(target) = fine.get(candle_idx + horizon).filter(|target| target.end == at + span) else {
            dataset.skipped.horizon += 1;
            continue;
        };
        let row = Row {
            known: at,
            target_end: target.end,
            last: last.close,
            actual: target.close,
            label: (target.close / last.close).ln() as f32,
            scale: volatility * (horizon as f64).sqrt(),
        };
        dataset.push(row, &features);
    }
    dataset
}

/// A feature that changes when later data is taken away: it looked ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("feature column {column} at {at} changes when the candles after it are taken away: it knows the future")]
pub struct Leak {
    /// When the row was known.
    pub at: EventTime,
    /// Position of the column.
    pub column: usize,
}

/// Recomputes the features of candle after candle on the history that ends there, and returns the first that differs
/// from the one computed on all of it. `every` candles one is checked: 1 checks all, at quadratic cost.
pub fn first_leak(candles: &[Candle], every: usize, features: impl Fn(&[Candle]) -> Vec<Known>) -> Option<Leak> {
    let whole = features(candles);
    whole.iter().step_by(every.max(1)).find_map(|known| {
        let truncated = features(&candles[..=known.candle_idx]);
        let same_row = truncated.last().filter(|last| last.candle_idx == known.candle_idx);
        let Some(again) = same_row else { return Some(Leak { at: known.at, column: 0 }) };
        let column = (0..known.features.len())
            .find(|&column| known.features[column].to_bits() != again.features[column].to_bits())?;
        Some(Leak { at: known.at, column })
    })
}

#[cfg(test)]
mod tests;
