//! Applied input that is in no commit yet.

use std::collections::HashSet;

use bus::reader::Delivery;

use crate::outputs::Outputs;
use crate::time::Time;
use crate::transaction::{BYTES_MAX, MESSAGES_MAX};

/// Upper bound of the messages that one input can add to a draft: its lines are bounded, and so are the windows that it
/// closes.
pub const INPUT_MESSAGES_MAX: usize = 64;
/// Upper bound of the bytes that one input can add to a draft.
pub const INPUT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Part of each batch that is reserved for states, so that they are stored even when results fill every batch.
const STATES_MESSAGES_MIN: usize = 100;
const STATES_BYTES_MIN: usize = 1024 * 1024;

const _: () = assert!(INPUT_MESSAGES_MAX * 2 + STATES_MESSAGES_MIN < MESSAGES_MAX);
const _: () = assert!(INPUT_BYTES_MAX * 2 + STATES_BYTES_MIN < BYTES_MAX);

/// Input that was applied since the last commit was sealed.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) outputs: Outputs,
    /// Instruments whose open windows may have changed, in order.
    pub(super) changed: Vec<usize>,
    known: HashSet<usize>,
    pub(super) inputs: u64,
    /// Time of its first input.
    pub(super) began: Option<Time>,
    /// A held message has waited: commit now, even if more input is available.
    pub(super) has_waited: bool,
}

impl Draft {
    /// Records an input that was applied to an instrument.
    pub(super) fn note(&mut self, idx: usize, now: Time) {
        self.inputs += 1;
        self.began.get_or_insert(now);
        if self.known.insert(idx) {
            self.changed.push(idx);
        }
    }

    /// Whether another input might not fit. Checked before it is applied.
    pub(super) fn is_full(&self) -> bool {
        let messages = self.outputs.messages_max() + STATES_MESSAGES_MIN + 1 + INPUT_MESSAGES_MAX;
        let bytes = self.outputs.bytes() + STATES_BYTES_MIN + INPUT_BYTES_MAX;
        messages > MESSAGES_MAX || bytes > BYTES_MAX
    }
}

/// A message that waits for something that its next line needs.
pub(super) struct Held {
    /// Start of the wait.
    pub(super) since: Time,
    pub(super) delivery: Delivery,
    pub(super) lines_done: u32,
}
