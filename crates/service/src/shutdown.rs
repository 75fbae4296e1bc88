//! The wish to end, shared by everything that runs.

use tokio_util::sync::CancellationToken;

/// Becomes requested once and stays so. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A shutdown that nobody has requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that holds a clone to stop taking new work and end.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is requested. Safe to cancel.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }
}
