//! Shows evaluations as tables.

use comfy_table::Table;
use learn::verdict::{chance, five_digits};
use market::EventTime;

use super::evaluation::{Evaluation, LEVELS, ScoreSummary, Series};
use crate::score_tables::{align, percent, probability, ratio, table};

/// How many of the newest rows a table shows. JSON has all.
const SHOWN: usize = 14;

/// Returns two tables for each series, by model and by span, and a verdict.
pub(super) fn text(evaluations: &[Evaluation]) -> String {
    let texts: Vec<String> = evaluations.iter().map(text_of).collect();
    texts.join("\n\n")
}

fn text_of(evaluation: &Evaluation) -> String {
    let Evaluation { series, all, models, spans, .. } = evaluation;
    let by_model = models.iter().map(|of| (of.model.clone(), &of.summary));
    let by_span = spans.iter().map(|span| (EventTime(span.from_ms).to_string(), span));
    let mut parts = vec![heading(series)];
    if let Some(all) = all {
        parts.push(scores("model", by_model.collect(), all).to_string());
        parts.push(scores("forecasts from", by_span.collect(), all).to_string());
        parts.push(verdict(all));
    }
    parts.extend(left_out(evaluation));
    parts.join("\n")
}

fn heading(series: &Series) -> String {
    let Series { coin, quote, recipe, interval } = series;
    format!("{coin}/{quote} · recipe {recipe} · interval {interval}")
}

/// Says how many forecasts are left out and why, if any are.
pub(super) fn left_out(evaluation: &Evaluation) -> Option<String> {
    let Evaluation { series: Series { coin, quote, .. }, min_coverage, left_out, .. } = evaluation;
    let words = || {
        format!(
            "{left_out} forecasts of {coin}/{quote} are left out: less than --min-coverage {min_coverage} is known of a \
             candle of their target; a lower value counts them."
        )
    };
    (*left_out > 0).then(words)
}

fn scores(name: &str, mut rows: Vec<(String, &ScoreSummary)>, all: &ScoreSummary) -> Table {
    let covers = LEVELS.map(|level| format!("{level} %\nholds"));
    let fixed = [name, "rows", "RMSE", "RMSE of\nbaseline", "skill", "p", "direction\nright"];
    let mut table = table(&[&fixed[..], &covers.each_ref().map(String::as_str)].concat());
    let earlier = rows.len().saturating_sub(SHOWN);
    if earlier > 0 {
        table.add_row([format!("({earlier} earlier)")]);
    }
    for (name, summary) in rows.drain(earlier..).chain([("all".to_owned(), all)]) {
        table.add_row(row(name, summary));
    }
    align(table)
}

fn row(name: String, summary: &ScoreSummary) -> Vec<String> {
    let scores = &summary.scores;
    let mut row = vec![
        name,
        scores.rows.to_string(),
        five_digits(scores.rmse),
        five_digits(scores.baseline_rmse),
        ratio(scores.skill),
        probability(scores.diebold_mariano),
        percent(scores.direction_hit_rate),
    ];
    row.extend(LEVELS.map(|level| percent(summary.coverage.get(level).copied())));
    row
}

/// Returns the verdict.
fn verdict(all: &ScoreSummary) -> String {
    let ScoreSummary { champion, candidate, unlike_training, scores, .. } = all;
    let p = scores.diebold_mariano.map_or_else(String::new, |test| format!(" ({})", chance(test.p)));
    let skill = match (scores.skill, scores.is_evident()) {
        (None, _) => "nothing moved, so nothing can be said about the models".to_owned(),
        (Some(skill), true) => format!("the models beat the naive baseline by {:.2} %{p}", skill * 100.0),
        (Some(skill), false) => {
            format!("there is no evidence that the models beat the naive baseline, skill {skill:.4}{p}")
        }
    };
    format!(
        "Live, on {} forecasts, {skill}: {champion} were made by a champion, {candidate} by a candidate, {unlike_training} from \
         features unlike the training data.",
        scores.rows
    )
}
