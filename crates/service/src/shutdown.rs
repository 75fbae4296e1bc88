//! A cloneable shutdown signal.

use tokio_util::sync::CancellationToken;

/// Shutdown signal. Once requested it stays so; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Creates a signal that is not requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all holders of a clone to stop taking new work and end.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether the shutdown was requested.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the shutdown is requested. Cancellation-safe.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }
}
