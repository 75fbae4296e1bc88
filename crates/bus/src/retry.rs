//! Retries of a request until it succeeds, with the delays between attempts.

use std::future::Future;
use std::time::Duration;

use service::{Health, Shutdown};
use tokio::time::Instant;

use crate::error::{Disposition, Error};
use crate::reminder::Reminder;

/// Delays between the attempts of [`wait_for`].
const WAIT: Backoff = Backoff::constant(Duration::from_millis(200));

/// The delays between attempts: `min` after the first one, then twice as long each time, at most `max`.
///
/// ```
/// use std::time::Duration;
///
/// use bus::retry::Backoff;
///
/// const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
/// let mut delays = RETRY.delays();
/// let found = [(); 4].map(|()| delays.next_delay().as_millis());
/// assert_eq!(found, [20, 40, 80, 100]);
/// delays.reset();
/// assert_eq!(delays.next_delay(), Duration::from_millis(20));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Delays that grow from `min` to `max`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// The same delay after every attempt.
    pub const fn constant(delay: Duration) -> Self {
        Self::new(delay, delay)
    }

    /// The delay after an attempt, counted from 0.
    pub fn delay(self, attempt: u32) -> Duration {
        self.min.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(self.max)
    }

    /// The delays from the first attempt on.
    pub fn delays(self) -> Delays {
        Delays { backoff: self, attempt: 0 }
    }

    /// Repeats a request until it succeeds or fails with an error that waiting cannot resolve. Logs a warning at once and
    /// then one a minute.
    ///
    /// # Errors
    /// An error that waiting cannot resolve ([`Disposition::Stop`]).
    pub async fn retry<T, A: Future<Output = Result<T, Error>>>(self, ask: impl Fn() -> A) -> Result<T, Error> {
        let (mut delays, mut reminder) = (self.delays(), Reminder::default());
        loop {
            match ask().await {
                Err(error) if error.disposition() != Disposition::Stop => reminder.warn(&error),
                result => return result,
            }
            tokio::time::sleep(delays.next_delay()).await;
        }
    }

    /// Repeats a request while `is_retryable` holds for its error and the time since the first attempt.
    ///
    /// # Errors
    /// The first error that is not retryable.
    pub async fn retry_while<T, A: Future<Output = Result<T, Error>>>(
        self,
        is_retryable: impl Fn(&Error, Duration) -> bool,
        ask: impl Fn() -> A,
    ) -> Result<T, Error> {
        let (mut delays, start) = (self.delays(), Instant::now());
        loop {
            match ask().await {
                Err(error) if is_retryable(&error, start.elapsed()) => {}
                result => return result,
            }
            tokio::time::sleep(delays.next_delay()).await;
        }
    }
}

/// The delays of a series of attempts, in order.
#[derive(Debug, Clone)]
pub struct Delays {
    backoff: Backoff,
    attempt: u32,
}

impl Delays {
    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.backoff.delay(self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    /// Starts again with the shortest delay, after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Continues with the longest delay.
    pub fn skip_to_max(&mut self) {
        self.attempt = u32::MAX;
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
    let (mut delays, mut reminder) = (WAIT.delays(), Reminder::default());
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
            () = tokio::time::sleep(delays.next_delay()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));

    #[test]
    fn delays_double_up_to_the_maximum() {
        let ms: Vec<u128> = (0..7).map(|attempt| RETRY.delay(attempt).as_millis()).collect();
        assert_eq!(ms, [20, 40, 80, 160, 320, 500, 500]);
        assert_eq!(RETRY.delay(u32::MAX), RETRY.max);
        let mut delays = RETRY.delays();
        delays.skip_to_max();
        assert_eq!([delays.next_delay(), delays.next_delay()], [RETRY.max; 2]);
        assert_eq!(Backoff::constant(RETRY.min).delay(9), RETRY.min);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_retried_and_a_final_error_returned() {
        let (attempts, start) = (Cell::new(0), Instant::now());
        let ask = async || {
            attempts.set(attempts.get() + 1);
            match attempts.get() {
                1 | 2 => Err(Error::Unanswered { what: "this".to_owned() }),
                3 => Ok(attempts.get()),
                _ => Err(Error::Settings { detail: "wrong".to_owned() }),
            }
        };
        assert_eq!(RETRY.retry(&ask).await.ok(), Some(3));
        assert_eq!(start.elapsed(), Duration::from_millis(20 + 40));
        assert!(matches!(RETRY.retry(&ask).await, Err(Error::Settings { .. })));
        assert_eq!(attempts.get(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_while_ends_at_its_deadline() {
        let start = Instant::now();
        let ask = async || Err::<(), _>(Error::Unanswered { what: "this".to_owned() });
        let limit = Duration::from_secs(2);
        let result = RETRY.retry_while(|_, elapsed| elapsed < limit, ask).await;
        assert!(matches!(result, Err(Error::Unanswered { .. })));
        assert!((limit..limit + RETRY.max).contains(&start.elapsed()), "{:?}", start.elapsed());
    }
}
