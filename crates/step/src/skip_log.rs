//! A log line for input that cannot be decoded.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::operator::Input;

/// Logs the first line of input that cannot be decoded; later ones are only counted by the step.
#[derive(Debug, Default)]
pub struct SkipLog(AtomicBool);

impl SkipLog {
    /// Records a line of a step's input.
    pub fn note(&self, input: &Input<'_>, line: u32) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                seq = input.seq,
                line,
                kind = %input.kind,
                "skipped an unreadable line of the input; further ones are only counted (`topology show`)"
            );
        }
    }
}
