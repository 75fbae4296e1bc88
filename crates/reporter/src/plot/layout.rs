//! Sizes of pictures, in pixels.

/// For which width a picture is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Screens and paper.
    Wide,
    /// Phones: parts that are side by side elsewhere are one below the other.
    Narrow,
}

/// Width of the overview.
pub(super) const WIDTH: u32 = 1_600;
/// Height of the overview.
pub(super) const HEIGHT: u32 = 1_000;

/// Space at the left and right edges of the overview.
pub(super) const MARGIN: f64 = 36.0;
/// Upper edge of the overview's panels, below the title.
pub(super) const OVERVIEW_TOP: f64 = 158.0;

impl Format {
    /// Width of a picture with one panel, and of every narrow picture.
    pub(super) fn width(self) -> u32 {
        match self {
            Self::Wide => 1_000,
            Self::Narrow => 480,
        }
    }

    /// Space at the left and right edges.
    pub(super) fn margin(self) -> f64 {
        match self {
            Self::Wide => 24.0,
            Self::Narrow => 12.0,
        }
    }

    /// About how many labels have room on a time axis of this width in pixels.
    pub(super) fn time_labels(width: f64) -> u32 {
        (width / 103.0).floor().max(2.0) as u32
    }
}
