//! What is printed on standard output.

use std::collections::BTreeSet;
use std::io::{BufWriter, ErrorKind, Write, stdout};

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::audit::{Difference, Outcome, Report};

/// Prints a line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    print(|out| writeln!(out, "{text}"))
}

/// Prints rows under headings; all but the first `texts` columns are numbers.
pub(crate) fn table(columns: &[&str], texts: usize, rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(columns);
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(|(idx, text)| {
            let alignment = if idx < texts { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(alignment)
        }));
    }
    print(|out| writeln!(out, "{table}"))
}

/// Prints rows as comma-separated values under a heading line.
pub(crate) fn csv(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<()> {
    print(|out| {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(columns)?;
        for row in rows {
            writer.write_record(row)?;
        }
        writer.flush()
    })
}

/// Prints one JSON object a line.
pub(crate) fn json_lines<T: Serialize>(rows: &[T]) -> anyhow::Result<()> {
    print(|out| {
        for row in rows {
            serde_json::to_writer(&mut *out, row)?;
            writeln!(out)?;
        }
        Ok(())
    })
}

/// Prints what an audit found: a table of counts, the range of FEED, the first differences.
pub(crate) fn report(report: &Report) -> anyhow::Result<()> {
    const COLUMNS: [&str; 8] = ["stream", "kind", "checked", "equal", "different", "missing", "extra", "not checkable"];
    let rows = report.kinds.iter().map(|row| {
        let counts = row.counts;
        let numbers =
            [counts.checked, counts.equal, counts.different, counts.missing, counts.extra, counts.not_checkable];
        let names = [row.stream.to_string(), row.kind.to_string()];
        names.into_iter().chain(numbers.map(|number| number.to_string())).collect()
    });
    table(&COLUMNS, 2, rows)?;
    let Report { feed_first, feed_last, feed_end, .. } = report;
    line(&format!("computed again from FEED, sequence {feed_first} to {feed_last} of {feed_end}"))?;
    report.differences.iter().try_for_each(|difference| line(&in_words(difference)))?;
    let more = (report.different + report.missing + report.extra).saturating_sub(report.differences.len() as u64);
    if more > 0 { line(&format!("and {more} more")) } else { Ok(()) }
}

fn in_words(difference: &Difference) -> String {
    let Difference { kind, instrument, row, outcome, expected, found } = difference;
    let text = |row: &Option<Value>| row.as_ref().map(Value::to_string).unwrap_or_default();
    match outcome {
        Outcome::Different => format!("different: {kind} {instrument} {row}: {}", changed(expected, found)),
        Outcome::Missing => format!("missing: {kind} {instrument} {row}: {}", text(expected)),
        Outcome::Extra => format!("extra: {kind} {instrument} {row}: {}", text(found)),
    }
}

/// The fields that differ, as `name is … instead of …`.
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

/// A reader that has seen enough (`| head`) is no error.
fn print(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
