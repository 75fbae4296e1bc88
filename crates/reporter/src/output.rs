//! Standard output. No other file writes to it.

#![allow(clippy::print_stdout)]
use std::io::{self, BufWriter, Write};

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

/// Whether the output has a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printed {
    /// The text was written.
    Yes,
    /// The reading end of the pipe is closed, as by `| head`. This is not an error; the command should end.
    ReaderGone,
}

/// Prints a line.
///
/// # Errors
/// Any write error except a closed pipe.
pub(crate) fn line(text: &str) -> io::Result<Printed> {
    lines([text])
}

/// Prints several lines in one write.
///
/// # Errors
/// As [`line`].
pub(crate) fn lines<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> io::Result<Printed> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = texts.into_iter().try_for_each(|text| {
        out.write_all(text.as_ref())?;
        out.write_all(b"\n")
    });
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(Printed::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::ReaderGone),
        Err(error) => Err(error),
    }
}

/// Formats a table: the first column is left-aligned, the others right-aligned.
pub(crate) fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cell = |(idx, text): (usize, String)| {
        let alignment = if idx == 0 { CellAlignment::Left } else { CellAlignment::Right };
        Cell::new(text).set_alignment(alignment)
    };
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(columns.iter().map(|&name| name.to_owned()).enumerate().map(cell));
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(cell));
    }
    table.to_string()
}
