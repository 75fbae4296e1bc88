//! Style and measures of a text.

use ab_glyph::{Font, PxScale, ScaleFont};
use plotters::style::RGBColor;

use super::fonts;

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
    #[cfg(test)]
    pub(super) fn share(self) -> f64 {
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

    /// Returns the same style, with a smaller size if the text would be wider than `width_max` pixels.
    pub(super) fn fitting(self, text: &str, width_max: f64) -> Self {
        Self { size: self.size * (width_max / self.width(text).max(f64::MIN_POSITIVE)).min(1.0), ..self }
    }

    /// Returns the width of a text in pixels: the sum of the advances of its letters. Kerning makes it a little
    /// narrower.
    pub(super) fn width(self, text: &str) -> f64 {
        let font = fonts::face(self.is_bold);
        // ab_glyph scales by ascent plus descent, font sizes are given by the em square.
        let em = font.units_per_em().unwrap_or(1_000.0);
        let scaled = font.as_scaled(PxScale::from(self.size as f32 * font.height_unscaled() / em));
        f64::from(text.chars().map(|letter| scaled.h_advance(scaled.glyph_id(letter))).sum::<f32>())
    }

    /// Breaks a text into lines of at most `width_max` pixels, between words. A longer word is a line of its own.
    pub(super) fn broken(self, text: &str, width_max: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            match lines.last_mut() {
                Some(line) if self.width(&format!("{line} {word}")) <= width_max => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use plotters::style::BLACK;

    use super::*;

    #[test]
    fn only_a_text_that_is_too_wide_is_made_smaller() {
        let style = TextStyle::new(16.0, BLACK);
        assert_eq!(["", "a"].map(|text| style.fitting(text, 100.0).size), [16.0, 16.0]);
        let smaller = style.fitting("a wide text", 40.0);
        assert!((smaller.width("a wide text") - 40.0).abs() < 0.1, "{}", smaller.size);
    }

    #[test]
    fn lines_break_between_words_and_lose_none() {
        let style = TextStyle::new(16.0, BLACK);
        let text = "There is no evidence that the model beats the naive baseline";
        let lines = style.broken(text, 150.0);
        assert!(lines.len() > 2 && lines.iter().all(|line| style.width(line) <= 150.0), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(style.broken("incomprehensibilities", 10.0), ["incomprehensibilities"]);
    }
}
