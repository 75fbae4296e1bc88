//! Answers of a script.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// An answer.
#[derive(Debug, Clone)]
pub struct ScriptedAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) delay: Duration,
}

impl ScriptedAnswer {
    /// An answer with this status and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: body.into(), delay: Duration::ZERO }
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string())
    }

    /// An error in the form with a status object.
    pub fn error(status: u16, code: i64, words: &str) -> Self {
        Self::json(status, &json!({"status": {"error_code": code, "error_message": words}}))
    }

    /// The rate-limit answer, with the real body.
    pub fn rate_limited(retry_after: &str) -> Self {
        let words =
            "You've exceeded the Rate Limit. Please visit https://www.coingecko.com/en/api/pricing to subscribe.";
        Self::error(429, 429, words).with_header("retry-after", retry_after)
    }

    /// A compressed page of this many entries that name no coin, 8 bytes each: small on the wire, large when
    /// decompressed, and larger when parsed.
    pub fn bomb(entries: usize) -> Self {
        let page = format!("[{}{{\"a\":0}}]", "{\"a\":0},".repeat(entries - 1));
        Self::packed(&page)
    }

    /// A compressed chart of this many rows, as [`Self::bomb`].
    pub fn chart_bomb(rows: usize) -> Self {
        Self::packed(&format!(r#"{{"prices":[{}[1,1]]}}"#, "[1,1],".repeat(rows - 1)))
    }

    fn packed(page: &str) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(page.as_bytes()).unwrap();
        Self::new(200, encoder.finish().unwrap()).with_header("content-encoding", "gzip")
    }

    /// Length of the body as sent, if it is compressed already.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// An HTML page of the network edge.
    pub fn html(status: u16, page: &str) -> Self {
        Self::new(status, page).with_header("content-type", "text/html; charset=UTF-8")
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::html(status, "<html>moved").with_header("location", location)
    }

    /// Whether the body is compressed.
    pub(super) fn is_packed(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == "content-encoding")
    }

    /// Adds or replaces a header.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Delays the answer.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}
