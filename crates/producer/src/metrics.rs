//! Metrics of the producer.

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
