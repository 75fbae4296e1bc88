//! The producer against a mock of CoinGecko: records in FEED, and failures on either side.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::RecordKind;
use pipeline_tests::coingecko::{CoinGecko, ScriptedAnswer, polling};
use pipeline_tests::health::Watched;
use pipeline_tests::process::peak_bytes;
use pipeline_tests::programs::{NEVER, Running, eventually, fail, program, succeed};
use pipeline_tests::test_pipeline::TestPipeline;
use serde_json::{Value, json};

/// Shorter than the real API may be polled.
const INTERVAL: &str = "100ms";

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The event times of a coin's ticks in FEED.
async fn events(pipeline: &TestPipeline, coin: &str) -> Vec<i64> {
    let ticks = pipeline.feed(RecordKind::Tick).await;
    ticks.iter().filter(|tick| tick["coin"] == coin).map(|tick| tick["event_ms"].as_i64().unwrap()).collect()
}

async fn wait_for_events(pipeline: &TestPipeline, coin: &str, expected: &[i64]) {
    let mut found = Vec::new();
    for _ in 0..600 {
        found = events(pipeline, coin).await;
        if found == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("ticks of {coin} are {found:?} instead of {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_prints_one_tick_with_all_that_is_known() {
    let source = CoinGecko::start().await;
    source.set("bitcoin", 103_376.25, 1_747_517_892_000);
    let dir = tempfile::tempdir().unwrap();
    let printed = succeed(program("producer", dir.path()).args(["fetch", "--base-url", source.url()]));
    let tick: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((printed.lines().count(), &tick["coin"], &tick["quote"]), (1, &json!("bitcoin"), &json!("usd")));
    assert_eq!(tick["event_ms"], 1_747_517_892_000_i64);
    for price in ["open", "high", "low", "close"] {
        assert_eq!(tick[price], 103_376.25, "{price}");
    }
    assert_eq!((&tick["high_24h"], &tick["volume_24h"]), (&json!(103_376.25 * 1.01), &json!(103_376.25 * 1e5)));
    let seen = source.seen().remove(0);
    assert!(seen.user_agent.unwrap().starts_with("candlewire/"));
    assert_eq!((seen.parameters["precision"].as_str(), seen.parameters["vs_currency"].as_str()), ("full", "usd"));
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_explains_errors_in_one_line_without_the_key() {
    let source = CoinGecko::start().await;
    source.set("bitcoin", 1.0, now_ms());
    source.set("ancient", 1.0, 0);
    source.set("early", 1.0, now_ms() + 90_000);
    source.set_raw("dormant", json!({"id": "dormant", "current_price": null, "last_updated": "2025-01-01T00:00:00Z"}));
    let dir = tempfile::tempdir().unwrap();
    let check = |answer: Option<ScriptedAnswer>, coin: &str, expected: (i32, &str)| {
        answer.into_iter().for_each(|answer| source.say(answer));
        let mut command = program("producer", dir.path());
        command.args(["fetch", "--coin", coin, "--base-url", source.url(), "--plan", "demo"]);
        let (code, error) = fail(command.env("COINGECKO_API_KEY", "CG-topsecret"));
        assert!(code == expected.0 && error.contains(expected.1), "{code} {error}");
        assert!(!error.contains("topsecret"), "{error}");
    };
    let demo_on_pro =
        json!({"timestamp": "x", "error_code": 10011, "status": {"error_message": "demo key CG-topsecret"}});
    check(Some(ScriptedAnswer::rate_limited("119")), "bitcoin", (1, "Rate Limit"));
    check(Some(ScriptedAnswer::new(429, "Throttled")), "bitcoin", (1, "Throttled"));
    check(Some(ScriptedAnswer::html(403, "<html>Access denied, error 1020")), "bitcoin", (1, "403"));
    check(Some(ScriptedAnswer::html(200, "<html>please sign in")), "bitcoin", (1, "HTML instead of JSON"));
    check(Some(ScriptedAnswer::new(200, "[{\"id\":\"bitcoin\",\"curr")), "bitcoin", (1, "not JSON"));
    check(Some(ScriptedAnswer::new(200, "{}")), "bitcoin", (1, "not a list"));
    let error = r#"{"error":"coin not found"}"#;
    check(Some(ScriptedAnswer::new(200, error)), "bitcoin", (1, "the error \"coin not found\"; check --coin"));
    check(Some(ScriptedAnswer::new(302, "")), "bitcoin", (1, "302: a redirect that names no target; set --base-url"));
    check(Some(ScriptedAnswer::new(400, demo_on_pro.to_string())), "bitcoin", (2, "COINGECKO_API_KEY"));
    check(None, "bitcorn", (2, "no coin \"bitcorn\""));
    check(None, "dormant", (1, "no price"));
    check(None, "ancient", (1, "before 2009"));
    check(None, "early", (1, "ahead of its own answer"));
    source.require_key("CG-topsecret");
    succeed(
        program("producer", dir.path())
            .args(["fetch", "--base-url", source.url(), "--plan", "demo"])
            .env("COINGECKO_API_KEY", "CG-topsecret"),
    );
    source.require_key("CG-other");
    check(None, "bitcoin", (2, "10002"));
    let nobody = "http://127.0.0.1:9";
    let (code, error) = fail(program("producer", dir.path()).args(["fetch", "--base-url", nobody]));
    assert!(code == 1 && error.contains("did not answer"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_new_observation_of_each_coin_is_one_tick() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    // Far enough in the past that no observation below is ahead of its answer.
    let start = now_ms() - 120_000;
    source.set("bitcoin", 103_376.25, start);
    source.set("ethereum", 2_491.11, start + 1);
    source.set_raw("dormant", json!({"id": "dormant", "current_price": null, "last_updated": "2025-01-01T00:00:00Z"}));
    let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin,ethereum,renamed,dormant", INTERVAL));
    wait_for_events(&pipeline, "bitcoin", &[start]).await;
    source.set("bitcoin", 103_400.0, start + 60_000);
    wait_for_events(&pipeline, "bitcoin", &[start, start + 60_000]).await;
    // An edge server with an older answer, then the same as before.
    source.set("bitcoin", 103_376.25, start);
    source.wait_for_polls(2);
    source.set("bitcoin", 103_400.0, start + 60_000);
    source.wait_for_polls(2);
    source.set("ethereum", 2_500.0, start + 60_001);
    wait_for_events(&pipeline, "ethereum", &[start + 1, start + 60_001]).await;
    assert_eq!(events(&pipeline, "bitcoin").await, [start, start + 60_000]);
    let ticks = pipeline.feed(RecordKind::Tick).await;
    assert_eq!(ticks.len(), 4);
    assert_eq!((&ticks[0]["close"], &ticks[0]["source"]), (&json!(103_376.25), &json!("coingecko")));
    assert_eq!((&ticks[0]["high_24h"], &ticks[0].get("high")), (&json!(103_376.25 * 1.01), &None));
    assert_eq!(source.seen()[0].ids, ["bitcoin", "ethereum", "renamed", "dormant"], "one request for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn coins_beyond_one_page_are_requested_page_by_page() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = now_ms();
    let coins: Vec<String> = (0..251).map(|number| format!("coin-{number}")).collect();
    coins.iter().for_each(|coin| source.set(coin, 5.0, start));
    let _producer = Running::start(&mut polling(&pipeline, &source, &coins.join(","), INTERVAL));
    wait_for_events(&pipeline, "coin-250", &[start]).await;
    assert_eq!(pipeline.feed(RecordKind::Tick).await.len(), 251);
    let pages: Vec<usize> = source.seen().iter().take(2).map(|seen| seen.ids.len()).collect();
    assert_eq!(pages, [250, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_publishes_nothing_twice() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = now_ms();
    source.set("bitcoin", 1.0, start);
    let mut producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", INTERVAL));
    wait_for_events(&pipeline, "bitcoin", &[start]).await;
    producer.kill();
    let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", INTERVAL));
    source.wait_for_polls(3);
    source.set("bitcoin", 2.0, start + 1_000);
    wait_for_events(&pipeline, "bitcoin", &[start, start + 1_000]).await;
    assert_eq!(pipeline.feed(RecordKind::Gap).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_coin_sends_heartbeats_behind_the_source_delay() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = now_ms() / 1_000 * 1_000;
    source.set("bitcoin", 1.0, start - 600_000);
    source.set_date(UNIX_EPOCH + Duration::from_millis(start as u64));
    let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", INTERVAL));
    source.wait_for_polls(5);
    let feed_of = async || pipeline.feed(RecordKind::Heartbeat).await;
    let mut heartbeats = feed_of().await;
    for _ in 0..100 {
        if heartbeats.is_empty() {
            source.wait_for_polls(1);
            heartbeats = feed_of().await;
        }
    }
    source.wait_for_polls(3);
    assert_eq!(feed_of().await.len(), 1, "at most one a minute");
    assert_eq!(heartbeats[0]["event_ms"], start - 300_000);
    assert_eq!(events(&pipeline, "bitcoin").await, [start - 600_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_obeyed_and_the_outage_becomes_a_gap() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = now_ms() - 600_000;
    source.set("bitcoin", 1.0, start);
    let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", INTERVAL));
    wait_for_events(&pipeline, "bitcoin", &[start]).await;
    source.set("bitcoin", 2.0, start + 600_000);
    source.say(ScriptedAnswer::rate_limited("2"));
    wait_for_events(&pipeline, "bitcoin", &[start, start + 600_000]).await;
    let gaps = pipeline.feed(RecordKind::Gap).await;
    let expected =
        json!({"coin": "bitcoin", "quote": "usd", "from_ms": start, "to_ms": start + 600_000, "cause": "rate-limited"});
    assert_eq!(gaps, [expected]);
    let longest = source.seen().windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!((2_000..5_000).contains(&longest.as_millis()), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_waited_for_and_polls_do_not_pile_up() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = now_ms();
    source.set("bitcoin", 1.0, start);
    let page = json!([{"id": "bitcoin", "current_price": 3.0, "last_updated": "2020-01-01T00:00:00Z"}]).to_string();
    source.say(ScriptedAnswer::new(200, page).after(Duration::from_secs(1)));
    let _producer = Running::start(&mut polling(&pipeline, &source, "bitcoin", INTERVAL));
    wait_for_events(&pipeline, "bitcoin", &[1_577_836_800_000, start]).await;
    let seen = source.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1), "the second request came before the first answer");
}

/// Without credits to count, polling goes on.
#[tokio::test(flavor = "multi_thread")]
async fn while_nats_is_away_ticks_wait_and_come_in_order() {
    let (mut pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    // Far enough in the past that no observation below is ahead of its answer.
    let start = now_ms() - 60_000;
    source.set("bitcoin", 1.0, start);
    let mut command = polling(&pipeline, &source, "bitcoin", INTERVAL);
    let _producer = Running::start(command.env_remove("COINGECKO_CREDITS"));
    wait_for_events(&pipeline, "bitcoin", &[start]).await;
    pipeline.server.kill();
    let mut expected = vec![start];
    for second in 1..=5 {
        expected.push(start + second * 1_000);
        source.set("bitcoin", second as f64, start + second * 1_000);
        source.wait_for_polls(2);
    }
    pipeline.server.start_again();
    wait_for_events(&pipeline, "bitcoin", &expected).await;
}

/// A polling producer with health.
fn polling_with_health(pipeline: &TestPipeline, source: &CoinGecko, flags: &[&str]) -> Watched {
    let mut command = polling(pipeline, source, "bitcoin", INTERVAL);
    command.args(flags).env("COINGECKO_API_KEY", "CG-topsecret");
    Watched::start(&mut command, |line| assert!(!line.contains("topsecret")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_stops_polling_but_not_the_process() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.require_key("CG-other");
    let mut producer = polling_with_health(&pipeline, &source, &["--plan", "demo"]);
    eventually("the refused key is reported", || producer.page("/readyz").1.contains("10002"));
    assert!(producer.page("/healthz").0 == 200 && producer.process.is_running());
    assert_eq!(producer.metric("upstream_errors_total{class=\"key-refused\"}"), Some(1.0));
    assert_eq!(source.seen().len(), 1);
    producer.process.terminate();
    assert_eq!(producer.process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_when_both_sides_have_answered() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 1.0, now_ms());
    source.say(ScriptedAnswer::rate_limited("1"));
    let producer = polling_with_health(&pipeline, &source, &[]);
    assert_eq!(producer.page("/readyz").0, 503);
    assert_eq!(producer.page("/fresh"), (503, "no data yet\n".to_owned()));
    eventually("readiness", || producer.is_ready());
    eventually("a tick is published", || producer.metric("published_total{kind=\"tick\"}") == Some(1.0));
    assert_eq!(producer.page("/fresh").0, 200);
    assert_eq!(producer.metric("upstream_errors_total{class=\"rate-limited\"}"), Some(1.0));
    assert_eq!(producer.metric("upstream_request_duration_seconds_count"), Some(source.seen().len() as f64));
}

/// Of several live producers only one polls; another takes over when it dies or freezes.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_producers_polls_and_a_standby_takes_over() {
    let pipeline = TestPipeline::new().await;
    // Each polls a source of its own, so that the active one is known.
    let sources = [CoinGecko::start().await, CoinGecko::start().await, CoinGecko::start().await];
    let observe = |price: f64, event_ms: i64| sources.iter().for_each(|source| source.set("bitcoin", price, event_ms));
    let (before, after) = (now_ms() - 60_000, now_ms() - 50_000);
    observe(1.0, before);
    let mut first = Running::start(&mut polling(&pipeline, &sources[0], "bitcoin", INTERVAL));
    sources[0].wait_for_polls(1);
    let (second, mut log) =
        Running::start_followed(polling(&pipeline, &sources[1], "bitcoin", INTERVAL).env("CANDLEWIRE_LOG", "info"));
    sources[0].wait_for_polls(5);
    assert!(sources[1].seen().is_empty(), "two poll at once");
    first.kill();
    sources[1].wait_for_polls(5);
    let _third = Running::start(&mut polling(&pipeline, &sources[2], "bitcoin", INTERVAL));
    second.signal("STOP");
    sources[2].wait_for_polls(1);
    observe(2.0, after);
    wait_for_events(&pipeline, "bitcoin", &[before, after]).await;
    second.signal("CONT");
    let _stands_by = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("another producer has taken over")));
    let asked = sources[1].seen().len();
    sources[2].wait_for_polls(5);
    assert_eq!(sources[1].seen().len(), asked, "two poll at once");
    assert_eq!(events(&pipeline, "bitcoin").await, [before, after], "no tick is in FEED twice");
}

/// A key of the usual length.
const KEY: &str = "CG-SuperSecretKey1234567890";

/// Six consecutive characters of the key cannot occur by chance.
fn shows_no_part_of_the_key(text: &str) {
    let text = text.to_lowercase();
    for part in KEY.to_lowercase().as_bytes().windows(6).map(|part| str::from_utf8(part).unwrap()) {
        assert!(!text.contains(part), "{part:?} of the key is in {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_the_key_is_shown_wherever_an_answer_is_cut() {
    let source = CoinGecko::start().await;
    let dir = tempfile::tempdir().unwrap();
    let escaped: String = KEY.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let encoded: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let words = |text: String| json!({"status": {"error_code": 10002, "error_message": text}}).to_string();
    let padding = |length: usize| "x".repeat(length);
    // After some 140 bytes the key crosses the end of the printed part.
    let answers = [
        ScriptedAnswer::new(500, padding(140) + KEY),
        ScriptedAnswer::new(500, padding(130) + escaped.as_str()),
        ScriptedAnswer::new(500, padding(130) + encoded.as_str()),
        ScriptedAnswer::new(500, format!("{}{}", padding(140), &KEY[..20])),
        ScriptedAnswer::new(500, " ".repeat(100_000) + KEY),
        ScriptedAnswer::new(401, words(padding(140) + KEY)),
        ScriptedAnswer::new(401, words(padding(100)).replace(&padding(100), &escaped)),
        ScriptedAnswer::new(200, format!(r#"{{"error":"{}{KEY}"}}"#, padding(140))),
        ScriptedAnswer::html(403, &format!("<html>{}{}", padding(140), KEY.to_lowercase())),
        ScriptedAnswer::html(302, &format!("<html><a href=\"https://elsewhere/?key={KEY}\">moved</a>"))
            .with_header("location", &format!("https://elsewhere/?x_cg_demo_api_key={KEY}")),
    ];
    for answer in answers {
        source.say(answer.clone());
        let mut command = program("producer", dir.path());
        command.args(["fetch", "--base-url", source.url(), "--plan", "demo"]);
        command.env("COINGECKO_API_KEY", KEY).env("CANDLEWIRE_LOG", "trace");
        let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert!(said.contains("error: CoinGecko answered"), "{answer:?}: {said}");
        shows_no_part_of_the_key(&said);
    }
    assert_eq!(source.seen().len(), 10, "a redirect is not followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_producer_shows_no_part_of_the_key() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.say(ScriptedAnswer::new(401, "x".repeat(140) + KEY));
    let mut command = polling(&pipeline, &source, "bitcoin", INTERVAL);
    command.args(["--plan", "demo"]).env("COINGECKO_API_KEY", KEY);
    let producer = Watched::start(&mut command, shows_no_part_of_the_key);
    eventually("the refused key is reported", || producer.page("/readyz").1.contains("answered 401"));
    ["/readyz", "/metrics"].into_iter().for_each(|path| shows_no_part_of_the_key(&producer.page(path).1));
}

/// Largest growth of memory from one answer, however small it is when compressed.
const GROWTH_MAX: u64 = 20_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_answer_costs_little_memory() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    // A full page: the largest valid answer.
    let coins: Vec<String> = (0..250).map(|number| format!("coin-{number}")).collect();
    coins.iter().for_each(|coin| source.set(coin, 5.0, now_ms()));
    let producer = Watched::start(&mut polling(&pipeline, &source, &coins.join(","), INTERVAL), |_| ());
    eventually("a normal answer is published", || producer.metric("published_total{kind=\"tick\"}") == Some(250.0));
    let normal = peak_bytes(producer.process.id()).unwrap();
    let bomb = ScriptedAnswer::bomb(1_040_000);
    assert!(bomb.bytes() < 45_000, "{} bytes on the wire", bomb.bytes());
    source.always_say(Some(bomb));
    eventually("it is refused", || {
        let is_refused = producer.metric("upstream_errors_total{class=\"upstream-error\"}") == Some(1.0);
        // The kernel counts in steps, so a peak may look lower than before.
        let growth = peak_bytes(producer.process.id()).unwrap().saturating_sub(normal);
        assert!(growth < GROWTH_MAX, "{growth} bytes more than the {normal} of a normal answer");
        is_refused
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn more_entries_than_coins_asked_for_are_refused() {
    let source = CoinGecko::start().await;
    let dir = tempfile::tempdir().unwrap();
    let check = |answer: ScriptedAnswer, expected: &str| {
        source.say(answer);
        let (code, error) = fail(program("producer", dir.path()).args(["fetch", "--base-url", source.url()]));
        assert!(code == 1 && error.contains(expected), "{code} {error}");
    };
    let quote = json!({"id": "bitcoin", "current_price": 1.0, "last_updated": "2025-01-01T00:00:00Z"});
    check(ScriptedAnswer::new(200, json!([quote, quote]).to_string()), "more entries than the 1 asked for");
    check(ScriptedAnswer::new(200, format!("[{}", " ".repeat(1_000_000))), "more than 69632 bytes");
    // An answer that is too long and no price keeps its class.
    check(ScriptedAnswer::html(403, &format!("<html>{}", "x".repeat(1_000_000))), "may be blocked");
    check(
        ScriptedAnswer::new(429, "Throttled ".repeat(100_000)),
        "answered 429: more than 69632 bytes: Throttled Throttled",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_ahead_of_its_answer_hides_none_that_follows() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = now_ms() / 1_000 * 1_000 - 30_000;
    let observe = |second: i64, ahead: i64| {
        source.set_date(UNIX_EPOCH + Duration::from_millis((start + second * 1_000) as u64));
        source.set("bitcoin", 100.0 + second as f64, start + (second + ahead) * 1_000);
    };
    observe(0, 0);
    let producer = polling_with_health(&pipeline, &source, &[]);
    let mut expected = vec![start];
    wait_for_events(&pipeline, "bitcoin", &expected).await;
    for second in 1..=12 {
        // As in the attack: one price per second, one of them two minutes ahead.
        let ahead = if second == 4 { 119 } else { 0 };
        observe(second, ahead);
        source.wait_for_polls(2);
        if ahead == 0 {
            expected.push(start + second * 1_000);
        }
    }
    wait_for_events(&pipeline, "bitcoin", &expected).await;
    assert!(producer.metric("upstream_errors_total{class=\"time-ahead\"}") >= Some(1.0));
    assert_eq!(pipeline.feed(RecordKind::Gap).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_that_a_source_ahead_of_itself_costs_become_a_gap() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = now_ms() / 1_000 * 1_000 - 600_000;
    let (lines, warned) = std::sync::mpsc::channel();
    source.set_date(UNIX_EPOCH + Duration::from_millis(start as u64));
    source.set("bitcoin", 1.0, start);
    let _producer = Watched::start(&mut polling(&pipeline, &source, "bitcoin", INTERVAL), move |line| {
        if line.contains("time-ahead") {
            drop(lines.send(line.to_owned()));
        }
    });
    wait_for_events(&pipeline, "bitcoin", &[start]).await;
    source.set("bitcoin", 2.0, start + 6_000);
    source.wait_for_polls(5);
    source.set_date(UNIX_EPOCH + Duration::from_millis(start as u64 + 300_000));
    source.set("bitcoin", 3.0, start + 300_000);
    wait_for_events(&pipeline, "bitcoin", &[start, start + 300_000]).await;
    let expected =
        json!({"coin": "bitcoin", "quote": "usd", "from_ms": start, "to_ms": start + 300_000, "cause": "time-ahead"});
    assert_eq!(pipeline.feed(RecordKind::Gap).await, [expected]);
    warned.recv_timeout(NEVER).expect("a warning");
    assert_eq!(warned.try_iter().count(), 0, "one warning, not one per answer");
}
