//! Readiness of the CoinGecko source: each coin had a usable price recently.

use std::time::Duration;

use market::{Instrument, Span};

use super::answer::Refusal;
use super::observer::Observer;
use super::quote_error::QuoteError;

/// Poll intervals that a coin may go without a usable price.
const SILENT_INTERVALS_MAX: i64 = 3;

/// Judge of a source that is polled every `interval` since `started_ms`, by the local clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceReadiness {
    pub(crate) interval: Span,
    pub(crate) started_ms: i64,
}

/// A coin, with the time since which it has had no usable price.
struct SilentCoin<'a> {
    instrument: &'a Instrument,
    since_ms: i64,
    quote_error: Option<QuoteError>,
}

impl SourceReadiness {
    /// Checks the coins at `now_ms`. `refusal` is the last answer, if it was one.
    ///
    /// # Errors
    /// The coin that has had no usable price for longest, if that is more than three intervals or if no coin has had
    /// one since the start, and why.
    pub(crate) fn check(&self, observer: &Observer, now_ms: i64, refusal: Option<&Refusal>) -> Result<(), String> {
        let is_first = observer.states().all(|(_, answered_ms, _)| answered_ms.is_none());
        let silent: Vec<_> = self.coins(observer).filter(|coin| is_first || self.spare(coin, now_ms) < 0).collect();
        let Some(longest) = silent.iter().min_by_key(|coin| coin.since_ms) else { return Ok(()) };
        let why = match (refusal, longest.quote_error) {
            (Some(refusal), _) => refusal.to_string(),
            (None, Some(quote_error)) => quote_error.explain(longest.instrument),
            (None, None) => "CoinGecko has not answered yet".to_owned(),
        };
        let seconds = Duration::from_secs((now_ms - longest.since_ms).max(0).unsigned_abs() / 1_000);
        let length = humantime::format_duration(seconds);
        let others = match silent.len() - 1 {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Err(format!("no usable price of {}{others} for {length}: {why}", longest.instrument))
    }

    /// Returns the time until the first coin is silent for too long, if nothing comes.
    pub(crate) fn spare_time(&self, observer: &Observer, now_ms: i64) -> Option<Duration> {
        let spare = self.coins(observer).map(|coin| self.spare(&coin, now_ms)).filter(|spare| *spare >= 0).min()?;
        Some(Duration::from_millis(spare.unsigned_abs() + 1))
    }

    fn coins<'a>(&self, observer: &'a Observer) -> impl Iterator<Item = SilentCoin<'a>> {
        let started_ms = self.started_ms;
        observer.states().map(move |(instrument, answered_ms, quote_error)| SilentCoin {
            instrument,
            since_ms: answered_ms.unwrap_or(started_ms),
            quote_error,
        })
    }

    /// Returns the milliseconds that a coin may still be silent; below 0 if it is silent for too long.
    fn spare(&self, coin: &SilentCoin<'_>, now_ms: i64) -> i64 {
        coin.since_ms.saturating_add(self.interval.ms().saturating_mul(SILENT_INTERVALS_MAX)).saturating_sub(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use market::EventTime;

    use super::*;
    use crate::coingecko::answer::Class;
    use crate::coingecko::markets::Quote;
    use crate::coingecko::observer::{FeedEnd, Poll};

    /// Two coins, polled every minute.
    struct Polls {
        observer: Observer,
        now_ms: i64,
    }

    /// Start of the producer.
    const START_MS: i64 = 1_600_000_000_000;
    const READINESS: SourceReadiness = SourceReadiness { interval: Span::MINUTE, started_ms: START_MS };

    impl Polls {
        fn new() -> Self {
            let end = |coin| FeedEnd { instrument: Instrument::new(coin, "usd").unwrap(), last: None, certified: None };
            let ends = vec![end("bitcoin"), end("ethereum")];
            Self { observer: Observer::new(ends, Span::MINUTE, Span::minutes(5), START_MS), now_ms: START_MS }
        }

        /// Advances by a minute, in which these coins have a price.
        fn poll(&mut self, coins: &[&'static str]) -> Result<(), String> {
            self.now_ms += 60_000;
            let now = EventTime(self.now_ms);
            let quote =
                |coin: &&str| ((*coin).to_owned(), Quote { price: Ok(1.0), last_updated: Ok(now), ..Quote::default() });
            let poll = Poll { answered_ms: self.now_ms, date: Some(now) };
            self.observer.answered(0..2, &coins.iter().map(quote).collect::<HashMap<_, _>>(), poll);
            READINESS.check(&self.observer, self.now_ms, None)
        }
    }

    #[test]
    fn a_coin_without_a_price_for_three_intervals_is_named() {
        let mut polls = Polls::new();
        let both = ["bitcoin", "ethereum"];
        assert_eq!(polls.poll(&both), Ok(()));
        for _ in 0..3 {
            assert_eq!(polls.poll(&["bitcoin"]), Ok(()));
        }
        let said = polls.poll(&["bitcoin"]).unwrap_err();
        assert!(
            said.starts_with("no usable price of ethereum/usd for 4m: CoinGecko knows no coin \"ethereum\""),
            "{said}"
        );
        assert_eq!(polls.poll(&both), Ok(()));
    }

    #[test]
    fn before_the_first_price_it_is_not_ready_at_once() {
        let mut polls = Polls::new();
        let said = polls.poll(&[]).unwrap_err();
        assert!(said.contains("no usable price of bitcoin/usd and 1 more for 1m"), "{said}");
        // A coin that has never had a price gets three intervals.
        assert_eq!(polls.poll(&["bitcoin"]), Ok(()));
        assert_eq!(polls.poll(&["bitcoin"]), Ok(()));
        assert!(polls.poll(&["bitcoin"]).is_err());
    }

    #[test]
    fn a_source_that_refuses_is_not_ready_after_three_intervals() {
        let mut polls = Polls::new();
        polls.poll(&["bitcoin", "ethereum"]).unwrap();
        let refusal = Refusal {
            class: Class::RateLimited,
            status: Some(429),
            code: None,
            detail: "Throttled".to_owned(),
            is_named: false,
            retry_after: None,
        };
        let check = |second: i64| READINESS.check(&polls.observer, START_MS + second * 1_000, Some(&refusal));
        assert_eq!(READINESS.spare_time(&polls.observer, START_MS + 60_000), Some(Duration::from_millis(180_001)));
        assert_eq!(check(240), Ok(()));
        let said = check(241).unwrap_err();
        assert!(said.contains("bitcoin/usd and 1 more for 3m 1s") && said.contains("429"), "{said}");
        assert_eq!(READINESS.spare_time(&polls.observer, START_MS + 241_000), None);
    }
}
