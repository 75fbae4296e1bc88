//! Identity of a stream's log: creation time, rebuilds and restores.
//!
//! Every stored sequence is stored together with its `LogId`. A log that was restored since is the same log up to the
//! end of the backup, and another log beyond: later messages no longer exist.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The identity of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogId {
    /// Creation time of its first stream, as the server writes it.
    pub created: String,
    /// Rebuilds and restores since then, in order.
    pub events: Vec<LogEvent>,
}

/// An event after which a log is another one, entirely or from some sequence on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogEvent {
    /// The log was emptied, and is computed again after a sequence.
    Rebuilt {
        /// That sequence.
        after: u64,
    },
    /// The log was restored from a backup.
    Restored {
        /// The last sequence of the backup.
        to: u64,
        /// Creation time of the stream that holds it since.
        on: String,
    },
}

impl LogId {
    /// The log of a stream without rebuilds or restores.
    pub fn new(created: impl Into<String>) -> Self {
        Self { created: created.into(), events: Vec::new() }
    }

    /// The log after a rebuild. A restored log may contain that rebuild already.
    #[must_use]
    pub fn rebuilt(mut self, after: u64) -> Self {
        let event = LogEvent::Rebuilt { after };
        if !self.events.contains(&event) {
            self.events.push(event);
        }
        self
    }

    /// The log after a restore of everything up to a sequence, into a stream that was created at `on`.
    #[must_use]
    pub fn restored(mut self, to: u64, on: impl Into<String>) -> Self {
        self.events.push(LogEvent::Restored { to, on: on.into() });
        self
    }

    /// Whether a position in the log `then`, where everything up to `place` was read, is a position in this log.
    pub fn continues_from(&self, then: &Self, place: u64) -> bool {
        let reaches_place = |event: &LogEvent| matches!(event, LogEvent::Restored { to, .. } if place <= *to);
        let since = self.events.strip_prefix(then.events.as_slice());
        self.created == then.created && since.is_some_and(|since| since.iter().all(reaches_place))
    }

    /// The last sequence that a restore has stored; 0 without a restore.
    pub fn restored_to(&self) -> u64 {
        let to = |event: &LogEvent| match event {
            LogEvent::Restored { to, .. } => Some(*to),
            LogEvent::Rebuilt { .. } => None,
        };
        self.events.iter().filter_map(to).max().unwrap_or(0)
    }

    /// As JSON, for places that store text.
    ///
    /// # Panics
    /// Never: it is plain data.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a log id is plain data")
    }

    /// Parses the output of [`Self::to_json`].
    ///
    /// # Errors
    /// When the text has another form.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// For errors and logs: `2026-11-23T12:58:11Z, rebuilt after sequence 500, restored up to sequence 900 on 2026-11-24T08:00:00Z`.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.created)?;
        self.events.iter().try_for_each(|event| write!(f, ", {event}"))
    }
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rebuilt { after } => write!(f, "rebuilt after sequence {after}"),
            Self::Restored { to, on } => write!(f, "restored up to sequence {to} on {on}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monday() -> LogId {
        LogId::new("monday")
    }

    #[test]
    fn a_position_survives_a_restore_that_reaches_as_far() {
        let check = |now: &LogId, then: &LogId, place: u64, expected: bool| {
            assert_eq!(now.continues_from(then, place), expected, "{now} / {then} / {place}");
        };
        let once = monday().restored(90, "tuesday");
        let twice = once.clone().restored(70, "wednesday");
        check(&monday(), &monday(), u64::MAX, true);
        check(&LogId::new("mondays"), &monday(), 1, false);
        check(&LogId::new("friday"), &monday(), 1, false);
        check(&LogId::new("friday").restored(90, "tuesday"), &monday(), 1, false);
        check(&once, &monday(), 90, true);
        check(&once, &monday(), 91, false);
        check(&once, &once, 1_000, true);
        check(&monday().restored(90, "friday"), &once, 1, false);
        check(&twice, &monday(), 71, false);
        check(&twice, &monday(), 70, true);
        check(&twice, &once, 71, false);
        check(&monday(), &once, 1, false);
        // A rebuilt log is another log at every position.
        check(&monday().rebuilt(95), &monday(), 1, false);
        check(&once.clone().rebuilt(95), &monday(), 1, false);
        check(&monday().rebuilt(50).restored(90, "tuesday"), &monday().rebuilt(50), 90, true);
    }

    #[test]
    fn a_log_tells_how_far_it_was_restored() {
        let once = monday().restored(90, "tuesday");
        assert_eq!(monday().restored_to(), 0);
        assert_eq!(once.restored_to(), 90);
        assert_eq!(once.clone().restored(120, "wednesday").restored_to(), 120);
        assert_eq!(once.clone().restored(70, "wednesday").restored_to(), 90);
        assert_eq!(once.rebuilt(500).restored_to(), 90);
    }

    #[test]
    fn a_rebuild_is_recorded_once() {
        assert_eq!(monday().rebuilt(5).events, [LogEvent::Rebuilt { after: 5 }]);
        let base = monday().rebuilt(50).restored(90, "tuesday");
        assert_eq!(base.clone().rebuilt(50), base);
        assert_eq!(base.clone().rebuilt(5).events.last(), Some(&LogEvent::Rebuilt { after: 5 }));
    }

    #[test]
    fn the_stored_form_is_json_and_the_display_form_is_text() {
        let log = monday().rebuilt(500).restored(900, "tuesday");
        let stored =
            r#"{"created":"monday","events":[{"rebuilt":{"after":500}},{"restored":{"to":900,"on":"tuesday"}}]}"#;
        assert_eq!(log.to_json(), stored);
        assert_eq!(LogId::from_json(stored).unwrap(), log);
        let words = "monday, rebuilt after sequence 500, restored up to sequence 900 on tuesday";
        assert_eq!(log.to_string(), words);
        assert!(LogId::from_json(words).is_err());
    }
}
