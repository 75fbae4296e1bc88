//! A short `scripts/chaos`: ten kills, with freezes and kills of nats-server between them.

use std::time::Duration;

use chaos::{Options, run};

// Printed when the test fails.
#[allow(clippy::print_stdout)]
#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_at_random_instants_change_nothing() {
    let options = Options {
        kills: 10,
        seed: 1,
        instances: 2,
        limit: Duration::from_secs(30),
        lease_ttl: Duration::from_millis(500),
        cluster: false,
        say: |text| println!("{text}"),
    };
    let verdict = run(&options).await.unwrap();
    // A replay that ends early ends the plan. The share of effective kills depends on the load of the machine;
    // scripts/chaos judges it.
    let audit = verdict.audit;
    assert_eq!((audit.different, audit.missing, audit.extra), (0, 0, 0), "{verdict}");
    assert!(verdict.findings.is_empty() && verdict.tally.kills >= 8, "{verdict}: {:?}", verdict.findings);
}
