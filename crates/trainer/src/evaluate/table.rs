//! Evaluations for people.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use market::EventTime;

use super::{Evaluation, LEVELS, Series, Standing};
use crate::verdict::five_digits;

/// Spans of a model that are shown; the newest. JSON has all.
const SPANS_SHOWN: usize = 14;

/// A table for each model: all of its forecasts in the first row, then span by span, and what to make of it.
pub(super) fn text(evaluations: &[Evaluation]) -> String {
    let texts: Vec<String> = evaluations.iter().map(text_of).collect();
    texts.join("\n\n")
}

fn text_of(evaluation: &Evaluation) -> String {
    let Series { coin, quote, recipe, interval, model } = &evaluation.series;
    let left_out = evaluation.spans.len().saturating_sub(SPANS_SHOWN);
    let note = match left_out {
        0 => String::new(),
        spans => format!("{spans} earlier spans are left out; --format json has them\n"),
    };
    format!(
        "{coin}/{quote} · recipe {recipe} · interval {interval} · model {model}\n{}\n{note}{}",
        table(evaluation, left_out),
        sentence(&evaluation.all)
    )
}

fn table(evaluation: &Evaluation, left_out: usize) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    let covers = LEVELS.map(|level| format!("{level} %\ncovers"));
    let fixed = ["forecasts from", "rows", "RMSE", "RMSE of\nbaseline", "skill", "direction\nright"];
    table.set_header(fixed.into_iter().map(str::to_owned).chain(covers));
    table.add_row(row("all".to_owned(), &evaluation.all));
    for span in &evaluation.spans[left_out..] {
        table.add_row(row(EventTime(span.from_ms).to_string(), span));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn row(name: String, standing: &Standing) -> Vec<String> {
    let scores = &standing.scores;
    let percent = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let skill = scores.skill.map_or_else(|| "–".to_owned(), |skill| format!("{skill:.4}"));
    let mut row = vec![
        name,
        scores.rows.to_string(),
        five_digits(scores.rmse),
        five_digits(scores.baseline_rmse),
        skill,
        percent(scores.direction_hit_rate),
    ];
    row.extend(LEVELS.map(|level| percent(standing.coverage.get(level).copied())));
    row
}

/// What the figures say, in words.
fn sentence(all: &Standing) -> String {
    let Standing { champion, candidate, unlike_training, scores, .. } = all;
    let skill = match scores.skill {
        Some(skill) if skill > 0.0 => format!("live it beats doing nothing by {:.2} %", skill * 100.0),
        Some(skill) => format!("live it does not beat doing nothing ({:.2} %)", skill * 100.0),
        None => "nothing moved, so nothing can be said of it".to_owned(),
    };
    format!(
        "On {} forecasts {skill}; {champion} as champion, {candidate} as candidate, {unlike_training} from inputs unlike its \
         training.",
        scores.rows
    )
}
