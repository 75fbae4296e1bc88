//! Differences between a stream's configuration and its definition.

use std::fmt;

use serde_json::{Map, Value};

/// Settings that can grow without loss of data.
const GROWING: [&str; 3] = ["max_bytes", "max_age", "num_replicas"];

/// A setting of an existing stream that differs from its definition.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingDifference {
    /// The setting.
    pub key: String,
    /// Its value in the stream.
    pub actual: Value,
    /// Its value in the definition.
    pub wanted: Value,
    /// Whether it can be changed without loss of data.
    pub is_safe: bool,
    /// The consequence of the actual value in a stream with checkpoints.
    pub harm: Option<&'static str>,
}

impl fmt::Display for SettingDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} instead of {}", self.key, self.actual, self.wanted)?;
        self.harm.map_or(Ok(()), |harm| write!(f, ", which {harm}"))
    }
}

/// The consequence of another value of a setting in a stream with checkpoints.
fn harm(key: &str) -> Option<&'static str> {
    match key {
        "max_age" | "discard" | "max_msgs" | "max_msgs_per_subject" | "retention" => {
            Some("deletes checkpoints, after which all input is processed again")
        }
        "storage" => Some("loses checkpoints with the server"),
        "allow_rollup_hdrs" | "deny_purge" => Some("prevents a checkpoint from replacing the one before it"),
        "deny_delete" => Some("prevents the removal of a torn batch"),
        "allow_atomic" => Some("lets results be stored without their position"),
        "allow_direct" => Some("prevents a consistent read of checkpoints"),
        _ => None,
    }
}

/// Compares a stream's configuration with its definition, setting by setting.
pub fn differences(wanted: &Value, actual: &Value) -> Vec<SettingDifference> {
    let empty = Map::new();
    let wanted = wanted.as_object().unwrap_or(&empty);
    let is_allowed = |key: &str| wanted.get(key) == Some(&Value::Bool(true));
    let has_checkpoints = is_allowed("allow_atomic") && is_allowed("allow_rollup_hdrs");
    let differs = |(key, wanted): (&String, &Value)| {
        let actual = actual.get(key).cloned().unwrap_or(Value::Null);
        (!is_same(wanted, &actual)).then(|| SettingDifference {
            key: key.clone(),
            harm: harm(key).filter(|_| has_checkpoints),
            is_safe: GROWING.contains(&key.as_str()) && grows(wanted, &actual),
            actual,
            wanted: wanted.clone(),
        })
    };
    wanted.iter().filter_map(differs).collect()
}

/// The server omits false, zero and empty values, and adds metadata of its own.
fn is_same(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => {
            wanted.iter().all(|(key, value)| is_same(value, actual.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Bool(false), Value::Null) => true,
        (Value::Number(number), Value::Null) => matches!(number.as_i64(), Some(0 | -1)),
        (wanted, actual) => wanted == actual,
    }
}

fn grows(wanted: &Value, actual: &Value) -> bool {
    match (wanted.as_u64(), actual.as_u64()) {
        // The server writes "no limit" as -1 or 0: a limit instead could delete messages.
        (Some(wanted), Some(actual)) => actual > 0 && wanted > actual,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_growing_limits_are_safe_to_change() {
        let check = |wanted: Value, actual: Value, expected: &[(&str, bool)]| {
            let found = differences(&wanted, &actual);
            let found: Vec<_> = found.iter().map(|difference| (difference.key.as_str(), difference.is_safe)).collect();
            assert_eq!(found, expected, "{wanted} {actual}");
        };
        check(json!({"max_bytes": 2}), json!({"max_bytes": 1}), &[("max_bytes", true)]);
        check(json!({"max_bytes": 1}), json!({"max_bytes": 2}), &[("max_bytes", false)]);
        check(json!({"max_bytes": 1}), json!({"max_bytes": -1}), &[("max_bytes", false)]);
        check(json!({"max_age": 0, "deny": false}), json!({}), &[]);
        check(json!({"allow_atomic": true}), json!({}), &[("allow_atomic", false)]);
        check(json!({"metadata": {"a": "1"}}), json!({"metadata": {"a": "1", "_nats.level": "1"}}), &[]);
        check(json!({"metadata": {"a": "1"}}), json!({"metadata": {"a": "2"}}), &[("metadata", false)]);
    }
}
