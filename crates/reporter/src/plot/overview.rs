//! Upper panel: all predictions on one time axis, with the begin of the holdout.

use market::EventTime;
use market::band::{Band, LEVEL_MAIN, LEVELS};
use plotters::style::RGBColor;
use store::model_card::ModelCard;
use store::predictions::{Fold, Prediction};

use super::axis::time_marks;
use super::canvas::{Canvas, Point};
use super::extent::Extent;
use super::frame::{Area, Frame};
use super::labels;
use super::layout::Format;
use super::text::{Anchor, TextStyle};
use super::theme::{AXIS, BAND, BASELINE, HOLDOUT, INK, MODEL, MUTED, SMALL};

/// Multiple of the usual distance of rows beyond which the lines are broken.
const BREAK_STEPS: i64 = 3;

/// Returns the 90 % interval of a row.
pub(super) fn main_band(row: &Prediction) -> Option<Band> {
    LEVELS.iter().position(|&level| level == LEVEL_MAIN).and_then(|idx| row.bands[idx])
}

fn at(row: &Prediction) -> f64 {
    row.timestamp.ms() as f64
}

/// Draws the panel for rows in order of time.
pub(super) fn draw(canvas: &mut Canvas, area: Area, card: &ModelCard, rows: &[&Prediction]) {
    let prices = Extent::of(rows.iter().flat_map(|row| [row.close, row.prediction]));
    let bands = Extent::of(rows.iter().filter_map(|row| main_band(row)).flat_map(|band| [band.lower, band.upper]));
    let up = with_headroom(prices.stretched(bands, 0.15).padded(0.03));
    let frame = Frame::within(area, Extent::of(rows.iter().map(|row| at(row))), up, 6);
    let is_random = rows.iter().any(|row| row.fold == Fold::Test);
    let split = rows.iter().find(|row| row.fold.is_held_out()).filter(|_| !is_random);
    if let Some(first) = split {
        frame.shade(canvas, at(first), frame.across.high, HOLDOUT);
    }
    frame.title(canvas, &labels::capitalized(&labels::axis(card)), "time in UTC");
    frame.grid(canvas);
    let across = (EventTime(frame.across.low as i64), EventTime(frame.across.high as i64));
    frame.foot(canvas, &time_marks(across.0, across.1, Format::time_labels(frame.width())));
    if is_random {
        scattered(canvas, &frame, rows);
    } else {
        connected(canvas, &frame, rows);
    }
    if let Some(first) = split {
        parts(canvas, &frame, rows, first);
    }
}

/// Adds room above the highest price for the names of the parts.
fn with_headroom(prices: Extent) -> Extent {
    Extent { high: prices.high + (prices.high - prices.low) * 0.08, ..prices }
}

/// Rows of a random split that are drawn, at most: more cover each other.
const SCATTERED_MAX: usize = 4_000;

/// Draws the rows of a random split. They have no neighbors to be connected with.
fn scattered(canvas: &mut Canvas, frame: &Frame, rows: &[&Prediction]) {
    let rows: Vec<&Prediction> = rows.iter().copied().step_by(rows.len().div_ceil(SCATTERED_MAX).max(1)).collect();
    for row in &rows {
        if let Some(band) = main_band(row) {
            canvas.line(&[frame.point(at(row), band.lower), frame.point(at(row), band.upper)], 1.0, BAND);
        }
    }
    for (value, radius, color) in MARKS {
        for row in &rows {
            canvas.dot(frame.point(at(row), value(row)), radius, color);
        }
    }
}

/// Selects a value of a row.
type Value = fn(&Prediction) -> f64;

/// Layers from bottom to top with radius and color: the actual price is wider than the prediction on it, so that both
/// are visible.
const MARKS: [(Value, f64, RGBColor); 3] =
    [(|row| row.baseline, 1.3, BASELINE), (|row| row.close, 2.2, INK), (|row| row.prediction, 1.1, MODEL)];

fn connected(canvas: &mut Canvas, frame: &Frame, rows: &[&Prediction]) {
    for piece in pieces(rows) {
        // Each fold has its own model, so intervals and predictions of different folds are not connected.
        for fold in piece.chunk_by(|a, b| a.fold == b.fold) {
            band(canvas, frame, fold);
        }
        let [baseline, actual, (prediction, width, color)] = MARKS;
        for (value, width, color) in [baseline, actual] {
            canvas.line(&condensed(frame, piece, value), width, color);
        }
        for fold in piece.chunk_by(|a, b| a.fold == b.fold) {
            canvas.line(&condensed(frame, fold, prediction), width, color);
        }
    }
}

/// Fills the intervals. Where a pixel column has several rows, it has the lowest and the highest end of them, so that the
/// number of points is bounded.
fn band(canvas: &mut Canvas, frame: &Frame, rows: &[&Prediction]) {
    let with_band: Vec<_> = rows.iter().filter_map(|row| Some((at(row), main_band(row)?))).collect();
    let column = |at: f64| frame.x(at).floor();
    let columns: Vec<_> = with_band.chunk_by(|a, b| column(a.0) == column(b.0)).collect();
    let highest = |rows: &[(f64, Band)]| rows.iter().map(|(_, band)| band.upper).fold(f64::NEG_INFINITY, f64::max);
    let lowest = |rows: &[(f64, Band)]| rows.iter().map(|(_, band)| band.lower).fold(f64::INFINITY, f64::min);
    let mut outline: Vec<Point> = columns.iter().map(|rows| frame.point(rows[0].0, highest(rows))).collect();
    outline.extend(columns.iter().rev().map(|rows| frame.point(rows[0].0, lowest(rows))));
    if outline.len() > 2 {
        canvas.polygon(&outline, BAND);
    }
}

/// Splits rows where the data has a hole.
fn pieces<'a, 'b>(rows: &'a [&'b Prediction]) -> impl Iterator<Item = &'a [&'b Prediction]> {
    let mut steps: Vec<i64> = rows.windows(2).map(|pair| (pair[1].timestamp - pair[0].timestamp).ms()).collect();
    let middle = steps.len() / 2;
    let usual = if steps.is_empty() { 0 } else { *steps.select_nth_unstable(middle).1 };
    rows.chunk_by(move |a, b| (b.timestamp - a.timestamp).ms() <= usual * BREAK_STEPS)
}

/// Returns a line through all rows with a bounded number of points: of the rows in one pixel column, the first, the
/// smallest, the largest and the last.
fn condensed(frame: &Frame, rows: &[&Prediction], value: Value) -> Vec<Point> {
    let mut points = Vec::new();
    for column in rows.chunk_by(|a, b| frame.x(at(a)).floor() == frame.x(at(b)).floor()) {
        let by_value = |a: &&&Prediction, b: &&&Prediction| value(a).total_cmp(&value(b));
        let mut chosen: Vec<&&Prediction> =
            [column.first(), column.iter().min_by(by_value), column.iter().max_by(by_value), column.last()]
                .into_iter()
                .flatten()
                .collect();
        chosen.sort_by_key(|row| row.timestamp);
        points.extend(chosen.into_iter().map(|row| frame.point(at(row), value(row))));
    }
    points
}

/// Writes the names of the parts at the top of the frame, and draws their borders.
fn parts(canvas: &mut Canvas, frame: &Frame, rows: &[&Prediction], first: &Prediction) {
    let base = frame.area.top + 18.0;
    let begin = first.timestamp.to_utc().format("%Y-%m-%d %H:%M");
    let text = if frame.width() < NARROW { "holdout".to_owned() } else { format!("holdout starts {begin}") };
    let style = TextStyle::new(SMALL, INK).bold();
    let (x, width) = (frame.x(at(first)), style.width(&text));
    let holdout = beside(x, width, frame.area);
    for fold in rows.chunk_by(|a, b| a.fold == b.fold) {
        let (Fold::Validation(number), [begin, .., end]) = (fold[0].fold, fold) else { continue };
        let (left, right) = (frame.x(at(begin)), frame.x(at(end)));
        if number > 1 {
            canvas.line(&[(left, frame.area.top), (left, frame.area.top + 10.0)], 1.0, AXIS);
        }
        // Names of folds do not extend into the holdout's name.
        name_fold(canvas, (left, right.min(holdout - PARTS_GAP)), base, number);
    }
    canvas.dashed((x, frame.area.top), (x, frame.area.bottom), 1.6, INK);
    canvas.text((holdout, base), text, style);
}

/// Width of a frame in pixels below which names have no room for times.
const NARROW: f64 = 500.0;
/// Space beside the name of a part.
const PARTS_GAP: f64 = 10.0;

/// Returns the left end of a text beside a line: right of it, or left of it if there is no room.
fn beside(x: f64, width: f64, area: Area) -> f64 {
    let right = x + PARTS_GAP;
    if right + width <= area.right { right } else { x - PARTS_GAP - width }
}

/// Writes the name of a fold, or only its number, or nothing, depending on the room.
fn name_fold(canvas: &mut Canvas, (left, right): (f64, f64), base: f64, number: usize) {
    let style = TextStyle::new(SMALL, MUTED).anchored(Anchor::Middle);
    let texts = [format!("validation fold {number}"), number.to_string()];
    let fitting = texts.into_iter().find(|text| style.width(text) + 16.0 < right - left);
    if let Some(text) = fitting {
        canvas.text(((left + right) / 2.0, base), text, style);
    }
}
