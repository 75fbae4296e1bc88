//! Access to the page: every screen, keyboard, screen reader.

use pipeline_tests::browser::{Scheme, Screen};
use pipeline_tests::programs::{Running, succeed};
use pipeline_tests::ticks::minutes;

use super::Viewer;

/// Minutes of the instrument with models: enough for four.
const MINUTES: usize = 7_300;
/// All instruments.
const INSTRUMENTS: usize = 30;
/// Screens that are audited: colors differ between light and dark, and the layout between desktop and phone.
const AUDITED: [Screen; 3] = [
    Screen { width: 1400, scheme: Scheme::Light },
    Screen { width: 1400, scheme: Scheme::Dark },
    Screen { width: 390, scheme: Scheme::Light },
];

/// A page with everything on it: many instruments, of which one has models and forecasts.
async fn full() -> (Viewer, Running) {
    let viewer = Viewer::new().await;
    let mut trainer = viewer.pipeline.program("trainer");
    trainer.args(["run", "--archive", "archive", "--threads", "1", "--folds", "1", "--rounds", "40"]);
    let trainer = Running::start(&mut trainer);
    let [long, short] = [viewer.minutes(MINUTES), minutes(viewer.pipeline.dir.path(), 200)];
    let others: Vec<String> = (1..INSTRUMENTS).map(|number| format!("coin-{number}/usd")).collect();
    let others = others.iter().map(|name| (name.as_str(), &short));
    viewer.replay_all(&[("bitcoin/usdt", &long)].into_iter().chain(others).collect::<Vec<_>>());
    succeed(viewer.pipeline.program("topology").args(["wait", "market", "forecast"]));
    viewer.open("bitcoin/usdt/15m").await;
    viewer
        .browser
        .until("a model is shown", "/: (yes|no)/.test(document.querySelector('#verdict')?.textContent)")
        .await;
    (viewer, trainer)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_can_be_read_and_used_on_every_screen() {
    let (viewer, _trainer) = full().await;
    let browser = &viewer.browser;
    browser.screenshot_on(&Screen::ALL, "thirty-instruments").await;
    for screen in AUDITED {
        browser.show_on(screen).await;
        assert_eq!(browser.audit().await, Vec::<String>::new(), "{screen:?}");
    }
    for screen in Screen::ALL {
        browser.show_on(screen).await;
        assert_eq!(browser.cut_off().await, Vec::<String>::new(), "{screen:?}");
    }
    for screen in [AUDITED[0], AUDITED[2]] {
        browser.show_on(screen).await;
        assert_eq!(browser.keyboard_faults().await, Vec::<String>::new(), "{screen:?}");
    }
    browser.assert_clean().await;
}
