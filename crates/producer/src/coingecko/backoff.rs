//! Backoff after a refusal: the time that CoinGecko asked for, or exponential backoff with jitter, so that many clients
//! that failed together do not return together.

use std::time::Duration;

use super::answer::{Class, Refusal};

const BACKOFF_MIN: Duration = Duration::from_secs(15);
const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);
/// Shortest pause after a block by the network edge: an earlier request prolongs the block.
const BLOCKED_MIN: Duration = Duration::from_secs(10 * 60);
/// Longest `Retry-After` that is obeyed; a longer one is a mistake of the source.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const _: () = assert!(BACKOFF_MIN.as_secs() < BACKOFF_MAX.as_secs() && BLOCKED_MIN.as_secs() < BACKOFF_MAX.as_secs());

/// Returns the pause after the `failures`th refusal in a row (from 1), or `None` if asking again cannot help. `random`
/// is uniform in [0, 1).
pub(crate) fn pause(refusal: &Refusal, failures: u32, random: f64) -> Option<Duration> {
    let told = refusal.retry_after.map(|told| {
        let told = told.min(RETRY_AFTER_MAX);
        told + told.mul_f64(0.1 * random)
    });
    let own = match refusal.class {
        Class::Key | Class::Plan => return None,
        // The first time the requested pause is enough; after another refusal the requests become rarer.
        Class::RateLimited if told.is_some() && failures <= 1 => Duration::ZERO,
        Class::RateLimited | Class::Upstream | Class::Unreachable | Class::Redirected => {
            between(BACKOFF_MIN, doubled(failures), random)
        }
        Class::Blocked => between(BLOCKED_MIN, 2 * BLOCKED_MIN, random),
        Class::Request => BACKOFF_MAX,
    };
    Some(own.max(told.unwrap_or_default()))
}

/// Returns 30 s, 1 min, 2 min … up to [`BACKOFF_MAX`].
fn doubled(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(BACKOFF_MAX)
}

fn between(low: Duration, high: Duration, random: f64) -> Duration {
    low + (high - low).mul_f64(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(class: Class, retry_after: Option<u64>) -> Refusal {
        Refusal {
            class,
            status: None,
            code: None,
            detail: String::new(),
            is_named: false,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    /// Checks the shortest and the longest pause, in seconds.
    fn check(class: Class, retry_after: Option<u64>, failures: u32, expected: Option<(u64, u64)>) {
        let at = |random: f64| {
            pause(&refusal(class, retry_after), failures, random).map(|pause| pause.as_secs_f64().round() as u64)
        };
        assert_eq!(at(0.0).zip(at(1.0)), expected, "{class:?} {retry_after:?} {failures}");
    }

    #[test]
    fn pauses_grow_from_a_quarter_minute_to_a_quarter_hour() {
        check(Class::Upstream, None, 1, Some((15, 30)));
        check(Class::Unreachable, None, 2, Some((15, 60)));
        check(Class::RateLimited, None, 3, Some((15, 120)));
        check(Class::Upstream, None, 6, Some((15, 900)));
        check(Class::Upstream, None, u32::MAX, Some((15, 900)));
    }

    #[test]
    fn retry_after_is_obeyed() {
        check(Class::RateLimited, Some(7), 1, Some((7, 8)));
        check(Class::RateLimited, Some(119), 1, Some((119, 131)));
        check(Class::RateLimited, Some(7), 2, Some((15, 60)));
        check(Class::RateLimited, Some(1_200), 4, Some((1_200, 1_320)));
        check(Class::Upstream, Some(100), 1, Some((100, 110)));
        check(Class::RateLimited, Some(u64::MAX), 1, Some((86_400, 95_040)));
    }

    #[test]
    fn permanent_refusals_are_asked_again_never_or_rarely() {
        check(Class::Key, None, 1, None);
        check(Class::Plan, Some(5), 1, None);
        check(Class::Blocked, None, 1, Some((600, 1_200)));
        check(Class::Request, None, 1, Some((900, 900)));
    }
}
