//! A progress bar on standard error, when that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use learn::training::Stage;

/// Redraw period of the bar.
const REDRAW_PERIOD: Duration = Duration::from_millis(100);

/// A progress bar. It disappears when it is dropped.
pub struct ProgressDisplay {
    bar: ProgressBar,
}

impl ProgressDisplay {
    /// Draws the bar.
    pub fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(REDRAW_PERIOD);
        Self { bar }
    }

    /// Shows a step of unknown length.
    pub fn step(&self, name: impl Into<String>) {
        self.bar.set_message(name.into());
        self.style("{spinner} {msg} {elapsed}");
    }

    /// Shows the reading of this many bytes. The caller advances the returned bar.
    pub fn reading(&self, bytes: u64) -> ProgressBar {
        self.bar.set_length(bytes);
        self.style("reading {wide_bar} {bytes}/{total_bytes} {eta}");
        self.bar.clone()
    }

    /// Shows a stage of learning.
    pub fn learning(&self, stage: Stage) {
        let (name, done, folds) = match stage {
            Stage::Fold { number, of } => (format!("fold {number} of {of}"), number - 1, of),
            Stage::Model { folds } => ("fitting the model".to_owned(), folds, folds),
        };
        self.bar.set_length(folds as u64 + 1);
        self.bar.set_position(done as u64);
        self.bar.set_message(name);
        self.style("{msg} {wide_bar} {elapsed}");
    }

    fn style(&self, template: &str) {
        self.bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_spinner()));
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
