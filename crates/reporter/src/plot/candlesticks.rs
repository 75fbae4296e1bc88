//! The newest candles with their volumes, on a true time axis: where there is no candle, there is a gap.

use market::{Candle, EventTime};

use super::axis::time_marks;
use super::canvas::Canvas;
use super::extent::Extent;
use super::frame::{Area, Frame};
use super::heading::Heading;
use super::labels::instrument_of;
use super::layout::Format;
use super::picture::Picture;
use super::theme::{BACKGROUND, BAND, FALLING, HOLDOUT, RISING};
use crate::number::number;

/// Width of a candle with the space beside it in pixels, at least.
const STEP_WIDTH_MIN: f64 = 8.5;
const PRICES_HEIGHT: f64 = 330.0;
const VOLUMES_HEIGHT: f64 = 120.0;
/// Space between both panels, without the title of the lower one.
const GAP: f64 = 6.0;
/// Space below the panels for the time axis.
const FOOT: f64 = 40.0;

/// Draws candles of one window, which are ordered by time; the newest for which there is room.
pub(super) fn draw(candles: &[Candle], format: Format) -> Picture {
    let mut canvas = Canvas::new((format.width(), 0), BACKGROUND);
    let shown = newest(candles, format);
    let of = match shown {
        [first, .., last] | [first @ last] => {
            let day = |time: EventTime| time.to_utc().format("%Y-%m-%d %H:%M").to_string();
            format!(
                "{} · candles of {} · {} to {} UTC",
                instrument_of(&first.coin, &first.quote),
                first.window,
                day(first.start),
                day(last.end)
            )
        }
        [] => "no candle yet".to_owned(),
    };
    let about = about(shown);
    let heading = Heading { title: "Candles", of: &of, about: &about };
    let top = heading.draw(&mut canvas, format);
    let (left, right) = (format.margin(), f64::from(format.width()) - format.margin());
    let bottom = top + PRICES_HEIGHT;
    prices(&mut canvas, Area { left, top, right, bottom }, shown);
    let bottom = bottom + GAP + VOLUMES_HEIGHT;
    volumes(&mut canvas, Area { left, top: bottom - VOLUMES_HEIGHT, right, bottom }, shown);
    canvas.end_at(bottom + FOOT);
    canvas.finish(format!("Candlestick chart: {of}. {about}"))
}

fn newest(candles: &[Candle], format: Format) -> &[Candle] {
    let Some(last) = candles.last() else { return &[] };
    let room = ((f64::from(format.width()) - 2.0 * format.margin() - 76.0) / STEP_WIDTH_MIN) as i64;
    let from = last.end.ms() - room * last.window.hop().ms();
    &candles[candles.partition_point(|candle| candle.start.ms() < from)..]
}

fn about(shown: &[Candle]) -> String {
    let thin = shown.iter().filter(|candle| candle.coverage < 1.0).count();
    let count = number(shown.len() as f64, 0);
    let known = match thin {
        0 => "all known to their full length".to_owned(),
        thin => format!("{} known only in part (on a tinted ground)", number(thin as f64, 0)),
    };
    format!("{count} candles, {known}. Green closes above its open, red below.")
}

/// Returns the time axis of the candles.
fn across(shown: &[Candle]) -> Extent {
    Extent::of(shown.iter().flat_map(|candle| [candle.start.ms() as f64, candle.end.ms() as f64]))
}

fn prices(canvas: &mut Canvas, area: Area, shown: &[Candle]) {
    let up = Extent::of(shown.iter().flat_map(|candle| [candle.low, candle.high])).padded(0.05);
    let frame = Frame::within(area, across(shown), up, 6);
    frame.unit(canvas, &shown.first().map_or_else(String::new, |candle| format!("price ({})", candle.quote)));
    for candle in shown.iter().filter(|candle| candle.coverage < 1.0) {
        frame.shade(canvas, candle.start.ms() as f64, candle.end.ms() as f64, HOLDOUT);
    }
    frame.grid(canvas);
    for candle in shown {
        let (left, middle, right) = body(&frame, candle);
        let color = color(candle);
        canvas.line(&[(middle, frame.y(candle.high)), (middle, frame.y(candle.low))], 1.2, color);
        let (top, bottom) = (frame.y(candle.open.max(candle.close)), frame.y(candle.open.min(candle.close)));
        // A candle that closes at its open is a stroke.
        canvas.rectangle((left, top), (right, bottom.max(top + 1.2)), color);
    }
}

fn volumes(canvas: &mut Canvas, area: Area, shown: &[Candle]) {
    let most = shown.iter().filter_map(|candle| candle.volume).fold(0.0, f64::max);
    let up = Extent { low: 0.0, high: if most > 0.0 { most * 1.08 } else { 1.0 } };
    let frame = Frame::within(area, across(shown), up, 2);
    let coin = shown.first().map_or("", |candle| &*candle.coin);
    frame.unit(canvas, &if most > 0.0 { format!("volume ({coin})") } else { "volume unknown".to_owned() });
    if most > 0.0 {
        frame.grid(canvas);
    }
    for (candle, volume) in shown.iter().filter_map(|candle| Some((candle, candle.volume?))) {
        let (left, _, right) = body(&frame, candle);
        canvas.rectangle((left, frame.y(volume)), (right, frame.area.bottom), BAND);
    }
    let (from, to) = (EventTime(frame.across.low as i64), EventTime(frame.across.high as i64));
    frame.foot(canvas, &time_marks(from, to, Format::time_labels(frame.width())));
}

/// Returns left edge, middle and right edge of a candle's body.
fn body(frame: &Frame, candle: &Candle) -> (f64, f64, f64) {
    let (from, to) = (frame.x(candle.start.ms() as f64), frame.x(candle.end.ms() as f64));
    let (middle, half) = ((from + to) / 2.0, (to - from) * 0.36);
    (middle - half, middle, middle + half)
}

fn color(candle: &Candle) -> plotters::style::RGBColor {
    if candle.close >= candle.open { RISING } else { FALLING }
}
