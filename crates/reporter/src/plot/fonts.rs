//! The embedded font, IBM Plex Sans: TrueType to measure texts and to draw PNG, and IBM's own Latin subset in WOFF2 for
//! documents that are opened elsewhere.

use std::sync::{Arc, LazyLock};

use ab_glyph::FontRef;
use data_encoding::BASE64;
use resvg::usvg::fontdb::Database;

/// Family as documents name it.
pub(super) const FAMILY: &str = "IBM Plex Sans";

const REGULAR: &[u8] = include_bytes!("../../assets/IBMPlexSans-Regular.ttf");
const SEMI_BOLD: &[u8] = include_bytes!("../../assets/IBMPlexSans-SemiBold.ttf");
const REGULAR_LATIN: &[u8] = include_bytes!("../../assets/IBMPlexSans-Regular-Latin1.woff2");
const SEMI_BOLD_LATIN: &[u8] = include_bytes!("../../assets/IBMPlexSans-SemiBold-Latin1.woff2");

/// Returns the face of regular or semi-bold letters.
pub(super) fn face(is_bold: bool) -> FontRef<'static> {
    FontRef::try_from_slice(if is_bold { SEMI_BOLD } else { REGULAR }).expect("the embedded fonts are fonts")
}

/// Returns the fonts that a PNG is drawn with: no other ones, so that a picture looks the same on every machine.
pub(super) fn database() -> Arc<Database> {
    static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
        let mut fonts = Database::new();
        for font in [REGULAR, SEMI_BOLD] {
            fonts.load_font_data(font.to_vec());
        }
        Arc::new(fonts)
    });
    Arc::clone(&FONTS)
}

/// Returns the CSS rules that embed the font.
pub(crate) fn font_faces() -> String {
    let face = |font: &[u8], weight: &str| {
        let data = BASE64.encode(font);
        format!(
            "@font-face{{font-family:\"{FAMILY}\";font-weight:{weight};src:url(data:font/woff2;base64,{data}) format(\"woff2\")}}"
        )
    };
    face(REGULAR_LATIN, "400") + &face(SEMI_BOLD_LATIN, "600 700")
}
