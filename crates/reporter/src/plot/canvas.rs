//! Drawing surface. It collects shapes and texts, and plotters writes them as SVG. Coordinates are in pixels, from the
//! upper left.

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle as FontText};

use super::fonts;
use super::picture::Picture;
use super::text::{Anchor, TextStyle};

/// Units of the drawing per pixel: plotters writes whole numbers.
pub(super) const UNITS: u32 = 10;

/// A point in pixels.
pub(super) type Point = (f64, f64);

/// A surface under construction.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    background: RGBColor,
    shapes: Vec<Shape>,
    labels: Vec<Label>,
}

enum Shape {
    Line { points: Vec<Point>, width: f64, color: RGBColor },
    Polygon { outline: Vec<Point>, color: RGBColor },
    Rectangle { from: Point, to: Point, color: RGBColor },
    Dot { center: Point, radius: f64, color: RGBColor },
}

struct Label {
    at: Point,
    text: String,
    style: TextStyle,
}

impl Canvas {
    /// Returns a surface of a background color.
    pub(super) fn new((width, height): (u32, u32), background: RGBColor) -> Self {
        Self { width, height, background, shapes: Vec::new(), labels: Vec::new() }
    }

    /// Sets the height, for a picture whose texts decide it.
    pub(super) fn end_at(&mut self, bottom: f64) {
        self.height = bottom.ceil() as u32;
    }

    /// Draws straight lines through points; `width` is in pixels. Points that are all equal are drawn as a dot.
    pub(super) fn line(&mut self, points: &[Point], width: f64, color: RGBColor) {
        match points {
            [] => {}
            [first, others @ ..] if others.iter().all(|point| point == first) => self.dot(*first, width, color),
            points => self.shapes.push(Shape::Line { points: points.to_vec(), width, color }),
        }
    }

    /// Draws a horizontal or vertical dashed line.
    pub(super) fn dashed(&mut self, from: Point, to: Point, width: f64, color: RGBColor) {
        const DASH: f64 = 5.0;
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |distance: f64| {
            let share = (distance / length).min(1.0);
            (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
        };
        let dashes = (length / (2.0 * DASH)).ceil() as u32;
        for dash in 0..dashes {
            let begin = f64::from(dash) * 2.0 * DASH;
            self.line(&[at(begin), at(begin + DASH)], width, color);
        }
    }

    /// Fills the inside of a closed outline.
    pub(super) fn polygon(&mut self, outline: &[Point], color: RGBColor) {
        self.shapes.push(Shape::Polygon { outline: outline.to_vec(), color });
    }

    /// Fills a rectangle given by two corners.
    pub(super) fn rectangle(&mut self, from: Point, to: Point, color: RGBColor) {
        self.shapes.push(Shape::Rectangle { from, to, color });
    }

    /// Fills a circle.
    pub(super) fn dot(&mut self, center: Point, radius: f64, color: RGBColor) {
        self.shapes.push(Shape::Dot { center, radius, color });
    }

    /// Writes a text with its baseline at the height of `at`.
    pub(super) fn text(&mut self, at: Point, text: impl Into<String>, style: TextStyle) {
        self.labels.push(Label { at, text: text.into(), style });
    }

    /// Writes a text in as many lines as it needs, the first with its baseline at the height of `at`. Returns the height
    /// of the last baseline.
    pub(super) fn paragraph(&mut self, at: Point, width_max: f64, text: &str, style: TextStyle) -> f64 {
        let mut base = at.1;
        for (idx, line) in style.broken(text, width_max).into_iter().enumerate() {
            base = at.1 + idx as f64 * style.size * LEADING;
            self.text((at.0, base), line, style);
        }
        base
    }

    /// Returns the picture: all shapes, and the texts over them. `title` says in one sentence what it shows.
    pub(super) fn finish(self, title: impl Into<String>) -> Picture {
        let mut drawing = String::new();
        let mut backend = SVGBackend::with_string(&mut drawing, (self.width * UNITS, self.height * UNITS));
        let to = (f64::from(self.width), f64::from(self.height));
        let background = Shape::Rectangle { from: (0.0, 0.0), to, color: self.background };
        let are_drawn = std::iter::once(&background).chain(&self.shapes).all(|shape| shape.draw(&mut backend));
        let are_written = self.labels.iter().all(|label| label.write(&mut backend));
        assert!(are_drawn && are_written && backend.present().is_ok(), "drawing into memory does not fail");
        drop(backend);
        Picture::new((self.width, self.height), title.into(), drawing)
    }

    /// Returns every text with the left and right ends of its baseline, and the baseline's height.
    #[cfg(test)]
    pub(super) fn texts(&self) -> Vec<(String, [f64; 2], f64)> {
        let ends = |label: &Label| {
            let width = label.style.width(&label.text);
            let left = label.at.0 - width * label.style.anchor.share();
            (label.text.clone(), [left, left + width], label.at.1)
        };
        self.labels.iter().map(ends).collect()
    }

    /// Returns width and height.
    #[cfg(test)]
    pub(super) fn size(&self) -> (f64, f64) {
        (f64::from(self.width), f64::from(self.height))
    }
}

/// Distance of two lines of a paragraph, in sizes of its letters.
const LEADING: f64 = 1.35;

impl Shape {
    /// Whether the backend took the shape.
    fn draw(&self, backend: &mut SVGBackend<'_>) -> bool {
        let filled = |color: RGBColor| ShapeStyle { color: color.into(), filled: true, stroke_width: 1 };
        match self {
            Self::Line { points, width, color } => {
                let style = ShapeStyle { stroke_width: units(*width).max(1) as u32, ..filled(*color) };
                backend.draw_path(points.iter().copied().map(in_units), &style).is_ok()
            }
            Self::Polygon { outline, color } => {
                backend.fill_polygon(outline.iter().copied().map(in_units), &filled(*color)).is_ok()
            }
            Self::Rectangle { from, to, color } => {
                let (from, (right, bottom)) = (in_units(*from), in_units(*to));
                let to = (right.max(from.0 + 1), bottom.max(from.1 + 1));
                backend.draw_rect(from, to, &filled(*color), true).is_ok()
            }
            Self::Dot { center, radius, color } => {
                backend.draw_circle(in_units(*center), units(*radius).max(1) as u32, &filled(*color), true).is_ok()
            }
        }
    }
}

/// plotters writes a font's size divided by this.
const SIZE_FACTOR: f64 = 1.24;
/// plotters places the baseline of a text that hangs from its top this far below, in sizes of the letters.
const TOP_TO_BASELINE: f64 = 0.76;

impl Label {
    /// Whether the backend took the text.
    fn write(&self, backend: &mut SVGBackend<'_>) -> bool {
        let TextStyle { size, color, is_bold, anchor } = self.style;
        let horizontal = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let weight = if is_bold { FontStyle::Bold } else { FontStyle::Normal };
        let size = size * f64::from(UNITS);
        let font = FontDesc::new(FontFamily::Name(fonts::FAMILY), size * SIZE_FACTOR, weight);
        let style = FontText::from(font).color(&color).pos(Pos::new(horizontal, VPos::Top));
        let (x, base) = in_units(self.at);
        backend.draw_text(&self.text, &style, (x, base - (size * TOP_TO_BASELINE).round() as i32)).is_ok()
    }
}

/// Coordinates in pixels that are drawn: differences of larger ones would not fit into plotters' whole numbers.
const PIXELS_MAX: f64 = 1e6;

fn units(pixels: f64) -> i32 {
    (pixels.clamp(-PIXELS_MAX, PIXELS_MAX) * f64::from(UNITS)).round() as i32
}

fn in_units((x, y): Point) -> (i32, i32) {
    (units(x), units(y))
}
