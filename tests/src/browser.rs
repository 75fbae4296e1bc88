//! Chromium for one test: without a window, driven over WebDriver, with a profile of its own.
//!
//! Expressions and functions in JavaScript run in the page, so a test sees the page as its user does.

mod audit;
mod driver;
mod keyboard;
mod layout;
mod log;
mod mouse;
mod pixels;
mod screen;

use std::time::{Duration, Instant};

use driver::ChromeDriver;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thirtyfour::WebDriver;

pub use thirtyfour::Key;

pub use screen::{Scheme, Screen};

/// Longest wait for a condition in the page.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Interval of checks of a condition.
const LOOK: Duration = Duration::from_millis(20);

/// A running browser with one page. It is killed when dropped.
#[derive(Debug)]
pub struct Browser {
    session: WebDriver,
    // Ends the processes when dropped, after the session was given up.
    _driver: ChromeDriver,
}

impl Browser {
    /// Starts a browser with an empty page.
    pub async fn start() -> Self {
        let driver = ChromeDriver::start();
        let session = driver.session().await;
        Self { session, _driver: driver }
    }

    /// Opens a page and returns when it has loaded.
    pub async fn open(&self, url: &str) {
        self.session.goto(url).await.unwrap_or_else(|error| panic!("cannot open {url}: {error}"));
    }

    /// The value of an expression in the page. A promise is awaited.
    pub async fn value<T: DeserializeOwned>(&self, expression: &str) -> T {
        let script = format!("return ({expression}\n);");
        let found = self.session.execute(script, Vec::<Value>::new()).await;
        let found = found.unwrap_or_else(|error| panic!("{expression}: {error}"));
        found.convert().unwrap_or_else(|error| panic!("{expression} is {}: {error}", found.json()))
    }

    /// The text of the first element that a selector matches, as it is shown; empty without one.
    pub async fn text(&self, selector: &str) -> String {
        self.value(&format!("document.querySelector({selector:?})?.innerText ?? ''")).await
    }

    /// Waits until a condition in the page holds. A page that never gets there is left as a screenshot.
    pub async fn until(&self, what: &str, condition: &str) {
        let start = Instant::now();
        let condition = format!("Boolean({condition})");
        while !self.value::<bool>(&condition).await {
            if start.elapsed() > WAIT_MAX {
                self.screenshot("failed").await;
                panic!("{what}: not within {} s: {condition}", WAIT_MAX.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the page has drawn what it knows.
    pub async fn until_drawn(&self) {
        let frames = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn())))";
        self.value::<()>(frames).await
    }

    /// Runs a command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let done = self.session.cdp().send_raw(command, parameters).await;
        done.unwrap_or_else(|error| panic!("{command}: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The processes are killed. Without this the session would ask them to end first, and block.
        drop(self.session.clone().leak());
    }
}
