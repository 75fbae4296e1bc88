//! What a step cannot read.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::operator::Input;

/// Says once that something cannot be read and is left out; further ones are for the step's counts alone.
#[derive(Debug, Default)]
pub struct LeftOut(AtomicBool);

impl LeftOut {
    /// Takes note of a line of a step's input.
    pub fn note(&self, input: &Input<'_>, line: u32) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                seq = input.seq,
                line,
                kind = %input.kind,
                "a line of the input cannot be read and is left out; further ones are only counted (`topology show`)"
            );
        }
    }
}
