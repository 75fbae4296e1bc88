//! The chart: drawn candles, intervals, instruments, history.

use pipeline_tests::browser::{Key, Screen};
use pipeline_tests::served_page::CHART;

use super::{FIRST_MS, MINUTE_MS, Viewer, of_shown};

/// The colors of rising and falling candles.
const COLORS: [&str; 2] = ["var(--up)", "var(--down)"];
/// More pixels of a color than the letters on the axis have.
const DRAWN_MIN: u64 = 400;
/// Minutes of the longer recording: more than the page reads at first.
const MINUTES: usize = 6_000;
/// Minutes of the shorter one.
const FEW_MINUTES: usize = 900;

impl Viewer {
    /// Waits until the chart has rising and falling candles.
    async fn until_drawn(&self) {
        self.browser.until_painted(CHART, &COLORS, DRAWN_MIN).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_shows_what_is_stored_at_every_interval() {
    let viewer = Viewer::new().await;
    let [long, short] = [MINUTES, FEW_MINUTES].map(|count| viewer.minutes(count));
    viewer.replay_all(&[("bitcoin/usdt", &long), ("ethereum/usd", &short)]);
    viewer.open("bitcoin/usdt/15m").await;
    for (interval, minutes) in [("15m", 15), ("1m", 1), ("5m", 5), ("1h", 60), ("15m", 15)] {
        viewer.browser.click(&format!("#intervals [data-interval='{interval}']")).await;
        let distance = minutes * MINUTE_MS;
        let condition = format!("bars.length > 1 && bars.at(-1).start_ms - bars.at(-2).start_ms === {distance}");
        viewer.until_shown(interval, &condition).await;
        viewer.until_drawn().await;
        viewer.shows_what_is_stored("bitcoin", "usdt", interval).await;
    }

    // By keyboard: the key of the switcher, a part of the name, and Enter.
    viewer.browser.leave_fields().await;
    viewer.browser.press("/").await;
    viewer.browser.press("ether").await;
    let is_found = "((options) => options.length === 1 && options[0].innerText.startsWith('ethereum/usd'))(
        document.querySelectorAll('#instruments [role=option]'))";
    viewer.browser.until("only ethereum is found", is_found).await;
    viewer.browser.press(Key::Enter).await;
    viewer.browser.until("it is chosen", "location.hash.startsWith('#ethereum/usd')").await;
    let end_ms = FIRST_MS + FEW_MINUTES as i64 * MINUTE_MS;
    viewer.until_shown("its candles", &format!("bars.length > 1 && bars.at(-1).start_ms < {end_ms}")).await;
    viewer.until_drawn().await;
    viewer.shows_what_is_stored("ethereum", "usd", "15m").await;

    // The link to the tables is no choice of an instrument.
    viewer.browser.focus(".skip").await;
    viewer.browser.press(Key::Enter).await;
    viewer
        .browser
        .until("the tables are in view", "document.querySelector('#tables').getBoundingClientRect().top < innerHeight")
        .await;
    viewer.shows_what_is_stored("ethereum", "usd", "15m").await;
    viewer.browser.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_history_loads_when_the_chart_is_panned() {
    let viewer = Viewer::new().await;
    viewer.replay_all(&[("bitcoin/usdt", &viewer.minutes(MINUTES))]);
    viewer.open("bitcoin/usdt/1m").await;
    viewer.until_drawn().await;
    viewer.browser.screenshot_on(&Screen::ALL, "one-instrument").await;
    viewer.browser.show_on(Screen::ALL[0]).await;
    viewer.until_shown("candles", "bars.length > 100").await;
    let before = viewer.shown().await;
    viewer.shows_what_is_stored("bitcoin", "usdt", "1m").await;

    viewer.browser.drag(CHART, 300).await;
    let newest = before[before.len() - 1].start_ms;
    viewer.until_shown("the dragged chart", &format!("bars.length > 1 && bars.at(-1).start_ms < {newest}")).await;
    viewer.shows_what_is_stored("bitcoin", "usdt", "1m").await;

    // Each time, the chart goes to the oldest candle that it has, and reads those before it.
    viewer.browser.leave_fields().await;
    viewer.browser.press("++").await;
    let is_first = of_shown(&format!("bars.length > 1 && bars[0].start_ms === {FIRST_MS}"));
    viewer.browser.press_until(Key::Home, "the first candle", &is_first).await;
    viewer.until_drawn().await;
    viewer.shows_what_is_stored("bitcoin", "usdt", "1m").await;
    assert_eq!(viewer.candles("bitcoin", "usdt", "1m").len(), MINUTES);
    viewer.browser.assert_clean().await;
}
