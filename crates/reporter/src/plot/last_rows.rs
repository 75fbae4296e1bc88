//! Lower left panel: the last held-out rows one by one, each with its baseline and interval.

use market::EventTime;
use store::model_card::ModelCard;
use store::predictions::Prediction;

use super::axis::{Mark, time_marks};
use super::canvas::{Canvas, Point};
use super::extent::Extent;
use super::frame::{Area, Frame, NUMBERS_WIDTH_MIN};
use super::labels;
use super::overview::main_band;
use super::theme::{BACKGROUND, BAND, BASELINE, INK, MODEL};

/// Rows that are drawn, at most.
const ROWS_MAX: usize = 48;
/// Width of a row in pixels, at least; narrower ones could not be told apart.
const ROW_WIDTH_MIN: f64 = 18.5;

/// Draws the panel for held-out rows in order of time.
pub(super) fn draw(canvas: &mut Canvas, area: Area, card: &ModelCard, unseen: &[&Prediction]) {
    let room = ((area.right - area.left - NUMBERS_WIDTH_MIN) / ROW_WIDTH_MIN) as usize;
    let rows = &unseen[unseen.len().saturating_sub(room.min(ROWS_MAX))..];
    let values = Extent::of(rows.iter().flat_map(|row| [row.close, row.prediction, row.baseline]));
    let bands = Extent::of(rows.iter().filter_map(|row| main_band(row)).flat_map(|band| [band.lower, band.upper]));
    let across = Extent { low: -0.5, high: rows.len().max(1) as f64 - 0.5 };
    let frame = Frame::within(area, across, values.stretched(bands, 0.6).padded(0.04), 5);
    let missed = rows.iter().filter(|row| is_missed(row)).count();
    let beside = match rows.iter().filter(|row| main_band(row).is_some()).count() {
        0 => labels::axis(card),
        banded => format!("{}; {missed} of {banded} outside the 90 % interval", labels::axis(card)),
    };
    frame.title(canvas, &format!("The last {} rows, one by one", rows.len()), &beside);
    frame.grid(canvas);
    frame.foot(canvas, &marks(rows, (frame.width() / 150.0) as u32));
    bars(canvas, &frame, rows);
    let close: Vec<Point> = rows.iter().zip(0..).map(|(row, idx)| frame.point(f64::from(idx), row.close)).collect();
    canvas.line(&close, 1.2, INK);
    for (row, idx) in rows.iter().zip(0_i32..) {
        let actual = frame.point(f64::from(idx), row.close);
        if is_missed(row) {
            canvas.dot(actual, 7.0, INK);
            canvas.dot(actual, 5.4, BACKGROUND);
        }
        canvas.dot(actual, 3.2, INK);
        canvas.dot(frame.point(f64::from(idx), row.prediction), 2.9, MODEL);
    }
}

/// Draws each interval as a bar, and the baseline as a stroke across it.
fn bars(canvas: &mut Canvas, frame: &Frame, rows: &[&Prediction]) {
    for (row, idx) in rows.iter().zip(0_i32..) {
        let (left, right) = (frame.x(f64::from(idx) - 0.36), frame.x(f64::from(idx) + 0.36));
        if let Some(band) = main_band(row) {
            canvas.rectangle((left, frame.y(band.upper)), (right, frame.y(band.lower)), BAND);
        }
        let baseline = frame.y(row.baseline);
        canvas.line(&[(left, baseline), (right, baseline)], 1.8, BASELINE);
    }
}

fn is_missed(row: &Prediction) -> bool {
    main_band(row).is_some_and(|band| !band.contains(row.close))
}

/// Places time marks between rows, which are drawn at equal distances regardless of their times.
fn marks(rows: &[&Prediction], count: u32) -> Vec<Mark> {
    let ([first, .., last] | [first @ last]) = rows else { return Vec::new() };
    let place = |mark: Mark| {
        let after = rows.partition_point(|row| (row.timestamp.ms() as f64) < mark.at);
        let at = match after.checked_sub(1).and_then(|before| Some((rows.get(before)?, rows.get(after)?))) {
            Some((a, b)) => {
                let (a, b) = (a.timestamp.ms() as f64, b.timestamp.ms() as f64);
                after as f64 - (b - mark.at) / (b - a)
            }
            None => after as f64,
        };
        Mark { at, ..mark }
    };
    let times: (EventTime, EventTime) = (first.timestamp, last.timestamp);
    time_marks(times.0, times.1, count.max(2)).into_iter().map(place).collect()
}
