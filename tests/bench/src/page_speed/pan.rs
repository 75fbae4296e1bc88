//! The long tasks of the page while its chart moves through all candles: a task over 50 ms is felt.

use std::time::{Duration, Instant};

use pipeline_tests::browser::{Browser, Key};
use pipeline_tests::served_page::{CHART, ServedPage};

use crate::report::Figure;

/// The chart has read everything once it has asked for nothing this long.
const STILL: Duration = Duration::from_secs(5);
/// Zoomed out so often, the view holds some thousand candles, and a step to the side some hundred.
const ZOOM: &str = "--------";
/// Candles of such a step, at least.
const STEP: usize = 150;
/// Characters of the day in a time.
const DAY: usize = 10;
/// Drags of the chart by mouse, in each direction.
const DRAGS: usize = 10;

/// Notes every task over 50 ms, as Chromium defines a long one.
const WATCH: &str = "performance.setResourceTimingBufferSize(10000),
    void new PerformanceObserver((list) => (window.tasks ??= []).push(...list.getEntries().map((task) => task.duration)))
    .observe({ type: 'longtask' })";
/// Questions for candles so far.
const QUESTIONS: &str =
    "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/api/v1/candles?')).length";
/// The starts of the newest and the oldest bar in view, from the table of them.
const VIEW: &str = "(() => {
    document.querySelector('#tables [data-table=shown]').click();
    const starts = [...document.querySelectorAll('#rows tr > :first-child')].map((cell) => cell.textContent.slice(0, 16));
    return [starts.at(0), starts.at(-1)];
})()";
/// Chooses another table, which the movements of the chart do not touch.
const OTHER_TABLE: &str = "void document.querySelector('#tables [data-table=daily]').click()";

/// Loads the whole history by going to its beginning, then moves through it.
///
/// # Panics
/// The chart does not get to the first or to the last candle.
pub(super) async fn measure(browser: &Browser, page: &ServedPage, candles: usize) -> Vec<Figure> {
    browser.open(&page.url("bitcoin/usdt/1m")).await;
    browser.until_painted(CHART, &["var(--up)", "var(--down)"], 100).await;
    let [newest, _] = browser.value::<[String; 2]>(VIEW).await;
    browser.value::<()>(OTHER_TABLE).await;
    browser.leave_fields().await;
    // Closer, so that the table holds all bars in view.
    browser.press("++").await;
    browser.value::<()>(WATCH).await;
    load(browser).await;
    let loading = tasks(browser).await;
    let [_, oldest] = browser.value::<[String; 2]>(VIEW).await;
    assert_eq!(oldest, "2020-03-01 00:00", "the chart has not read everything");
    browser.value::<()>(OTHER_TABLE).await;
    browser.leave_fields().await;
    tasks(browser).await;
    browser.press(ZOOM).await;
    for _ in 0..candles.div_ceil(STEP) {
        browser.press(Key::Right).await;
    }
    // The steps lead beyond the newest candle.
    browser.press(Key::End).await;
    for pixels in [300, -300] {
        for _ in 0..DRAGS {
            browser.drag(CHART, pixels).await;
        }
    }
    let moving = tasks(browser).await;
    let [end, _] = browser.value::<[String; 2]>(VIEW).await;
    // Zoomed out, a bar begins with the first of its candles.
    assert_eq!(end[..DAY], newest[..DAY], "the chart has not come to its end");
    [figures("page.load", &loading), figures("page.pan", &moving)].concat()
}

/// Goes to the oldest candle until there are no older ones.
async fn load(browser: &Browser) {
    let mut last = (0, Instant::now());
    while last.1.elapsed() < STILL {
        browser.press(Key::Home).await;
        browser.until_drawn().await;
        let asked: usize = browser.value(QUESTIONS).await;
        if asked != last.0 {
            last = (asked, Instant::now());
        }
    }
}

/// The long tasks since the last call, in milliseconds.
async fn tasks(browser: &Browser) -> Vec<f64> {
    browser.value("(window.tasks ?? []).splice(0)").await
}

fn figures(name: &str, tasks: &[f64]) -> Vec<Figure> {
    let longest = tasks.iter().copied().fold(0.0, f64::max);
    vec![
        Figure::new(format!("{name}.long_tasks"), "", vec![tasks.len() as f64]),
        Figure::new(format!("{name}.longest_task_ms"), "ms", vec![longest]),
    ]
}
