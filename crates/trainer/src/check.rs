//! `trainer check`: looks for leakage of the future into a model, and for scores that are flattered.
//!
//! Each check runs on the user's own data. One of them plants a leak that must be found: a check that can find nothing
//! proves nothing.

pub(crate) mod finding;

use anyhow::anyhow;
use bus::NatsArgs;
use learn::booster::BoosterError;
use learn::config::LearnConfig;
use learn::dataset::Dataset;
use learn::fit::{FitConfig, fit};
use learn::forecaster::Predicted;
use learn::leakage::{distinct_times, first_leak, plant_answer, shuffle_labels, split_fault};
use learn::lookback::{FeatureRow, feature_rows};
use learn::prepare::{LearnError, candles, folds_inside, prepare_and_split};
use learn::row_spec::RowSpec;
use learn::split::{RowSplit, Split};
use learn::verdict::five_digits;
use market::candle::Candle;
use market::{Instrument, Recipe, Tick};
use service::{Code, WithCode};
use store::model_card::RANDOM_LABEL;

use self::finding::Finding;
use crate::archive_update::update;
use crate::args::{Format, LearnArgs};
use crate::data::DataArgs;
use crate::output;
use crate::progress::ProgressDisplay;

/// Largest skill by luck that a model of shuffled labels may have.
pub const LUCK_MAX: f64 = 0.02;
/// Largest number of feature rows that are recomputed from truncated history.
const RECOMPUTED_ROWS_MAX: usize = 40;
/// Smallest number of them, for any number of candles.
const RECOMPUTED_ROWS_MIN: usize = 4;
/// Candles that are read again in all, about a second of work. They decide the number of rows between the two bounds.
const RECOMPUTED_CANDLES: usize = 4_000_000;

/// Flags of `check`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The ticks to check with.
    #[command(flatten)]
    pub data: DataArgs,

    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,

    /// Learning options.
    #[command(flatten)]
    pub learn: LearnArgs,
}

/// Runs all checks on the rows that a training with the same flags would learn from, and prints the findings.
///
/// # Errors
/// Exit code 1: a check fails. 4: too few data to learn from. 2 and 3: as for `train`.
pub async fn check(args: CheckArgs, nats: &NatsArgs) -> anyhow::Result<()> {
    args.data.instrument.instrument().exit_code(Code::BadConfig)?;
    args.learn.config(Instrument::new("any", "any")?).exit_code(Code::BadConfig)?;
    if let Some(archive) = args.data.archive_to_update() {
        update(&archive.open()?, nats).await?;
    }
    let format = args.format;
    let checked = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let progress = ProgressDisplay::start();
        let data = args.data.read(&progress)?;
        let config = args.learn.config(data.instrument).exit_code(Code::BadConfig)?;
        let findings = run_checks(&data.ticks, &config, |step| progress.step(step));
        Ok((data.note, findings))
    });
    let (note, findings) = checked.await??;
    if matches!(format, Format::Table) {
        // Printed before an error, because rows that were left out may be the reason for it.
        output::print_note(note.as_deref());
    }
    let findings = findings?;
    match format {
        Format::Table => output::print_findings(&findings),
        Format::Json => output::print_findings_json(&findings),
    }
    conclude(&findings)
}

fn conclude(findings: &[Finding]) -> anyhow::Result<()> {
    let failed: Vec<_> = findings.iter().filter(|finding| !finding.ok).map(|finding| finding.check.as_str()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(anyhow!("{} of {} checks failed: {}", failed.len(), findings.len(), failed.join("; "))).exit_code(Code::Failed)
}

/// Runs all checks on the ticks of an instrument, ascending by (event time, id). `report` is called with the name of
/// each step.
///
/// # Errors
/// As [`learn::training::learn`].
///
/// # Panics
/// When ticks are out of order.
pub fn run_checks(
    ticks: &[Tick],
    config: &LearnConfig,
    report: impl Fn(&'static str),
) -> Result<Vec<Finding>, LearnError> {
    report("making rows");
    let (prepared, outer) = prepare_and_split(ticks, config)?;
    let dataset = &prepared.dataset;
    let fit_config = prepared.fit_config(ticks, config);
    let spec = config.row_spec();
    let (_, folded) = candles(ticks, config);
    if spec.count_rows(&folded.candles) == 0 {
        // `calendar` has enough ticks, but the candle recipes have no row: this returns the reason.
        prepare_and_split(ticks, &LearnConfig { recipe: spec.recipe, ..config.clone() })?;
    }

    report("recomputing features");
    let of_candles = Recipe::ALL.into_iter().filter(|recipe| recipe.is_of_candles());
    let specs = of_candles.map(|recipe| RowSpec { recipe, ..spec });
    // The other recipe is checked too, unless it has no rows.
    let checked = specs.filter(|other| *other == spec || other.count_rows(&folded.candles) > 0);
    let mut findings: Vec<_> = checked.map(|spec| features_finding(spec, &folded.candles)).collect();
    report("planting a leak");
    findings.push(planted_finding(dataset, &outer, &fit_config, (spec, &folded.candles))?);
    report("learning from shuffled labels");
    let mut shuffled = dataset.clone();
    shuffle_labels(&mut shuffled, &outer.train, config.boosting.seed);
    findings.push(shuffled_finding(config.recipe, &errors(&shuffled, &outer, &fit_config)?));
    findings.push(split_finding(dataset, &outer, config));
    findings.push(times_finding(ticks));
    Ok(findings)
}

/// Returns how many of `rows` are recomputed, and the step from one to the next.
fn sample(rows: usize, candles: usize) -> (usize, usize) {
    let wanted = (RECOMPUTED_CANDLES / candles.max(1)).clamp(RECOMPUTED_ROWS_MIN, RECOMPUTED_ROWS_MAX);
    let every = rows.div_ceil(wanted).max(1);
    (rows.div_ceil(every), every)
}

fn features_finding(spec: RowSpec, candles: &[Candle]) -> Finding {
    let recipe = spec.recipe;
    let rows_of = |candles: &[Candle]| feature_rows(spec, candles);
    let rows = rows_of(candles).len();
    let (count, every) = sample(rows, candles.len());
    let leak = first_leak(candles, every, rows_of);
    let detail = match leak {
        None => format!("{count} of {rows} rows recomputed from the history up to each: all equal"),
        Some(leak) => format!("{leak} ({})", column(recipe, leak.column)),
    };
    // Without a row to compare the check fails.
    Finding { check: format!("features of {recipe} do not know the future"), ok: leak.is_none() && count > 0, detail }
}

fn column(recipe: Recipe, idx: usize) -> &'static str {
    learn::features::columns(recipe).get(idx).copied().unwrap_or("the reference of its output")
}

/// Returns feature rows whose first feature is the return of the next candle, where the history has it.
fn rows_with_leak(spec: RowSpec, candles: &[Candle]) -> Vec<FeatureRow> {
    let mut rows = feature_rows(spec, candles);
    for row in &mut rows {
        let next = candles.partition_point(|candle| candle.start < row.at);
        if let (Some(next), Some(last)) = (candles.get(next), candles.get(next.wrapping_sub(1))) {
            row.features[0] = (next.close / last.close).ln() as f32;
        }
    }
    rows
}

/// Checks that a feature that knows the next candle is found, and that a model with the label as a feature has a
/// smaller error than a model without features. Its error is not 0: trees cannot predict beyond the range of their
/// training labels.
fn planted_finding(
    dataset: &Dataset,
    outer: &RowSplit,
    fit_config: &FitConfig,
    (spec, candles): (RowSpec, &[Candle]),
) -> Result<Finding, BoosterError> {
    let rows_of = |candles: &[Candle]| rows_with_leak(spec, candles);
    let (_, every) = sample(candles.len(), candles.len());
    let leak = first_leak(candles, every, rows_of);
    let mut planted = dataset.clone();
    plant_answer(&mut planted);
    let gain = errors(&planted, outer, fit_config)?.gain();
    Ok(judge_planted(leak.map(|leak| column(spec.recipe, leak.column)), gain))
}

fn judge_planted(found: Option<&str>, gain: Option<f64>) -> Finding {
    let found_words = found.map_or_else(|| "not found".to_owned(), |column| format!("found in {column}"));
    let detail = format!("{found_words}; the label as a feature removes {} of the error", ratio(gain));
    let is_visible = gain.is_some_and(|gain| gain > LUCK_MAX);
    Finding { check: "a planted leak is caught".to_owned(), ok: found.is_some() && is_visible, detail }
}

fn shuffled_finding(recipe: Recipe, errors: &Errors) -> Finding {
    let skill = errors.skill();
    let detail = format!(
        "skill {}, at most {LUCK_MAX}: RMSE {}, of the naive baseline {}, of a constant {}",
        ratio(skill),
        five_digits(errors.model),
        five_digits(errors.baseline),
        five_digits(errors.constant)
    );
    let is_luck = skill.is_none_or(|skill| skill <= LUCK_MAX);
    Finding { check: format!("{recipe} learns nothing from shuffled labels"), ok: is_luck, detail }
}

fn split_finding(dataset: &Dataset, outer: &RowSplit, config: &LearnConfig) -> Finding {
    let purge = (config.split == Split::Time).then(|| dataset.horizon());
    let folds = folds_inside(dataset, outer, config);
    let fault = std::iter::once(outer).chain(&folds).find_map(|split| split_fault(&dataset.rows, split, purge));
    let detail = match fault {
        None if config.split == Split::Random => RANDOM_LABEL.to_owned(),
        None => format!(
            "holdout and {} folds: no training row is scored, and all training truths are known in time",
            folds.len()
        ),
        Some(fault) => fault.to_string(),
    };
    let ok = fault.is_none() && config.split == Split::Time;
    Finding { check: "no row is in two parts, and none knows the future of another".to_owned(), ok, detail }
}

fn times_finding(ticks: &[Tick]) -> Finding {
    let distinct = distinct_times(ticks);
    let detail = match distinct.collapsed {
        None => format!("{} times are {} different numbers", distinct.times, distinct.numbers),
        Some(at) => format!("the minute of {at} cannot be told from the one before it"),
    };
    Finding { check: "times stay distinct as f32".to_owned(), ok: distinct.collapsed.is_none(), detail }
}

/// Root mean squared errors on the held-out rows, in units of the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Errors {
    /// Of the model.
    model: f64,
    /// Of the naive baseline.
    baseline: f64,
    /// Of a model without features: the reference of the output times the mean ratio of truth to reference in the
    /// training rows. It shows how much of a gain on the naive baseline is mere correction of its level.
    constant: f64,
}

impl Errors {
    /// Returns 1 − the model's error ÷ the smaller of the other two; `None` when that is 0.
    fn skill(&self) -> Option<f64> {
        let reference = self.baseline.min(self.constant);
        (reference > 0.0).then(|| 1.0 - self.model / reference)
    }

    /// Returns 1 − the model's error ÷ that of a model without features; `None` when that is 0.
    fn gain(&self) -> Option<f64> {
        (self.constant > 0.0).then(|| 1.0 - self.model / self.constant)
    }
}

/// Fits the training rows as a training would, and scores the others.
fn errors(dataset: &Dataset, split: &RowSplit, fit_config: &FitConfig) -> Result<Errors, BoosterError> {
    let forecaster = fit(dataset, &split.train, fit_config)?.forecaster;
    let predicted = forecaster.predict_rows(dataset, &split.validation)?;
    let ratios = split.train.iter().map(|&row| dataset.rows[row].actual / dataset.reference(row));
    let mean_ratio = ratios.sum::<f64>() / split.train.len() as f64;
    let rmse = |predict: &dyn Fn(usize, &Predicted) -> f64| {
        let rows = split.validation.iter().zip(&predicted);
        let squares = rows.map(|(&row, predicted)| (dataset.rows[row].actual - predict(row, predicted)).powi(2));
        (squares.sum::<f64>() / predicted.len() as f64).sqrt()
    };
    Ok(Errors {
        model: rmse(&|_, predicted| predicted.prediction),
        baseline: rmse(&|_, predicted| predicted.baseline),
        constant: rmse(&|row, _| dataset.reference(row) * mean_ratio),
    })
}

/// Shows a ratio with four decimals, or a dash.
fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.4}"))
}

#[cfg(test)]
mod tests;
