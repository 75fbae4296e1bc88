//! A panel's frame: title, axes, and where a value stands.

use plotters::style::RGBColor;

use super::axis::{Mark, value_marks};
use super::canvas::{Anchor, Canvas, Point, TextStyle};
use super::extent::Extent;
use super::theme::{AXIS, GRID, INK, MUTED, SMALL, TITLE};

/// A part of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// The part of an area in which values are drawn.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) area: Area,
    pub(super) across: Extent,
    pub(super) up: Extent,
    /// Where the numbers begin, left of the frame.
    left: f64,
    /// The numbers.
    marks: Vec<Mark>,
}

/// The space that a title takes above a frame.
pub(super) const TITLE_HEIGHT: f64 = 34.0;
/// The space that the numbers take left of a frame at least, so that frames of most prices begin at one place.
const NUMBERS_WIDTH_MIN: f64 = 76.0;
/// The space between the numbers and the frame.
const NUMBERS_GAP: f64 = 10.0;
const NUMBERS: TextStyle = TextStyle::new(SMALL, MUTED).anchored(Anchor::Right);

impl Frame {
    /// The frame within an area that leaves room for the title and for about `marks` numbers.
    pub(super) fn within(area: Area, across: Extent, up: Extent, marks: u32) -> Self {
        let marks = value_marks(up, marks);
        let widest = marks.iter().map(|mark| NUMBERS.width(&mark.label)).fold(0.0, f64::max);
        let numbers = (widest + NUMBERS_GAP).max(NUMBERS_WIDTH_MIN);
        let inner = Area { left: area.left + numbers, top: area.top + TITLE_HEIGHT, ..area };
        Self { area: inner, across, up, left: area.left, marks }
    }

    /// Where a value across stands.
    pub(super) fn x(&self, value: f64) -> f64 {
        let share = (value - self.across.low) / (self.across.high - self.across.low);
        self.area.left + share * (self.area.right - self.area.left)
    }

    /// Where a value up stands, held within the frame.
    pub(super) fn y(&self, value: f64) -> f64 {
        let share = ((value - self.up.low) / (self.up.high - self.up.low)).clamp(0.0, 1.0);
        self.area.bottom - share * (self.area.bottom - self.area.top)
    }

    /// The point of two values.
    pub(super) fn point(&self, across: f64, up: f64) -> Point {
        (self.x(across), self.y(up))
    }

    /// Fills from one value across to another, over the frame's whole height.
    pub(super) fn shade(&self, canvas: &mut Canvas, from: f64, to: f64, color: RGBColor) {
        canvas.rectangle((self.x(from), self.area.top), (self.x(to), self.area.bottom), color);
    }

    /// Writes the title, its unit and an explanation in one line above the frame.
    pub(super) fn title(&self, canvas: &mut Canvas, title: &str, beside: &str) {
        let bold = TextStyle::new(TITLE, INK).bold();
        let base = self.area.top - 14.0;
        canvas.text((self.left, base), title, bold);
        canvas.text((self.left + bold.width(title) + 12.0, base), beside, TextStyle::new(SMALL, MUTED));
    }

    /// Draws the grid with the numbers at its left.
    pub(super) fn grid(&self, canvas: &mut Canvas) {
        for mark in &self.marks {
            let y = self.y(mark.at);
            canvas.line(&[(self.area.left, y), (self.area.right, y)], 1.0, GRID);
            canvas.text((self.area.left - NUMBERS_GAP, y + 5.5), mark.label.as_str(), NUMBERS);
        }
    }

    /// Draws the foot with the times below it.
    pub(super) fn foot(&self, canvas: &mut Canvas, marks: &[Mark]) {
        let Area { left, right, bottom, .. } = self.area;
        canvas.line(&[(left, bottom), (right, bottom)], 1.2, AXIS);
        let style = TextStyle::new(SMALL, MUTED).anchored(Anchor::Middle);
        for mark in marks {
            let x = self.x(mark.at);
            canvas.line(&[(x, bottom), (x, bottom + 5.0)], 1.2, AXIS);
            // A label at the edge of the picture is moved in rather than cut.
            let half = style.width(&mark.label) / 2.0;
            canvas.text((x.clamp(self.left + half, right - half + 14.0), bottom + 24.0), mark.label.as_str(), style);
        }
    }
}
