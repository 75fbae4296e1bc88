//! Metrics of the producer.

use std::sync::atomic::AtomicU64;

use bus::RecordKind;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use service::Metrics;

type By<T> = Family<[(&'static str, T); 1], Counter>;

/// Metrics of the producer. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct ProducerMetrics {
    published: By<String>,
    /// Time from a request to the end of its answer or its failure.
    pub(crate) seconds: Histogram,
    errors: By<&'static str>,
    /// Ticks in the buffer that NATS has not stored yet.
    pub(crate) waiting: Gauge,
    /// Ticks that were dropped from the full buffer and became a gap.
    pub(crate) dropped: Counter,
}

/// Metrics of a source with a budget. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct BudgetMetrics {
    all: Metrics,
    spent: By<&'static str>,
    /// Time between two polls.
    pub(crate) interval_s: Gauge<f64, AtomicU64>,
    /// Ticks that were fetched afterwards.
    pub(crate) filled: Counter,
}

impl ProducerMetrics {
    pub(crate) fn new(all: &Metrics) -> Self {
        // From 10 ms to 20 s.
        let histogram = || Histogram::new(exponential_buckets(0.01, 2.0, 12));
        Self {
            published: all.register("published", "Records that FEED has stored, by kind"),
            seconds: all.register_with(
                "upstream_request_duration_seconds",
                "From a request to the source until its answer was read or it failed",
                histogram,
            ),
            errors: all.register(
                "upstream_errors",
                "Requests that the source refused or did not answer, and answers without a usable price of a coin, by class",
            ),
            waiting: all.register("outbox_ticks", "Ticks that wait for NATS"),
            dropped: all.register("outbox_dropped", "Ticks that were dropped during an outage of NATS and became a gap"),
        }
    }

    /// Counts records that FEED has stored.
    pub(crate) fn published(&self, kind: RecordKind, records: u64) {
        self.published.get_or_create(&[("kind", kind.to_string())]).inc_by(records);
    }

    /// Counts requests that were refused, not answered, or answered without a usable price.
    pub(crate) fn refused(&self, class: &'static str, times: u64) {
        if times > 0 {
            self.errors.get_or_create(&[("class", class)]).inc_by(times);
        }
    }
}

impl BudgetMetrics {
    pub(crate) fn new(all: &Metrics) -> Self {
        Self {
            all: all.clone(),
            spent: all.register("credits_spent", "Requests to the source, by purpose: poll or fill"),
            interval_s: all.register("poll_interval_seconds", "Time between two polls of the source"),
            filled: all.register("filled_ticks", "Prices that were fetched afterwards"),
        }
    }

    /// Counts a request.
    pub(crate) fn spent(&self, purpose: &'static str) {
        self.spent.get_or_create(&[("purpose", purpose)]).inc();
    }

    /// Sets the credits of the month that are left; without a limit there is no such metric.
    pub(crate) fn left(&self, credits: Option<u64>) {
        if let Some(credits) = credits {
            let left: Gauge = self.all.register("credits_left", "Requests to the source that are left this month");
            left.set(i64::try_from(credits).unwrap_or(i64::MAX));
        }
    }
}
