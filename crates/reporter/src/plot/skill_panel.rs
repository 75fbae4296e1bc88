//! Lower right panel: the model's skill against the naive baseline, accumulated over the rows.

use market::EventTime;
use store::model_card::ModelCard;
use store::predictions::Prediction;

use super::axis::{signed_percent, time_marks};
use super::canvas::{Canvas, Point};
use super::extent::Extent;
use super::frame::{Area, Frame};
use super::labels;
use super::layout::Format;
use super::text::{Anchor, TextStyle};
use super::theme::{BAND, BASELINE, BEHIND, INK, MODEL, MUTED, SMALL};

/// The value axis reaches at least this far to either side of zero, in percent.
const SCALE_MIN: f64 = 1.0;

/// Returns the squared error that the model has saved up to each row, in percent of the baseline's total squared error:
/// 100 · Σ((actual − baseline)² − (actual − prediction)²) ÷ Σ(actual − baseline)², with the numerator up to the row and
/// the denominator over all rows. It ends at the out-of-sample R2 of Campbell and Thompson (2008); its slope shows when
/// the model was useful (Goyal and Welch, 2008). `None` if the baseline is always right.
pub(super) fn saved(rows: &[&Prediction]) -> Option<Vec<f64>> {
    let squared = |row: &Prediction, predicted: f64| (row.close - predicted).powi(2);
    let total: f64 = rows.iter().map(|row| squared(row, row.baseline)).sum();
    let mut saved = 0.0;
    let percent = rows.iter().map(|row| {
        saved += squared(row, row.baseline) - squared(row, row.prediction);
        100.0 * saved / total
    });
    (total > 0.0).then(|| percent.collect())
}

/// Draws the panel for held-out rows in order of time.
pub(super) fn draw(canvas: &mut Canvas, area: Area, card: &ModelCard, rows: &[&Prediction]) {
    let values = saved(rows).unwrap_or_default();
    // A gain of less than a percent is noise, and the axis makes it look small.
    let up = Extent::of(values.iter().copied().chain([-SCALE_MIN, SCALE_MIN])).padded(0.18);
    let across = Extent::of(rows.iter().map(|row| row.timestamp.ms() as f64));
    let frame = Frame::within(area, across, up, 5);
    let baseline = labels::short_baseline(card);
    frame.title(canvas, &format!("Against the {baseline}"), "squared error saved, in %");
    let (Some(first), Some(last), Some(&end)) = (rows.first(), rows.last(), values.last()) else {
        let middle = ((frame.area.left + frame.area.right) / 2.0, (frame.area.top + frame.area.bottom) / 2.0);
        let why = if rows.is_empty() { "no unseen rows" } else { "nothing ever moved" };
        canvas.text(middle, why, TextStyle::new(SMALL, MUTED).anchored(Anchor::Middle));
        return;
    };
    frame.grid(canvas);
    frame
        .foot(canvas, &time_marks(EventTime(first.timestamp.ms()), last.timestamp, Format::time_labels(frame.width())));
    let points = rows.iter().zip(&values).map(|(row, value)| frame.point(row.timestamp.ms() as f64, *value));
    let line = condensed(&points.collect::<Vec<_>>());
    fill(canvas, &frame, &line);
    let zero = frame.y(0.0);
    canvas.line(&[(frame.area.left, zero), (frame.area.right, zero)], 1.6, BASELINE);
    canvas.line(&line, 2.0, MODEL);
    name_sides(canvas, &frame, end, &line);
}

/// Returns a line through all points with a bounded number of them: of those in one pixel column, the first, the highest,
/// the lowest and the last.
fn condensed(points: &[Point]) -> Vec<Point> {
    let mut line = Vec::new();
    for column in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let by_height = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
        let ends = [column.iter().min_by(by_height), column.iter().max_by(by_height)];
        line.extend(column.first());
        line.extend(ends.into_iter().flatten());
        line.extend(column.last());
    }
    line
}

/// Fills above zero in the model's color, and below zero in the baseline's.
fn fill(canvas: &mut Canvas, frame: &Frame, line: &[Point]) {
    let zero = frame.y(0.0);
    for (color, is_ahead) in [(BAND, true), (BEHIND, false)] {
        let held = |y: f64| if is_ahead { y.min(zero) } else { y.max(zero) };
        let mut outline: Vec<Point> = line.iter().map(|&(x, y)| (x, held(y))).collect();
        if let (Some(&(left, _)), Some(&(right, _))) = (line.first(), line.last()) {
            outline.extend([(right, zero), (left, zero)]);
            canvas.polygon(&outline, color);
        }
    }
}

/// Text size of the final figure.
const END_SIZE: f64 = 20.0;

/// Texts above and below the zero line.
const SIDES: [&str; 2] = ["rising: better than the baseline", "falling: worse"];

/// Writes the texts of both sides, and the final value beside the end of the line.
fn name_sides(canvas: &mut Canvas, frame: &Frame, end: f64, line: &[Point]) {
    let Area { left, top, bottom, .. } = frame.area;
    let small = TextStyle::new(SMALL, MUTED);
    canvas.text((left + 8.0, top + 16.0), SIDES[0], small);
    canvas.text((left + 8.0, bottom - 10.0), SIDES[1], small);
    let Some(&(x, y)) = line.last() else { return };
    canvas.dot((x, y), 4.5, MODEL);
    let style = TextStyle::new(END_SIZE, INK).bold().anchored(Anchor::Right);
    let figure = signed_percent(end);
    // On the side away from zero, and clear of the texts at the left.
    let is_clear = x - style.width(&figure) > left + small.width(SIDES[0]) + 24.0;
    let (highest, lowest) = if is_clear { (top, bottom - 8.0) } else { (top + 40.0, bottom - 34.0) };
    // Beyond the line wherever it passes the figure.
    let left_end = x - style.width(&figure) - 6.0;
    let beside = line.iter().filter(|point| point.0 >= left_end).map(|point| point.1);
    let base = if end >= 0.0 { beside.fold(y, f64::min) - 10.0 } else { beside.fold(y, f64::max) + 24.0 };
    canvas.text((x, base.clamp(highest, lowest)), figure, style);
}
