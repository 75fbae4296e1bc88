//! The state of the page in words.

use pipeline_tests::browser::Screen;
use pipeline_tests::programs::Running;

use super::Viewer;

/// Minutes of the recording, and how fast they are replayed: so slowly that the page sees prices move.
const MINUTES: usize = 1_500;
const SPEED: &str = "4500x";

#[tokio::test(flavor = "multi_thread")]
async fn replaying_is_said_only_while_a_recording_is_replayed() {
    let viewer = Viewer::new().await;
    viewer.open("").await;
    viewer.until_state("No data yet").await;
    viewer.browser.screenshot_on(&Screen::ALL, "no-data").await;
    viewer.browser.show_on(Screen::ALL[0]).await;
    assert_eq!(viewer.browser.cut_off().await, Vec::<String>::new());

    // The page finds the first instrument by itself.
    let recording = viewer.minutes(MINUTES);
    let mut replay = Running::start(viewer.replay(&[("bitcoin/usdt", &recording)]).args(["--speed", SPEED]));
    viewer.until_state("Replaying a recording").await;
    viewer.browser.until("a price", "/[0-9]/.test(document.querySelector('#price').textContent)").await;
    assert!(replay.is_running(), "the recording ended too early for this test");
    assert_eq!(replay.wait(), Some(0));
    viewer.until_state("Recording finished").await;
    assert_eq!(viewer.page.ask("pipeline")["source"], "finished");
    viewer.browser.assert_clean().await;

    // Opened after its end, the page never says that it is replayed.
    viewer.open("bitcoin/usdt/1m").await;
    viewer.until_state("Recording finished").await;

    viewer.open("bitcorn/usd").await;
    viewer.until_state("No data of bitcorn/usd").await;
    viewer.browser.screenshot_on(&Screen::ALL, "unknown-instrument").await;
}
