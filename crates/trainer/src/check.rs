//! `trainer check`: whether anything leaks the future into a model, or could flatter its score.
//!
//! Each guard is asked on the user's own data, and one of them is asked about a leak that was planted: a guard that
//! cannot find anything proves nothing.

use anyhow::anyhow;
use bus::NatsArgs;
use learn::booster::BoosterError;
use learn::dataset::{self, Dataset, RowSpec};
use learn::fit::{Split, Task, fit};
use learn::forecaster::Predicted;
use learn::leakage::{distinct_times, part_fault, plant_answer, shuffle_labels};
use learn::lookback::Known;
use learn::split::Part;
use learn::training::{LearnConfig, LearnError, candles, folds_inside, prepare_and_split};
use learn::verdict::five_digits;
use market::candle::Candle;
use market::{Instrument, Recipe, Tick};
use serde::Serialize;
use service::{Code, WithCode};
use store::model_card::RANDOM_LABEL;

use crate::args::{Format, LearnArgs};
use crate::data::DataArgs;
use crate::output;
use crate::progress::Progress;
use crate::train::update;

/// Largest skill that shuffled labels may have: luck, no more.
pub const LUCK_MAX: f64 = 0.02;
/// Rows of features that are made again from truncated history, when candles are few.
const AGAIN_ROWS_MAX: usize = 40;
/// And the fewest, however many candles there are.
const AGAIN_ROWS_MIN: usize = 4;
/// Candles that are gone through again in all, about: a second of work.
const AGAIN_CANDLES: usize = 4_000_000;

/// Flags of `check`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// Where the ticks are, and whose.
    #[command(flatten)]
    pub data: DataArgs,

    /// How it is printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,

    /// What is learned.
    #[command(flatten)]
    pub learn: LearnArgs,
}

/// What a guard found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What should hold.
    pub check: String,
    /// Whether it holds.
    pub ok: bool,
    /// The figures behind it, in words.
    pub detail: String,
}

/// Checks what a training with the same flags would learn from, and prints what it finds.
///
/// # Errors
/// With exit code 1 when something leaks; 4 when there is too little to learn from, 2 and 3 as for `train`.
pub async fn check(args: CheckArgs, nats: &NatsArgs) -> anyhow::Result<()> {
    args.data.instrument.instrument().exit_code(Code::BadConfig)?;
    args.learn.config(Instrument::new("any", "any")?).exit_code(Code::BadConfig)?;
    if let Some(archive) = args.data.archive_to_update() {
        update(&archive.open()?, nats).await?;
    }
    let format = args.format;
    let looked = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let progress = Progress::start();
        let data = args.data.read(&progress)?;
        let config = args.learn.config(data.instrument).exit_code(Code::BadConfig)?;
        let findings = look(&data.ticks, &config, |step| progress.step(step));
        Ok((data.note, findings))
    });
    let (note, findings) = looked.await??;
    if matches!(format, Format::Table) {
        // Before any failure: what was left out of a recording may be why there is too little.
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

/// Asks every guard about the ticks of an instrument, ascending by (event time, id). `tell` hears what is done next.
///
/// # Errors
/// As [`learn::training::learn`].
///
/// # Panics
/// When ticks are out of order.
pub fn look(ticks: &[Tick], config: &LearnConfig, tell: impl Fn(&'static str)) -> Result<Vec<Finding>, LearnError> {
    tell("making rows");
    let (prepared, outer) = prepare_and_split(ticks, config)?;
    let dataset = &prepared.dataset;
    let task = prepared.task(ticks, config);
    let spec = config.row_spec();
    let (_, folded) = candles(ticks, config);
    if spec.count_rows(&folded.candles) == 0 {
        // Ticks can be enough for `calendar` where candles are not; this says why.
        prepare_and_split(ticks, &LearnConfig { recipe: spec.recipe, ..config.clone() })?;
    }

    tell("making features again");
    let of_candles = Recipe::ALL.into_iter().filter(|recipe| recipe.is_of_candles());
    let specs = of_candles.map(|recipe| RowSpec { recipe, ..spec });
    // What the other recipe cannot use says nothing of this one.
    let checked = specs.filter(|other| *other == spec || other.count_rows(&folded.candles) > 0);
    let mut findings: Vec<_> = checked.map(|spec| features_finding(spec, &folded.candles)).collect();
    tell("planting a leak");
    findings.push(planted_finding(dataset, &outer, &task, (spec, &folded.candles))?);
    tell("learning from shuffled labels");
    let mut shuffled = dataset.clone();
    shuffle_labels(&mut shuffled, &outer.train, config.boosting.seed);
    findings.push(shuffled_finding(config.recipe, &errors(&shuffled, &outer, &task)?));
    findings.push(parts_finding(dataset, &outer, config));
    findings.push(times_finding(ticks));
    Ok(findings)
}

/// How many rows are made again, and one in how many that is.
fn sample(rows: usize, candles: usize) -> (usize, usize) {
    let wanted = (AGAIN_CANDLES / candles.max(1)).clamp(AGAIN_ROWS_MIN, AGAIN_ROWS_MAX);
    let every = rows.div_ceil(wanted).max(1);
    (rows.div_ceil(every), every)
}

fn features_finding(spec: RowSpec, candles: &[Candle]) -> Finding {
    let recipe = spec.recipe;
    let known = |candles: &[Candle]| dataset::known(spec, candles);
    let rows = known(candles).len();
    let (count, every) = sample(rows, candles.len());
    let leak = dataset::first_leak(candles, every, known);
    let detail = match leak {
        None => format!("{count} of {rows} rows made again from the history up to each: all equal"),
        Some(leak) => format!("{leak} ({})", column(recipe, leak.column)),
    };
    // Nothing to compare would prove nothing.
    Finding { check: format!("features of {recipe} do not know the future"), ok: leak.is_none() && count > 0, detail }
}

fn column(recipe: Recipe, idx: usize) -> &'static str {
    learn::features::columns(recipe).get(idx).copied().unwrap_or("what its output is relative to")
}

/// The features with the first one replaced by what the next candle will do, wherever that is known already.
fn known_with_leak(spec: RowSpec, candles: &[Candle]) -> Vec<Known> {
    let mut known = dataset::known(spec, candles);
    for row in &mut known {
        let next = candles.partition_point(|candle| candle.start < row.at);
        if let (Some(next), Some(last)) = (candles.get(next), candles.get(next.wrapping_sub(1))) {
            row.features[0] = (next.close / last.close).ln() as f32;
        }
    }
    known
}

/// A feature that knows the next candle must be found, and the error of a model that was told the answer must show it,
/// beside a model without features: even with the answer, trees cannot say a price higher than all that they learned from.
fn planted_finding(
    dataset: &Dataset,
    outer: &Part,
    task: &Task,
    (spec, candles): (RowSpec, &[Candle]),
) -> Result<Finding, BoosterError> {
    let known = |candles: &[Candle]| known_with_leak(spec, candles);
    let (_, every) = sample(candles.len(), candles.len());
    let leak = dataset::first_leak(candles, every, known);
    let mut planted = dataset.clone();
    plant_answer(&mut planted);
    let gain = errors(&planted, outer, task)?.gain();
    Ok(judge_planted(leak.map(|leak| column(spec.recipe, leak.column)), gain))
}

fn judge_planted(found: Option<&str>, gain: Option<f64>) -> Finding {
    let found_words = found.map_or_else(|| "not found".to_owned(), |column| format!("found in {column}"));
    let detail = format!("{found_words}; being told the answer takes {} of the error away", words(gain));
    let is_seen = gain.is_some_and(|gain| gain > LUCK_MAX);
    Finding { check: "a planted leak is caught".to_owned(), ok: found.is_some() && is_seen, detail }
}

fn shuffled_finding(recipe: Recipe, errors: &Errors) -> Finding {
    let skill = errors.skill();
    let detail = format!(
        "skill {}, at most {LUCK_MAX}: RMSE {}, of doing nothing {}, of a constant {}",
        words(skill),
        five_digits(errors.model),
        five_digits(errors.baseline),
        five_digits(errors.constant)
    );
    let is_luck = skill.is_none_or(|skill| skill <= LUCK_MAX);
    Finding { check: format!("{recipe} learns nothing from shuffled labels"), ok: is_luck, detail }
}

fn parts_finding(dataset: &Dataset, outer: &Part, config: &LearnConfig) -> Finding {
    let purge = (config.split == Split::Time).then(|| dataset.horizon());
    let folds = folds_inside(dataset, outer, config);
    let fault = std::iter::once(outer).chain(&folds).find_map(|part| part_fault(&dataset.rows, part, purge));
    let kept = "all learn from truths known in time";
    let detail = match fault {
        None if config.split == Split::Random => RANDOM_LABEL.to_owned(),
        None => format!("holdout and {} folds: no row is learned from and scored, {kept}", folds.len()),
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

/// Root mean squared errors on the held-out rows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Errors {
    /// Of the model.
    model: f64,
    /// Of doing nothing: the baseline.
    baseline: f64,
    /// Of a model without features: what outputs are relative to, times the mean ratio of the truth to it in the training
    /// rows. Where doing nothing is itself informed, as an average of ranges is, this tells what its mere correction is
    /// worth.
    constant: f64,
}

impl Errors {
    /// 1 − the model's error ÷ that of the better one that has learned nothing; None when that one makes no error.
    fn skill(&self) -> Option<f64> {
        let ignorant = self.baseline.min(self.constant);
        (ignorant > 0.0).then(|| 1.0 - self.model / ignorant)
    }

    /// 1 − the model's error ÷ that of a model without features; None when that one makes no error.
    fn gain(&self) -> Option<f64> {
        (self.constant > 0.0).then(|| 1.0 - self.model / self.constant)
    }
}

/// Fits the training rows as a training would, and scores the others.
fn errors(dataset: &Dataset, part: &Part, task: &Task) -> Result<Errors, BoosterError> {
    let forecaster = fit(dataset, &part.train, task)?.forecaster;
    let predicted = forecaster.predict_rows(dataset, &part.validation)?;
    let ratios = part.train.iter().map(|&row| dataset.rows[row].actual / dataset.anchor(row));
    let ratio = ratios.sum::<f64>() / part.train.len() as f64;
    let rmse = |predict: &dyn Fn(usize, &Predicted) -> f64| {
        let rows = part.validation.iter().zip(&predicted);
        let squares = rows.map(|(&row, predicted)| (dataset.rows[row].actual - predict(row, predicted)).powi(2));
        (squares.sum::<f64>() / predicted.len() as f64).sqrt()
    };
    Ok(Errors {
        model: rmse(&|_, predicted| predicted.prediction),
        baseline: rmse(&|_, predicted| predicted.baseline),
        constant: rmse(&|row, _| dataset.anchor(row) * ratio),
    })
}

fn words(skill: Option<f64>) -> String {
    skill.map_or_else(|| "–".to_owned(), |skill| format!("{skill:.4}"))
}

#[cfg(test)]
mod tests;
