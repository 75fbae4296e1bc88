//! Colours. Actual and predicted differ in lightness as much as in hue, so that they stay apart for every eye and in
//! grey print.

use plotters::style::RGBColor;

pub(super) const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
/// Text and the actual price.
pub(super) const INK: RGBColor = RGBColor(30, 41, 59);
/// Text beside the point.
pub(super) const MUTED: RGBColor = RGBColor(92, 105, 122);
/// Lines of a grid.
pub(super) const GRID: RGBColor = RGBColor(232, 236, 241);
/// The frame's foot and marks.
pub(super) const AXIS: RGBColor = RGBColor(176, 186, 198);
/// What lies behind the holdout.
pub(super) const HOLDOUT: RGBColor = RGBColor(246, 248, 251);
/// The model.
pub(super) const MODEL: RGBColor = RGBColor(234, 88, 12);
/// The model's interval, opaque so that overlapping pieces stay even.
pub(super) const BAND: RGBColor = RGBColor(253, 222, 196);
/// The baseline: there, but quiet.
pub(super) const BASELINE: RGBColor = RGBColor(140, 151, 166);
/// Where the baseline is better.
pub(super) const BEHIND: RGBColor = RGBColor(222, 227, 234);
/// What must not be overlooked.
pub(super) const WARNING: RGBColor = RGBColor(180, 35, 24);

/// Size of the text on axes and in legends.
pub(super) const SMALL: f64 = 16.0;
/// Size of a panel's title.
pub(super) const TITLE: f64 = 20.0;
