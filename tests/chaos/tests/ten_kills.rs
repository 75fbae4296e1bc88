//! What `scripts/chaos` does, in short: ten kills, with freezes and kills of nats-server between them.

use std::time::Duration;

use chaos::{Options, run};

// What happened is shown when it fails.
#[allow(clippy::print_stdout)]
#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_of_anybody_at_any_instant_change_nothing() {
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
    // A replay that is over early ends the plan. How many of the kills hit somebody at work depends on what else this
    // machine does: scripts/chaos insists on it.
    let audit = verdict.audit;
    assert_eq!((audit.different, audit.missing, audit.extra), (0, 0, 0), "{verdict}");
    assert!(verdict.findings.is_empty() && verdict.tally.kills >= 8, "{verdict}: {:?}", verdict.findings);
}
