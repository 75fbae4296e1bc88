//! How often the intervals held the actual value, against how often they should.

use market::band::LEVELS;
use store::model_card::ModelCard;

use super::axis::Mark;
use super::canvas::Canvas;
use super::extent::Extent;
use super::frame::{Area, Frame};
use super::heading::Heading;
use super::labels;
use super::layout::Format;
use super::picture::Picture;
use super::scored_days::ScoredDay;
use super::text::{Anchor, TextStyle};
use super::theme::{AXIS, BACKGROUND, INK, MODEL, MUTED, SMALL};
use crate::number::number;

const HEIGHT: f64 = 400.0;
const FOOT: f64 = 64.0;
/// Width of a normal distribution's central 95 %, in standard deviations to either side.
const CENTRAL_95: f64 = 1.96;

/// Share of actual values inside an interval.
#[derive(Debug, Clone, Copy)]
struct Observed {
    /// Nominal level in percent.
    level: u8,
    /// Observed share in percent.
    percent: f64,
    rows: u64,
}

impl Observed {
    /// Returns how far an exact interval's share is from its level by chance, in percent: 1.96 standard errors of a
    /// binomial share of independent rows.
    fn by_chance(&self) -> f64 {
        let share = f64::from(self.level) / 100.0;
        100.0 * CENTRAL_95 * (share * (1.0 - share) / (self.rows.max(1) as f64)).sqrt()
    }
}

/// Draws the shares on the holdout, and those of scored forecasts if there are any.
pub(super) fn draw(card: &ModelCard, scored: &[ScoredDay], format: Format) -> Picture {
    let (holdout, live) = (of_holdout(card), of_forecasts(scored));
    let mut canvas = Canvas::new((format.width(), 0), BACKGROUND);
    let of = format!("{} · {} · model {}", labels::instrument(card), labels::subject(card), card.model);
    let about = "Share of actual values inside each interval, against the share that should be. On the line is exact; the \
                 bars show what chance explains for independent rows.";
    let top = Heading { title: "Calibration of the intervals", of: &of, about }.draw(&mut canvas, format);
    let (left, right) = (format.margin(), f64::from(format.width()) - format.margin());
    let bottom = top + HEIGHT;
    let plot_right = if format == Format::Wide { left + 560.0 } else { right };
    let frame = frame_of(Area { left, top, right: plot_right, bottom }, holdout.iter().chain(&live));
    axes(&mut canvas, &frame);
    // Two marks of one level are side by side.
    let shift = if live.is_empty() { 0.0 } else { 9.0 };
    for observed in &live {
        mark(&mut canvas, &frame, *observed, shift, INK);
    }
    for observed in &holdout {
        mark(&mut canvas, &frame, *observed, -shift, MODEL);
    }
    let words_at = match format {
        Format::Wide => (plot_right + 36.0, frame.area.top + 16.0),
        Format::Narrow => (left, bottom + FOOT + 12.0),
    };
    let end = write(&mut canvas, words_at, &holdout, &live);
    canvas.end_at((bottom + FOOT).max(end + 20.0));
    canvas.finish(format!("Calibration of the intervals of {of}"))
}

fn of_holdout(card: &ModelCard) -> Vec<Observed> {
    let rows = card.holdout.scores.rows as u64;
    let of_level = |level: u8| {
        let share = card.holdout.coverage.get(&level.to_string())?;
        Some(Observed { level, percent: 100.0 * share, rows })
    };
    LEVELS.into_iter().filter_map(of_level).collect()
}

fn of_forecasts(scored: &[ScoredDay]) -> Vec<Observed> {
    let mut all = ScoredDay::default();
    scored.iter().for_each(|day| all.add(day));
    let of_level = |(level, (inside, rows)): (u8, (u64, u64))| Observed {
        level,
        percent: 100.0 * inside as f64 / rows as f64,
        rows,
    };
    LEVELS.into_iter().zip(all.inside).filter(|(_, (_, rows))| *rows > 0).map(of_level).collect()
}

/// Returns the frame: from 40 % to 100 %, and lower where a share or a bar is.
fn frame_of<'a>(area: Area, observed: impl Iterator<Item = &'a Observed>) -> Frame {
    let lowest = |observed: &Observed| observed.percent.min(f64::from(observed.level) - observed.by_chance()) - 2.0;
    let up = Extent::of(observed.map(lowest).chain([40.0, 103.0]));
    let up = Extent { low: up.low.max(0.0), high: 103.0 };
    Frame::within(area, Extent { low: 40.0, high: 103.0 }, up, 6)
}

fn axes(canvas: &mut Canvas, frame: &Frame) {
    frame.unit(canvas, "inside the interval, in %");
    frame.grid(canvas);
    let label = |level: u8| Mark { at: f64::from(level), label: level.to_string() };
    frame.foot(canvas, &LEVELS.map(label));
    let middle = (frame.area.left + frame.area.right) / 2.0;
    let style = TextStyle::new(SMALL, MUTED).anchored(Anchor::Middle);
    canvas.text((middle, frame.area.bottom + 48.0), "level of the interval, in %", style);
    let from = frame.across.low.max(frame.up.low);
    canvas.line(&[frame.point(from, from), frame.point(100.0, 100.0)], 1.4, AXIS);
}

/// Draws a share beside its level, with the bar of chance around the level's own share.
fn mark(canvas: &mut Canvas, frame: &Frame, observed: Observed, shift: f64, color: plotters::style::RGBColor) {
    let level = f64::from(observed.level);
    let x = frame.x(level) + shift;
    let (low, high) = (frame.y(level - observed.by_chance()), frame.y(level + observed.by_chance()));
    canvas.line(&[(x, low), (x, high)], 1.4, color);
    for y in [low, high] {
        canvas.line(&[(x - 4.0, y), (x + 4.0, y)], 1.4, color);
    }
    canvas.dot((x, frame.y(observed.percent)), 5.5, color);
}

/// Writes the shares as figures. Returns the height of the last baseline.
fn write(canvas: &mut Canvas, (x, top): (f64, f64), holdout: &[Observed], live: &[Observed]) -> f64 {
    let mut base = top;
    for (name, color, shares) in [("holdout", MODEL, holdout), ("scored forecasts", INK, live)] {
        let Some(first) = shares.first() else { continue };
        canvas.dot((x + 6.0, base - 5.5), 5.5, color);
        let title = format!("{name}, {} rows", number(first.rows as f64, 0));
        canvas.text((x + 22.0, base), title, TextStyle::new(SMALL, INK).bold());
        for observed in shares {
            base += 25.0;
            let words = format!(
                "{} % interval held {} % (chance: ± {})",
                observed.level,
                number(observed.percent, 1),
                number(observed.by_chance(), 1)
            );
            canvas.text((x + 22.0, base), words, TextStyle::new(SMALL, INK));
        }
        base += 42.0;
    }
    base - 42.0
}
