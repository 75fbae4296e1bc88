//! Sizes of the plot and places of its panels, in pixels.

/// Width of the plot.
pub(super) const WIDTH: u32 = 1_600;
/// Height of the plot.
pub(super) const HEIGHT: u32 = 1_000;

/// Space left and right of everything.
pub(super) const MARGIN: f64 = 36.0;
/// Where the panels begin, below the title.
pub(super) const OVERVIEW_TOP: f64 = 158.0;
