//! Errors of the predictions over time, and how often each size occurs, beside those of the naive baseline.

use market::EventTime;
use store::model_card::ModelCard;
use store::predictions::Prediction;

use super::axis::time_marks;
use super::canvas::{Canvas, Point};
use super::extent::Extent;
use super::frame::{Area, Frame};
use super::heading::Heading;
use super::labels;
use super::layout::Format;
use super::picture::Picture;
use super::text::{Anchor, TextStyle};
use super::theme::{AXIS, BACKGROUND, BAND, BASELINE, INK, MODEL, MUTED, SMALL};
use crate::number::{number, significant};

const HEIGHT: f64 = 360.0;
/// Space below a panel for the time axis.
const FOOT: f64 = 40.0;
/// Share of the errors that are beyond either end of the axis: outliers would squeeze the others.
const BEYOND: f64 = 0.002;
/// Bars of the histogram.
const BINS: usize = 41;

/// Draws the errors of the held-out rows.
pub(super) fn draw(card: &ModelCard, predictions: &[Prediction], format: Format) -> Picture {
    let mut rows: Vec<&Prediction> = predictions.iter().filter(|row| row.fold.is_held_out()).collect();
    rows.sort_by_key(|row| row.timestamp);
    let errors = Errors::of(&rows);
    let mut canvas = Canvas::new((format.width(), 0), BACKGROUND);
    let of = format!("{} · {} · model {}", labels::instrument(card), labels::subject(card), card.model);
    let about = errors.about(card);
    let top = Heading { title: "Errors", of: &of, about: &about }.draw(&mut canvas, format);
    let (left, right) = (format.margin(), f64::from(format.width()) - format.margin());
    let (over_time, histogram, bottom) = match format {
        Format::Wide => {
            let (split, bottom) = (right - 290.0, top + HEIGHT);
            (Area { left, top, right: split, bottom }, Area { left: split + 16.0, top, right, bottom }, bottom + FOOT)
        }
        Format::Narrow => {
            let middle = top + HEIGHT * 0.8;
            let below = middle + FOOT + 10.0;
            let bottom = below + HEIGHT * 0.8;
            (Area { left, top, right, bottom: middle }, Area { left, top: below, right, bottom }, bottom + FOOT)
        }
    };
    draw_over_time(&mut canvas, over_time, card, &rows, &errors);
    draw_histogram(&mut canvas, histogram, card, &errors);
    canvas.end_at(bottom);
    canvas.finish(format!("Errors of the predictions of {of}. {about}"))
}

/// Errors of the model and of the naive baseline, in ascending order.
struct Errors {
    model: Vec<f64>,
    baseline: Vec<f64>,
}

impl Errors {
    fn of(rows: &[&Prediction]) -> Self {
        let sorted = |predicted: fn(&Prediction) -> f64| {
            let mut errors: Vec<f64> = rows.iter().map(|row| row.close - predicted(row)).collect();
            errors.retain(|error| error.is_finite());
            errors.sort_by(f64::total_cmp);
            errors
        };
        Self { model: sorted(|row| row.prediction), baseline: sorted(|row| row.baseline) }
    }

    /// Returns the error below which this share of the model's errors is; 0 without errors.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.model.len().saturating_sub(1);
        self.model.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
    }

    /// Returns the value axis: symmetric, so that a leaning of the errors shows.
    fn extent(&self) -> Extent {
        let reach = self.quantile(BEYOND).abs().max(self.quantile(1.0 - BEYOND).abs()) * 1.15;
        Extent::of([-reach, reach])
    }

    fn about(&self, card: &ModelCard) -> String {
        let unit = labels::unit(card);
        format!(
            "Actual value − prediction on {} unseen rows. Half of the errors are between {}{unit} and {}{unit}.",
            number(self.model.len() as f64, 0),
            significant(self.quantile(0.25)),
            significant(self.quantile(0.75)),
        )
    }
}

fn unit_words(card: &ModelCard) -> String {
    if card.recipe.predicts_prices() { format!("error ({})", card.quote) } else { "error, log(high/low)".to_owned() }
}

/// Draws the errors as one upright stroke for each pixel column, from the smallest to the largest.
fn draw_over_time(canvas: &mut Canvas, area: Area, card: &ModelCard, rows: &[&Prediction], errors: &Errors) {
    let at = |row: &Prediction| row.timestamp.ms() as f64;
    let frame = Frame::within(area, Extent::of(rows.iter().map(|row| at(row))), errors.extent(), 6);
    frame.unit(canvas, &format!("{}, by time", unit_words(card)));
    frame.grid(canvas);
    for column in rows.chunk_by(|a, b| (frame.x(at(a)) / 2.0).floor() == (frame.x(at(b)) / 2.0).floor()) {
        let strokes = column.iter().map(|row| frame.y(row.close - row.prediction));
        let (top, bottom) =
            strokes.fold((f64::INFINITY, f64::NEG_INFINITY), |(top, bottom), y| (top.min(y), bottom.max(y)));
        let x = frame.x(at(column[0]));
        canvas.line(&[(x, top - 0.9), (x, bottom + 0.9)], 1.6, MODEL);
    }
    let zero = frame.y(0.0);
    canvas.line(&[(frame.area.left, zero), (frame.area.right, zero)], 1.2, INK);
    if let [first, .., last] | [first @ last] = rows {
        frame.foot(
            canvas,
            &time_marks(EventTime(first.timestamp.ms()), last.timestamp, Format::time_labels(frame.width())),
        );
    }
}

/// Counts errors in bins of equal width; the outermost hold everything beyond.
fn counts(errors: &[f64], extent: Extent) -> [usize; BINS] {
    let mut counts = [0; BINS];
    for error in errors {
        let share = (error - extent.low) / (extent.high - extent.low);
        counts[((share * BINS as f64).max(0.0) as usize).min(BINS - 1)] += 1;
    }
    counts
}

/// Draws how often each size of an error occurs: the model's as bars, the baseline's as an outline.
fn draw_histogram(canvas: &mut Canvas, area: Area, card: &ModelCard, errors: &Errors) {
    let extent = errors.extent();
    let (model, baseline) = (counts(&errors.model, extent), counts(&errors.baseline, extent));
    let most = model.iter().chain(&baseline).copied().max().unwrap_or(0).max(1) as f64;
    let frame = Frame::within(area, Extent { low: 0.0, high: most * 1.05 }, extent, 6);
    let baseline_words = labels::short_baseline(card);
    frame.unit(canvas, &format!("how often; line: {baseline_words}"));
    frame.grid(canvas);
    let edge = |bin: usize| frame.y(extent.low + (extent.high - extent.low) * bin as f64 / BINS as f64);
    let mut outline: Vec<Point> = Vec::new();
    for (bin, (model, baseline)) in model.into_iter().zip(baseline).enumerate() {
        let (below, above) = (edge(bin), edge(bin + 1));
        if model > 0 {
            canvas.rectangle((frame.area.left, above + 0.8), (frame.x(model as f64), below - 0.8), BAND);
        }
        let x = frame.x(baseline as f64);
        outline.extend([(x, below), (x, above)]);
    }
    canvas.line(&outline, 1.6, BASELINE);
    let (left, bottom) = (frame.area.left, frame.area.bottom);
    canvas.line(&[(left, frame.area.top), (left, bottom)], 1.2, AXIS);
    let rows = format!("{} rows", number(errors.model.len() as f64, 0));
    let style = TextStyle::new(SMALL, MUTED).anchored(Anchor::Right);
    canvas.text((frame.area.right, bottom + 24.0), rows, style);
}
