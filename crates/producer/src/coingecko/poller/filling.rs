//! Filling: past prices of an instrument are published before the live price that waits for them.

use std::time::{Duration, Instant, SystemTime};

use bus::Error;
use rand::RngExt;

use super::{Poller, wall_time};
use crate::clock::now_ms;
use crate::coingecko::answer::{Class, Refusal};
use crate::coingecko::backoff;
use crate::coingecko::budget::{Purpose, Verdict};
use crate::coingecko::buffer::BufferedRecord;
use crate::coingecko::filler::{Finished, Taken};
use crate::coingecko::hole::Hole;
use crate::coingecko::ledger::{Store, UNRECORDED_RETRY};
use crate::coingecko::observer::Poll;

/// Refusals after which a filling ends: charts fail while prices come.
const REFUSALS_MAX: u32 = 3;

impl<S: Store> Poller<'_, S> {
    /// Publishes new records, or lets them wait until the hole before them is filled.
    pub(super) fn accept(
        &mut self,
        instrument_idx: usize,
        hole: Option<Hole>,
        records: Vec<BufferedRecord>,
        poll: Poll,
    ) {
        let instrument = &self.parts.config.instruments[instrument_idx];
        match self.filler.take(instrument_idx, instrument, hole, records, poll.now()) {
            Taken::Publish(records) => self.push(instrument_idx, records),
            Taken::Begin(time) => self.agenda.fill(instrument_idx, self.uptime(), time),
            Taken::Hold => {}
        }
    }

    /// Sends the next request of a filling.
    pub(super) async fn fill(&mut self, instrument_idx: usize) -> Result<(), Error> {
        let Some(request) = self.filler.request(instrument_idx) else { return Ok(()) };
        match self.parts.ledger.spend(Purpose::Fill, wall_time()).await? {
            Some(Verdict::Go) => self.called("fill"),
            Some(Verdict::Minute(wait)) => {
                let wait = Duration::from_millis(wait.ms().max(0).unsigned_abs());
                self.agenda.delay_fill(instrument_idx, self.uptime(), wait);
                return Ok(());
            }
            None => {
                self.agenda.delay_fill(instrument_idx, self.uptime(), UNRECORDED_RETRY);
                return Ok(());
            }
            Some(Verdict::Month(until)) => {
                self.finish(instrument_idx, &format!("the credits for filling are spent until {until}"));
                return Ok(());
            }
        }
        let asked = Instant::now();
        let answer = self.parts.client.chart(&self.parts.config.instruments[instrument_idx], request).await;
        self.parts.metrics.seconds.observe(asked.elapsed().as_secs_f64());
        match answer {
            Ok(chart) => self.filler.answered(instrument_idx, chart),
            Err(refusal) => self.fill_refused(instrument_idx, refusal),
        }
        if self.filler.is_done(instrument_idx) {
            self.finish(instrument_idx, "");
        }
        Ok(())
    }

    /// Waits before the request is repeated, or leaves it out if that cannot help.
    fn fill_refused(&mut self, instrument_idx: usize, refusal: Refusal) {
        self.parts.metrics.refused(refusal.class.as_str(), 1);
        let instrument = &self.parts.config.instruments[instrument_idx];
        let refusals = self.filler.refused(instrument_idx);
        let now = self.uptime();
        match (refusal.class, backoff::pause(&refusal, refusals, rand::rng().random())) {
            (Class::Key | Class::Plan | Class::Request, _) | (_, None) => {
                tracing::warn!(%instrument, "past prices are left out: {refusal}");
                self.filler.skip(instrument_idx);
            }
            _ if refusals >= REFUSALS_MAX => self.finish(instrument_idx, &refusal.to_string()),
            (Class::RateLimited | Class::Unreachable | Class::Blocked, Some(pause)) => {
                tracing::warn!(%instrument, pause_s = pause.as_secs(), "past prices: {refusal}");
                self.agenda.pause(now, pause);
            }
            (Class::Upstream | Class::Redirected, Some(pause)) => {
                tracing::warn!(%instrument, pause_s = pause.as_secs(), "past prices: {refusal}");
                self.agenda.delay_fill(instrument_idx, now, pause);
            }
        }
    }

    /// Ends a filling and publishes everything that waited. `why` says why requests were not sent, if some were not.
    pub(super) fn finish(&mut self, instrument_idx: usize, why: &str) {
        self.agenda.filled(instrument_idx);
        let instrument = &self.parts.config.instruments[instrument_idx];
        let Some(finished) = self.filler.finish(instrument_idx, instrument, now_ms(SystemTime::now())) else { return };
        let Finished { hole, records, filled, left_out, unanswered } = finished;
        let what = if hole.since.is_some() { "the prices since the interruption" } else { "history" };
        let (prices, gaps, refused) = (filled.ticks, filled.gaps, filled.refused.values().sum::<u64>());
        if unanswered > 0 {
            tracing::warn!(%instrument, prices, gaps, unanswered, "{what} is not complete: {why}");
        } else {
            tracing::info!(%instrument, prices, gaps, left_out, refused, "fetched {what}");
        }
        self.parts.budget_metrics.filled.inc_by(prices);
        self.push(instrument_idx, records);
        self.pushed();
    }

    fn push(&self, instrument_idx: usize, records: Vec<BufferedRecord>) {
        self.parts.shared.with(|buffer| records.into_iter().for_each(|record| buffer.push(instrument_idx, record)));
    }
}
