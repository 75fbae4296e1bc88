//! Log lines of a wait: one at once, then one a minute.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// While a service waits, it logs one line per this interval.
const REMINDER: Duration = Duration::from_secs(60);

/// Logs one warning at once and then one a minute while a service waits.
#[derive(Debug, Default)]
pub struct Reminder {
    warned: Option<Instant>,
}

impl Reminder {
    /// Logs a warning if one is due.
    pub fn warn(&mut self, error: &(impl fmt::Display + ?Sized)) {
        if self.warned.is_none_or(|at| at.elapsed() >= REMINDER) {
            tracing::warn!("waiting: {error}");
            self.warned = Some(Instant::now());
        }
    }

    /// Logs the end of the wait, if a warning was logged.
    pub fn settle(&mut self, what: &str) {
        if self.warned.take().is_some() {
            tracing::info!("resuming: {what}");
        }
    }

    /// Counts a warning that was logged elsewhere.
    pub(crate) fn postpone(&mut self) {
        self.warned = Some(Instant::now());
    }
}
