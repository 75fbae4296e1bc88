//! The buffer of unpublished records that the poller fills and the publisher empties.

use std::sync::{Mutex, PoisonError};

use market::Instrument;
use tokio::sync::Notify;

use super::buffer::{BoundedBuffer, TICKS_MAX};

/// A buffer that two halves of a task share.
pub(crate) struct SharedBuffer {
    buffer: Mutex<BoundedBuffer>,
    /// Notified of new records.
    pub(crate) pushed: Notify,
}

impl SharedBuffer {
    /// Returns an empty buffer for these instruments.
    pub(crate) fn new(instruments: &[Instrument]) -> Self {
        Self { buffer: Mutex::new(BoundedBuffer::new(instruments, TICKS_MAX)), pushed: Notify::new() }
    }

    /// Uses the buffer.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut BoundedBuffer) -> T) -> T {
        act(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
