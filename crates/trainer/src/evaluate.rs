//! `trainer evaluate`: how good the live forecasts were, model by model and span by span.

mod table;

use std::collections::BTreeMap;

use bus::reader::{Selection, read_to_end};
use bus::{Connection, Kind, Stream, codec, subject};
use market::dataset::Recipe;
use market::evaluation::{Outcome, Scores, evaluate as score};
use market::forecast::{ScoreLine, Status};
use market::{EventTime, Instrument, Window};
use serde::Serialize;
use service::{Code, WithCode};

use crate::args::{EvaluateArgs, Format};
use crate::output;

/// The levels of the intervals, as they are named.
const LEVELS: [&str; 4] = ["50", "80", "90", "95"];

/// Which forecasts belong together: of one model, instrument and recipe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Series {
    pub(crate) coin: String,
    pub(crate) quote: String,
    pub(crate) recipe: Recipe,
    pub(crate) interval: Window,
    pub(crate) model: String,
}

/// How good forecasts were.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Standing {
    /// When the first of them was made.
    pub(crate) from_ms: i64,
    /// When the truth of the last one came.
    pub(crate) to_ms: i64,
    /// As champion, as candidate, from inputs unlike the training data.
    pub(crate) champion: usize,
    pub(crate) candidate: usize,
    pub(crate) unlike_training: usize,
    #[serde(flatten)]
    pub(crate) scores: Scores,
    /// Share of the truths inside the interval, by its level in percent; absent where there was no interval.
    pub(crate) coverage: BTreeMap<&'static str, f64>,
}

/// All forecasts of a model so far, and span by span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Evaluation {
    #[serde(flatten)]
    pub(crate) series: Series,
    #[serde(flatten)]
    pub(crate) all: Standing,
    pub(crate) spans: Vec<Standing>,
}

/// A forecast that has met its truth.
struct Met {
    made: i64,
    known: i64,
    status: Status,
    outcome: Outcome,
    inside: [Option<bool>; LEVELS.len()],
}

/// Reads all scores and prints what they come to.
///
/// # Errors
/// Whatever reading can meet; with exit code 4 when no forecast has met its truth yet.
pub async fn evaluate(connection: &Connection, args: &EvaluateArgs) -> anyhow::Result<()> {
    let named = args.instrument.instrument().exit_code(Code::BadConfig)?;
    let series = read(connection, named.as_ref()).await?;
    if series.is_empty() {
        let of = named.map_or_else(String::new, |named| format!(" of {named}"));
        let error =
            anyhow::anyhow!("no forecast{of} has met its truth yet: `trainer run` makes them, candle by candle");
        return Err(error).exit_code(Code::NotEnoughData);
    }
    let evaluations: Vec<Evaluation> =
        series.into_iter().filter_map(|(series, met)| evaluation(series, &met, args)).collect();
    match args.format {
        Format::Json => output::print_text(&serde_json::to_string(&evaluations)?),
        Format::Table => output::print_text(&table::text(&evaluations)),
    }
    Ok(())
}

async fn read(connection: &Connection, named: Option<&Instrument>) -> anyhow::Result<BTreeMap<Series, Vec<Met>>> {
    bus::topology::require(connection, Stream::Forecast).await?;
    let filters = vec![subject::of_kind(Stream::Forecast, Kind::Score, named)];
    let selection = Selection { stream: Stream::Forecast, filters, from: 1 };
    let mut series: BTreeMap<Series, Vec<Met>> = BTreeMap::new();
    read_to_end(connection, selection, |delivery| -> anyhow::Result<()> {
        for (_, line) in codec::lines(&delivery.payload) {
            let line: ScoreLine<'_> = serde_json::from_slice(line)?;
            let (of, met) = take(&line);
            series.entry(of).or_default().push(met);
        }
        Ok(())
    })
    .await?;
    Ok(series)
}

fn take(line: &ScoreLine<'_>) -> (Series, Met) {
    let key = &line.key;
    let series = Series {
        coin: key.coin.to_string(),
        quote: key.quote.to_string(),
        recipe: key.recipe,
        interval: key.interval,
        model: key.model.to_string(),
    };
    let met = Met {
        made: key.made_ms,
        known: key.target_end_ms,
        status: key.status,
        outcome: Outcome { baseline: key.baseline, actual: line.actual, predicted: key.prediction },
        inside: [line.inside_50, line.inside_80, line.inside, line.inside_95],
    };
    (series, met)
}

fn evaluation(series: Series, met: &[Met], args: &EvaluateArgs) -> Option<Evaluation> {
    let span_of = |met: &Met| EventTime(met.made).floor(args.by);
    let spans = met.chunk_by(|a, b| span_of(a) == span_of(b)).filter_map(|met| standing(&series, met)).collect();
    Some(Evaluation { all: standing(&series, met)?, series, spans })
}

fn standing(series: &Series, met: &[Met]) -> Option<Standing> {
    let (first, last) = met.first().zip(met.last())?;
    let horizon = (first.known - first.made) / series.interval.size().ms();
    let outcomes: Vec<Outcome> = met.iter().map(|met| met.outcome).collect();
    let with = |status| met.iter().filter(|met| met.status == status).count();
    let coverage = LEVELS.into_iter().enumerate().filter_map(|(idx, level)| {
        let inside: Vec<bool> = met.iter().filter_map(|met| met.inside[idx]).collect();
        let share = inside.iter().filter(|&&inside| inside).count() as f64 / inside.len() as f64;
        (!inside.is_empty()).then_some((level, share))
    });
    Some(Standing {
        from_ms: first.made,
        to_ms: last.known,
        champion: with(Status::Champion),
        candidate: with(Status::Candidate),
        unlike_training: with(Status::UnlikeTraining),
        scores: score(series.recipe, usize::try_from(horizon).ok()?, &outcomes)?,
        coverage: coverage.collect(),
    })
}
