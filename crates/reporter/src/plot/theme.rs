//! Colors and text sizes. Actual and predicted differ in lightness as much as in hue, so that they can be told apart
//! with any color vision and in gray print. Each color has a counterpart on a dark page.

use plotters::style::RGBColor;

pub(super) const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
/// Text and the actual price.
pub(super) const INK: RGBColor = RGBColor(30, 41, 59);
/// Secondary text.
pub(super) const MUTED: RGBColor = RGBColor(92, 105, 122);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(232, 236, 241);
/// Bottom line and marks of a frame.
pub(super) const AXIS: RGBColor = RGBColor(176, 186, 198);
/// Background of the holdout.
pub(super) const HOLDOUT: RGBColor = RGBColor(246, 248, 251);
/// Predictions of the model.
pub(super) const MODEL: RGBColor = RGBColor(234, 88, 12);
/// Prediction interval. It is opaque, so that overlapping pieces look even.
pub(super) const BAND: RGBColor = RGBColor(253, 222, 196);
/// Naive baseline, in a quiet color.
pub(super) const BASELINE: RGBColor = RGBColor(140, 151, 166);
/// Rows where the baseline is better.
pub(super) const BEHIND: RGBColor = RGBColor(222, 227, 234);
/// Warnings.
pub(super) const WARNING: RGBColor = RGBColor(180, 35, 24);
/// Candles that close above their open.
pub(super) const RISING: RGBColor = RGBColor(13, 128, 118);
/// Candles that close below their open.
pub(super) const FALLING: RGBColor = RGBColor(205, 62, 45);

/// Every color beside its counterpart on a dark page.
const COLORS: [(RGBColor, RGBColor); 13] = [
    (BACKGROUND, RGBColor(21, 29, 41)),
    (INK, RGBColor(230, 235, 242)),
    (MUTED, RGBColor(154, 167, 184)),
    (GRID, RGBColor(37, 47, 62)),
    (AXIS, RGBColor(82, 97, 118)),
    (HOLDOUT, RGBColor(28, 38, 54)),
    (MODEL, RGBColor(251, 146, 60)),
    (BAND, RGBColor(84, 54, 34)),
    (BASELINE, RGBColor(133, 147, 168)),
    (BEHIND, RGBColor(51, 63, 81)),
    (WARNING, RGBColor(248, 113, 113)),
    (RISING, RGBColor(45, 212, 191)),
    (FALLING, RGBColor(251, 113, 133)),
];

/// Text size on axes and in legends.
pub(super) const SMALL: f64 = 16.0;
/// Text size of a panel's title.
pub(super) const TITLE: f64 = 20.0;

/// Returns CSS rules that give every color below `scope` its counterpart on a dark page. They match the colors as
/// plotters writes them.
pub(crate) fn dark_rules(scope: &str) -> String {
    let hex = |RGBColor(red, green, blue): RGBColor| format!("#{red:02X}{green:02X}{blue:02X}");
    let rules = COLORS.iter().flat_map(|&(light, dark)| {
        let (light, dark) = (hex(light), hex(dark));
        ["fill", "stroke"].map(|part| format!("{scope} [{part}=\"{light}\"]{{{part}:{dark}}}"))
    });
    rules.collect()
}
