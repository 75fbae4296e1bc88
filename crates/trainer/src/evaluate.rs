//! `trainer evaluate`: how good the live forecasts were, model by model and as time went on.

mod table;

use std::collections::BTreeMap;

use bus::reader::{Selection, read_to_end};
use bus::{Connection, RecordKind, Stream, codec, subject};
use learn::evaluation::{Outcome, evaluate as score};
use market::forecast::{ScoreLine, Status};
use market::{EventTime, Instrument, Recipe, Scores, Window};
use serde::Serialize;
use service::{Code, WithCode};

use crate::args::{EvaluateArgs, Format};
use crate::output;

/// The levels of the intervals, as they are named.
const LEVELS: [&str; 4] = ["50", "80", "90", "95"];

/// Which forecasts belong together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Series {
    coin: String,
    quote: String,
    recipe: Recipe,
    interval: Window,
}

/// How good some forecasts were.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Standing {
    /// When the first of them was made.
    from_ms: i64,
    /// When the truth of the last one came.
    to_ms: i64,
    /// How many were of a champion, of a candidate, and from inputs unlike the training data.
    champion: usize,
    candidate: usize,
    unlike_training: usize,
    #[serde(flatten)]
    scores: Scores,
    /// Share of the truths inside the interval, by its level in percent; absent where there was no interval.
    coverage: BTreeMap<&'static str, f64>,
}

/// How good the forecasts of one model were.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct OfModel {
    model: String,
    #[serde(flatten)]
    standing: Standing,
}

/// All forecasts of an instrument: together, by model in order of time, and span by span.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Evaluation {
    #[serde(flatten)]
    series: Series,
    /// Candles of a target are known to at least this share, or the forecast is left out.
    min_coverage: f64,
    /// How many are left out.
    left_out: usize,
    /// Absent when all are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Standing>,
    models: Vec<OfModel>,
    spans: Vec<Standing>,
}

/// A forecast that has met its truth.
#[derive(Debug, Clone)]
struct Met {
    made: EventTime,
    known: EventTime,
    model: String,
    status: Status,
    outcome: Outcome,
    /// The least coverage of the candles of its target.
    coverage: f64,
    inside: [Option<bool>; LEVELS.len()],
}

/// Reads all scores and prints what they come to.
///
/// # Errors
/// Whatever reading can meet; with exit code 4 when no forecast has met its truth yet, or all are left out.
pub async fn evaluate(connection: &Connection, args: &EvaluateArgs) -> anyhow::Result<()> {
    let named = args.instrument.instrument().exit_code(Code::BadConfig)?;
    let met = read(connection, named.as_ref()).await?;
    let evaluations: Vec<Evaluation> =
        met.into_iter().map(|(series, met)| Evaluation::new(series, met, args)).collect();
    if evaluations.is_empty() {
        let of = named.map_or_else(String::new, |named| format!(" of {named}"));
        let error =
            anyhow::anyhow!("no forecast{of} has met its truth yet: `trainer run` makes them, candle by candle");
        return Err(error).exit_code(Code::NotEnoughData);
    }
    if evaluations.iter().all(|evaluation| evaluation.all.is_none()) {
        let left_out: Vec<String> = evaluations.iter().filter_map(table::left_out).collect();
        return Err(anyhow::anyhow!("{}", left_out.join("; "))).exit_code(Code::NotEnoughData);
    }
    match args.format {
        Format::Json => output::print_text(&serde_json::to_string(&evaluations)?),
        Format::Table => output::print_text(&table::text(&evaluations)),
    }
    Ok(())
}

/// All scores, in the order in which their truths came.
async fn read(connection: &Connection, named: Option<&Instrument>) -> anyhow::Result<BTreeMap<Series, Vec<Met>>> {
    bus::topology::require(connection, Stream::Forecast).await?;
    let filters = vec![subject::of_kind(Stream::Forecast, RecordKind::Score, named)];
    let selection = Selection { stream: Stream::Forecast, filters, from: 1 };
    let mut all: BTreeMap<Series, Vec<Met>> = BTreeMap::new();
    read_to_end(connection, selection, |delivery| -> anyhow::Result<()> {
        if !codec::is_known_schema(delivery.headers.as_ref(), RecordKind::Score) {
            let error = anyhow::anyhow!(
                "FORECAST holds scores of another version: run `topology rebuild forecast`, and the trainer forecasts anew"
            );
            return Err(error).exit_code(Code::Server);
        }
        for (_, line) in codec::lines(&delivery.payload) {
            let line: ScoreLine<'_> = serde_json::from_slice(line)?;
            let (series, met) = take(&line);
            all.entry(series).or_default().push(met);
        }
        Ok(())
    })
    .await?;
    Ok(all)
}

fn take(line: &ScoreLine<'_>) -> (Series, Met) {
    let key = &line.key;
    let (coin, quote) = (key.coin.to_string(), key.quote.to_string());
    let series = Series { coin, quote, recipe: key.recipe, interval: key.interval };
    let met = Met {
        made: EventTime(key.made_ms),
        known: EventTime(key.target_end_ms),
        model: key.model.to_string(),
        status: key.status,
        coverage: line.coverage,
        outcome: Outcome { baseline: key.baseline, actual: line.actual, predicted: key.prediction },
        inside: [line.inside_50, line.inside_80, line.inside, line.inside_95],
    };
    (series, met)
}

impl Evaluation {
    fn new(series: Series, mut met: Vec<Met>, args: &EvaluateArgs) -> Self {
        let count = met.len();
        met.retain(|met| met.coverage >= args.min_coverage);
        let mut by_model: Vec<(String, Vec<Met>)> = Vec::new();
        for met in &met {
            match by_model.iter_mut().find(|(model, _)| *model == met.model) {
                Some((_, of_model)) => of_model.push(met.clone()),
                None => by_model.push((met.model.clone(), vec![met.clone()])),
            }
        }
        let standing = |met: &[Met]| Standing::of(&series, met);
        let of_model = |(model, met): (String, Vec<Met>)| Some(OfModel { model, standing: standing(&met)? });
        let span_of = |met: &Met| met.made.floor(args.by);
        let models = by_model.into_iter().filter_map(of_model).collect();
        let spans = met.chunk_by(|a, b| span_of(a) == span_of(b)).filter_map(standing).collect();
        let (all, left_out) = (standing(&met), count - met.len());
        Self { min_coverage: args.min_coverage, left_out, all, models, spans, series }
    }
}

impl Standing {
    /// None without forecasts.
    fn of(series: &Series, met: &[Met]) -> Option<Self> {
        let (first, last) = met.first().zip(met.last())?;
        let horizon = (first.known - first.made).ms() / series.interval.size().ms();
        let outcomes: Vec<Outcome> = met.iter().map(|met| met.outcome).collect();
        let with = |status| met.iter().filter(|met| met.status == status).count();
        let coverage = LEVELS.into_iter().enumerate().filter_map(|(idx, level)| {
            let inside: Vec<bool> = met.iter().filter_map(|met| met.inside[idx]).collect();
            let share = inside.iter().filter(|&&inside| inside).count() as f64 / inside.len() as f64;
            (!inside.is_empty()).then_some((level, share))
        });
        Some(Self {
            from_ms: first.made.ms(),
            to_ms: last.known.ms(),
            champion: with(Status::Champion),
            candidate: with(Status::Candidate),
            unlike_training: with(Status::UnlikeTraining),
            scores: score(series.recipe, usize::try_from(horizon).ok()?, &outcomes)?,
            coverage: coverage.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn evaluation(flags: &[&str], coverages: &[f64]) -> Evaluation {
        let args = Args::try_parse_from([&["trainer", "evaluate"], flags].concat()).expect("valid flags");
        let Command::Evaluate(args) = args.command else { panic!("evaluate was asked for") };
        let met = |(idx, coverage): (i64, &f64)| Met {
            made: EventTime(idx * 60_000),
            known: EventTime((idx + 1) * 60_000),
            model: "4be1c1f02b6f2a07".to_owned(),
            status: Status::Champion,
            outcome: Outcome { baseline: 10.0, actual: 11.0 + idx as f64, predicted: 10.5 },
            coverage: *coverage,
            inside: [Some(true); LEVELS.len()],
        };
        let (coin, quote) = ("bitcoin".to_owned(), "usd".to_owned());
        let series = Series { coin, quote, recipe: Recipe::Returns, interval: Window::Minute };
        Evaluation::new(series, (0..).zip(coverages).map(met).collect(), &args)
    }

    #[test]
    fn forecasts_of_thin_truths_are_left_out_and_counted() {
        let rows = |flags: &[&str]| {
            let evaluation = evaluation(flags, &[1.0, 0.9, 0.5, 0.4]);
            (evaluation.all.as_ref().map(|all| all.scores.rows), evaluation.left_out, table::text(&[evaluation]))
        };
        let (all, left_out, text) = rows(&[]);
        assert_eq!((all, left_out), (Some(3), 1));
        assert!(text.contains("1 forecasts of bitcoin/usd are left out: less than --min-coverage 0.5"), "{text}");
        let (all, left_out, text) = rows(&["--min-coverage", "0"]);
        assert_eq!((all, left_out), (Some(4), 0));
        assert!(!text.contains("left out"), "{text}");
        assert_eq!(rows(&["--min-coverage", "0.95"]).0, Some(1));
    }

    #[test]
    fn a_series_of_which_nothing_is_left_says_so() {
        let evaluation = evaluation(&["--min-coverage", "1"], &[0.9, 0.9]);
        assert!(evaluation.all.is_none() && evaluation.models.is_empty());
        let text = table::text(&[evaluation]);
        assert!(text.starts_with("bitcoin/usd") && text.contains("2 forecasts of bitcoin/usd are left out"), "{text}");
    }
}
