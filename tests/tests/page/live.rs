//! Live prices, and an outage of the server.

use std::time::{SystemTime, UNIX_EPOCH};

use bus::publish::publish;
use pipeline_tests::browser::Screen;
use pipeline_tests::ticks::{bitcoin, quote};

use super::{MINUTE_MS, Viewer};

/// Minutes with prices before and after the outage; all together are recent enough to be live.
const MINUTES: i64 = 6;
/// The price of the first minute; that of each later one is a whole number higher.
const FIRST: i64 = 100;
/// Where in its minute a price is: late enough to close the minute before, which waits for late prices.
const WITHIN_MS: i64 = 30_000;

impl Viewer {
    /// Publishes the price of this minute, counted from `begin_ms`.
    async fn publish(&self, begin_ms: i64, minute: i64) {
        let producer = self.pipeline.server.connect("producer").await;
        let tick = quote(&bitcoin(), begin_ms + minute * MINUTE_MS + WITHIN_MS, (FIRST + minute) as f64);
        publish(&producer, &tick).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_change_without_reload_across_a_server_restart() {
    let mut viewer = Viewer::new().await;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let begin_ms = (now_ms / MINUTE_MS - 2 * MINUTES) * MINUTE_MS;
    viewer.publish(begin_ms, 0).await;
    viewer.pipeline.wait_for_market();
    viewer.open("bitcoin/usd/1m").await;
    viewer.until_price(FIRST as f64).await;
    viewer.browser.value::<bool>("window.isFirstLoad = true").await;
    for minute in 1..MINUTES {
        viewer.publish(begin_ms, minute).await;
        viewer.until_price((FIRST + minute) as f64).await;
    }
    viewer.until_state("Live").await;
    // The newest minute is still open.
    viewer.until_shown("the closed minutes", &format!("bars.length === {}", MINUTES - 1)).await;

    viewer.browser.assert_clean().await;
    viewer.pipeline.server.kill();
    viewer.until_state("NATS is unreachable").await;
    viewer.browser.screenshot_on(&Screen::ALL, "nats-away").await;
    viewer.browser.show_on(Screen::ALL[0]).await;
    viewer.until_price((FIRST + MINUTES - 1) as f64).await;

    viewer.pipeline.server.start_again();
    for minute in MINUTES..2 * MINUTES {
        viewer.publish(begin_ms, minute).await;
        viewer.until_price((FIRST + minute) as f64).await;
    }
    viewer.until_state("Live").await;
    viewer.until_shown("all closed minutes", &format!("bars.length === {}", 2 * MINUTES - 1)).await;
    let starts: Vec<i64> = viewer.shown().await.iter().map(|bar| bar.start_ms).collect();
    assert_eq!(starts, (0..2 * MINUTES - 1).map(|minute| begin_ms + minute * MINUTE_MS).collect::<Vec<_>>());
    viewer.shows_what_is_stored("bitcoin", "usd", "1m").await;
    assert!(viewer.browser.value::<bool>("window.isFirstLoad === true").await, "the page was loaded again");
    // A question that is asked before the page knows of the outage is refused.
    viewer.browser.assert_clean_but_for(|error| error.contains("status of 503")).await;
}
