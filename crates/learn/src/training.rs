//! The learning core: ticks in; a model, its predictions and its card out. No NATS, no files, no clock.

mod card;
mod scoring;

use std::time::Duration;

use market::{Instrument, Recipe, Scores, Tick, Window};
use serde::{Deserialize, Serialize};
use store::archive::catalog::SeqRange;
use store::model_card::{FoldScores, ModelCard, PartScores};
use store::predictions::{Fold, Prediction};

use self::card::{card, model_id};
use self::scoring::{fold_scores, score};
use crate::booster::{BoosterError, Boosting};
use crate::candles::{Folded, Interval};
use crate::dataset::{self, Dataset, DatasetError, RowSpec};
use crate::fit::{Fitted, Split, Task, fit};
use crate::forecaster::Forecaster;
use crate::shortage::{Data, Shortage};
use crate::split::{self, Part};

/// Fewest rows that a model is made of. With fewer even a lucky score means nothing.
pub const ROWS_MIN: usize = 100;
/// Fewest rows of a fold. With fewer rows there are fewer folds than asked for.
const FOLD_ROWS_MIN: usize = 30;
/// What stands in place of an interval for a recipe that works on ticks.
const TICK_INTERVAL: &str = "tick";

/// What to learn, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnConfig {
    /// Whose ticks.
    pub instrument: Instrument,
    /// What is predicted, and from what.
    pub recipe: Recipe,
    /// Length of the candles; recipes that work on ticks have none.
    pub interval: Interval,
    /// How many intervals ahead. At least 1.
    pub horizon: usize,
    /// Candles of less coverage count as missing, 0 to 1.
    pub min_coverage: f64,
    /// How rows are held out.
    pub split: Split,
    /// Share of the rows held out, between 0 and 1.
    pub holdout: f64,
    /// Rolling-origin folds inside the training part; a random split has none.
    pub folds: usize,
    /// How trees are grown. Its seed is also the split's.
    pub boosting: Boosting,
}

impl LearnConfig {
    /// How rows are made of candles; for a recipe that works on ticks those of `returns`, for what is checked beside it.
    pub fn row_spec(&self) -> RowSpec {
        let recipe = if self.recipe.is_of_candles() { self.recipe } else { Recipe::Returns };
        RowSpec { recipe, horizon: self.horizon, min_coverage: self.min_coverage }
    }
}

/// What was learned.
pub struct Learned {
    /// What the model is and how good. Without the time it took.
    pub card: ModelCard,
    /// Predictions of all folds and of the holdout, in order of time within each.
    pub predictions: Vec<Prediction>,
    /// The model's file.
    pub model: Vec<u8>,
    /// How it did beside the rival, if there was one and rows that neither has learned from.
    pub duel: Option<Duel>,
}

impl Learned {
    /// Says on the card how long it took.
    pub fn timed(mut self, took: Duration) -> Self {
        self.card.duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

/// Two models on the same rows, which neither has learned from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Duel {
    /// The new one.
    pub challenger: Scores,
    /// The one before.
    pub rival: Scores,
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// Too few rows.
    #[error(
        "not enough data to train on {instrument}: {rows} rows of {interval}, at least {ROWS_MIN} are needed; {why}"
    )]
    TooFewRows {
        /// Whose ticks.
        instrument: Instrument,
        /// Rows that there are.
        rows: usize,
        /// Length of the candles.
        interval: String,
        /// What the data are, and what to do.
        why: String,
    },
    /// The price never moved, or its range never changed.
    #[error("not enough data to train on {instrument}: its {what} in {rows} rows of {interval}")]
    Constant {
        /// Whose ticks.
        instrument: Instrument,
        /// What never happens, in words.
        what: &'static str,
        /// Rows that there are.
        rows: usize,
        /// Length of the candles.
        interval: String,
    },
    /// The bars are longer than the interval that was asked for, and would fit into a longer one.
    #[error("--interval {interval} does not work with {instrument}: {why}")]
    TooCoarse {
        /// Whose ticks.
        instrument: Instrument,
        /// The length asked for.
        interval: Window,
        /// What the data are, and what to do.
        why: String,
    },
    /// The ticks make no dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The learner refused.
    #[error(transparent)]
    Booster(#[from] BoosterError),
}

impl LearnError {
    /// Whether more data would help.
    pub fn is_not_enough_data(&self) -> bool {
        matches!(self, Self::TooFewRows { .. } | Self::Constant { .. })
    }
}

/// What learning is about to do, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Fit and score a fold.
    Fold {
        /// The fold's number, from 1.
        number: usize,
        /// How many folds there are.
        of: usize,
    },
    /// Fit the model itself, after all of the folds.
    Model {
        /// How many folds there were.
        folds: usize,
    },
}

/// What was fitted and scored.
struct Trained {
    outer: Part,
    task: Task,
    fitted: Fitted,
    holdout: PartScores,
    folds: Vec<FoldScores>,
}

/// Rows to learn from, and what they were made of.
pub struct Prepared {
    /// The rows, with their features.
    pub dataset: Dataset,
    /// Length of the candles; none for a recipe that works on ticks.
    window: Option<Window>,
    candles: usize,
}

impl Prepared {
    /// The length of the candles, in words.
    fn interval(&self) -> String {
        self.window.map_or_else(|| TICK_INTERVAL.to_owned(), |window| window.to_string())
    }

    /// What is fitted to the rows, and how. `ticks` are those that they were made of.
    pub fn task(&self, ticks: &[Tick], config: &LearnConfig) -> Task {
        Task {
            interval: self.window,
            horizon: config.horizon,
            min_coverage: self.window.map(|_| config.min_coverage),
            origin: (config.recipe == Recipe::Calendar).then_some(ticks[0].event),
            split: config.split,
            boosting: config.boosting,
        }
    }
}

/// Learns from the ticks of an instrument, ascending by (event time, id), which were taken from the MARKET sequences
/// `range`. The same ticks, settings and library give the same result, byte for byte.
///
/// # Errors
/// Too few rows, a price that never moves, ticks coarser than the interval, or what the learner refuses.
///
/// # Panics
/// When ticks are out of order.
pub fn learn(ticks: &[Tick], range: Option<SeqRange>, config: &LearnConfig) -> Result<Learned, LearnError> {
    learn_against(ticks, range, config, None, |_| ())
}

/// The same, telling each step before it is done, and scoring a rival on the holdout too: a model of earlier ticks of the
/// same instrument, learned in the same way, which has not learned from these rows either.
///
/// # Errors
/// As [`learn`].
///
/// # Panics
/// As [`learn`], and when the rival is of another recipe.
pub fn learn_against(
    ticks: &[Tick],
    range: Option<SeqRange>,
    config: &LearnConfig,
    rival: Option<&Forecaster>,
    mut tell: impl FnMut(Step),
) -> Result<Learned, LearnError> {
    let (prepared, outer) = prepare_and_split(ticks, config)?;
    let dataset = &prepared.dataset;
    let task = prepared.task(ticks, config);
    let mut predictions = Vec::new();
    let mut folds = Vec::new();
    let parts = folds_inside(dataset, &outer, config);
    for (idx, part) in parts.iter().enumerate() {
        tell(Step::Fold { number: idx + 1, of: parts.len() });
        let fitted = fit(dataset, &part.train, &task)?;
        let scored = score(dataset, &fitted, &part.validation, Fold::Validation(idx + 1), config.split)?;
        folds.push(fold_scores(dataset, part, idx + 1, &fitted, scored.scores));
        predictions.extend(scored.predictions);
    }
    tell(Step::Model { folds: parts.len() });
    let held_out = match config.split {
        Split::Time => Fold::Holdout,
        Split::Random => Fold::Test,
    };
    let fitted = fit(dataset, &outer.train, &task)?;
    let scored = score(dataset, &fitted, &outer.validation, held_out, config.split)?;
    predictions.extend(scored.predictions);
    let duel = match rival {
        Some(rival) => duel(dataset, &outer.validation, &fitted.forecaster, rival)?,
        None => None,
    };

    let model = fitted.forecaster.to_bytes()?;
    let trained = Trained { outer, task, fitted, holdout: scored.scores, folds };
    let mut card = card(ticks, range, config, &prepared, trained);
    card.model = model_id(&card, &model);
    Ok(Learned { card, predictions, model, duel })
}

/// Scores both models on the held-out rows that the rival cannot know either. It has mostly learned from earlier rows; but
/// its archive may have begun later, and its last fifth is then another one.
fn duel(
    dataset: &Dataset,
    held_out: &[usize],
    challenger: &Forecaster,
    rival: &Forecaster,
) -> Result<Option<Duel>, BoosterError> {
    let is_fair = |row: &&usize| dataset.rows[**row].known >= rival.learned_until();
    let rows: Vec<usize> = held_out.iter().filter(is_fair).copied().collect();
    let scores = challenger.evaluate(dataset, &rows)?.zip(rival.evaluate(dataset, &rows)?);
    Ok(scores.map(|(challenger, rival)| Duel { challenger, rival }))
}

/// Makes the rows and holds some out, if there is something to learn.
pub fn prepare_and_split(ticks: &[Tick], config: &LearnConfig) -> Result<(Prepared, Part), LearnError> {
    let prepared = prepare(ticks, config)?;
    let dataset = &prepared.dataset;
    let outer = config.split.part(&dataset.rows, config.holdout, dataset.horizon(), config.boosting.seed);
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
        return Ok(Prepared { dataset: dataset::calendar(ticks)?, window: None, candles: ticks.len() });
    }
    let (window, folded) = candles(ticks, config);
    let mut dataset = dataset::of_candles(config.row_spec(), &folded.candles);
    (dataset.skipped.open, dataset.skipped.long_bars) = (folded.open, folded.long_bars);
    Ok(Prepared { dataset, window: Some(window), candles: folded.candles.len() })
}

/// The candles that rows are made of, and their length.
pub fn candles(ticks: &[Tick], config: &LearnConfig) -> (Window, Folded) {
    config.interval.choose(ticks, &config.instrument, config.row_spec())
}

/// Why there are too few rows, and what to do.
fn too_few(ticks: &[Tick], config: &LearnConfig, prepared: &Prepared) -> LearnError {
    let instrument = config.instrument.clone();
    let (rows, interval) = (prepared.dataset.rows.len(), prepared.interval());
    let Some(window) = prepared.window else {
        let why = format!("the data are {}; take more data", Data(ticks));
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

/// The rolling-origin folds inside the training part of a split by time: as many as asked for, fewer when they would
/// be of too few rows. A random split has none: its rows have no order that folds could respect.
pub fn folds_inside(dataset: &Dataset, outer: &Part, config: &LearnConfig) -> Vec<Part> {
    if config.split == Split::Random {
        return Vec::new();
    }
    let inside: Vec<_> = outer.train.iter().map(|&row| dataset.rows[row]).collect();
    let folds = config.folds.min((inside.len() / FOLD_ROWS_MIN).saturating_sub(1));
    let of_dataset = |rows: Vec<usize>| rows.into_iter().map(|row| outer.train[row]).collect();
    let parts = split::rolling(&inside, folds, dataset.horizon()).into_iter();
    parts.map(|part| Part { train: of_dataset(part.train), validation: of_dataset(part.validation) }).collect()
}

#[cfg(test)]
mod tests;
