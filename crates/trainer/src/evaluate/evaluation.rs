//! Summaries of scored forecasts: all together, model by model, and span by span.

use std::collections::BTreeMap;

use learn::evaluation::{PredictionOutcome, evaluate as score};
use market::forecast::{ScoreLine, Status};
use market::{EventTime, Recipe, Scores, Span, Window};
use serde::Serialize;

/// Names of the levels of the intervals.
pub(super) const LEVELS: [&str; 4] = ["50", "80", "90", "95"];

/// Forecasts that are summarized together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Series {
    pub(super) coin: String,
    pub(super) quote: String,
    pub(super) recipe: Recipe,
    pub(super) interval: Window,
}

/// Summary of some forecasts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ScoreSummary {
    /// Event time at which the first of them was made.
    pub(super) from_ms: i64,
    /// Event time of the last truth.
    pub(super) to_ms: i64,
    /// How many were made by a champion, by a candidate, and from features unlike the training data.
    pub(super) champion: usize,
    pub(super) candidate: usize,
    pub(super) unlike_training: usize,
    #[serde(flatten)]
    pub(super) scores: Scores,
    /// Share of the truths inside the interval, by its level in percent; without an entry where there was no interval.
    pub(super) coverage: BTreeMap<&'static str, f64>,
}

/// Summary of the forecasts of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ModelSummary {
    pub(super) model: String,
    #[serde(flatten)]
    pub(super) summary: ScoreSummary,
}

/// All forecasts of a series: together, by model in order of time, and span by span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Evaluation {
    #[serde(flatten)]
    pub(super) series: Series,
    /// Forecasts with less coverage of a candle of their target are left out.
    pub(super) min_coverage: f64,
    /// Number of forecasts left out.
    pub(super) left_out: usize,
    /// `None` when all are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) all: Option<ScoreSummary>,
    pub(super) models: Vec<ModelSummary>,
    pub(super) spans: Vec<ScoreSummary>,
}

/// A scored forecast.
#[derive(Debug, Clone)]
pub(super) struct ScoredForecast {
    pub(super) made: EventTime,
    pub(super) known: EventTime,
    pub(super) model: String,
    pub(super) status: Status,
    pub(super) outcome: PredictionOutcome,
    /// The least coverage of the candles of its target.
    pub(super) coverage: f64,
    pub(super) inside: [Option<bool>; LEVELS.len()],
}

/// Reads a score record: its series, and the scored forecast.
pub(super) fn read_score(line: &ScoreLine<'_>) -> (Series, ScoredForecast) {
    let key = &line.key;
    let (coin, quote) = (key.coin.to_string(), key.quote.to_string());
    let series = Series { coin, quote, recipe: key.recipe, interval: key.interval };
    let scored = ScoredForecast {
        made: EventTime(key.made_ms),
        known: EventTime(key.target_end_ms),
        model: key.model.to_string(),
        status: key.status,
        coverage: line.coverage,
        outcome: PredictionOutcome { baseline: key.baseline, actual: line.actual, predicted: key.prediction },
        inside: [line.inside_50, line.inside_80, line.inside, line.inside_95],
    };
    (series, scored)
}

impl Evaluation {
    pub(super) fn new(series: Series, mut scored: Vec<ScoredForecast>, by: Span, min_coverage: f64) -> Self {
        let count = scored.len();
        scored.retain(|scored| scored.coverage >= min_coverage);
        let mut by_model: Vec<(String, Vec<ScoredForecast>)> = Vec::new();
        for scored in &scored {
            match by_model.iter_mut().find(|(model, _)| *model == scored.model) {
                Some((_, of_model)) => of_model.push(scored.clone()),
                None => by_model.push((scored.model.clone(), vec![scored.clone()])),
            }
        }
        let summary = |scored: &[ScoredForecast]| ScoreSummary::of(&series, scored);
        let of_model =
            |(model, scored): (String, Vec<ScoredForecast>)| Some(ModelSummary { model, summary: summary(&scored)? });
        let span_of = |scored: &ScoredForecast| scored.made.floor(by);
        let models = by_model.into_iter().filter_map(of_model).collect();
        let spans = scored.chunk_by(|a, b| span_of(a) == span_of(b)).filter_map(summary).collect();
        let (all, left_out) = (summary(&scored), count - scored.len());
        Self { min_coverage, left_out, all, models, spans, series }
    }
}

impl ScoreSummary {
    /// Summarizes scored forecasts; `None` without any.
    fn of(series: &Series, scored: &[ScoredForecast]) -> Option<Self> {
        let (first, last) = scored.first().zip(scored.last())?;
        let horizon = (first.known - first.made).ms() / series.interval.size().ms();
        let outcomes: Vec<PredictionOutcome> = scored.iter().map(|scored| scored.outcome).collect();
        let with = |status| scored.iter().filter(|scored| scored.status == status).count();
        let coverage = LEVELS.into_iter().enumerate().filter_map(|(idx, level)| {
            let inside: Vec<bool> = scored.iter().filter_map(|scored| scored.inside[idx]).collect();
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
