//! Responses without an end, such as server-sent events: their connection may be used for longer than others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The mark of a connection whose response has no end. Each request carries that of its connection as an extension. A
/// handler that sets it bounds the number of such responses itself, and closes the connection after its response.
#[derive(Debug, Clone, Default)]
pub struct Endless(Arc<AtomicBool>);

impl Endless {
    /// Marks the connection: it is neither ended after the time for its use nor replaced by a new one. A client that
    /// stops reading is still disconnected.
    pub fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is marked.
    pub(super) fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
