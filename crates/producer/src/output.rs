//! Standard output. No other file writes to it.
#![allow(clippy::print_stdout)]

use std::io::{self, Write};

/// Writes text to standard output.
///
/// # Errors
/// The reading end is closed.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
