//! Metrics of a process in Prometheus' format.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

/// Content type of `/metrics`.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Prefix of every metric name.
const PREFIX: &str = "candlewire";

/// The metrics of a process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Inner>>);

struct Inner {
    registry: Registry,
    /// Registered metrics by name; registering a name again returns the same metric.
    known: BTreeMap<&'static str, Box<dyn Any + Send>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of this program", version);
        Self(Arc::new(Mutex::new(Inner { registry, known: BTreeMap::new() })))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Registers a metric by its name (without the prefix, and without the `_total` of a counter) and its meaning in one
    /// sentence. Returns the existing metric when the name is registered already.
    ///
    /// # Panics
    /// The name is registered as another type of metric.
    pub fn register<M: Metric + Clone + Default>(&self, name: &'static str, help: &str) -> M {
        self.register_with(name, help, M::default)
    }

    /// As [`Metrics::register`], for metrics with constructor arguments, such as the buckets of a histogram.
    ///
    /// # Panics
    /// The name is registered as another type of metric.
    pub fn register_with<M: Metric + Clone>(&self, name: &'static str, help: &str, make: impl FnOnce() -> M) -> M {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { registry, known } = &mut *inner;
        let metric = known.entry(name).or_insert_with(|| {
            let metric = make();
            registry.register(name, help, metric.clone());
            Box::new(metric)
        });
        metric.downcast_ref::<M>().expect("a name has one type of metric").clone()
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner).registry)
            .expect("writing to a string cannot fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn registering_a_name_twice_gives_one_metric() {
        let metrics = Metrics::default();
        for _ in 0..2 {
            metrics.register::<Counter>("commits", "Stored").inc();
        }
        let text = metrics.to_text();
        assert_eq!(text.matches("candlewire_commits_total 2").count(), 1, "{text}");
        assert!(text.contains("# HELP candlewire_commits Stored.") && text.ends_with("# EOF\n"), "{text}");
        assert!(
            text.contains(&format!("candlewire_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))),
            "{text}"
        );
    }
}
