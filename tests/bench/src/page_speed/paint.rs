//! The first paint of the page, and the bytes that it loads for it.

use pipeline_tests::browser::Browser;
use pipeline_tests::served_page::ServedPage;
use serde_json::json;

use crate::effort::Effort;
use crate::report::{Figure, Promise};

/// Promise for the compressed bytes of the page without its data, in kilobytes.
const TRANSFER_KB_MAX: f64 = 350.0;

/// The time from the navigation to the first paint with content, in milliseconds; undefined before it.
const PAINT: &str = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
/// The bytes that came over the network, headers included: of the page itself, and of its data.
const TRANSFER: &str = "[false, true].map((isData) =>
    [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
        .filter(({ name }) => isData === /^[/](api|plots|report)[/]/.test(new URL(name).pathname))
        .reduce((bytes, { transferSize }) => bytes + transferSize, 0))";

/// Opens the page several times with an empty cache.
pub(super) async fn measure(browser: &Browser, page: &ServedPage, effort: Effort) -> Vec<Figure> {
    browser.devtools("Network.setCacheDisabled", json!({"cacheDisabled": true})).await;
    let (mut paints, mut own, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        // Another hash alone would not load the page again.
        browser.open("about:blank").await;
        browser.open(&page.url("bitcoin/usdt/1h")).await;
        browser.until("something is painted", PAINT).await;
        paints.push(browser.value::<f64>(PAINT).await);
        let [page, answers] = browser.value::<[f64; 2]>(TRANSFER).await;
        own.push(page / 1e3);
        data.push(answers / 1e3);
    }
    browser.devtools("Network.setCacheDisabled", json!({"cacheDisabled": false})).await;
    vec![
        Figure::new("page.first_paint_ms", "ms", paints),
        Figure::new("page.transfer_kb", "kB", own).promise(Promise::AtMost(TRANSFER_KB_MAX)),
        Figure::new("page.data_kb", "kB", data),
    ]
}
