//! Title with the scores of the model, legend, and footer.

use std::borrow::Cow;

use plotters::style::RGBColor;
use store::model_card::{ModelCard, RANDOM_LABEL};

use super::axis::signed_percent;
use super::canvas::{Anchor, Canvas, TextStyle};
use super::labels;
use super::layout::{HEIGHT, MARGIN, OVERVIEW_TOP, WIDTH};
use super::theme::{BAND, BASELINE, INK, MODEL, MUTED, SMALL, WARNING};
use crate::number::{number, significant};

/// Draws title, scores and legend.
pub(super) fn draw(canvas: &mut Canvas, card: &ModelCard) {
    let bold = TextStyle::new(34.0, INK).bold();
    let instrument = format!("{}/{}", card.coin, card.quote);
    canvas.text((MARGIN, 56.0), instrument.as_str(), bold);
    let plain = TextStyle::new(24.0, MUTED);
    let x = MARGIN + bold.width(&instrument) + 16.0;
    let subject = subject(card);
    canvas.text((x, 56.0), subject.as_str(), plain);
    let x = x + plain.width(&subject) + plain.width(" ");
    let split = TextStyle::new(24.0, if is_random(card) { WARNING } else { MUTED });
    let split = if is_random(card) { split.bold() } else { split };
    canvas.text((x, 56.0), format!("split {}", split_words(card)), split);
    let (scores, width) = (scores(card), f64::from(WIDTH) - 2.0 * MARGIN);
    let style = TextStyle::new(20.0, INK).fitting(&scores, width);
    canvas.text((MARGIN, 96.0), scores, style);
    let verdict = TextStyle::new(18.0, MUTED).fitting(&card.verdict, width);
    canvas.text((MARGIN, 124.0), card.verdict.as_str(), verdict);
    legend(canvas, card);
}

fn is_random(card: &ModelCard) -> bool {
    card.split.starts_with("random")
}

fn split_words(card: &ModelCard) -> &str {
    if is_random(card) { RANDOM_LABEL } else { "by time" }
}

/// Formats the prediction and the recipe: `next 15m close · recipe returns · `.
fn subject(card: &ModelCard) -> String {
    format!("{} · recipe {} ·", labels::predicted(card), card.recipe)
}

/// Formats the scores: `R2 0.9981 · RMSE 23.11 usdt · …`, with the number of rows.
fn scores(card: &ModelCard) -> String {
    let scores = &card.holdout.scores;
    let (unit, baseline) = (labels::unit(card), labels::short_baseline(card));
    let mut parts = vec![format!("R2 {}", scores.r2.map_or("undefined".to_owned(), |r2| number(r2, 4)))];
    parts.push(format!("RMSE {}{unit} ({baseline} {})", significant(scores.rmse), significant(scores.baseline_rmse)));
    if let Some(skill) = scores.skill {
        parts.push(format!("skill {}", signed_percent(100.0 * skill)));
    }
    if let Some(coverage) = card.holdout.coverage.get("90") {
        parts.push(format!("90 % interval held {} %", number(100.0 * coverage, 1)));
    }
    let rows = number(scores.rows as f64, 0);
    parts.push(if is_random(card) { format!("{rows} test rows") } else { format!("{rows} holdout rows") });
    parts.join("   ·   ")
}

/// An entry of the legend.
struct Entry {
    words: Cow<'static, str>,
    mark: fn(&mut Canvas, f64, f64),
}

const MARK_WIDTH: f64 = 26.0;

fn entries(card: &ModelCard) -> [Entry; 5] {
    [
        Entry {
            words: "actual".into(),
            mark: |canvas, x, y| {
                canvas.line(&[(x, y), (x + MARK_WIDTH, y)], 2.2, INK);
                canvas.dot((x + MARK_WIDTH / 2.0, y), 3.2, INK);
            },
        },
        Entry {
            words: "prediction".into(),
            mark: |canvas, x, y| {
                canvas.line(&[(x, y), (x + MARK_WIDTH, y)], 1.6, MODEL);
                canvas.dot((x + MARK_WIDTH / 2.0, y), 3.2, MODEL);
            },
        },
        Entry {
            words: "90 % interval".into(),
            mark: |canvas, x, y| canvas.rectangle((x, y - 7.0), (x + MARK_WIDTH, y + 7.0), BAND),
        },
        Entry {
            words: format!("{} (baseline)", labels::baseline(card)).into(),
            mark: |canvas, x, y| canvas.line(&[(x, y), (x + MARK_WIDTH, y)], 1.8, BASELINE),
        },
        Entry {
            words: "outside the interval".into(),
            mark: |canvas, x, y| {
                let center = (x + MARK_WIDTH / 2.0, y);
                let discs: [(f64, RGBColor); 3] = [(7.0, INK), (5.4, plotters::style::WHITE), (3.2, INK)];
                discs.into_iter().for_each(|(radius, color)| canvas.dot(center, radius, color));
            },
        },
    ]
}

/// Draws the legend in one line, right-aligned above the panels.
fn legend(canvas: &mut Canvas, card: &ModelCard) {
    let style = TextStyle::new(SMALL, INK);
    let entries = entries(card);
    let width = |entry: &Entry| MARK_WIDTH + 8.0 + style.width(&entry.words) + 26.0;
    let mut x = f64::from(WIDTH) - MARGIN + 26.0 - entries.iter().map(width).sum::<f64>();
    let base = OVERVIEW_TOP + 20.0;
    for entry in &entries {
        (entry.mark)(canvas, x, base - 5.5);
        canvas.text((x + MARK_WIDTH + 8.0, base), entry.words.as_ref(), style);
        x += width(entry);
    }
}

/// Writes which rows are drawn and which model made the predictions.
pub(super) fn footer(canvas: &mut Canvas, card: &ModelCard, rows: usize, unseen: usize) {
    let style = TextStyle::new(14.0, MUTED);
    let base = f64::from(HEIGHT) - 16.0;
    let (validation, unseen) = (number((rows - unseen) as f64, 0), number(unseen as f64, 0));
    let what = if is_random(card) {
        format!(
            "{unseen} rows drawn at random; the model was fitted to their neighbors in time, so this plot does not show future skill"
        )
    } else {
        format!(
            "{validation} validation rows and {unseen} holdout rows, each predicted by a model fitted only to what was known before; \
             scores are of the holdout"
        )
    };
    canvas.text((MARGIN, base), what, style);
    let made = format!("candlewire {} · model {}", card.versions.candlewire, card.model);
    canvas.text((f64::from(WIDTH) - MARGIN, base), made, style.anchored(Anchor::Right));
}
