//! Advice for differences that `apply` refuses to change.

use bus::topology::SettingDifference;
use serde_json::Value;

const DAY_NS: u64 = 86_400 * 1_000_000_000;

/// Returns what to do about a setting that `apply` refuses to change.
pub(crate) fn advice(stream: &str, difference: &SettingDifference) -> String {
    let SettingDifference { key, actual, wanted, .. } = difference;
    match (key.as_str(), limit(actual), limit(wanted)) {
        ("metadata" | "subject_transform", ..) => {
            "partitions are fixed once the streams exist: ask for as many as exist, or start on an empty server and \
             publish the history again"
                .to_owned()
        }
        ("num_replicas", Some(actual), _) => format!("fewer copies are less safe: ask for --replicas {actual}"),
        ("max_bytes", Some(actual), Some(_)) if let Some(flag) = bytes_flag(stream) => {
            format!("a lower limit deletes history or keeps a service waiting: ask for {flag} {actual}")
        }
        ("max_age", Some(actual), Some(_)) if stream == "FEED" => {
            format!("a lower limit deletes history: ask for --feed-days {}", actual.div_ceil(DAY_NS))
        }
        _ => format!(
            "it was changed by hand: set it back to the value that `topology export` prints for {stream}, then run \
             `aggregator audit` to see whether anything was lost"
        ),
    }
}

/// A limit, if set: the server writes 0 or -1 for none.
fn limit(value: &Value) -> Option<u64> {
    value.as_u64().filter(|&limit| limit > 0)
}

/// The flag for the maximum size of a stream.
fn bytes_flag(stream: &str) -> Option<&'static str> {
    match stream {
        "FEED" => Some("--feed-bytes"),
        "MARKET" => Some("--market-bytes"),
        "STATS" => Some("--stats-bytes"),
        "FORECAST" => Some("--forecast-bytes"),
        "OBJ_ARTIFACTS" => Some("--artifacts-bytes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bus::topology::differences;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_refusal_gives_an_alternative() {
        let check = |stream: &str, wanted: Value, actual: Value, expected: &str| {
            let found = differences(&wanted, &actual);
            let said = advice(stream, &found[0]);
            assert!(said.contains(expected), "{said}");
        };
        check("STATS", json!({"max_bytes": 1}), json!({"max_bytes": 2}), "--stats-bytes 2");
        check("FEED", json!({"max_age": DAY_NS}), json!({"max_age": 90 * DAY_NS}), "--feed-days 90");
        check("FEED", json!({"num_replicas": 1}), json!({"num_replicas": 3}), "--replicas 3");
        check("MARKET", json!({"metadata": {"p": "8"}}), json!({"metadata": {"p": "16"}}), "empty server");
        check("MARKET", json!({"max_age": 0}), json!({"max_age": 5}), "topology export");
        check("MARKET", json!({"max_bytes": 5}), json!({"max_bytes": -1}), "topology export");
    }
}
