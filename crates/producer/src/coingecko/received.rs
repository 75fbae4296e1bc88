//! Answers of CoinGecko from their bytes, read as the service reads them, without a request: for the fuzz target, which
//! makes up answers that no server would give.

use std::time::UNIX_EPOCH;

use market::tick::TickLine;
use market::{EventTime, Instrument, Span};

use super::answer::HttpAnswer;
use super::budget::{Purpose, Spending};
use super::buffer::BufferedRecord;
use super::chart::{chart, join};
use super::hole::Hole;
use super::json::Misfit;
use super::key::ApiKey;
use super::markets::quotes;
use super::observer::{self, Poll};
use super::plan::ApiPlan;
use super::usage::usage;

/// Cause of a hole that a chart fills.
const CAUSE: &str = "producer-stopped";

/// An answer to a request about one instrument.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedAnswer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: &'a [u8],
    /// Key of the request, which no error shows.
    pub key: &'a ApiKey,
    /// Time of the answer by the local clock.
    pub now: EventTime,
}

impl ReceivedAnswer<'_> {
    /// Reads the quote of an instrument as a poll does, and returns its tick.
    ///
    /// # Errors
    /// The refusal that the answer is, or why the quote is not usable, in words for people.
    pub fn tick(&self, instrument: &Instrument) -> Result<TickLine<'static>, String> {
        let quotes = self.parse(|page| quotes(page, 1))?;
        let poll = Poll { answered_ms: self.now.ms(), date: None };
        let tick = observer::tick(instrument, quotes.get(instrument.coin()), poll);
        tick.map_err(|quote_error| quote_error.explain(instrument))
    }

    /// Reads a chart as the filler does after an interruption of this length, and returns the ticks that fill it.
    ///
    /// # Errors
    /// The refusal that the answer is, in words for people.
    pub fn filling(&self, instrument: &Instrument, length: Span) -> Result<Vec<TickLine<'static>>, String> {
        let chart = self.parse(chart)?;
        let since = Some(self.now.saturating_sub(length));
        let hole = Hole { since, from: since, to: self.now, cause: Some(CAUSE) };
        let filled = hole.fill(instrument, &join(&[chart]), EventTime::EARLIEST, self.now.ms());
        let tick = |record| match record {
            BufferedRecord::Tick(tick) => Some(*tick),
            BufferedRecord::Gap(_) | BufferedRecord::Heartbeat(_) => None,
        };
        Ok(filled.records.into_iter().filter_map(tick).collect())
    }

    /// Reads the limits and the spent calls of a paid key, and returns the time between two polls from now on.
    ///
    /// # Errors
    /// The refusal that the answer is, in words for people.
    pub fn interval(&self) -> Result<Span, String> {
        let (plan, usage) = (ApiPlan::Pro, self.parse(usage)?);
        let mut spending = Spending::new(self.now);
        spending.raise(usage.spent.unwrap_or_default());
        spending.record(Purpose::Poll, self.now);
        Ok(spending.interval(&usage.limits(plan.limits()), self.now, 1, plan.update()))
    }

    fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, Misfit>) -> Result<T, String> {
        let answer = HttpAnswer { status: self.status, body: self.body.to_vec(), ..HttpAnswer::default() };
        answer.parse(Some(self.key), UNIX_EPOCH, parse).map_err(|refusal| refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-05-18T12:50Z.
    const NOW: EventTime = EventTime(1_779_108_600_000);

    /// Passes an answer with this status and body on.
    fn with<T>(status: u16, body: &str, read: impl FnOnce(ReceivedAnswer<'_>) -> T) -> T {
        let key = "CG-SuperSecretKey".parse().unwrap();
        read(ReceivedAnswer { status, body: body.as_bytes(), key: &key, now: NOW })
    }

    #[test]
    fn answers_become_ticks_and_an_interval() {
        let bitcoin = Instrument::new("bitcoin", "usd").unwrap();
        let quote = r#"[{"id":"bitcoin","current_price":77671,"last_updated":"2026-05-18T12:49:21.599Z"}]"#;
        let tick = with(200, quote, |answer| answer.tick(&bitcoin)).unwrap();
        assert_eq!((tick.close, tick.event_ms), (77_671.0, 1_779_108_561_599));
        let chart = r#"{"prices":[[1779107000000,7],[1779107300000,8],[1779107600000,9],[1779108600000,9]]}"#;
        let ticks = with(200, chart, |answer| answer.filling(&bitcoin, Span::HOUR)).unwrap();
        assert_eq!(ticks.iter().map(|tick| tick.close).collect::<Vec<_>>(), [7.0, 8.0, 9.0]);
        let interval = |body: &str| with(200, body, |answer| answer.interval());
        assert_eq!(interval(r#"{"current_total_monthly_calls":0}"#), Ok(Span::seconds(20)));
    }

    #[test]
    fn a_refusal_shows_no_key() {
        let body = r#"{"error":"CG-SuperSecretKey is wrong"}"#;
        assert_eq!(
            with(401, body, |answer| answer.interval()),
            Err("CoinGecko answered 401: (key) is wrong; check COINGECKO_API_KEY, COINGECKO_PLAN and --base-url".into())
        );
    }

    /// The rest of the month: 13 days, 11 hours and 10 minutes.
    #[test]
    fn more_spent_calls_than_a_number_holds_end_the_month() {
        let body = r#"{"current_total_monthly_calls":18446744073709551615,"monthly_call_credit":5}"#;
        assert_eq!(with(200, body, |answer| answer.interval()), Ok(Span::minutes((13 * 24 + 11) * 60 + 10)));
    }
}
