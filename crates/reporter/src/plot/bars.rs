//! Bar chart of shares of a limit, for the benchmark's `bench.png`.
//!
//! It is here and not in the benchmark because it draws on the private canvas, and because only this crate may depend
//! on the plotting library.

use super::canvas::Canvas;
use super::layout::{MARGIN, WIDTH};
use super::picture::Picture;
use super::text::{Anchor, TextStyle};
use super::theme::{AXIS, BACKGROUND, BASELINE, GRID, INK, MODEL, MUTED, SMALL, TITLE, WARNING};

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Name of the figure.
    pub name: String,
    /// Smallest, median and largest measurement as shares of the limit; 1 is the limit.
    pub share: (f64, f64, f64),
    /// The figure and its limit as text.
    pub words: String,
}

const HEADING: f64 = 110.0;
const ROW: f64 = 34.0;
/// Left end of the bars, and position of the limit.
const LEFT: f64 = 520.0;
const LIMIT: f64 = 1_060.0;
/// Right end of the longest bar; longer ones are cut.
const RIGHT: f64 = 1_330.0;
const FOOT: f64 = 56.0;

/// Draws bars under a title and a note in small print.
pub fn bars(title: &str, note: &str, bars: &[Bar]) -> Picture {
    let foot = HEADING + ROW * bars.len() as f64;
    let mut canvas = Canvas::new((WIDTH, (foot + FOOT) as u32), BACKGROUND);
    canvas.text((MARGIN, 48.0), title, TextStyle::new(TITLE * 1.3, INK).bold());
    let small = TextStyle::new(SMALL, MUTED);
    canvas.text((MARGIN, 80.0), note, small.fitting(note, f64::from(WIDTH) - 2.0 * MARGIN));
    for quarter in 0..=5 {
        let x = at(f64::from(quarter) * 0.25);
        canvas.line(&[(x, HEADING), (x, foot)], 1.0, GRID);
        let percent = format!("{} %", quarter * 25);
        canvas.text((x, foot + 24.0), percent, small.anchored(Anchor::Middle));
    }
    for (idx, bar) in bars.iter().enumerate() {
        draw(&mut canvas, HEADING + ROW * (idx as f64 + 0.5), bar);
    }
    canvas.line(&[(LIMIT, HEADING), (LIMIT, foot)], 2.0, INK);
    canvas.line(&[(LEFT, HEADING), (LEFT, foot)], 1.0, AXIS);
    canvas.text((LIMIT, HEADING - 8.0), "the limit", small.anchored(Anchor::Middle));
    canvas.finish(title)
}

fn draw(canvas: &mut Canvas, middle: f64, bar: &Bar) {
    let (min, median, max) = bar.share;
    let color = if median > 1.0 { WARNING } else { MODEL };
    let end = at(median).max(LEFT + 1.0);
    canvas.rectangle((LEFT, middle - 10.0), (end, middle + 10.0), color);
    canvas.line(&[(at(min), middle), (at(max), middle)], 2.0, BASELINE);
    let text = TextStyle::new(SMALL, INK);
    let name_width = LEFT - MARGIN - 16.0;
    canvas.text(
        (LEFT - 16.0, middle + 5.0),
        bar.name.as_str(),
        text.fitting(&bar.name, name_width).anchored(Anchor::Right),
    );
    let words_width = f64::from(WIDTH) - MARGIN - RIGHT - 16.0;
    let words = TextStyle::new(SMALL, if median > 1.0 { WARNING } else { INK });
    canvas.text((RIGHT + 16.0, middle + 5.0), bar.words.as_str(), words.fitting(&bar.words, words_width));
}

/// Returns the horizontal position of a share.
fn at(share: f64) -> f64 {
    (LEFT + (LIMIT - LEFT) * share).clamp(LEFT, RIGHT)
}

#[cfg(test)]
mod tests {
    use super::super::samples::pixels_of;
    use super::*;

    #[test]
    fn a_figure_beyond_its_limit_has_the_warning_color() {
        let bar = |share: f64| Bar { name: "replay".to_owned(), share: (share, share, share), words: String::new() };
        assert_eq!(pixels_of(&bars("", "", &[bar(0.9)]), WARNING), 0);
        let beyond = pixels_of(&bars("", "", &[bar(0.9), bar(40.0)]), WARNING);
        let expected = (RIGHT - LEFT - 2.0) * 16.0;
        assert!(beyond as f64 > expected, "{beyond} of {expected}");
    }
}
