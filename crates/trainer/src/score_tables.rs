//! Tables of scores, part by part beside the naive baseline.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use learn::split::Split;
use learn::verdict::five_digits;
use market::band::LEVELS;
use market::scores::DieboldMariano;
use store::model_card::{ModelCard, PartScores};
use store::schema::LOG_RANGE;

/// Returns the scores of each part: of the model, of the naive baseline, and the two compared.
pub(crate) fn score_table(card: &ModelCard) -> Table {
    let mut table = table(&[
        "part",
        "rows",
        "R2",
        "RMSE",
        "MAE",
        "R2 of\nbaseline",
        "RMSE of\nbaseline",
        "MAE of\nbaseline",
        "skill",
        "p",
        "direction\nright",
    ]);
    for (name, part) in parts(card) {
        let scores = &part.scores;
        table.add_row([
            name,
            scores.rows.to_string(),
            ratio(scores.r2),
            five_digits(scores.rmse),
            five_digits(scores.mae),
            ratio(scores.baseline_r2),
            five_digits(scores.baseline_rmse),
            five_digits(scores.baseline_mae),
            ratio(scores.skill),
            probability(scores.diebold_mariano),
            percent(scores.direction_hit_rate),
        ]);
    }
    align(table)
}

/// Returns the share of truths inside the intervals of each level, and the mean width of the intervals.
pub(crate) fn interval_table(card: &ModelCard) -> Table {
    let levels = LEVELS.map(|level| level.to_string());
    let header = levels
        .iter()
        .map(|level| format!("{level} %\nholds"))
        .chain(levels.iter().map(|level| format!("{level} %\nwidth")));
    let header: Vec<String> = std::iter::once("part".to_owned()).chain(header).collect();
    let mut table = table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, part) in parts(card) {
        let held = levels.iter().map(|level| percent(part.coverage.get(level).copied()));
        let width = |level| part.width.get(level).map_or_else(|| "–".to_owned(), |width| five_digits(*width));
        table.add_row(std::iter::once(name).chain(held).chain(levels.iter().map(width)));
    }
    align(table)
}

/// Says in which unit the columns are, and which naive baseline was chosen.
pub(crate) fn units(card: &ModelCard) -> String {
    let unit = if card.recipe.predicts_prices() { card.quote.as_str() } else { LOG_RANGE };
    let baseline = card.baseline.words(card.recipe);
    format!(
        "RMSE, MAE and widths in {unit}; the naive baseline is the {baseline}; p is how often luck alone would look as good"
    )
}

/// Returns the parts of a training with their names. Scores of a random split have its label.
fn parts(card: &ModelCard) -> impl Iterator<Item = (String, &PartScores)> {
    let is_fair = card.split == Split::Time.label();
    let held_out = if is_fair { "holdout".to_owned() } else { format!("test\n{}", card.split.replace(": ", ":\n")) };
    let folds = card.folds.iter().map(|fold| (format!("fold {}", fold.fold), &fold.part));
    folds.chain(std::iter::once((held_out, &card.holdout)))
}

pub(crate) fn align(mut table: Table) -> Table {
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    let style = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

pub(crate) fn ratio(value: Option<f64>) -> String {
    // Adding zero turns -0 into 0.
    value.map_or_else(|| "–".to_owned(), |value| format!("{:.4}", (value * 1e4).round() / 1e4 + 0.0))
}

pub(crate) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{:.1} %", value * 100.0))
}

pub(crate) fn probability(test: Option<DieboldMariano>) -> String {
    let text = |p: f64| if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") };
    test.map_or_else(|| "–".to_owned(), |test| text(test.p))
}
