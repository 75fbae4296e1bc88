//! Waiting for what is not there yet, and saying so from time to time.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use service::{Health, Shutdown};
use tokio::time::Instant;

use crate::error::{Disposition, Error};

/// While a service waits, one line is logged this often.
const REMINDER: Duration = Duration::from_secs(60);
/// How long to wait before what is not there yet is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// One warning at once, then one a minute, while something is being waited for.
#[derive(Debug, Default)]
pub struct Reminder {
    warned: Option<Instant>,
}

impl Reminder {
    /// Warns if it is time.
    pub fn warn(&mut self, error: &(impl fmt::Display + ?Sized)) {
        if self.warned.is_none_or(|at| at.elapsed() >= REMINDER) {
            tracing::warn!("waiting: {error}");
            self.warned = Some(Instant::now());
        }
    }

    /// Says that the waiting is over, if it was ever mentioned.
    pub fn settle(&mut self, what: &str) {
        if self.warned.take().is_some() {
            tracing::info!("goes on: {what}");
        }
    }

    /// Takes note that somebody else has just warned.
    pub(super) fn postpone(&mut self) {
        self.warned = Some(Instant::now());
    }
}

/// Asks until there is an answer, not ready meanwhile for the reason that is given. `None` when shutdown came first.
///
/// # Errors
/// What waiting cannot mend.
pub async fn wait_for<T, A: Future<Output = Result<T, Error>>>(
    ask: impl Fn() -> A,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<Option<T>, Error> {
    let mut reminder = Reminder::default();
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) if error.disposition() == Disposition::Stop => return Err(error),
            Err(error) => error,
        };
        health.not_ready(error.to_string());
        reminder.warn(&error);
        tokio::select! {
            () = shutdown.requested() => return Ok(None),
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Asks again after each pause until there is an answer, or an error that waiting cannot mend.
///
/// # Errors
/// What waiting cannot mend.
pub async fn patiently<T, A: Future<Output = Result<T, Error>>>(
    pause: Duration,
    ask: impl Fn() -> A,
) -> Result<T, Error> {
    let mut reminder = Reminder::default();
    loop {
        match ask().await {
            Err(error) if error.disposition() != Disposition::Stop => reminder.warn(&error),
            result => return result,
        }
        tokio::time::sleep(pause).await;
    }
}
