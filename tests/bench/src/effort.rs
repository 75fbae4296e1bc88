//! How much is measured.

/// How much trouble a measurement takes.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Repetitions of what is repeated; the median counts.
    pub runs: usize,
    /// Whether a look is enough: fewer and smaller, with figures that are worth less.
    pub is_quick: bool,
}

impl Effort {
    /// The first of two as a rule, the second for a look.
    pub fn pick<T>(self, usual: T, quick: T) -> T {
        if self.is_quick { quick } else { usual }
    }
}
