//! The time from the publication of a tick until its price is the number on the page.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bus::publish::publish;
use market::Instrument;
use pipeline_tests::browser::Browser;
use pipeline_tests::served_page::{PRICE, ServedPage};
use pipeline_tests::ticks::quote;
use tokio::time::{Instant, sleep_until};

use crate::effort::Effort;
use crate::pipeline::Pipeline;
use crate::report::Figure;
use crate::times::Times;

/// Ticks per second.
pub(super) const RATE: u64 = 10;
const LENGTH: Duration = Duration::from_secs(60);
const LENGTH_QUICK: Duration = Duration::from_secs(10);
/// The price of the first tick. Each later one is one higher, so the number says which tick it is of.
const FIRST: u64 = 10_000;

/// Publishes ticks at a steady rate and notes when each changes the number.
///
/// # Errors
/// FEED refuses a tick, or its price does not appear.
pub(super) async fn measure(
    pipeline: &Pipeline,
    browser: &Browser,
    page: &ServedPage,
    effort: Effort,
) -> anyhow::Result<Vec<Figure>> {
    let instrument = Instrument::new("ethereum", "usd")?;
    let producer = pipeline.base.server.connect("producer").await;
    publish(&producer, &quote(&instrument, now_ms() as i64, FIRST as f64)).await?;
    browser.open(&page.url("ethereum/usd/1m")).await;
    let number = format!("Number(document.querySelector({PRICE:?}).textContent.replace(/[^0-9.]/g, ''))");
    browser.until("the first price is shown", &format!("{number} === {FIRST}")).await;
    // The clock of the page is that of this machine: `timeOrigin` is the time of its navigation.
    let watch = format!(
        "void new MutationObserver(() => (window.changes ??= []).push([performance.timeOrigin + performance.now(), {number}]))
            .observe(document.querySelector({PRICE:?}), {{ childList: true, characterData: true, subtree: true }})"
    );
    browser.value::<()>(&watch).await;
    let ticks = RATE * effort.pick(LENGTH, LENGTH_QUICK).as_secs();
    let start = Instant::now();
    let mut published = Vec::new();
    for number in 1..=ticks {
        sleep_until(start + Duration::from_secs(number) / RATE as u32).await;
        let at_ms = now_ms();
        published.push(at_ms);
        publish(&producer, &quote(&instrument, at_ms as i64, (FIRST + number) as f64)).await?;
    }
    browser.until("the last price is shown", &format!("{number} === {}", FIRST + ticks)).await;
    let changes: Vec<(f64, f64)> = browser.value("changes").await;
    let times = times(&published, &changes).context("a price did not change the number")?;
    let figure =
        |name: &str, thousandths| Figure::ms(format!("page.number_{name}_ms"), &[times.of_thousand(thousandths)]);
    let p50 = figure("p50", 500);
    let rare = [figure("p99", 990), figure("max", 1_000)].map(|figure| figure.against(&p50));
    Ok([vec![p50], rare.into()].concat())
}

/// How long each tick took: until the first change to its price, or to a later one.
fn times(published: &[f64], changes: &[(f64, f64)]) -> Option<Times> {
    let time = |(number, at_ms): (u64, &f64)| {
        let (shown_ms, _) = changes.iter().find(|(_, price)| *price >= (FIRST + number) as f64)?;
        Some(Duration::from_secs_f64((shown_ms - at_ms).max(0.0) / 1e3))
    };
    (1..).zip(published).map(time).collect()
}

/// Milliseconds since the epoch.
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_whose_number_was_passed_over_counts_until_the_next() {
        let changes = [(1_010.0, 10_001.0), (1_250.0, 10_003.0)];
        let found = times(&[1_000.0, 1_100.0, 1_200.0], &changes).expect("all were shown");
        let ms = |thousandths| found.of_thousand(thousandths).as_secs_f64() * 1e3;
        assert_eq!([ms(1).round(), ms(500).round(), ms(1_000).round()], [10.0, 50.0, 150.0]);
        assert!(times(&[1_000.0, 1_100.0, 1_200.0, 1_300.0], &changes).is_none());
    }
}
