//! The one place that writes to standard output.
#![allow(clippy::print_stdout)]

use std::io::{self, Write};

/// Writes text to standard output.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
