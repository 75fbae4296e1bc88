//! A reporter that serves its page, and questions to it.

use std::process::Command;
use std::sync::mpsc;

use serde_json::Value;

use crate::health::{Watched, page};
use crate::programs::eventually;

/// The element of the page with the newest price.
pub const PRICE: &str = "#price";
/// The element of the page with the state of the pipeline in words.
pub const STATE: &str = "#state-words";
/// The element of the page with the canvases of the chart.
pub const CHART: &str = "#chart-box";

/// Said by the reporter, followed by the address of its page.
const SERVED: &str = "the page is at http://";

/// A running `reporter run`.
#[derive(Debug)]
pub struct ServedPage {
    /// The process and its health.
    pub reporter: Watched,
    /// Host and port of the page.
    pub addr: String,
}

impl ServedPage {
    /// Starts the reporter with its page on a free port.
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, &[])
    }

    /// Starts it with more flags.
    pub fn start_with(command: &mut Command, flags: &[&str]) -> Self {
        let (sender, log) = mpsc::channel();
        let command = command.args(["run", "--listen", "127.0.0.1:0"]).args(flags);
        let reporter = Watched::start(command, move |line| {
            // After the start there is no receiver any more.
            drop(sender.send(line.to_owned()));
        });
        let addr = log.iter().find_map(|line| {
            let (_, addr) = line.split_once(SERVED)?;
            Some(addr.trim_end_matches('/').to_owned())
        });
        Self { reporter, addr: addr.expect("the reporter logs the address of its page") }
    }

    /// Waits until the reporter has read what is stored.
    pub fn until_ready(&self) {
        eventually("the page is ready", || self.reporter.is_ready());
    }

    /// The address of the page, with the choice that its hash makes, such as `bitcoin/usd/15m`.
    pub fn url(&self, choice: &str) -> String {
        format!("http://{}/#{choice}", self.addr)
    }

    /// An answer of the API, by path and query.
    pub fn ask(&self, path: &str) -> Value {
        let (status, text) = page(&self.addr, &format!("/api/v1/{path}"));
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}
