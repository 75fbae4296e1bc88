//! Standard output: tables, and text whose reader may close the pipe early.

use std::io::{self, BufWriter, ErrorKind, Write, stdout};

use comfy_table::{Cell, CellAlignment, Table, presets};

/// Formats a table. The first `texts` columns are aligned left; the others hold numbers and are aligned right.
pub fn table(columns: &[&str], texts: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(columns);
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(|(idx, text)| {
            let alignment = if idx < texts { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(alignment)
        }));
    }
    table.to_string()
}

/// Writes to standard output, buffered. A pipe closed by its reader (`| head`) is no error.
///
/// # Errors
/// The error of `write` or of standard output.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints a text and a newline.
///
/// # Errors
/// As [`print()`].
pub fn print_line(text: impl std::fmt::Display) -> io::Result<()> {
    print(|out| writeln!(out, "{text}"))
}
