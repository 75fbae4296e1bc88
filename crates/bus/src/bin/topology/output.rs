//! What is printed on standard output.

use std::io::{Write, stdout};

use comfy_table::{Cell, CellAlignment, Table, presets};

/// Prints a line.
pub(crate) fn line(text: &str) {
    print(format_args!("{text}"));
}

/// Prints rows under headings; all but the first `texts` columns are numbers.
pub(crate) fn table(headings: &[&str], texts: usize, rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(headings);
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(|(idx, text)| {
            let alignment = if idx < texts { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(alignment)
        }));
    }
    print(format_args!("{table}"));
}

/// A reader that has seen enough (`| head`) is no error.
fn print(text: std::fmt::Arguments<'_>) {
    drop(writeln!(stdout(), "{text}"));
}
