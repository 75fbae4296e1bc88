//! How far a command has come, drawn on standard error when that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use learn::training::Step;

/// How often the bar moves while nothing is reported.
const TICK: Duration = Duration::from_millis(100);

/// A bar that is gone when it is dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Draws the bar.
    pub fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// Begins a step whose length is not known.
    pub fn step(&self, name: impl Into<String>) {
        self.bar.set_message(name.into());
        self.style("{spinner} {msg} {elapsed}");
    }

    /// Begins the reading of so many bytes. What is returned is told of those that were read.
    pub fn reading(&self, bytes: u64) -> ProgressBar {
        self.bar.set_length(bytes);
        self.style("reading {wide_bar} {bytes}/{total_bytes} {eta}");
        self.bar.clone()
    }

    /// Begins a step of learning.
    pub fn learning(&self, step: Step) {
        let (name, done, folds) = match step {
            Step::Fold { number, of } => (format!("fold {number} of {of}"), number - 1, of),
            Step::Model { folds } => ("fitting the model".to_owned(), folds, folds),
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

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
