//! Output of rows as table, CSV or JSON.

use serde::Serialize;
use service::output;

/// Prints a line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    Ok(output::print_line(text)?)
}

/// Prints rows under headings; all columns after the first `texts` hold numbers.
pub(crate) fn table(columns: &[&str], texts: usize, rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<()> {
    line(&output::table(columns, texts, rows))
}

/// Prints rows as comma-separated values under a heading line.
pub(crate) fn csv(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<()> {
    Ok(output::print(|out| {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(columns)?;
        for row in rows {
            writer.write_record(row)?;
        }
        writer.flush()
    })?)
}

/// Prints one JSON object per line.
pub(crate) fn json_lines<T: Serialize>(rows: &[T]) -> anyhow::Result<()> {
    Ok(output::print(|out| {
        for row in rows {
            serde_json::to_writer(&mut *out, row)?;
            writeln!(out)?;
        }
        Ok(())
    })?)
}
