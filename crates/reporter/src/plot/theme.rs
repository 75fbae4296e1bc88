//! Colors and text sizes. Actual and predicted differ in lightness as much as in hue, so that they can be told apart
//! with any color vision and in gray print.

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

/// Text size on axes and in legends.
pub(super) const SMALL: f64 = 16.0;
/// Text size of a panel's title.
pub(super) const TITLE: f64 = 20.0;
