//! The settings that shape the results of a step.

use std::fmt;

use market::windowing::EventTimePolicy;
use serde::{Deserialize, Serialize};

/// The settings that the results of a step were computed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepConfig {
    /// How far behind the newest event a tick may arrive without being late, in milliseconds.
    pub disorder_ms: i64,
    /// How long after its end a window can still be revised, in milliseconds.
    pub lateness_ms: i64,
    /// All other settings that shape the results, in the step's own text form: `windows=1m;…`.
    pub shape: String,
}

impl StepConfig {
    /// The settings of a step.
    pub fn new(EventTimePolicy { disorder, lateness }: EventTimePolicy, shape: impl Into<String>) -> Self {
        Self { disorder_ms: disorder.ms(), lateness_ms: lateness.ms(), shape: shape.into() }
    }

    /// Whether the event-time settings are those of `other`. Consecutive steps must agree.
    pub fn judges_alike(&self, other: &Self) -> bool {
        (self.disorder_ms, self.lateness_ms) == (other.disorder_ms, other.lateness_ms)
    }

    /// The event-time settings, for errors: `disorder=5000 lateness=600000`.
    pub fn event_time(&self) -> String {
        format!("disorder={} lateness={}", self.disorder_ms, self.lateness_ms)
    }
}

/// For errors and logs: `disorder=5000 lateness=600000 windows=1m`.
impl fmt::Display for StepConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.event_time(), self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_another_shape_can_judge_event_time_alike() {
        let market = StepConfig::new(EventTimePolicy::default(), "windows=1m");
        let stats = StepConfig::new(EventTimePolicy::default(), "windows=5m");
        assert!(market.judges_alike(&stats) && market != stats);
        let disorderly = StepConfig { disorder_ms: 10_000, ..market.clone() };
        let late = StepConfig { lateness_ms: 0, ..market.clone() };
        assert!(!market.judges_alike(&disorderly) && !market.judges_alike(&late));
    }

    #[test]
    fn the_stored_form_is_json_and_the_display_form_is_text() {
        let config = StepConfig::new(EventTimePolicy::default(), "windows=1m");
        let stored = r#"{"disorder_ms":5000,"lateness_ms":600000,"shape":"windows=1m"}"#;
        assert_eq!(serde_json::to_string(&config).unwrap(), stored);
        assert_eq!(serde_json::from_str::<StepConfig>(stored).unwrap(), config);
        assert_eq!(config.to_string(), "disorder=5000 lateness=600000 windows=1m");
    }
}
