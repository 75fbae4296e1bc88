//! Fixed histories, with a crash at every point.

use std::time::Duration;

use serde_json::{Value, json};

use crate::jetstream::{LogEntry, Sync};
use crate::seed::Seed;
use crate::world::wire::EPOCH_MS;
use crate::world::{Disruption, Published, RunPlan, RunResult, ScheduledDisruption, World};

/// Event time of the first tick.
const BEGIN_MS: i64 = EPOCH_MS - 86_400_000;

/// A message of ticks at these times after the first one, sent after a pause.
fn ticks(after_ms: &[i64], pause_ms: u64) -> Published {
    let line = |&after_ms: &i64| {
        json!({ "coin": "bitcoin", "quote": "usd", "event_ms": BEGIN_MS + after_ms, "close": 100.0 + after_ms as f64,
            "ingest_ms": EPOCH_MS })
        .to_string()
    };
    let lines: Vec<String> = after_ms.iter().map(line).collect();
    Published {
        subject: "feed.tick.bitcoin.usd".to_owned(),
        payload: lines.join("\n"),
        pause: Duration::from_millis(pause_ms),
    }
}

/// Some ticks. While the step is down, FEED loses some more. After the loss is accepted, a message of two ticks
/// follows: one out of order, one newer than all. It gives price, gap, price: two messages on one subject.
fn two_prices_behind_a_loss() -> (RunPlan, Vec<Published>) {
    let scheduled = |at_ms, lasts_ms, kind| ScheduledDisruption {
        at: Duration::from_millis(at_ms),
        lasts: Duration::from_millis(lasts_ms),
        kind,
    };
    let plan = RunPlan {
        seed: Seed(1),
        servers: 1,
        sync: Sync::Always,
        partitions: 1,
        instances: 1,
        accept_loss: true,
        trims: false,
        messages: 0,
        calm_at: Duration::from_secs(9),
        lease_ttl: Duration::from_millis(500),
        restarts_at_end: false,
        disruptions: vec![
            scheduled(4_000, 2_000, Disruption::Crash { process: 0 }),
            scheduled(5_500, 0, Disruption::LoseFeed { per_mille: 1_000 }),
        ],
    };
    let mut script: Vec<Published> = (0..5).map(|second| ticks(&[second * 1_000], 100)).collect();
    script.extend([ticks(&[5_000], 4_000), ticks(&[6_000], 100), ticks(&[2_500, 9_000], 2_800)]);
    (plan, script)
}

fn lines(history: &[LogEntry], kind: &str) -> Vec<Value> {
    let of_kind = history.iter().filter(|stored| stored.message.subject.contains(&format!(".{kind}.")));
    let lines = of_kind.flat_map(|stored| stored.message.payload.split(|&byte| byte == b'\n'));
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn two_prices_on_one_subject_survive_a_crash_anywhere() {
    let run = |crash_at| {
        let (plan, script) = two_prices_behind_a_loss();
        World::new(plan, None, false).publishing(script).crashing_at(crash_at).run()
    };
    let calm: RunResult = run(u64::MAX);
    assert!(calm.events > 200, "{} events", calm.events);
    for crash_at in 1..calm.events {
        let result = run(crash_at);
        assert_eq!(result.stall, None, "crash at {crash_at}");
        let [_, market, _] = &result.histories;
        let prices = lines(market, "price").into_iter().map(|price| price["event_ms"].as_i64().unwrap() - BEGIN_MS);
        let prices: Vec<i64> = prices.collect();
        let gaps = lines(market, "gap").len();
        // If a crash lets the step come back before the loss, nothing is lost.
        let is_lossy = prices == [0, 1_000, 2_000, 3_000, 4_000, 2_500, 9_000] && gaps == 1;
        let is_whole = prices == [0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 2_500, 9_000] && gaps == 0;
        assert!(is_lossy || (is_whole && crash_at < calm.events / 2), "crash at {crash_at}: {prices:?}, {gaps} gaps");
    }
}
