//! Drawing surface. Shapes are drawn enlarged by plotters and averaged down, which smooths every edge; letters are
//! drawn at their final size. Coordinates are in final pixels, from the upper left.

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::style::{RGBColor, ShapeStyle};

/// Enlargement of shapes. Each pixel is the mean of its 3 × 3 square, which gives 10 shades of an edge.
pub(super) const SCALE: u32 = 3;

const REGULAR: &[u8] = include_bytes!("../../assets/IBMPlexSans-Regular.ttf");
const SEMI_BOLD: &[u8] = include_bytes!("../../assets/IBMPlexSans-SemiBold.ttf");

/// A point in final pixels.
pub(super) type Point = (f64, f64);

/// A surface under construction.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    scale: u32,
    pixels: Vec<u8>,
    labels: Vec<Label>,
}

/// A finished image: rows of red, green and blue bytes from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Three bytes per pixel.
    pub pixels: Vec<u8>,
}

/// Point of a text that is placed at a given position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// Its left end.
    Left,
    /// Its middle.
    Middle,
    /// Its right end.
    Right,
}

impl Anchor {
    /// Share of the text's width that is left of the position.
    fn share(self) -> f64 {
        match self {
            Self::Left => 0.0,
            Self::Middle => 0.5,
            Self::Right => 1.0,
        }
    }
}

/// Style of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextStyle {
    /// Size of the em square in pixels.
    pub(super) size: f64,
    /// Color of the letters.
    pub(super) color: RGBColor,
    /// Whether the letters are semi-bold instead of regular.
    pub(super) is_bold: bool,
    /// Point of the text that is placed at a given position.
    pub(super) anchor: Anchor,
}

impl TextStyle {
    pub(super) const fn new(size: f64, color: RGBColor) -> Self {
        Self { size, color, is_bold: false, anchor: Anchor::Left }
    }

    pub(super) const fn bold(self) -> Self {
        Self { is_bold: true, ..self }
    }

    pub(super) const fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    fn font(self) -> FontRef<'static> {
        let bytes = if self.is_bold { SEMI_BOLD } else { REGULAR };
        FontRef::try_from_slice(bytes).expect("the embedded fonts are fonts")
    }

    /// Lays out the letters of a text on a baseline. Returns them with the total width.
    fn layout(self, font: &FontRef<'_>, text: &str) -> (Vec<Glyph>, f32) {
        // ab_glyph scales by ascent plus descent, font sizes are given by the em square.
        let em = font.units_per_em().unwrap_or(1_000.0);
        let scale = PxScale::from(self.size as f32 * font.height_unscaled() / em);
        let scaled = font.as_scaled(scale);
        let mut x = 0.0;
        let mut before = None;
        let mut glyphs = Vec::new();
        for letter in text.chars() {
            let id = scaled.glyph_id(letter);
            x += before.map_or(0.0, |before| scaled.kern(before, id));
            glyphs.push(id.with_scale_and_position(scale, point(x, 0.0)));
            x += scaled.h_advance(id);
            before = Some(id);
        }
        (glyphs, x)
    }

    /// Returns the same style, with a smaller size if the text would be wider than `width_max` pixels.
    pub(super) fn fitting(self, text: &str, width_max: f64) -> Self {
        Self { size: self.size * (width_max / self.width(text)).min(1.0), ..self }
    }

    /// Returns the width of a text in pixels.
    pub(super) fn width(self, text: &str) -> f64 {
        f64::from(self.layout(&self.font(), text).1)
    }
}

struct Label {
    at: Point,
    text: String,
    style: TextStyle,
}

impl Canvas {
    /// Returns an empty surface; its shapes are enlarged by `scale` until it is finished.
    pub(super) fn new((width, height): (u32, u32), scale: u32, background: RGBColor) -> Self {
        let count = (width * scale) as usize * (height * scale) as usize;
        let pixels = [background.0, background.1, background.2].repeat(count);
        Self { width, height, scale, pixels, labels: Vec::new() }
    }

    /// Draws straight lines through points; `width` is in pixels.
    pub(super) fn line(&mut self, points: &[Point], width: f64, color: RGBColor) {
        let stroke = (width * f64::from(self.scale)).round().max(1.0) as u32;
        let style = ShapeStyle { color: color.into(), filled: true, stroke_width: stroke };
        let points: Vec<_> = points.iter().map(|&point| self.enlarge(point)).collect();
        self.shapes(|backend| {
            // Each piece is drawn separately with round joints: plotters' outline of a whole zigzag crosses itself and
            // leaves holes.
            for pair in points.windows(2).filter(|pair| pair[0] != pair[1]) {
                backend.draw_path(pair.iter().copied(), &style)?;
            }
            let joints = points.iter().filter(|_| stroke > 2);
            joints.copied().try_for_each(|point| backend.draw_circle(point, stroke / 2, &style, true))
        });
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
        let outline: Vec<_> = outline.iter().map(|&point| self.enlarge(point)).collect();
        let style = ShapeStyle { color: color.into(), filled: true, stroke_width: 1 };
        self.shapes(|backend| backend.fill_polygon(outline, &style));
    }

    /// Fills a rectangle given by two corners.
    pub(super) fn rectangle(&mut self, from: Point, to: Point, color: RGBColor) {
        let style = ShapeStyle { color: color.into(), filled: true, stroke_width: 1 };
        let (from, (right, bottom)) = (self.enlarge(from), self.enlarge(to));
        // The far edges belong to the neighbor, so that adjacent rectangles do not overlap.
        self.shapes(|backend| {
            backend.draw_rect(from, ((right - 1).max(from.0), (bottom - 1).max(from.1)), &style, true)
        });
    }

    /// Fills a circle.
    pub(super) fn dot(&mut self, center: Point, radius: f64, color: RGBColor) {
        let style = ShapeStyle { color: color.into(), filled: true, stroke_width: 1 };
        let radius = (radius * f64::from(self.scale)).round() as u32;
        let center = self.enlarge(center);
        self.shapes(|backend| backend.draw_circle(center, radius, &style, true));
    }

    /// Writes a text with its baseline at the height of `at`.
    pub(super) fn text(&mut self, at: Point, text: impl Into<String>, style: TextStyle) {
        self.labels.push(Label { at, text: text.into(), style });
    }

    /// Averages the shapes down and writes the texts over them.
    pub(super) fn finish(self) -> Image {
        let mut image = Image { width: self.width, height: self.height, pixels: Vec::new() };
        image.pixels = averaged(&self.pixels, self.width as usize, self.height as usize, self.scale as usize);
        for label in &self.labels {
            image.write(label);
        }
        image
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

    fn enlarge(&self, (x, y): Point) -> (i32, i32) {
        let scale = f64::from(self.scale);
        ((x * scale).round() as i32, (y * scale).round() as i32)
    }

    fn shapes<E>(&mut self, draw: impl FnOnce(&mut BitMapBackend<'_>) -> Result<(), E>) {
        let size = (self.width * self.scale, self.height * self.scale);
        let mut backend = BitMapBackend::with_buffer(&mut self.pixels, size);
        assert!(draw(&mut backend).is_ok(), "drawing into memory does not fail");
    }
}

impl Image {
    fn write(&mut self, label: &Label) {
        let font = label.style.font();
        let (glyphs, width) = label.style.layout(&font, &label.text);
        let shift = width * label.style.anchor.share() as f32;
        for mut glyph in glyphs {
            glyph.position.x += label.at.0 as f32 - shift;
            glyph.position.y += label.at.1 as f32;
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, share| {
                self.blend(corner.x as i64 + i64::from(x), corner.y as i64 + i64::from(y), label.style.color, share)
            });
        }
    }

    fn blend(&mut self, x: i64, y: i64, color: RGBColor, share: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.width || y >= self.height {
            return;
        }
        let idx = (y as usize * self.width as usize + x as usize) * 3;
        for (byte, ink) in self.pixels[idx..idx + 3].iter_mut().zip([color.0, color.1, color.2]) {
            let below = f32::from(*byte);
            *byte = (below + (f32::from(ink) - below) * share.clamp(0.0, 1.0)).round() as u8;
        }
    }

    /// Encodes the image as PNG.
    ///
    /// # Errors
    /// Never for an image of this module, whose bytes match its size.
    pub fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }
}

/// Returns the mean of each square of `scale` × `scale` pixels.
fn averaged(large: &[u8], width: usize, height: usize, scale: usize) -> Vec<u8> {
    let row_bytes = width * scale * 3;
    let mut sums = vec![0_u16; width * 3];
    let mut small = Vec::with_capacity(width * height * 3);
    for rows in large.chunks_exact(row_bytes * scale) {
        sums.fill(0);
        for row in rows.chunks_exact(row_bytes) {
            for (sums, pixels) in sums.chunks_exact_mut(3).zip(row.chunks_exact(3 * scale)) {
                for pixel in pixels.chunks_exact(3) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, &byte)| *sum += u16::from(byte));
                }
            }
        }
        let count = (scale * scale) as u16;
        small.extend(sums.iter().map(|sum| ((sum + count / 2) / count) as u8));
    }
    small
}
