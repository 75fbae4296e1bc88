//! Waiting for the server or a stream, with a log line from time to time.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use service::{Health, Shutdown};
use tokio::time::Instant;

use crate::error::{Disposition, Error};

/// While a service waits, it logs one line per this interval.
const REMINDER: Duration = Duration::from_secs(60);
/// Delay before a missing stream is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

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
            tracing::info!("goes on: {what}");
        }
    }

    /// Counts a warning that was logged elsewhere.
    pub(super) fn postpone(&mut self) {
        self.warned = Some(Instant::now());
    }
}

/// Repeats a request until it succeeds; meanwhile health is not ready, with the error as the reason. `None` after a
/// shutdown request.
///
/// # Errors
/// An error that waiting cannot resolve ([`Disposition::Stop`]).
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

/// Repeats a request after each pause until it succeeds or fails with an error that waiting cannot resolve.
///
/// # Errors
/// An error that waiting cannot resolve ([`Disposition::Stop`]).
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
