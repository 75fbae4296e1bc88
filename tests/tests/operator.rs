//! Runs the commands of OPERATIONS.md, in order and as written.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use pipeline_tests::coingecko::CoinGecko;
use pipeline_tests::installed::Installed;
use pipeline_tests::programs::{programs, succeed};
use pipeline_tests::server::checkout;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_operator_gets_along_with_the_page_alone() {
    let source = CoinGecko::start().await;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    source.set("bitcoin", 103_376.0, now_ms);
    source.set("ethereum", 3_376.0, now_ms);
    let installed = Installed::shared();
    installed.set("COINGECKO_BASE_URL", source.url());
    // A daily fit would take the processors from everything else.
    installed.set("CANDLEWIRE_EVERY", "100000h");
    let mut operator = Command::new(checkout().join("tests/operator"));
    operator.arg("--root").arg(installed.path()).arg("--programs").arg(programs());
    let said = succeed(&mut operator);
    assert!(said.contains("every command of OPERATIONS.md succeeded"), "{said}");
}
