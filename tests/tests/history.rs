//! History at the first start and holes after an outage: the producer against the replica of CoinGecko, and the tables
//! that follow.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::RecordKind;
use pipeline_tests::coingecko::{ChartFault, CoinGecko, Plan, ScriptedAnswer, filling, price_at};
use pipeline_tests::health::Watched;
use pipeline_tests::programs::{Running, eventually, fail, succeed};
use pipeline_tests::test_pipeline::TestPipeline;
use serde_json::Value;

const KEY: &str = "CG-SuperSecretKey1234567890";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Ticks of FEED as (event, price, whether filled, certified).
type Ticks = Vec<(i64, f64, bool, Option<i64>)>;

async fn ticks(pipeline: &TestPipeline) -> Ticks {
    let ticks = pipeline.feed(RecordKind::Tick).await;
    let tick = |tick: &Value| {
        let filled = tick["filled"].as_bool().unwrap_or(false);
        (tick["event_ms"].as_i64().unwrap(), tick["close"].as_f64().unwrap(), filled, tick["complete_ms"].as_i64())
    };
    ticks.iter().map(tick).collect()
}

/// Waits until FEED ends with this many live ticks.
async fn wait_for_live(pipeline: &TestPipeline, count: usize) -> Ticks {
    let mut found = Vec::new();
    for _ in 0..1_200 {
        found = ticks(pipeline).await;
        if found.iter().filter(|(_, _, filled, _)| !filled).count() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} ticks without {count} live ones", found.len());
}

/// A column of a table as text, with the row's start.
fn column(table: &str, name: &str) -> Vec<(i64, String)> {
    let mut rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let idx =
        |name: &str| header.iter().position(|column| *column == name).unwrap_or_else(|| panic!("{name}: {header:?}"));
    let (start, value) = (idx("start"), idx(name));
    let start_of = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
    rows.map(|row| (start_of(row[start]), row[value].to_owned())).collect()
}

fn audit(pipeline: &TestPipeline) {
    let said = succeed(pipeline.program("aggregator").arg("audit"));
    assert!(said.contains("equal"), "{said}");
}

/// Kills a producer after its first price, and lets three hours pass. Returns the command that starts it again, and the
/// time of the price.
async fn stop_for_three_hours(pipeline: &TestPipeline, source: &CoinGecko) -> (Command, i64) {
    source.trade("bitcoin");
    let start = now_ms() - DAY;
    source.stop_clock(start);
    let mut command = filling(pipeline, source, "bitcoin", "50ms");
    let mut producer = Running::start(command.args(["--history", "0"]));
    wait_for_live(pipeline, 1).await;
    producer.kill();
    source.stop_clock(start + 3 * HOUR);
    (command, start)
}

/// A fresh start with a free key has 90 days in its tables, and live ticks follow.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_shows_ninety_days_before_live_prices() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.subscribe(Plan::Demo);
    source.require_key(KEY);
    source.trade("bitcoin");
    let _steps = ["stream-processor", "aggregator"].map(|step| pipeline.start(step));
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "coingecko", "--coin", "bitcoin", "--base-url", source.url()]);
    let producer = Watched::start(command.env("COINGECKO_API_KEY", KEY), |_| ());
    let found = wait_for_live(&pipeline, 1).await;
    pipeline.wait();
    let tables = pipeline.tables();
    let (first, live) = (found[0].0, found.last().unwrap().0);
    assert!((live - first - 90 * DAY).abs() < 2 * HOUR, "{first} {live}");
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in the order of event time");
    assert!(found.iter().all(|(event, price, ..)| *price == price_at("bitcoin", *event)));
    let fine = found.iter().filter(|(event, ..)| live - event <= DAY).count();
    assert!((286..=290).contains(&fine) && (2_400..2_460).contains(&found.len()), "{fine} of {}", found.len());
    // Each point certifies the time since the one before, the live price too.
    assert!(found.windows(2).all(|pair| pair[1].3 == Some(pair[1].0 - pair[0].0)), "{found:?}");
    assert_eq!(pipeline.feed(RecordKind::Gap).await, Vec::<Value>::new());
    let coverage = column(&tables["hourly"], "coverage");
    assert!(
        coverage.len() > 2_150 && coverage[1..coverage.len() - 1].iter().all(|(_, coverage)| coverage == "1"),
        "{coverage:?}"
    );
    assert_eq!(producer.metric("filled_ticks_total"), Some(found.len() as f64 - 1.0));
    assert_eq!(producer.metric("credits_left"), Some(9_997.0));
    let paths: Vec<String> = source.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/coins/markets", "/coins/bitcoin/market_chart", "/coins/bitcoin/market_chart"]);
    assert_eq!(pipeline.count("late"), 0);
    audit(&pipeline);
}

/// Lets the clock of a source pass in steps of 5 minutes after its start, each seen by a poll.
fn pass(source: &CoinGecko, start: i64, minutes: RangeInclusive<i64>) {
    for minute in minutes.step_by(5) {
        source.stop_clock(start + minute * MINUTE);
        // The first one may have been answered before.
        source.wait_for_polls(2);
    }
}

/// A day with an outage of 3 hours, followed by steps that run: the outage is filled with points of 5 minutes, coverage and
/// `filled` say so, and nothing is late.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_three_hours_in_a_day_is_filled() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.trade("bitcoin");
    let _steps = ["stream-processor", "aggregator"].map(|step| pipeline.start(step));
    // Two days before, so that the clock of the machine is never behind.
    let midnight = (now_ms() - 2 * DAY) / DAY * DAY;
    let start = midnight + 20_000;
    source.stop_clock(start);
    let mut producer = Running::start(&mut filling(&pipeline, &source, "bitcoin", "10ms"));
    wait_for_live(&pipeline, 1).await;
    pass(&source, start, 5..=600);
    let before = wait_for_live(&pipeline, 121).await;
    producer.kill();
    source.stop_clock(start + 780 * MINUTE);
    let producer = Watched::start(&mut filling(&pipeline, &source, "bitcoin", "10ms"), |_| ());
    wait_for_live(&pipeline, 122).await;
    pass(&source, start, 785..=1_440);
    let found = wait_for_live(&pipeline, 254).await;
    assert_eq!(found[..before.len()], before[..]);
    let filled = found[before.len()..].iter().filter(|(_, _, filled, _)| *filled).count();
    assert!((35..=36).contains(&filled) && found[before.len()..before.len() + filled].iter().all(|tick| tick.2));
    let distances: Vec<i64> = found[before.len() - 1..].windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(distances.iter().all(|distance| *distance < 5 * MINUTE + 2_000), "{distances:?}");
    assert!(found.windows(2).all(|pair| pair[1].3 == Some(pair[1].0 - pair[0].0)), "each certifies back to the last");
    assert_eq!(pipeline.feed(RecordKind::Gap).await, Vec::<Value>::new());
    assert_eq!(producer.metric("filled_ticks_total"), Some(filled as f64));
    assert_eq!(source.charts().last().unwrap().path, "/coins/bitcoin/market_chart/range");

    pipeline.wait();
    assert_eq!(pipeline.count("late"), 0);
    let tables = pipeline.tables();
    let hours = |name: &str| column(&tables["hourly"], name).into_iter().collect::<BTreeMap<i64, String>>();
    let (coverage, count, filled) = (hours("coverage"), hours("count"), hours("filled"));
    for hour in 1..23 {
        let at = midnight + hour * HOUR;
        assert_eq!(coverage[&at], "1", "{hour}");
        match hour {
            // The outage begins and ends at a minute of these.
            10 | 13 => {}
            11 | 12 => assert_eq!(filled[&at], count[&at], "{hour}"),
            _ => assert_eq!(filled[&at], "", "{hour}"),
        }
    }
    audit(&pipeline);
}

/// An outage of some days is filled with hourly points, and with points of 5 minutes for the last day.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_is_filled_by_the_hour() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.trade("bitcoin");
    let start = now_ms() - 5 * DAY;
    source.stop_clock(start);
    let mut command = filling(&pipeline, &source, "bitcoin", "50ms");
    let mut producer = Running::start(command.args(["--history", "0"]));
    wait_for_live(&pipeline, 1).await;
    producer.kill();
    source.stop_clock(start + 4 * DAY);
    let _producer = Running::start(command.args(["--fill", "on"]));
    let found = wait_for_live(&pipeline, 2).await;
    let filled: Vec<i64> = found.iter().filter(|tick| tick.2).map(|tick| tick.0).collect();
    assert!((72 + 286..=72 + 290).contains(&filled.len()), "{}", filled.len());
    assert!(found.windows(2).all(|pair| pair[1].3 == Some(pair[1].0 - pair[0].0)));
    assert_eq!(pipeline.feed(RecordKind::Gap).await, Vec::<Value>::new());
}

/// Prices that charts do not have stay a gap with the cause of the interruption.
#[tokio::test(flavor = "multi_thread")]
async fn prices_that_charts_lack_stay_gaps() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let (mut command, start) = stop_for_three_hours(&pipeline, &source).await;
    // The chart fails for good, as for a coin that has become inactive.
    source.always_say_to_charts(Some(ScriptedAnswer::new(404, r#"{"error":"coin not found"}"#)));
    let mut producer = Running::start(&mut command);
    let found = wait_for_live(&pipeline, 2).await;
    let gaps = pipeline.feed(RecordKind::Gap).await;
    assert_eq!((found.len(), gaps.len()), (2, 1));
    let span = (gaps[0]["from_ms"].as_i64().unwrap(), gaps[0]["to_ms"].as_i64().unwrap());
    assert_eq!((span, gaps[0]["cause"].as_str()), ((found[0].0, found[1].0), Some("producer-stopped")));
    producer.kill();
    // Mostly one point is missing in a row, and once two.
    source.always_say_to_charts(None);
    source.spoil_charts(&[
        ChartFault::Missing(7),
        ChartFault::Null(8),
        ChartFault::Repeated(5),
        ChartFault::Reversed,
        ChartFault::Short,
    ]);
    source.stop_clock(start + 6 * HOUR);
    let _producer = Running::start(&mut command);
    let found = wait_for_live(&pipeline, 3).await;
    let gaps = pipeline.feed(RecordKind::Gap).await;
    assert!(found.len() > 10 && gaps.len() >= 2, "{} {}", found.len(), gaps.len());
    assert!(gaps.iter().all(|gap| gap["cause"] == "producer-stopped"), "{gaps:?}");
    for pair in found[1..].windows(2) {
        let is_gap = gaps.iter().any(|gap| gap["to_ms"] == pair[1].0);
        assert_eq!(pair[1].3, (!is_gap).then_some(pair[1].0 - pair[0].0), "certified or a gap");
    }
}

/// A chart that does not answer delays the live price by a minute at most; then the hole is a gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_price_waits_a_minute_at_most() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    let (mut command, _) = stop_for_three_hours(&pipeline, &source).await;
    source.always_say_to_charts(Some(ScriptedAnswer::new(503, "busy")));
    let _producer = Running::start(&mut command);
    let found = wait_for_live(&pipeline, 2).await;
    assert_eq!((found.len(), pipeline.feed(RecordKind::Gap).await.len()), (2, 1));
}

/// Killed while history is fetched or published, the next start completes it, and nothing is in FEED twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_history_loses_and_doubles_nothing() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.trade("bitcoin");
    for delay in [0, 30, 60, 90, 120] {
        let mut producer = Running::start(&mut filling(&pipeline, &source, "bitcoin", "1h"));
        let before = source.charts().len();
        eventually("it asks for history, or has it", || source.charts().len() > before || !source.seen().is_empty());
        std::thread::sleep(Duration::from_millis(delay));
        producer.kill();
    }
    let _producer = Running::start(&mut filling(&pipeline, &source, "bitcoin", "1h"));
    let found = wait_for_live(&pipeline, 1).await;
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "each once, in order");
    assert!(found.last().unwrap().0 - found[0].0 > 89 * DAY, "{}", found.len());
    assert_eq!(pipeline.feed(RecordKind::Gap).await, Vec::<Value>::new());
}

/// `backfill` says what it costs before it spends it, and refuses to disturb a running producer.
#[tokio::test(flavor = "multi_thread")]
async fn backfill_says_its_cost_and_fills_without_a_producer() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.subscribe(Plan::Demo);
    source.trade("bitcoin");
    source.trade("ethereum");
    let backfill = |flags: &[&str]| {
        let mut command = pipeline.program("producer");
        command.args(["backfill", "--coins", "bitcoin,ethereum", "--base-url", source.url()]).args(flags);
        command.env("COINGECKO_API_KEY", KEY);
        command
    };
    let said = succeed(&mut backfill(&["--days", "200", "--dry-run"]));
    assert!(said.contains("bitcoin/usd: 200 days up to now, 4 requests"), "{said}");
    assert!(said.contains("8 requests; 8 of the 10,000 credits that are left this month"), "{said}");
    assert_eq!((source.seen().len(), ticks(&pipeline).await.len()), (0, 0), "a dry run does nothing");
    let (code, error) = fail(&mut backfill(&["--days", "366"]));
    assert!(code == 2 && error.contains("365 days"), "{code} {error}");
    let (code, error) = fail(&mut backfill(&["--days", "200", "--credits", "7"]));
    assert!(code == 1 && error.contains("too few") && source.seen().is_empty(), "{code} {error}");

    let said = succeed(&mut backfill(&["--days", "200"]));
    assert_eq!(source.seen().len(), 8);
    assert!(said.contains("prices and 0 gaps published"), "{said}");
    let found = pipeline.feed(RecordKind::Tick).await;
    let bitcoin: Vec<i64> =
        found.iter().filter(|tick| tick["coin"] == "bitcoin").map(|tick| tick["event_ms"].as_i64().unwrap()).collect();
    assert!(bitcoin.windows(2).all(|pair| pair[0] < pair[1]) && bitcoin.len() > 199 * 24, "{}", bitcoin.len());
    assert!(found.iter().all(|tick| tick["filled"] == true));
    // The tables have the last hours too.
    let _steps = ["stream-processor", "aggregator"].map(|step| pipeline.start(step));
    pipeline.wait();
    assert!(column(&pipeline.tables()["daily"], "close").len() >= 400);
    let said = succeed(&mut backfill(&["--days", "200"]));
    assert!(said.contains("nothing to fetch") && source.seen().len() == 8, "{said}");

    let _producer = Running::start(&mut filling(&pipeline, &source, "solana", "1h"));
    eventually("the producer runs", || source.seen().len() > 8);
    let mut other = pipeline.program("producer");
    other.args(["backfill", "--coins", "monero", "--days", "1", "--base-url", source.url()]);
    let (code, error) = fail(&mut other);
    assert!(code == 1 && error.contains("a producer runs at"), "{code} {error}");
}

/// A hostile chart costs little memory, and the live price goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_chart_costs_little_memory() {
    let (pipeline, source) = (TestPipeline::new().await, CoinGecko::start().await);
    source.set("bitcoin", 5.0, now_ms());
    // Within the size limit, so it is parsed.
    source.say_to_chart(ScriptedAnswer::chart_bomb(150_000));
    source.say_to_chart(ScriptedAnswer::chart_bomb(150_000));
    let producer = Watched::start(&mut filling(&pipeline, &source, "bitcoin", "100ms"), |_| ());
    wait_for_live(&pipeline, 1).await;
    let peak = pipeline_tests::process::peak_bytes(producer.process.id()).unwrap();
    assert!(peak < 60_000_000, "{peak}");
}

/// No answer to a chart shows a part of the key, and no redirect takes it along.
#[tokio::test(flavor = "multi_thread")]
async fn charts_show_no_part_of_the_key() {
    let (pipeline, source, elsewhere) = (TestPipeline::new().await, CoinGecko::start().await, CoinGecko::start().await);
    source.require_key(KEY);
    source.set("bitcoin", 5.0, now_ms());
    source.say_to_chart(ScriptedAnswer::redirect(307, &format!("{}/coins/bitcoin?x={KEY}", elsewhere.url())));
    source.say_to_chart(ScriptedAnswer::new(401, "x".repeat(140) + KEY));
    let check = |text: &str| {
        let text = text.to_lowercase();
        assert!(!text.contains("supersecret") && !text.contains("1234567890"), "{text}");
    };
    let mut command = filling(&pipeline, &source, "bitcoin", "100ms");
    let producer = Watched::start(command.args(["--history", "1d"]).env("COINGECKO_API_KEY", KEY), check);
    wait_for_live(&pipeline, 1).await;
    ["/readyz", "/metrics"].into_iter().for_each(|path| check(&producer.page(path).1));
    assert!(elsewhere.seen().is_empty());
    assert!(source.seen().iter().all(|seen| !format!("{:?}", seen.parameters).contains("CG-")));
}
