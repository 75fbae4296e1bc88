//! State of the poller, as it is shown: readiness, metrics, log, and the line of a terminal.

use std::time::{Duration, SystemTime};

use market::{EventTime, Instrument, Span};

use super::{Poller, Unpaid, wall_time};
use crate::clock::now_ms;
use crate::coingecko::answer::Class;
use crate::coingecko::budget::Purpose;
use crate::coingecko::buffer::BufferedRecord;
use crate::coingecko::ledger::Store;
use crate::coingecko::observer::ObservedCoin;
use crate::coingecko::words;

/// Time after which the line of a terminal is drawn anew.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// A price on the line of a terminal.
#[derive(Debug, Clone)]
pub(super) struct LastPrice {
    instrument: Instrument,
    price: f64,
    event: EventTime,
}

impl<S: Store> Poller<'_, S> {
    /// Waits, and updates readiness when a coin becomes silent for too long meanwhile.
    pub(super) async fn wait(&self, wait: Duration) {
        self.report_readiness();
        self.draw();
        let spare = self.readiness.spare_time(&self.parts.observer, now_ms(SystemTime::now()));
        let draw = self.parts.status.map(|_| DRAW_EVERY);
        let wait = [spare, draw].into_iter().flatten().fold(wait, Duration::min);
        tokio::time::sleep(wait).await;
    }

    /// Sets the readiness.
    pub(super) fn report_readiness(&self) {
        let refusal = self.refusal.as_ref();
        let checked = match (self.unpaid, refusal) {
            (Some(Unpaid::Spent(until)), _) => Err(self.spent_words(until)),
            (Some(Unpaid::Unrecorded), _) => {
                Err("NATS is away, and CoinGecko is not asked before the call can be recorded".to_owned())
            }
            // The same request would be refused again.
            (None, Some(refusal)) if refusal.class == Class::Request => Err(refusal.to_string()),
            (None, _) => self.readiness.check(&self.parts.observer, now_ms(SystemTime::now()), refusal),
        };
        match checked {
            Ok(()) => self.parts.health.ready(),
            Err(reason) => self.parts.health.not_ready(reason),
        }
    }

    /// Describes a spent budget and what to do.
    pub(super) fn spent_words(&self, until: EventTime) -> String {
        let (spending, limits) = (self.parts.ledger.spending(wall_time()), self.parts.ledger.limits());
        let credits = limits.credits.unwrap_or_default();
        format!(
            "the credits of {} are spent: {} of {}, of which {} are kept for filling; no requests until {until}; if the plan \
             has more, set COINGECKO_CREDITS",
            spending.month(),
            words::count(spending.spent()),
            words::count(credits),
            words::count(limits.reserve().saturating_sub(spending.filled())),
        )
    }

    /// Counts a call.
    pub(super) fn called(&self, purpose: &'static str) {
        let ledger = &self.parts.ledger;
        self.parts.budget_metrics.spent(purpose);
        self.parts.budget_metrics.left(ledger.spending(wall_time()).left(ledger.limits()));
    }

    /// Says how long the credits last.
    pub(super) fn say_pace(&self, interval: Span) {
        let ledger = &self.parts.ledger;
        let spending = ledger.spending(wall_time());
        let interval = words::duration(interval);
        match spending.left_for(ledger.limits(), Purpose::Poll) {
            None => tracing::info!(interval, "polling CoinGecko"),
            Some(polls) => {
                let (left, month) = (spending.left(ledger.limits()).unwrap_or_default(), spending.month());
                tracing::info!(interval, left, polls, "polling CoinGecko; the credits last until the end of {month}");
            }
        }
    }

    /// Logs an error or its end once, not with every poll, and remembers the price.
    pub(super) fn report(&mut self, observed: &ObservedCoin) {
        let instrument = self.parts.observer.instrument(observed.instrument_idx);
        if let Some(quote_error) = observed.quote_error {
            self.parts.metrics.refused(quote_error.cause(), 1);
        }
        match observed.quote_error {
            _ if !observed.is_news => {}
            Some(quote_error) => {
                tracing::warn!(%instrument, cause = quote_error.cause(), "{}", quote_error.explain(instrument));
            }
            None => tracing::info!(%instrument, "CoinGecko has a usable price again"),
        }
        let is_shown = self.last_price.as_ref().is_none_or(|last| last.instrument == *instrument);
        if let Some(BufferedRecord::Tick(tick)) = observed.records.first().filter(|_| is_shown) {
            let (instrument, event) = (instrument.clone(), EventTime(tick.event_ms));
            self.last_price = Some(LastPrice { instrument, price: tick.close, event });
        }
    }

    /// Wakes the publisher, and logs dropped ticks.
    pub(super) fn pushed(&mut self) {
        self.parts.shared.pushed.notify_one();
        let dropped = self.parts.shared.with(|buffer| buffer.dropped);
        if dropped > self.dropped {
            let ticks = dropped - self.dropped;
            self.parts.metrics.dropped.inc_by(ticks);
            tracing::error!(ticks, "dropped the oldest ticks: the NATS outage filled the buffer");
            self.dropped = dropped;
        }
    }

    /// Draws the line of a terminal.
    fn draw(&self) {
        let Some(status) = self.parts.status else { return };
        let (now, ledger) = (wall_time(), &self.parts.ledger);
        let next = self.agenda.next_poll().saturating_sub(self.uptime());
        let mut parts = Vec::new();
        match &self.last_price {
            None => parts.push("no price yet".to_owned()),
            Some(LastPrice { instrument, price, event }) => {
                let others = self.parts.config.instruments.len() - 1;
                let others = if others > 0 { format!(" +{others}") } else { String::new() };
                parts.push(format!("{instrument} {}{others}", words::price(*price)));
                parts.push(format!("{} old", words::duration(Span((now - *event).ms().max(0)))));
            }
        }
        parts.push(format!(
            "next poll in {}",
            words::duration(Span(i64::try_from(next.as_millis()).unwrap_or(i64::MAX)))
        ));
        if let Some(left) = ledger.spending(now).left(ledger.limits()) {
            parts.push(format!("{} credits", words::count(left)));
        }
        status.show(&parts.join(" · "));
    }
}
