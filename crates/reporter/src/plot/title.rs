//! Title with the scores of the model, legend, and footer of the overview.

use std::borrow::Cow;

use plotters::style::RGBColor;
use store::model_card::{ModelCard, RANDOM_LABEL};

use super::axis::signed_percent;
use super::canvas::Canvas;
use super::labels;
use super::layout::{Format, HEIGHT, MARGIN, OVERVIEW_TOP, WIDTH};
use super::text::{Anchor, TextStyle};
use super::theme::{BACKGROUND, BAND, BASELINE, INK, MODEL, MUTED, SMALL, WARNING};
use crate::number::{number, significant};

/// Draws title, scores and legend of the wide overview.
pub(super) fn draw(canvas: &mut Canvas, card: &ModelCard) {
    let bold = TextStyle::new(34.0, INK).bold();
    let instrument = labels::instrument(card);
    canvas.text((MARGIN, 56.0), instrument.as_str(), bold);
    let plain = TextStyle::new(24.0, MUTED);
    let x = MARGIN + bold.width(&instrument) + 16.0;
    let subject = format!("{} ·", labels::subject(card));
    canvas.text((x, 56.0), subject.as_str(), plain);
    let x = x + plain.width(&subject) + plain.width(" ");
    canvas.text((x, 56.0), split_words(card), split_style(card, 24.0));
    let (scores, width) = (scores(card).join("   ·   "), f64::from(WIDTH) - 2.0 * MARGIN);
    let style = TextStyle::new(20.0, INK).fitting(&scores, width);
    canvas.text((MARGIN, 96.0), scores, style);
    let verdict = TextStyle::new(18.0, MUTED).fitting(&card.verdict, width);
    canvas.text((MARGIN, 124.0), card.verdict.as_str(), verdict);
    legend(canvas, card);
}

/// Draws title, scores and legend of the narrow overview, one below the other. Returns the lower edge.
pub(super) fn draw_narrow(canvas: &mut Canvas, card: &ModelCard) -> f64 {
    let (x, width) = (Format::Narrow.margin(), room(Format::Narrow));
    canvas.text((x, 32.0), labels::instrument(card), TextStyle::new(26.0, INK).bold());
    let base = canvas.paragraph((x, 60.0), width, &labels::subject(card), TextStyle::new(SMALL, MUTED));
    let base = canvas.paragraph((x, base + 24.0), width, &split_words(card), split_style(card, SMALL));
    let mut base = base + 10.0;
    for score in scores(card) {
        let style = TextStyle::new(SMALL, INK);
        canvas.text((x, base + 22.0), score.as_str(), style.fitting(&score, width));
        base += 22.0;
    }
    let base = canvas.paragraph((x, base + 32.0), width, &card.verdict, TextStyle::new(15.0, MUTED));
    legend_in_rows(canvas, card, base + 34.0)
}

fn room(format: Format) -> f64 {
    f64::from(format.width()) - 2.0 * format.margin()
}

fn split_words(card: &ModelCard) -> String {
    format!("split {}", if labels::is_random(card) { RANDOM_LABEL } else { "by time" })
}

fn split_style(card: &ModelCard, size: f64) -> TextStyle {
    if labels::is_random(card) { TextStyle::new(size, WARNING).bold() } else { TextStyle::new(size, MUTED) }
}

/// Formats the scores: `R2 0.9981`, `RMSE 23.11 usdt …`, at last the number of rows.
fn scores(card: &ModelCard) -> Vec<String> {
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
    parts.push(if labels::is_random(card) { format!("{rows} test rows") } else { format!("{rows} holdout rows") });
    parts
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
                let discs: [(f64, RGBColor); 3] = [(7.0, INK), (5.4, BACKGROUND), (3.2, INK)];
                discs.into_iter().for_each(|(radius, color)| canvas.dot(center, radius, color));
            },
        },
    ]
}

/// Space between two entries of the legend.
const ENTRY_GAP: f64 = 26.0;

impl Entry {
    /// Draws mark and words with the baseline at this height.
    fn draw(&self, canvas: &mut Canvas, x: f64, base: f64) {
        (self.mark)(canvas, x, base - 5.5);
        canvas.text((x + MARK_WIDTH + 8.0, base), self.words.as_ref(), TextStyle::new(SMALL, INK));
    }

    fn width(&self) -> f64 {
        MARK_WIDTH + 8.0 + TextStyle::new(SMALL, INK).width(&self.words)
    }
}

/// Draws the legend in one line, right-aligned above the panels.
fn legend(canvas: &mut Canvas, card: &ModelCard) {
    let entries = entries(card);
    let width: f64 = entries.iter().map(|entry| entry.width() + ENTRY_GAP).sum();
    let mut x = f64::from(WIDTH) - MARGIN + ENTRY_GAP - width;
    for entry in &entries {
        entry.draw(canvas, x, OVERVIEW_TOP + 20.0);
        x += entry.width() + ENTRY_GAP;
    }
}

/// Draws the legend in rows, the first with its baseline at this height. Returns the lower edge.
fn legend_in_rows(canvas: &mut Canvas, card: &ModelCard, mut base: f64) -> f64 {
    let (left, right) = (Format::Narrow.margin(), Format::Narrow.margin() + room(Format::Narrow));
    let mut x = left;
    for entry in entries(card) {
        if x > left && x + entry.width() > right {
            (x, base) = (left, base + 26.0);
        }
        entry.draw(canvas, x, base);
        x += entry.width() + ENTRY_GAP;
    }
    base + 12.0
}

/// Writes which rows are drawn and which model made the predictions, at the foot of the wide overview.
pub(super) fn footer(canvas: &mut Canvas, card: &ModelCard, rows: usize, unseen: usize) {
    let style = TextStyle::new(14.0, MUTED);
    let base = f64::from(HEIGHT) - 16.0;
    canvas.text((MARGIN, base), rows_words(card, rows, unseen), style);
    canvas.text((f64::from(WIDTH) - MARGIN, base), made_by(card), style.anchored(Anchor::Right));
}

/// Writes the footer of the narrow overview from this height. Returns the lower edge.
pub(super) fn footer_narrow(canvas: &mut Canvas, card: &ModelCard, (rows, unseen): (usize, usize), top: f64) -> f64 {
    let (x, width, style) = (Format::Narrow.margin(), room(Format::Narrow), TextStyle::new(14.0, MUTED));
    let base = canvas.paragraph((x, top + 16.0), width, &rows_words(card, rows, unseen), style);
    canvas.paragraph((x, base + 22.0), width, &made_by(card), style) + 14.0
}

fn made_by(card: &ModelCard) -> String {
    format!("candlewire {} · model {}", card.versions.candlewire, card.model)
}

fn rows_words(card: &ModelCard, rows: usize, unseen: usize) -> String {
    let (validation, unseen) = (number((rows - unseen) as f64, 0), number(unseen as f64, 0));
    if labels::is_random(card) {
        format!(
            "{unseen} rows drawn at random; the model was fitted to their neighbors in time, so this plot does not show future skill"
        )
    } else {
        format!(
            "{validation} validation rows and {unseen} holdout rows, each predicted by a model fitted only to what was known before; \
             scores are of the holdout"
        )
    }
}
