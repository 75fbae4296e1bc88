//! Standard output of the commands. Their work is finished when they print, so a failed write is not reported.

use service::output;

/// Prints a line.
pub(crate) fn line(text: &str) {
    drop(output::print_line(text));
}

/// Prints rows under headings; all but the first `texts` columns are numbers.
pub(crate) fn table(headings: &[&str], texts: usize, rows: impl IntoIterator<Item = Vec<String>>) {
    line(&output::table(headings, texts, rows));
}
