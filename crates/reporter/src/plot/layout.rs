//! Layout of the plot, in pixels.

/// Width of the plot.
pub(super) const WIDTH: u32 = 1_600;
/// Height of the plot.
pub(super) const HEIGHT: u32 = 1_000;

/// Space at the left and right edges.
pub(super) const MARGIN: f64 = 36.0;
/// Upper edge of the panels, below the title.
pub(super) const OVERVIEW_TOP: f64 = 158.0;
