//! What is printed on standard output.

use std::io::{BufWriter, ErrorKind, Write, stdout};

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

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

/// A reader that has seen enough (`| head`) is no error.
fn print(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
