//! The budget of calls to CoinGecko: kept in NATS, shared, and never exceeded.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bus::RecordKind;
use pipeline_tests::coingecko::{CoinGecko, Plan, ScriptedAnswer, filling, polling};
use pipeline_tests::health::Watched;
use pipeline_tests::programs::{NEVER, Running, eventually, fail, started_by, succeed};
use pipeline_tests::test_pipeline::TestPipeline;
use serde_json::{Value, json};

const KEY: &str = "CG-SuperSecretKey1234567890";

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Waits until FEED has this many ticks.
async fn wait_for_ticks(pipeline: &TestPipeline, count: usize) -> Vec<Value> {
    for _ in 0..600 {
        let ticks = pipeline.feed(RecordKind::Tick).await;
        if ticks.len() >= count {
            return ticks;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {count} ticks");
}

/// Output of `producer budget` with these flags.
fn budget(pipeline: &TestPipeline, source: &CoinGecko, flags: &[&str]) -> String {
    let mut command = pipeline.program("producer");
    command.args(["budget", "--base-url", source.url()]).args(flags);
    succeed(command.env("COINGECKO_API_KEY", KEY))
}

/// The credits that are spent, as `producer budget` says.
fn spent(pipeline: &TestPipeline, source: &CoinGecko) -> u64 {
    let said = budget(pipeline, source, &[]);
    let line = said.lines().nth(1).unwrap();
    line.split(' ').next().unwrap().replace(',', "").parse().unwrap()
}

/// A producer with a key of the demo plan that polls as often as told.
fn with_key(pipeline: &TestPipeline, source: &CoinGecko, interval: &str) -> std::process::Command {
    let mut command = polling(pipeline, source, "bitcoin", interval);
    command.env("COINGECKO_API_KEY", KEY);
    command
}

/// Kills at any moment count at most one call too many each, and never one too few.
#[tokio::test(flavor = "multi_thread")]
async fn kills_count_at_most_one_call_too_many_each() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 1.0, now_ms());
    const KILLS: u64 = 12;
    for kill in 0..KILLS {
        let before = source.seen().len();
        let mut producer = Running::start(&mut with_key(&pipeline, &source, "5ms"));
        eventually("it polls", || source.seen().len() > before);
        // At another moment of a poll each time.
        std::thread::sleep(Duration::from_millis(kill * 7 % 31));
        producer.kill();
    }
    let (made, counted) = (source.seen().len() as u64, spent(&pipeline, &source));
    assert!((made..=made + KILLS).contains(&counted), "{counted} counted of {made} calls");
}

/// A producer and its successor, of the same key, go on with one count; another key has its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_kept_over_restarts_and_by_account() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 1.0, now_ms());
    for polls in 1..=3 {
        let producer = Running::start(&mut with_key(&pipeline, &source, "1h"));
        eventually("it polls once", || source.seen().len() == polls);
        producer.terminate();
    }
    assert_eq!(spent(&pipeline, &source), 3);
    let mut other = pipeline.program("producer");
    other.args(["budget", "--base-url", source.url()]).env("COINGECKO_API_KEY", "CG-another");
    assert!(succeed(&mut other).contains("\n0 of 10,000 credits spent"));
    assert!(budget(&pipeline, &source, &["--spent", "4200"]).contains("\n4,200 of 10,000 credits spent"));
    assert_eq!(spent(&pipeline, &source), 4_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_key_is_polled_every_five_minutes() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.subscribe(Plan::Demo);
    source.require_key(KEY);
    source.set("bitcoin", 1.0, now_ms());
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "coingecko", "--coin", "bitcoin", "--base-url", source.url(), "--history", "0"]);
    let producer = Watched::start(command.env("COINGECKO_API_KEY", KEY), |_| ());
    eventually("it is ready", || producer.is_ready());
    let interval = producer.metric("poll_interval_seconds").unwrap();
    // The month of the test has any length, and its end may be near.
    assert!((60.0..330.0).contains(&interval), "{interval}");
    assert_eq!(producer.metric("credits_left"), Some(9_999.0));
    assert_eq!(producer.metric("credits_spent_total{purpose=\"poll\"}"), Some(1.0));
    let said = budget(&pipeline, &source, &["--coins", "bitcoin"]);
    assert!(said.contains("1 of 10,000 credits spent") && said.contains("until the end of the month"), "{said}");
    assert!(said.contains("30 at most") && !said.contains("SuperSecret"), "{said}");
}

/// A spent budget is said, asks for nothing, and leaves a gap with its cause.
#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_is_said_and_becomes_a_gap() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let start = now_ms() / 1_000 * 1_000 - 600_000;
    source.set("bitcoin", 1.0, start);
    let producer = Watched::start(&mut with_key(&pipeline, &source, "20ms"), |_| ());
    wait_for_ticks(&pipeline, 1).await;
    budget(&pipeline, &source, &["--spent", "950000000"]);
    eventually("it says so", || producer.page("/readyz").1.contains("the credits of"));
    let (status, said) = producer.page("/readyz");
    assert!(status == 503 && said.contains("950,000,000 of 1,000,000,000"), "{said}");
    assert!(said.contains("no requests until") && said.contains("COINGECKO_CREDITS"), "{said}");
    assert_eq!(producer.page("/healthz").0, 200);
    let polls = source.seen().len();
    source.set("bitcoin", 2.0, start + 600_000);
    // Longer than several intervals.
    assert!(budget(&pipeline, &source, &[]).contains("no poll until"));
    assert_eq!(source.seen().len(), polls, "it asks for nothing");
    budget(&pipeline, &source, &["--spent", "0"]);
    wait_for_ticks(&pipeline, 2).await;
    let gaps = pipeline.feed(RecordKind::Gap).await;
    assert_eq!(
        (gaps.len(), &gaps[0]["cause"], &gaps[0]["to_ms"]),
        (1, &json!("budget-spent"), &json!(start + 600_000))
    );
    eventually("it is ready again", || producer.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn few_credits_make_the_interval_long() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 1.0, now_ms());
    let mut command = with_key(&pipeline, &source, "20ms");
    let producer = Watched::start(command.env("COINGECKO_CREDITS", "3"), |_| ());
    eventually("it is ready", || producer.is_ready());
    // Also in the last hours of a month.
    assert!(producer.metric("poll_interval_seconds") > Some(0.02), "{:?}", producer.metric("poll_interval_seconds"));
    assert_eq!((source.seen().len(), producer.metric("credits_left")), (1, Some(2.0)));
}

/// Every price change that was served is in FEED once and in order, while producers are killed and share the budget.
#[tokio::test(flavor = "multi_thread")]
async fn every_served_price_is_in_feed_once_and_in_order() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.trade("bitcoin");
    source.trade("ethereum");
    let start = now_ms() - 6 * 3_600_000;
    source.stop_clock(start);
    let mut producers: Vec<Running> = Vec::new();
    for _ in 0..2 {
        let mut command = polling(&pipeline, &source, "bitcoin,ethereum", "20ms");
        producers.push(Running::start(command.env("COINGECKO_API_KEY", KEY)));
    }
    source.wait_for_polls(2);
    for minute in 1..=60 {
        source.stop_clock(start + minute * 60_000);
        source.wait_for_polls(1);
        if minute % 20 == 0 {
            let mut command = polling(&pipeline, &source, "bitcoin,ethereum", "20ms");
            let next = Running::start(command.env("COINGECKO_API_KEY", KEY));
            producers.remove(0).kill();
            producers.push(next);
        }
    }
    let newest: BTreeMap<String, i64> = source.served().into_iter().map(|(coin, time, _)| (coin, time)).collect();
    let ticks_of = |ticks: &[Value], coin: &str| -> Vec<(i64, f64)> {
        let of_coin = ticks.iter().filter(|tick| tick["coin"] == coin);
        of_coin.map(|tick| (tick["event_ms"].as_i64().unwrap(), tick["close"].as_f64().unwrap())).collect()
    };
    let mut ticks = Vec::new();
    let is_last = |ticks: &[Value]| {
        newest.iter().all(|(coin, time)| ticks_of(ticks, coin).last().is_some_and(|(event, _)| event == time))
    };
    while !is_last(&ticks) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ticks = pipeline.feed(RecordKind::Tick).await;
    }
    drop(producers);
    let ticks = pipeline.feed(RecordKind::Tick).await;
    for coin in newest.keys() {
        let served: Vec<(i64, f64)> =
            source.served().into_iter().filter(|(of, ..)| of == coin).map(|(_, time, price)| (time, price)).collect();
        let found = ticks_of(&ticks, coin);
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, each once");
        // A price that only a killed producer was shown may be missing; all others are there.
        let missing = served.iter().filter(|price| !found.contains(price)).count();
        assert!(missing <= 3 && found.iter().all(|price| served.contains(price)), "{missing} of {coin}");
    }
    let (made, counted) = (source.seen().len() as u64, spent(&pipeline, &source));
    assert!((made..=made + 5).contains(&counted), "{counted} counted of {made} calls of two producers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_key_uses_its_host_header_and_limits() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.subscribe(Plan::Pro);
    source.require_key(KEY);
    source.set("bitcoin", 1.0, now_ms());
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "coingecko", "--coin", "bitcoin", "--base-url", source.url(), "--plan", "pro"]);
    let producer = Watched::start(command.args(["--history", "0"]).env("COINGECKO_API_KEY", KEY), |line| {
        assert!(!line.contains("SuperSecret"), "{line}");
    });
    eventually("it is ready", || producer.is_ready());
    assert_eq!(source.seen()[0].path, "/key");
    assert_eq!(producer.metric("credits_left"), Some(499_998.0));
    // A free key at the paid host, and the reverse.
    let mut fetch = pipeline.program("producer");
    fetch.args(["fetch", "--base-url", source.url(), "--plan", "demo"]);
    let (code, error) = fail(fetch.env("COINGECKO_API_KEY", KEY));
    assert!(code == 2 && error.contains("10011") && error.contains("COINGECKO_PLAN"), "{code} {error}");
}

/// At a restart the limits of the smallest paid plan may be spent before those of the key are known.
#[tokio::test(flavor = "multi_thread")]
async fn a_paid_key_goes_on_beyond_the_smallest_plan() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.subscribe(Plan::Pro);
    source.set("bitcoin", 1.0, now_ms());
    budget(&pipeline, &source, &["--plan", "pro", "--spent", "150000"]);
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "coingecko", "--coin", "bitcoin", "--base-url", source.url(), "--plan", "pro"]);
    let producer = Watched::start(command.args(["--history", "0"]).env("COINGECKO_API_KEY", KEY), |_| ());
    eventually("it is ready", || producer.is_ready());
    assert_eq!(producer.metric("credits_left"), Some(349_998.0));
}

/// Without an answer to the question for limits the smallest paid plan counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_paid_key_without_known_limits_has_the_smallest_plan() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.subscribe(Plan::Pro);
    source.set("bitcoin", 1.0, now_ms());
    source.say(ScriptedAnswer::new(503, "busy"));
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "coingecko", "--coin", "bitcoin", "--base-url", source.url(), "--plan", "pro"]);
    let producer = Watched::start(command.args(["--history", "0"]).env("COINGECKO_API_KEY", KEY), |_| ());
    eventually("it is ready", || producer.is_ready());
    assert_eq!(producer.metric("credits_left"), Some(99_998.0));
}

/// A request whose credit NATS cannot record is not sent, so a kill meanwhile loses no count. Polling goes on afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn no_credit_is_spent_while_nats_is_away() {
    let (mut pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 1.0, now_ms());
    let mut producer = Watched::start(&mut with_key(&pipeline, &source, "50ms"), |_| ());
    source.wait_for_polls(3);
    pipeline.server.kill();
    eventually("it says so", || producer.page("/readyz").1.contains("NATS is away"));
    let made = source.seen().len();
    // The command waits for the server, longer than many intervals.
    let mut budget = pipeline.program("producer");
    let (_, error) = fail(budget.args(["budget", "--base-url", source.url()]).env("COINGECKO_API_KEY", KEY));
    assert!(!error.contains("SuperSecret"), "{error}");
    assert_eq!(source.seen().len(), made, "it asks for nothing");
    assert_eq!(producer.page("/healthz").0, 200);
    producer.process.kill();
    pipeline.server.start_again();
    let counted = spent(&pipeline, &source);
    assert!((made as u64..=made as u64 + 1).contains(&counted), "{counted} counted of {made} calls");

    let producer = Watched::start(&mut with_key(&pipeline, &source, "50ms"), |_| ());
    source.wait_for_polls(1);
    pipeline.server.kill();
    eventually("it says so", || producer.page("/readyz").1.contains("NATS is away"));
    pipeline.server.start_again();
    source.wait_for_polls(3);
    eventually("it is ready again", || producer.is_ready());
}

/// A single tick costs a credit too.
#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_fetch_is_counted_if_nats_answers() {
    let (mut pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 1.0, now_ms());
    let fetch = |pipeline: &TestPipeline| {
        let mut command = pipeline.program("producer");
        command.args(["fetch", "--base-url", source.url()]).env("COINGECKO_API_KEY", KEY);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(!fetch(&pipeline).contains("not counted"));
    assert_eq!(spent(&pipeline, &source), 1);
    // Also beyond the credits: a person asked for it.
    budget(&pipeline, &source, &["--spent", "10000"]);
    assert!(!fetch(&pipeline).contains("not counted"));
    assert_eq!(spent(&pipeline, &source), 10_001);
    pipeline.server.kill();
    let said = fetch(&pipeline);
    assert!(said.contains("this request is not counted") && said.contains("producer budget --spent"), "{said}");
    assert!(!said.contains("SuperSecret"), "{said}");
    assert_eq!(source.seen().len(), 3);
}

/// The calls of a history respect the minute, and prices come meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_minute_delays_history_and_no_call_is_refused() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.subscribe(Plan::Demo);
    let coins: Vec<String> = (0..20).map(|number| format!("coin-{number}")).collect();
    coins.iter().for_each(|coin| source.trade(coin));
    let mut command = filling(&pipeline, &source, &coins.join(","), "1s");
    command.env("COINGECKO_API_KEY", KEY).env("COINGECKO_CALLS_PER_MINUTE", "30");
    let producer = Watched::start(&mut command, |_| ());
    eventually("half of the history is there", || source.charts().len() >= 20);
    source.wait_for_polls(3);
    assert!(source.seen().iter().all(|seen| seen.status == 200), "{:?}", source.seen());
    assert!(producer.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_price_age_next_poll_and_credits() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 103_376.25, now_ms());
    let command = with_key(&pipeline, &source, "1h");
    let in_terminal = ["python3", "-c", "import pty, sys; pty.spawn(sys.argv[1:])"];
    let mut command = started_by(&in_terminal, &command);
    let mut terminal = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut out, mut shown, mut bytes) = (terminal.stdout.take().unwrap(), String::new(), [0; 4_096]);
    let start = Instant::now();
    while !shown.contains("next poll in 59m") {
        let length = out.read(&mut bytes).unwrap();
        shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        assert!(length > 0 && start.elapsed() < NEVER, "{shown:?}");
    }
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    let line = shown.rsplit("\u{1b}[2K").find(|line| line.contains("next poll in 59m")).unwrap();
    assert!(line.starts_with("bitcoin/usd 103376.25 · ") && line.contains("s old · "), "{shown:?}");
    assert!(line.contains("999,999,999 credits"), "{shown:?}");
}
