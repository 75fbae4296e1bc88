//! A finished picture, and its three forms: an SVG document of its own, an SVG element of a page, and PNG.

use std::sync::LazyLock;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use super::canvas::UNITS;
use super::{fonts, theme};

/// A finished picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    title: String,
    /// The shapes and texts, as plotters writes them: an SVG element of [`UNITS`] units a pixel.
    drawing: String,
}

/// Error of drawing a picture into pixels. It does not happen for a picture of this module.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The picture is not valid SVG.
    #[error("cannot read the picture as SVG: {0}")]
    Svg(#[from] resvg::usvg::Error),
    /// The picture has no pixels, or too many for memory.
    #[error("cannot hold a picture of {width} × {height} pixels")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// PNG takes no such picture.
    #[error("cannot encode the picture as PNG: {0}")]
    Png(String),
}

impl Picture {
    pub(super) fn new((width, height): (u32, u32), title: String, drawing: String) -> Self {
        Self { width, height, title, drawing }
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns a document of its own: it holds the font, and its colors follow the light or dark theme of the viewer.
    pub fn to_svg(&self) -> String {
        self.element(&format!("<style>{}</style>", style()))
    }

    /// Returns an element for an HTML page that has the font and, for the dark theme, [`theme::dark_rules`].
    pub(crate) fn to_element(&self) -> String {
        self.element("")
    }

    /// Returns PNG of the light theme, at a pixel of the file per pixel of the picture.
    ///
    /// # Errors
    /// Never for a picture of this module.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        self.to_pixels()?.encode_png().map_err(|error| PictureError::Png(error.to_string()))
    }

    pub(super) fn to_pixels(&self) -> Result<Pixmap, PictureError> {
        let options =
            Options { fontdb: fonts::database(), font_family: fonts::FAMILY.to_owned(), ..Options::default() };
        let tree = Tree::from_str(&self.to_element(), &options)?;
        let size = PictureError::Size { width: self.width, height: self.height };
        let mut pixels = Pixmap::new(self.width, self.height).ok_or(size)?;
        resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
        Ok(pixels)
    }

    fn element(&self, style: &str) -> String {
        let Self { width, height, drawing, .. } = self;
        let title = self.title.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{title}\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">{style}<g transform=\"scale({})\" stroke-linejoin=\"round\">\n{drawing}</g></svg>\n",
            1.0 / f64::from(UNITS)
        )
    }
}

/// Returns the style of a document of its own. It is the same in all of them, so that a server can name its digest.
pub(crate) fn style() -> &'static str {
    static STYLE: LazyLock<String> = LazyLock::new(|| {
        format!("{}@media(prefers-color-scheme:dark){{{}}}", fonts::font_faces(), theme::dark_rules("svg"))
    });
    &STYLE
}

#[cfg(test)]
mod tests {
    use plotters::style::RGBColor;

    use super::super::canvas::Canvas;
    use super::super::samples::{pixels_of, texts_of};
    use super::super::text::{Anchor, TextStyle};
    use super::super::theme::{BACKGROUND, INK, MODEL};
    use super::*;

    fn picture() -> Picture {
        let mut canvas = Canvas::new((300, 100), BACKGROUND);
        canvas.rectangle((10.0, 10.0), (30.0, 20.0), MODEL);
        canvas.text((150.0, 60.0), "5 < 6 & −7", TextStyle::new(20.0, INK).anchored(Anchor::Middle));
        canvas.finish("a \"title\" & more")
    }

    #[test]
    fn png_and_svg_show_the_same() {
        let picture = picture();
        assert_eq!(pixels_of(&picture, MODEL), 200);
        assert!(pixels_of(&picture, INK) > 20);
        assert_eq!(pixels_of(&picture, RGBColor(1, 2, 3)), 0);
        let png = picture.to_png().expect("encoded");
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        let texts = texts_of(&picture.to_svg());
        assert_eq!(texts.len(), 1);
        assert_eq!(texts[0].0, "5 < 6 & −7");
    }

    /// The font that lays texts out is the embedded one, and the measured width is that of the renderer.
    #[test]
    fn measured_texts_are_as_wide_as_drawn_ones() {
        for (text, is_bold) in
            [("holdout starts 2020-03-25", true), ("−4,485 % · AVATAR To", false), ("0123456789", false)]
        {
            let style = TextStyle { is_bold, ..TextStyle::new(24.0, INK) };
            let mut canvas = Canvas::new((600, 50), BACKGROUND);
            canvas.text((10.0, 30.0), text, style);
            let drawn = texts_of(&canvas.finish("").to_element())[0].1;
            let (drawn, measured) = (f64::from(drawn.width()), style.width(text));
            // Kerning makes a text a little narrower.
            assert!(drawn <= measured + 0.5 && drawn > measured * 0.95, "{text}: {drawn} {measured}");
        }
    }

    #[test]
    fn a_document_holds_its_font_and_a_dark_theme() {
        let svg = picture().to_svg();
        assert!(svg.contains("@font-face") && svg.contains("prefers-color-scheme:dark"));
        assert!(svg.contains("aria-label=\"a &quot;title&quot; &amp; more\""));
        assert!(!picture().to_element().contains("@font-face"));
        // Every color that is drawn has a counterpart.
        assert!(svg.contains("[fill=\"#EA580C\"]{fill:#FB923C}") && svg.contains("fill=\"#EA580C\""));
    }
}
