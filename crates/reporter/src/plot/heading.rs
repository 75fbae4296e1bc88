//! Heading of a picture with one panel.

use super::canvas::Canvas;
use super::layout::Format;
use super::text::TextStyle;
use super::theme::{INK, MUTED, SMALL};

/// Texts above the panel.
pub(super) struct Heading<'a> {
    /// Kind of the picture.
    pub(super) title: &'a str,
    /// Instrument and model.
    pub(super) of: &'a str,
    /// A sentence on what the picture shows.
    pub(super) about: &'a str,
}

impl Heading<'_> {
    /// Writes the texts. Returns their lower edge.
    pub(super) fn draw(&self, canvas: &mut Canvas, format: Format) -> f64 {
        let (x, width) = (format.margin(), f64::from(format.width()) - 2.0 * format.margin());
        canvas.text((x, 34.0), self.title, TextStyle::new(24.0, INK).bold());
        let base = canvas.paragraph((x, 60.0), width, self.of, TextStyle::new(SMALL, INK));
        let base = canvas.paragraph((x, base + 23.0), width, self.about, TextStyle::new(SMALL, MUTED));
        base + 16.0
    }
}
