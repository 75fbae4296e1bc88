//! Features and labels, row by row: what a model learns from and is scored on.
//!
//! Three recipes. `calendar` is the original program's: one row a tick, its time in, its close out. `returns` is one row a
//! candle: what prices did up to its end in, the log return over the horizon out, and the price rebuilt from it.
//! `volatility` is one row a candle too: what ranges did up to its end in, log(high ÷ low) over the horizon out.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::candle::Candle;
use crate::feature::volatility::{self, HALF_LIVES, RANGE_MIN};
use crate::feature::{self, CALENDAR_COLUMNS, Observed, returns};
use crate::tick::Tick;
use crate::time::{EventTime, Span};
use crate::trail::{self, Known, Trail};
use crate::validate::{PRICE_MAX, PRICE_MIN};

/// Ranges that differ by less are equal.
const RANGE_NOISE: f64 = 1e-12;

/// What is predicted, and from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// Time, hour and day of the week → close, per tick: the original program's.
    Calendar,
    /// Trailing returns, volatility, range, volume and calendar → the next log return, per candle.
    Returns,
    /// Trailing ranges, returns, volume and calendar, in units of a running average → the next log(high ÷ low), per
    /// candle.
    Volatility,
}

impl Recipe {
    /// Every recipe.
    pub const ALL: [Self; 3] = [Self::Calendar, Self::Returns, Self::Volatility];

    /// The name in flags, records and object keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
            Self::Returns => "returns",
            Self::Volatility => "volatility",
        }
    }

    /// The columns of its features, in order.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Calendar => &CALENDAR_COLUMNS,
            Self::Returns => &returns::COLUMNS,
            Self::Volatility => &volatility::COLUMNS,
        }
    }

    /// Whether it works on candles; otherwise on ticks.
    pub const fn is_of_candles(self) -> bool {
        matches!(self, Self::Returns | Self::Volatility)
    }

    /// Whether it predicts prices; otherwise log(high ÷ low).
    pub const fn predicts_prices(self) -> bool {
        matches!(self, Self::Calendar | Self::Returns)
    }

    /// What a model's output is relative to, given the newest value and the running averages: the last close
    /// (`returns`), the level of the range (`volatility`), nothing but 1 (`calendar`). Positive.
    ///
    /// # Panics
    /// When `volatility` is given no averages.
    pub fn anchor(self, last: f64, averages: Option<&[f64; HALF_LIVES.len()]>) -> f64 {
        match self {
            Self::Calendar => 1.0,
            Self::Returns => last,
            Self::Volatility => volatility::level(averages.expect("volatility has averages")),
        }
    }

    /// What a model is fitted to: the truth itself (`calendar`), log(actual ÷ anchor) (`returns`), or that held within
    /// bounds (`volatility`, see [`volatility::log_ratio`]).
    pub fn label(self, actual: f64, anchor: f64) -> f32 {
        let label = match self {
            Self::Calendar => actual,
            Self::Returns => (actual / anchor).ln(),
            Self::Volatility => volatility::log_ratio(actual, anchor),
        };
        label as f32
    }

    /// The price or range that a model's output stands for: the output itself (`calendar`), or anchor × e^output. Held
    /// within the range of prices, or from [`RANGE_MIN`] to the range between the lowest price and the highest, so that
    /// it is always positive.
    pub fn value(self, output: f32, anchor: f64) -> f64 {
        match self {
            Self::Calendar => f64::from(output).clamp(PRICE_MIN, PRICE_MAX),
            Self::Returns => (anchor * f64::from(output).exp()).clamp(PRICE_MIN, PRICE_MAX),
            Self::Volatility => (anchor * f64::from(output).exp()).clamp(RANGE_MIN, (PRICE_MAX / PRICE_MIN).ln()),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of the recipes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown recipe {0:?}: one of calendar, returns, volatility")]
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
    /// The newest value known when predicting: the last close, or the last log(high ÷ low).
    pub last: f64,
    /// The truth: the close at `target_end`, or log(high ÷ low) from `known` to `target_end`.
    pub actual: f64,
    /// What the model is fitted to. See [`Recipe::label`].
    pub label: f32,
    /// Errors in log are measured in units of this: the trailing volatility over the horizon (`returns`), or 1.
    /// Positive.
    pub scale: f64,
}

/// Candles or ticks that gave no row, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The trailing window begins before the data or crosses a missing candle.
    pub trailing_window: usize,
    /// The horizon ends after the data or crosses a missing candle.
    pub horizon: usize,
    /// Less of the candle's window is known than learning asks for.
    pub thin: usize,
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

    /// What a model's output for a row is relative to. See [`Recipe::anchor`].
    pub fn anchor(&self, row: usize) -> f64 {
        self.recipe.anchor(self.rows[row].last, self.averages.get(row))
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
            trail::range(observed.iter())
        };
        let label = self.recipe.label(actual, self.recipe.anchor(last, averages.as_ref()));
        self.averages.extend(averages);
        self.push(Row { known: at, target_end: end.end, last, actual, label, scale }, &features);
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
            target_end: tick.end(),
            last: last.close,
            actual: tick.close,
            label: Recipe::Calendar.label(tick.close, 1.0),
            scale: 1.0,
        };
        dataset.push(row, &features);
    }
    Ok(dataset)
}

/// What is known at the end of every candle whose trailing window is complete, by pushing all of them through a
/// [`Trail`]. `candles` are of one instrument and one tumbling window, ascending and final.
///
/// # Panics
/// As [`Trail::new`] and [`Trail::push`].
pub fn known(recipe: Recipe, horizon: usize, candles: &[Candle]) -> Vec<Known> {
    let mut trail = Trail::new(recipe, horizon);
    let push = |candle: &Candle| {
        trail.push(candle);
        trail.known()
    };
    candles.iter().filter_map(push).collect()
}

/// Makes the rows of a recipe that works on candles: final ones of one instrument and one tumbling window, ascending.
/// One row a candle, where neither the trailing window nor the `horizon` (in candles) crosses a missing one. Thin
/// candles count as missing.
///
/// # Panics
/// When candles are out of order or provisional, the recipe works on ticks, or the horizon is not within its bounds.
pub fn of_candles(recipe: Recipe, horizon: usize, candles: &[Candle]) -> Dataset {
    let mut dataset = Dataset::new(recipe);
    let mut trail = Trail::new(recipe, horizon);
    for (idx, candle) in candles.iter().enumerate() {
        trail.push(candle);
        if candle.is_thin() {
            dataset.skipped.thin += 1;
            continue;
        }
        let Some(known) = trail.known() else {
            dataset.skipped.trailing_window += 1;
            continue;
        };
        let Some(target) = target(candles, idx, horizon) else {
            dataset.skipped.horizon += 1;
            continue;
        };
        dataset.push_known(known, target);
    }
    dataset
}

/// The candles of the horizon after a candle; None when one is missing or thin.
fn target(candles: &[Candle], idx: usize, horizon: usize) -> Option<&[Candle]> {
    let target = candles.get(idx + 1..=idx + horizon)?;
    let span = Span(candles[idx].window.size().ms() * horizon as i64);
    // Candles do not overlap, so the last one ends this much later only if none is missing between.
    let is_whole = target[horizon - 1].end == candles[idx].end + span && !target.iter().any(Candle::is_thin);
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
