//! Extent of a measurement.

/// Extent of a measurement.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Repetitions; the median counts.
    pub runs: usize,
    /// Quick check: fewer and smaller measurements, with less precise figures.
    pub is_quick: bool,
}

impl Effort {
    /// The first value, or the second for a quick check.
    pub fn pick<T>(self, usual: T, quick: T) -> T {
        if self.is_quick { quick } else { usual }
    }
}
