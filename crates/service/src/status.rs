//! A line at the end of a terminal that is replaced in place, and makes way for log lines.

use std::io::{IsTerminal, Stderr, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};

/// Characters that are shown, at most: a longer line would wrap and stay.
const WIDTH: usize = 79;
/// Returns to the begin of the line and clears it.
const CLEAR: &str = "\r\u{1b}[2K";

/// Whether a line is shown. It is global because standard error is.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// A line on standard error. It disappears when dropped.
#[derive(Debug)]
pub struct StatusLine(());

impl StatusLine {
    /// Returns a line, if standard error is a terminal.
    pub fn on_terminal() -> Option<Self> {
        stderr().is_terminal().then_some(Self(()))
    }

    /// Shows a text in place of the one before.
    pub fn show(&self, text: &str) {
        IS_SHOWN.store(true, Ordering::Relaxed);
        let text: String = text.chars().take(WIDTH).collect();
        write(&format!("{CLEAR}{text}"));
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        clear();
    }
}

/// Returns standard error for a log line, after the status line is cleared.
pub(crate) fn log_writer() -> Stderr {
    clear();
    stderr()
}

fn clear() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        write(CLEAR);
    }
}

fn write(text: &str) {
    let mut out = stderr();
    // A terminal that has gone away shows nothing.
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}
