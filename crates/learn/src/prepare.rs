//! Makes the rows of a training from ticks, or the error that says why there are none.

use market::{Instrument, Recipe, Tick, Window};

use crate::booster::BoosterError;
use crate::candles::{Folded, Interval};
use crate::config::LearnConfig;
use crate::dataset::{Dataset, DatasetError};
use crate::fit::FitConfig;
use crate::row_spec::ROWS_MIN;
use crate::shortage::{Shortage, TickSummary};
use crate::split::{self, RowSplit, Split};

/// Minimum number of rows of a fold. With fewer rows there are fewer folds than configured.
pub(crate) const FOLD_ROWS_MIN: usize = 30;
/// The interval on the card of a recipe that works on ticks.
const TICK_INTERVAL: &str = "tick";

/// Errors of learning.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// Too few rows.
    #[error(
        "not enough data to train on {instrument}: {rows} rows of {interval}, at least {ROWS_MIN} are needed; {why}"
    )]
    TooFewRows {
        /// The instrument.
        instrument: Instrument,
        /// Number of rows.
        rows: usize,
        /// Length of the candles.
        interval: String,
        /// A description of the data, and advice.
        why: String,
    },
    /// The price never moves, or its range never changes.
    #[error("not enough data to train on {instrument}: its {what} in {rows} rows of {interval}")]
    Constant {
        /// The instrument.
        instrument: Instrument,
        /// The value that never changes.
        what: &'static str,
        /// Number of rows.
        rows: usize,
        /// Length of the candles.
        interval: String,
    },
    /// The bars are longer than the configured interval, and would fit into a longer one.
    #[error("--interval {interval} does not work with {instrument}: {why}")]
    TooCoarse {
        /// The instrument.
        instrument: Instrument,
        /// The configured length.
        interval: Window,
        /// A description of the data, and advice.
        why: String,
    },
    /// The ticks give no dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// XGBoost returned an error.
    #[error(transparent)]
    Booster(#[from] BoosterError),
}

impl LearnError {
    /// Whether more data would help.
    pub fn is_not_enough_data(&self) -> bool {
        matches!(self, Self::TooFewRows { .. } | Self::Constant { .. })
    }
}

/// The rows of a training, and the candles that they were made of.
pub struct Prepared {
    /// The rows, with their features.
    pub dataset: Dataset,
    /// Length of the candles; `None` for a recipe that works on ticks.
    window: Option<Window>,
    /// Number of candles, or of ticks for a recipe that works on ticks.
    pub(crate) candles: usize,
}

impl Prepared {
    /// Returns the length of the candles as text.
    pub(crate) fn interval(&self) -> String {
        self.window.map_or_else(|| TICK_INTERVAL.to_owned(), |window| window.to_string())
    }

    /// Returns the settings of the fits. `ticks` are those that the rows were made of.
    pub fn fit_config(&self, ticks: &[Tick], config: &LearnConfig) -> FitConfig {
        FitConfig {
            interval: self.window,
            horizon: config.horizon,
            min_coverage: self.window.map(|_| config.min_coverage),
            origin: (config.recipe == Recipe::Calendar).then_some(ticks[0].event),
            split: config.split,
            boosting: config.boosting,
        }
    }
}

/// Makes the rows, and holds some of them out.
///
/// # Errors
/// Too few rows, a price that never moves, or ticks coarser than the interval.
pub fn prepare_and_split(ticks: &[Tick], config: &LearnConfig) -> Result<(Prepared, RowSplit), LearnError> {
    let prepared = prepare(ticks, config)?;
    let dataset = &prepared.dataset;
    let outer = config.split.split_rows(&dataset.rows, config.holdout, dataset.horizon(), config.boosting.seed);
    if dataset.rows.len() < ROWS_MIN || outer.train.is_empty() || outer.validation.is_empty() {
        return Err(too_few(ticks, config, &prepared));
    }
    if dataset.is_constant() {
        let (rows, interval) = (dataset.rows.len(), prepared.interval());
        let is_price = config.recipe.predicts_prices();
        let what = if is_price { "price does not move" } else { "range does not change" };
        return Err(LearnError::Constant { instrument: config.instrument.clone(), what, rows, interval });
    }
    Ok((prepared, outer))
}

fn prepare(ticks: &[Tick], config: &LearnConfig) -> Result<Prepared, LearnError> {
    if !config.recipe.is_of_candles() {
        return Ok(Prepared { dataset: Dataset::from_ticks(ticks)?, window: None, candles: ticks.len() });
    }
    let (window, folded) = candles(ticks, config);
    let mut dataset = Dataset::from_candles(config.row_spec(), &folded.candles);
    (dataset.skipped.open, dataset.skipped.long_bars) = (folded.open, folded.long_bars);
    Ok(Prepared { dataset, window: Some(window), candles: folded.candles.len() })
}

/// Returns the candles that rows are made of, and their length.
pub fn candles(ticks: &[Tick], config: &LearnConfig) -> (Window, Folded) {
    config.interval.choose(ticks, &config.instrument, config.row_spec())
}

/// Returns the error for too few rows, with advice.
fn too_few(ticks: &[Tick], config: &LearnConfig, prepared: &Prepared) -> LearnError {
    let instrument = config.instrument.clone();
    let (rows, interval) = (prepared.dataset.rows.len(), prepared.interval());
    let Some(window) = prepared.window else {
        let why = format!("the data are {}; take more data", TickSummary(ticks));
        return LearnError::TooFewRows { instrument, rows, interval, why };
    };
    let shortage = Shortage {
        ticks,
        instrument: &instrument,
        spec: config.row_spec(),
        window,
        is_fixed: config.interval == Interval::Fixed(window),
        skipped: prepared.dataset.skipped,
    };
    let why = shortage.words();
    if shortage.is_of_the_interval() {
        LearnError::TooCoarse { instrument, interval: window, why }
    } else {
        LearnError::TooFewRows { instrument, rows, interval, why }
    }
}

/// Returns the rolling-origin folds inside the training part of a split by time: as many as configured, or fewer when
/// they would have too few rows. A random split has none: its rows have no order that folds could respect.
pub fn folds_inside(dataset: &Dataset, outer: &RowSplit, config: &LearnConfig) -> Vec<RowSplit> {
    if config.split == Split::Random {
        return Vec::new();
    }
    let inside: Vec<_> = outer.train.iter().map(|&row| dataset.rows[row]).collect();
    let folds = config.folds.min((inside.len() / FOLD_ROWS_MIN).saturating_sub(1));
    let of_dataset = |rows: Vec<usize>| rows.into_iter().map(|row| outer.train[row]).collect();
    let parts = split::rolling(&inside, folds, dataset.horizon()).into_iter();
    parts.map(|part| RowSplit { train: of_dataset(part.train), validation: of_dataset(part.validation) }).collect()
}
