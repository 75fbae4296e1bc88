//! A report as text: a table of counts, the range of FEED, the first differences.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;
use service::output::table;

use super::{AuditReport, Mismatch, RowDifference};

const COLUMNS: [&str; 8] = ["stream", "kind", "checked", "equal", "different", "missing", "extra", "not checkable"];

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.kinds.iter().map(|row| {
            let counts = row.counts;
            let numbers =
                [counts.checked, counts.equal, counts.different, counts.missing, counts.extra, counts.not_checkable];
            let names = [row.stream.to_string(), row.kind.to_string()];
            names.into_iter().chain(numbers.map(|number| number.to_string())).collect()
        });
        writeln!(f, "{}", table(&COLUMNS, 2, rows))?;
        let Self { feed_first, feed_last, feed_end, .. } = self;
        write!(f, "computed again from FEED, sequence {feed_first} to {feed_last} of {feed_end}")?;
        self.differences.iter().try_for_each(|difference| write!(f, "\n{difference}"))?;
        let more = (self.different + self.missing + self.extra).saturating_sub(self.differences.len() as u64);
        if more > 0 { write!(f, "\nand {more} more") } else { Ok(()) }
    }
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, instrument, row, outcome, expected, found } = self;
        let text = |row: &Option<Value>| row.as_ref().map(Value::to_string).unwrap_or_default();
        match outcome {
            Mismatch::Different => write!(f, "different: {kind} {instrument} {row}: {}", changed(expected, found)),
            Mismatch::Missing => write!(f, "missing: {kind} {instrument} {row}: {}", text(expected)),
            Mismatch::Extra => write!(f, "extra: {kind} {instrument} {row}: {}", text(found)),
        }
    }
}

/// The fields that differ, as `name is (stored) instead of (expected)`.
fn changed(expected: &Option<Value>, found: &Option<Value>) -> String {
    let fields = |row: &Option<Value>| row.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let (expected, found) = (fields(expected), fields(found));
    let absent = Value::from("absent");
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let pairs =
        names.into_iter().map(|name| (name, found.get(name).unwrap_or(&absent), expected.get(name).unwrap_or(&absent)));
    let changed = pairs.filter(|(_, found, expected)| found != expected);
    changed
        .map(|(name, found, expected)| format!("{name} is {found} instead of {expected}"))
        .collect::<Vec<_>>()
        .join(", ")
}
