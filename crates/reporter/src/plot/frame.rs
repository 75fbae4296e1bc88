//! Frame of a panel: title, axes, and the mapping from values to pixels.

use plotters::style::RGBColor;

use super::axis::{Mark, value_marks};
use super::canvas::{Canvas, Point};
use super::extent::Extent;
use super::text::{Anchor, TextStyle};
use super::theme::{AXIS, GRID, INK, MUTED, SMALL, TITLE};

/// A rectangle of the plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// The rectangle of an area in which values are drawn, with its axes.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) area: Area,
    pub(super) across: Extent,
    pub(super) up: Extent,
    /// Left end of the axis labels.
    left: f64,
    /// Marks of the value axis.
    marks: Vec<Mark>,
}

/// Height of a title above a frame.
pub(super) const TITLE_HEIGHT: f64 = 34.0;
/// Smallest width of the axis labels, so that the frames of most prices are aligned.
pub(super) const NUMBERS_WIDTH_MIN: f64 = 76.0;
/// How far the last label of a time axis may reach beyond the frame: less than any margin.
const OVERHANG: f64 = 10.0;
/// Space between the axis labels and the frame.
const NUMBERS_GAP: f64 = 10.0;
const NUMBERS: TextStyle = TextStyle::new(SMALL, MUTED).anchored(Anchor::Right);

impl Frame {
    /// Returns the frame within an area, with room for the title and about `marks` axis labels.
    pub(super) fn within(area: Area, across: Extent, up: Extent, marks: u32) -> Self {
        let marks = value_marks(up, marks);
        let widest = marks.iter().map(|mark| NUMBERS.width(&mark.label)).fold(0.0, f64::max);
        let numbers = (widest + NUMBERS_GAP).max(NUMBERS_WIDTH_MIN);
        let inner = Area { left: area.left + numbers, top: area.top + TITLE_HEIGHT, ..area };
        Self { area: inner, across, up, left: area.left, marks }
    }

    /// Returns the width of the values' rectangle in pixels.
    pub(super) fn width(&self) -> f64 {
        self.area.right - self.area.left
    }

    /// Returns the horizontal position of a value.
    pub(super) fn x(&self, value: f64) -> f64 {
        let share = (value - self.across.low) / (self.across.high - self.across.low);
        self.area.left + share * (self.area.right - self.area.left)
    }

    /// Returns the vertical position of a value, clamped to the frame.
    pub(super) fn y(&self, value: f64) -> f64 {
        let share = ((value - self.up.low) / (self.up.high - self.up.low)).clamp(0.0, 1.0);
        self.area.bottom - share * (self.area.bottom - self.area.top)
    }

    /// Returns the position of a pair of values.
    pub(super) fn point(&self, across: f64, up: f64) -> Point {
        (self.x(across), self.y(up))
    }

    /// Fills the frame's whole height between two values of the horizontal axis.
    pub(super) fn shade(&self, canvas: &mut Canvas, from: f64, to: f64, color: RGBColor) {
        canvas.rectangle((self.x(from), self.area.top), (self.x(to), self.area.bottom), color);
    }

    /// Writes the title and an explanation above the frame: in one line, or one below the other where there is no room.
    pub(super) fn title(&self, canvas: &mut Canvas, title: &str, beside: &str) {
        let bold = TextStyle::new(TITLE, INK).bold();
        let base = self.area.top - 14.0;
        let (x, small) = (self.left + bold.width(title) + 12.0, TextStyle::new(SMALL, MUTED));
        if x + small.width(beside) <= self.area.right {
            canvas.text((self.left, base), title, bold);
            canvas.text((x, base), beside, small);
        } else {
            canvas.text((self.left, base - 22.0), title, bold);
            canvas.text((self.left, base), beside, small.fitting(beside, self.area.right - self.left));
        }
    }

    /// Writes the unit of the value axis above the frame.
    pub(super) fn unit(&self, canvas: &mut Canvas, unit: &str) {
        let small = TextStyle::new(SMALL, MUTED);
        canvas.text((self.left, self.area.top - 14.0), unit, small.fitting(unit, self.area.right - self.left));
    }

    /// Draws the grid with its labels at the left.
    pub(super) fn grid(&self, canvas: &mut Canvas) {
        for mark in &self.marks {
            let y = self.y(mark.at);
            canvas.line(&[(self.area.left, y), (self.area.right, y)], 1.0, GRID);
            canvas.text((self.area.left - NUMBERS_GAP, y + 5.5), mark.label.as_str(), NUMBERS);
        }
    }

    /// Draws the bottom line with the times below it.
    pub(super) fn foot(&self, canvas: &mut Canvas, marks: &[Mark]) {
        let Area { left, right, bottom, .. } = self.area;
        canvas.line(&[(left, bottom), (right, bottom)], 1.2, AXIS);
        let style = TextStyle::new(SMALL, MUTED).anchored(Anchor::Middle);
        for mark in marks {
            let x = self.x(mark.at);
            canvas.line(&[(x, bottom), (x, bottom + 5.0)], 1.2, AXIS);
            // A label beyond the edge of the plot is moved inward.
            let half = style.width(&mark.label) / 2.0;
            canvas.text(
                (x.clamp(self.left + half, right - half + OVERHANG), bottom + 24.0),
                mark.label.as_str(),
                style,
            );
        }
    }
}
