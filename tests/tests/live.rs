//! Certification and gaps of live prices: the producer against a mock of CoinGecko whose clock the test sets. No
//! missing price may go unreported.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::RecordKind;
use pipeline_tests::coingecko::{CoinGecko, ScriptedAnswer, polling};
use pipeline_tests::health::Watched;
use pipeline_tests::programs::{Running, eventually, fail, program, succeed};
use pipeline_tests::test_pipeline::TestPipeline;
use serde_json::{Value, json};

const MINUTE: i64 = 60_000;

/// A whole second, far enough in the past that nothing below is ahead of the clock.
fn start_ms() -> i64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    (now_ms - 6 * 3_600_000) / 1_000 * 1_000
}

/// A polling producer with health; its log lines can be received.
fn watched(pipeline: &TestPipeline, source: &CoinGecko, coins: &str) -> (Watched, Receiver<String>) {
    let (lines, received) = channel();
    let producer =
        Watched::start(&mut polling(pipeline, source, coins, "100ms"), move |line| drop(lines.send(line.to_owned())));
    (producer, received)
}

/// Waits until FEED has this many records of a kind.
async fn wait_for(pipeline: &TestPipeline, kind: RecordKind, count: usize) -> Vec<Value> {
    let mut records = Vec::new();
    for _ in 0..600 {
        records = pipeline.feed(kind).await;
        if records.len() >= count {
            return records;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{records:?} are not {count} records");
}

/// The certified span of each record, in minutes.
fn certified(records: &[Value]) -> Vec<Option<f64>> {
    records.iter().map(|record| Some(record.get("complete_ms")?.as_f64()? / MINUTE as f64)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn polled_prices_certify_back_over_heartbeats() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = start_ms();
    source.observe("bitcoin", 1.0, start, start);
    let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", "100ms"));
    wait_for(&pipeline, RecordKind::Tick, 1).await;
    source.observe("bitcoin", 2.0, start + MINUTE, start + MINUTE);
    wait_for(&pipeline, RecordKind::Tick, 2).await;
    source.observe("bitcoin", 2.0, start + MINUTE, start + 16 * MINUTE);
    let heartbeats = wait_for(&pipeline, RecordKind::Heartbeat, 1).await;
    assert_eq!((&heartbeats[0]["event_ms"], certified(&heartbeats)), (&json!(start + 11 * MINUTE), vec![Some(10.0)]));
    source.observe("bitcoin", 3.0, start + 20 * MINUTE, start + 20 * MINUTE);
    let ticks = wait_for(&pipeline, RecordKind::Tick, 3).await;
    assert_eq!(certified(&ticks), [None, Some(1.0), Some(19.0)]);
    assert_eq!(pipeline.feed(RecordKind::Gap).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_stay_behind_the_lag_that_was_shown() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = start_ms();
    // The time since when the source has shown the first price is unknown.
    source.observe("bitcoin", 1.0, start, start + 30 * MINUTE);
    let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", "100ms"));
    let first = wait_for(&pipeline, RecordKind::Heartbeat, 1).await;
    assert_eq!(first[0]["event_ms"], start + 25 * MINUTE);
    source.observe("bitcoin", 2.0, start + 40 * MINUTE, start + 52 * MINUTE);
    wait_for(&pipeline, RecordKind::Tick, 2).await;
    source.observe("bitcoin", 2.0, start + 40 * MINUTE, start + 90 * MINUTE);
    let heartbeats = wait_for(&pipeline, RecordKind::Heartbeat, 2).await;
    assert_eq!(heartbeats[1]["event_ms"], start + 78 * MINUTE);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_giving_no_price_becomes_a_gap() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = start_ms();
    source.observe("bitcoin", 1.0, start, start);
    let (producer, lines) = watched(&pipeline, &source, "bitcoin");
    wait_for(&pipeline, RecordKind::Tick, 1).await;
    let mut expected = Vec::new();
    let cases = [
        ("coin-missing", "id", Some(json!("bitcorn"))),
        ("no-price", "current_price", Some(json!(null))),
        ("no-price", "current_price", None),
        ("price-not-a-number", "current_price", Some(json!("12.5"))),
        ("price-not-a-number", "current_price", Some(json!("NaN"))),
        ("zero-price", "current_price", Some(json!(0))),
        ("negative-price", "current_price", Some(json!(-1.5))),
        ("out-of-range", "current_price", Some(json!(0.9e-15))),
        ("out-of-range", "current_price", Some(json!(1.1e15))),
        ("no-time", "last_updated", None),
        ("time-without-zone", "last_updated", Some(json!("2026-05-18T12:49:21.599"))),
        ("time-unreadable", "last_updated", Some(json!("yesterday"))),
        ("time-out-of-range", "last_updated", Some(json!("1970-01-01T00:00:00.000Z"))),
        ("time-out-of-range", "last_updated", Some(json!("2008-12-31T23:59:59Z"))),
        ("time-ahead", "last_updated", Some(json!("2100-01-01T00:00:00Z"))),
    ];
    for (number, (cause, field, value)) in (1..).zip(cases) {
        let [from, to] = [number - 1, number].map(|number| start + number * 5 * MINUTE);
        source.set_field("bitcoin", field, value);
        source.wait_for_polls(5);
        source.observe("bitcoin", 1.0, to, to);
        let ticks = wait_for(&pipeline, RecordKind::Tick, number as usize + 1).await;
        assert_eq!((&ticks[number as usize]["event_ms"], certified(&ticks).pop()), (&json!(to), Some(None)), "{cause}");
        expected.push(json!({"coin": "bitcoin", "quote": "usd", "from_ms": from, "to_ms": to, "cause": cause}));
        assert_eq!(pipeline.feed(RecordKind::Gap).await, expected);
        let metric = format!("upstream_errors_total{{class=\"{cause}\"}}");
        assert!(producer.metric(&metric) >= Some(1.0), "{metric}");
    }
    assert_eq!(
        pipeline.feed(RecordKind::Tick).await.len(),
        expected.len() + 1,
        "prices that would be refused are not published"
    );
    drop(producer);
    let said: Vec<String> = lines.iter().filter(|line| line.contains("WARN") && line.contains("cause=")).collect();
    assert_eq!(said.len(), expected.len(), "once each: {said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_a_usable_price_is_not_ready() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = start_ms();
    source.set("bitcoin", 1.0, start);
    source.set("ethereum", 1.0, start);
    let (producer, _lines) = watched(&pipeline, &source, "bitcoin,ethereum");
    eventually("it is ready", || producer.is_ready());
    source.set_field("ethereum", "current_price", Some(json!("12")));
    eventually("it is not ready", || {
        let (status, said) = producer.page("/readyz");
        status == 503 && said.contains("no usable price of ethereum/usd for") && said.contains("other than a number")
    });
    source.set("ethereum", 2.0, start + MINUTE);
    eventually("it is ready again", || producer.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_refuses_for_long_is_not_ready() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 1.0, start_ms());
    let (producer, _lines) = watched(&pipeline, &source, "bitcoin");
    eventually("it is ready", || producer.is_ready());
    source.say(ScriptedAnswer::rate_limited("2"));
    eventually("it is not ready while it backs off", || producer.page("/readyz").1.contains("Rate Limit"));
    eventually("it is ready again", || producer.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_named_and_takes_no_key_along() {
    let (source, elsewhere) = (CoinGecko::start().await, CoinGecko::start().await);
    let dir = tempfile::tempdir().unwrap();
    let host = elsewhere.url().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    for (status, location) in [(301, format!("{}/coins/markets", elsewhere.url())), (307, format!("//{host}/x"))] {
        source.say(ScriptedAnswer::redirect(status, &location));
        let mut command = program("producer", dir.path());
        command.args(["fetch", "--base-url", source.url(), "--plan", "demo"]).env("COINGECKO_API_KEY", "CG-topsecret");
        let (code, error) = fail(&mut command);
        let expected = format!("CoinGecko answered {status}: redirected to {host}; set --base-url");
        assert!(code == 1 && error.contains(&expected), "{code} {error}");
    }
    assert_eq!((source.seen().len(), elsewhere.seen().len()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_and_run_agree_on_the_smallest_price() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = start_ms();
    source.set("tiny", 2.1e-14, start);
    let dir = tempfile::tempdir().unwrap();
    let fetch = || {
        let mut command = program("producer", dir.path());
        command.args(["fetch", "--coin", "tiny", "--base-url", source.url()]);
        command
    };
    let fetched: Value = serde_json::from_str(&succeed(&mut fetch())).unwrap();
    assert_eq!(fetched["close"], 2.1e-14);
    let (producer, lines) = watched(&pipeline, &source, "tiny");
    assert_eq!(wait_for(&pipeline, RecordKind::Tick, 1).await[0]["close"], 2.1e-14);
    source.set("tiny", 0.9e-15, start + MINUTE);
    let (code, error) = fail(&mut fetch());
    assert!(code == 1 && error.contains("outside 1e-15 to 1e15"), "{code} {error}");
    eventually("run reports the same", || lines.try_iter().any(|line| line.contains("outside 1e-15 to 1e15")));
    assert!(producer.page("/healthz").0 == 200);
    assert_eq!(
        pipeline.feed(RecordKind::Tick).await.len(),
        1,
        "prices that would be refused downstream are not published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn six_starts_and_silence_cover_only_certified_spans() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    // Twenty seconds after a full hour.
    let start = start_ms() / 3_600_000 * 3_600_000 + 20_000;
    for number in 0..6 {
        let event = start + number * 20_000;
        source.observe("bitcoin", 1.0, event, event);
        let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", "5m"));
        wait_for(&pipeline, RecordKind::Tick, number as usize + 1).await;
    }
    let end = start + 61 * MINUTE + 20_000;
    source.observe("bitcoin", 1.0, end, end);
    let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", "5m"));
    let ticks = wait_for(&pipeline, RecordKind::Tick, 7).await;
    let third = Some(20_000.0 / MINUTE as f64);
    assert_eq!(certified(&ticks), [None, third, third, third, third, third, None]);
    let gap = json!({"coin": "bitcoin", "quote": "usd", "from_ms": start + 100_000, "to_ms": end, "cause": "producer-stopped"});
    assert_eq!(pipeline.feed(RecordKind::Gap).await, [gap]);
    let _steps = ["stream-processor", "aggregator"].map(|step| pipeline.start(step));
    pipeline.wait();
    let hourly = pipeline.tables().remove("hourly").unwrap();
    let mut rows = hourly.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let column = rows.next().unwrap().iter().position(|name| *name == "coverage").unwrap();
    let coverage: f64 = rows.next().unwrap()[column].parse().unwrap();
    assert!((coverage - 100.0 / 3_600.0).abs() < 1e-6, "{hourly}");
}
