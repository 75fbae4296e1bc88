//! The page in a real browser, beside a real pipeline.

mod access;
mod chart;
mod live;
mod states;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use pipeline_tests::browser::Browser;
use pipeline_tests::programs::{Running, succeed};
use pipeline_tests::served_page::{PRICE, STATE, ServedPage};
use pipeline_tests::test_pipeline::{TestPipeline, sample_lines};
use serde::Deserialize;
use serde_json::Value;

/// 2020-03-01, the beginning of the bundled minutes.
const FIRST_MS: i64 = 1_583_020_800_000;
const MINUTE_MS: i64 = 60_000;
/// Candles of one answer of the API.
const PAGE: usize = 5_000;

/// A pipeline, its page, and a browser that shows it.
struct Viewer {
    pipeline: TestPipeline,
    page: ServedPage,
    browser: Browser,
    _steps: [Running; 2],
}

/// Open, high, low and close of a candle.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Bar {
    start_ms: i64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
}

impl Viewer {
    /// A pipeline without data.
    async fn new() -> Self {
        let pipeline = TestPipeline::new().await;
        let steps = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
        let page = ServedPage::start(&mut pipeline.program("reporter"));
        page.until_ready();
        Self { pipeline, page, browser: Browser::start().await, _steps: steps }
    }

    /// The first minutes of the bundled month, as a recording in the pipeline's folder.
    fn minutes(&self, count: usize) -> PathBuf {
        let path = self.pipeline.dir.path().join(format!("minutes-{count}.csv"));
        let lines = sample_lines("btcusdt_1m_2020-03.csv.gz").unwrap().take(1 + count).map(|line| line.unwrap() + "\n");
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        path
    }

    /// The replay of recordings of minutes, by instrument.
    fn replay(&self, recordings: &[(&str, &PathBuf)]) -> Command {
        let mut producer = self.pipeline.program("producer");
        producer.args(["run", "--source", "recording", "--grain", "1m"]);
        for (instrument, file) in recordings {
            producer.arg("--file").arg(format!("{instrument}={}", file.display()));
        }
        producer
    }

    /// Replays recordings at full speed, and waits until all is committed.
    fn replay_all(&self, recordings: &[(&str, &PathBuf)]) {
        succeed(&mut self.replay(recordings));
        self.pipeline.wait();
    }

    /// Opens the page with the choice of its hash.
    async fn open(&self, choice: &str) {
        // Another hash alone would not load the page again.
        self.browser.open("about:blank").await;
        self.browser.open(&self.page.url(choice)).await;
    }

    /// Waits until the state of the page says this.
    async fn until_state(&self, words: &str) {
        let says = format!("document.querySelector({STATE:?})?.textContent.includes({words:?})");
        self.browser.until(words, &says).await;
    }

    /// Waits until this is the price on the page, by its number.
    async fn until_price(&self, price: f64) {
        let number = format!("Number(document.querySelector({PRICE:?})?.textContent.replace(/[^0-9.]/g, '') || NaN)");
        self.browser.until(&format!("the price is {price}"), &format!("{number} === {price}")).await;
    }

    /// The final candles that the chart shows, oldest first, from the table of them.
    async fn shown(&self) -> Vec<Bar> {
        self.browser.value(&of_shown("bars")).await
    }

    /// Waits until a condition on the `bars` that the chart shows holds.
    async fn until_shown(&self, what: &str, condition: &str) {
        self.browser.until(what, &of_shown(condition)).await;
    }

    /// All final candles of an instrument by start, from the API.
    fn candles(&self, coin: &str, quote: &str, window: &str) -> BTreeMap<i64, Bar> {
        let mut candles = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let path = format!("candles?coin={coin}&quote={quote}&window={window}&limit={PAGE}{cursor}");
            let answer = self.page.ask(&path);
            let rows: Vec<Bar> = serde_json::from_value(answer["candles"].clone()).unwrap();
            for bar in rows {
                assert_eq!(candles.insert(bar.start_ms, bar), None, "a candle is on two pages");
            }
            match &answer["next"] {
                Value::String(next) => cursor = format!("&cursor={next}"),
                _ => return candles,
            }
        }
    }

    /// Asserts that the chart shows exactly the candles of the API between its oldest and its newest.
    async fn shows_what_is_stored(&self, coin: &str, quote: &str, window: &str) {
        let shown = self.shown().await;
        let (first, last) = (shown[0].start_ms, shown[shown.len() - 1].start_ms);
        let stored: Vec<Bar> = self.candles(coin, quote, window).range(first..=last).map(|(_, bar)| *bar).collect();
        assert_eq!(shown, stored, "{coin}/{quote} {window}");
    }
}

/// An expression on the `bars` that the chart shows: final candles, oldest first.
fn of_shown(expression: &str) -> String {
    format!("((bars) => {expression})(({})())", include_str!("page/shown.js"))
}
