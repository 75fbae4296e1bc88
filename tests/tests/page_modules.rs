//! The page's modules that need no browser: ages, states, numbers, the slots of the chart, the history of candles.

use std::process::Command;

use pipeline_tests::server::checkout;

#[test]
fn the_pages_pure_modules_keep_their_promises() {
    let dir = checkout().join("tests/page");
    let mut tests: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    tests.sort();
    let output = Command::new("node").arg("--test").args(&tests).output();
    let output = output.expect("node runs; scripts/setup --test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
