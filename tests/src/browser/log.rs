//! The browser's logs: errors of the console, and the addresses that the page asked.

use serde_json::Value;

use super::Browser;

/// The level of errors.
const ERROR: &str = "SEVERE";
/// The event of a request.
const REQUEST: &str = "Network.requestWillBeSent";

impl Browser {
    /// The errors on the console since the last call.
    pub async fn errors(&self) -> Vec<String> {
        let entries = self.session.get_log("browser").await.unwrap();
        entries.into_iter().filter(|entry| entry.level == ERROR).map(|entry| entry.message).collect()
    }

    /// The addresses on the network that the page asked since the last call.
    pub async fn requests(&self) -> Vec<String> {
        let entries = self.session.get_log("performance").await.unwrap();
        let url = |message: &str| {
            let event: Value = serde_json::from_str(message).ok()?;
            let event = &event["message"];
            (event["method"] == REQUEST).then(|| event["params"]["request"]["url"].as_str().map(str::to_owned))?
        };
        // The browser's own pages ask for parts of the browser.
        entries.iter().filter_map(|entry| url(&entry.message)).filter(|url| url.starts_with("http")).collect()
    }

    /// Asserts that nothing was wrong since the last call: no error on the console, and no request to another server
    /// than the page's.
    pub async fn assert_clean(&self) {
        self.assert_clean_but_for(|_| false).await;
    }

    /// As [`Browser::assert_clean`], but these errors are expected.
    pub async fn assert_clean_but_for(&self, is_expected: impl Fn(&str) -> bool) {
        let origin: String = self.value("location.origin").await;
        let is_foreign = |url: &String| !url.starts_with(&format!("{origin}/"));
        let foreign: Vec<_> = self.requests().await.into_iter().filter(is_foreign).collect();
        let errors: Vec<_> = self.errors().await.into_iter().filter(|error| !is_expected(error)).collect();
        assert_eq!((errors, foreign), (vec![], vec![]));
    }
}
