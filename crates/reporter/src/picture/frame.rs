//! A panel's frame: title, axes, and where a value stands.

use plotters::style::RGBColor;

use super::axis::Mark;
use super::canvas::{Anchor, Canvas, Point, TextStyle};
use super::theme::{AXIS, GRID, INK, MUTED, SMALL, TITLE};

/// A part of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// From one value to another; never empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Extent {
    /// From the smallest to the largest of some values; around them when they are all equal.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 1.0 };
        }
        if high - low <= high.abs().max(low.abs()) * 1e-12 {
            let slack = if high == 0.0 { 1.0 } else { high.abs() * 0.01 };
            return Self { low: low - slack, high: high + slack };
        }
        Self { low, high }
    }

    /// Wider by a share of its length on either side.
    pub(super) fn padded(self, share: f64) -> Self {
        let slack = (self.high - self.low) * share;
        Self { low: self.low - slack, high: self.high + slack }
    }

    /// Wide enough for `other` too, but by no more than a share of its length on either side.
    pub(super) fn stretched(self, other: Self, share_max: f64) -> Self {
        let most = self.padded(share_max);
        Self { low: self.low.min(other.low.max(most.low)), high: self.high.max(other.high.min(most.high)) }
    }
}

/// The part of an area in which values are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) area: Area,
    pub(super) across: Extent,
    pub(super) up: Extent,
}

/// The space that a title takes above a frame.
pub(super) const TITLE_HEIGHT: f64 = 34.0;
/// The space that the numbers take left of a frame.
const NUMBERS_WIDTH: f64 = 76.0;

impl Frame {
    /// The frame within an area that leaves room for the title and the numbers.
    pub(super) fn within(area: Area, across: Extent, up: Extent) -> Self {
        let inner = Area { left: area.left + NUMBERS_WIDTH, top: area.top + TITLE_HEIGHT, ..area };
        Self { area: inner, across, up }
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
        let left = self.area.left - NUMBERS_WIDTH;
        canvas.text((left, base), title, bold);
        canvas.text((left + bold.width(title) + 12.0, base), beside, TextStyle::new(SMALL, MUTED));
    }

    /// Draws the grid with the numbers at its left.
    pub(super) fn grid(&self, canvas: &mut Canvas, marks: &[Mark]) {
        let style = TextStyle::new(SMALL, MUTED).anchored(Anchor::Right);
        for mark in marks {
            let y = self.y(mark.at);
            canvas.line(&[(self.area.left, y), (self.area.right, y)], 1.0, GRID);
            canvas.text((self.area.left - 10.0, y + 5.5), mark.label.as_str(), style);
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
            canvas.text(
                (x.clamp(left - NUMBERS_WIDTH + half, right - half + 14.0), bottom + 24.0),
                mark.label.as_str(),
                style,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_never_empty_and_never_runs_away() {
        assert_eq!(Extent::of([]), Extent { low: 0.0, high: 1.0 });
        assert_eq!(Extent::of([5.0, 5.0]), Extent { low: 4.95, high: 5.05 });
        assert_eq!(Extent::of([f64::NAN, 1.0, 3.0]), Extent { low: 1.0, high: 3.0 });
        let prices = Extent { low: 10.0, high: 20.0 };
        assert_eq!(prices.stretched(Extent { low: -1e9, high: 21.0 }, 0.5), Extent { low: 5.0, high: 21.0 });
    }
}
