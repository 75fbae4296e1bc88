//! The page in a real browser: how soon it shows, how much it loads, how it moves through 100,000 candles, how long a
//! tick takes until its price is the number on the page; and its live events under five hundred readers.

mod clients;
mod number;
mod paint;
mod pan;
mod seen;

use pipeline_tests::browser::{Browser, Scheme, Screen};
use pipeline_tests::served_page::ServedPage;

use super::effort::Effort;
use super::pipeline::Pipeline;
use super::report::Figure;
use super::workload::Workload;

/// Candles of a minute that the chart moves through.
const CANDLES: usize = 100_000;
const CANDLES_QUICK: usize = 20_000;
/// The screen of all measurements.
const SCREEN: Screen = Screen { width: 1400, scheme: Scheme::Light };

/// Measures the page.
///
/// # Errors
/// A program fails.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let mut figures = in_browser(effort, say).await?;
    figures.extend(clients::measure(effort, say).await?);
    Ok(figures)
}

async fn in_browser(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let candles = effort.pick(CANDLES, CANDLES_QUICK);
    let workload = Workload::minutes(dir.path(), candles)?;
    let pipeline = Pipeline::start(1).await?;
    pipeline.replay(&workload).await?;
    let page = ServedPage::start(&mut pipeline.program("reporter"));
    page.until_ready();
    let browser = Browser::start().await;
    browser.show_on(SCREEN).await;
    let mut figures = paint::measure(&browser, &page, effort).await;
    say(&format!("{} times the page's first paint", effort.runs));
    figures.extend(pan::measure(&browser, &page, candles).await);
    say(&format!("a chart of {candles} candles moved"));
    figures.extend(number::measure(&pipeline, &browser, &page, effort).await?);
    say(&format!("live prices on the page, {} a second", number::RATE));
    Ok(figures)
}
