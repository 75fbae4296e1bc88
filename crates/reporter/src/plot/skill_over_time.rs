//! Skill of each fold, of the holdout, and of the scored forecasts, each over its span of time.

use market::EventTime;
use store::model_card::ModelCard;

use super::axis::{signed_percent, time_marks};
use super::canvas::Canvas;
use super::extent::Extent;
use super::frame::{Area, Frame};
use super::heading::Heading;
use super::labels;
use super::layout::Format;
use super::picture::Picture;
use super::scored_days::ScoredDay;
use super::text::{Anchor, TextStyle};
use super::theme::{BACKGROUND, BAND, BASELINE, BEHIND, INK, MODEL, SMALL};

const HEIGHT: f64 = 380.0;
const FOOT: f64 = 44.0;
/// Spans of scored forecasts that are drawn, at most: neighboring days are summed.
const SPANS_MAX: usize = 24;
/// The value axis reaches at least this far to either side of zero, in percent.
const SCALE_MIN: f64 = 1.0;

/// A span of time with the skill of its predictions.
struct Part {
    name: String,
    from_ms: i64,
    to_ms: i64,
    /// In percent.
    skill: f64,
    color: plotters::style::RGBColor,
}

/// Draws folds and holdout of the card, and scored forecasts.
pub(super) fn draw(card: &ModelCard, scored: &[ScoredDay], format: Format) -> Picture {
    let parts: Vec<Part> = of_card(card).chain(of_forecasts(scored)).collect();
    let mut canvas = Canvas::new((format.width(), 0), BACKGROUND);
    let of = format!("{} · {} · model {}", labels::instrument(card), labels::subject(card), card.model);
    let about = about(card, !scored.is_empty());
    let top = Heading { title: "Skill by time", of: &of, about: &about }.draw(&mut canvas, format);
    let (left, right) = (format.margin(), f64::from(format.width()) - format.margin());
    panel(&mut canvas, Area { left, top, right, bottom: top + HEIGHT }, &parts);
    canvas.end_at(top + HEIGHT + FOOT);
    canvas.finish(format!("Skill by time of {of}. {about}"))
}

fn about(card: &ModelCard, has_forecasts: bool) -> String {
    let baseline = labels::baseline(card);
    let forecasts = if has_forecasts { ", scored forecasts in the color of the title" } else { "" };
    format!(
        "1 − RMSE of the model ÷ RMSE of the {baseline}. Above zero the model is better. Folds in gray, holdout in \
         orange{forecasts}."
    )
}

fn of_card(card: &ModelCard) -> impl Iterator<Item = Part> {
    let folds = card.folds.iter().filter_map(|fold| {
        let skill = 100.0 * fold.part.scores.skill?;
        let name = format!("fold {}", fold.fold);
        Some(Part { name, from_ms: fold.from_ms, to_ms: fold.to_ms, skill, color: BASELINE })
    });
    // Rows that were held out at random have no span of their own.
    let skill = card.holdout.scores.skill.filter(|_| !labels::is_random(card));
    let holdout = skill.map(|skill| Part {
        name: "holdout".to_owned(),
        from_ms: card.time.holdout_from_ms,
        to_ms: card.time.last_ms,
        skill: 100.0 * skill,
        color: MODEL,
    });
    folds.chain(holdout)
}

fn of_forecasts(scored: &[ScoredDay]) -> impl Iterator<Item = Part> {
    let spans = scored.chunks(scored.len().div_ceil(SPANS_MAX).max(1)).map(|days| {
        let mut span = ScoredDay::default();
        days.iter().for_each(|day| span.add(day));
        span
    });
    spans.filter_map(|span| {
        let skill = 100.0 * span.skill()?;
        Some(Part { name: String::new(), from_ms: span.from_ms, to_ms: span.to_ms, skill, color: INK })
    })
}

fn panel(canvas: &mut Canvas, area: Area, parts: &[Part]) {
    let across = Extent::of(parts.iter().flat_map(|part| [part.from_ms as f64, part.to_ms as f64]));
    let up = Extent::of(parts.iter().map(|part| part.skill).chain([-SCALE_MIN, SCALE_MIN])).padded(0.2);
    let frame = Frame::within(area, across, up, 6);
    frame.unit(canvas, "skill in %");
    let zero = frame.y(0.0);
    for part in parts {
        let color = if part.skill >= 0.0 { BAND } else { BEHIND };
        let (from, to) = (frame.x(part.from_ms as f64), frame.x(part.to_ms as f64));
        canvas.rectangle((from, zero.min(frame.y(part.skill))), (to, zero.max(frame.y(part.skill))), color);
    }
    frame.grid(canvas);
    canvas.line(&[(frame.area.left, zero), (frame.area.right, zero)], 1.4, BASELINE);
    for part in parts {
        let (from, to) = (frame.point(part.from_ms as f64, part.skill), frame.point(part.to_ms as f64, part.skill));
        canvas.line(&[from, (to.0.max(from.0 + 1.0), to.1)], 4.0, part.color);
    }
    let named = parts.iter().filter(|part| !part.name.is_empty());
    named.for_each(|part| name(canvas, &frame, part));
    if !parts.is_empty() {
        let (from, to) = (EventTime(across.low as i64), EventTime(across.high as i64));
        frame.foot(canvas, &time_marks(from, to, Format::time_labels(frame.width())));
    }
}

/// Writes name and skill of a part above or below its line, as far as there is room.
fn name(canvas: &mut Canvas, frame: &Frame, part: &Part) {
    let (from, to) = (frame.x(part.from_ms as f64), frame.x(part.to_ms as f64));
    let style = TextStyle::new(SMALL, INK).anchored(Anchor::Middle);
    let figure = signed_percent(part.skill);
    let base = frame.y(part.skill) + if part.skill >= 0.0 { -12.0 } else { 24.0 };
    let texts = [format!("{} {figure}", part.name), figure];
    if let Some(text) = texts.into_iter().find(|text| style.width(text) + 8.0 <= to - from) {
        canvas.text(((from + to) / 2.0, base), text, style);
    }
}
