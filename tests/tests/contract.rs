//! The replica of CoinGecko against the specification of its API, so that tests against the replica mean something.

use pipeline_tests::coingecko::{ChartFault, CoinGecko, Plan, ScriptedAnswer, price_at};
use pipeline_tests::server::checkout;
use serde_json::{Value, json};

/// 2026-06-18T12:34:56Z.
const NOW: i64 = 1_781_786_096_000;
const HOUR: i64 = 3_600_000;

/// The specification of a plan, with nullable types as JSON Schema has them.
fn specification(plan: Plan) -> Value {
    let name = if plan == Plan::Pro { "pro.json" } else { "demo.json" };
    let text = std::fs::read(checkout().join("tests/data/coingecko").join(name)).unwrap();
    let mut document = serde_json::from_slice(&text).unwrap();
    allow_null(&mut document);
    document
}

fn allow_null(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&json!(true)) {
                let types = json!([fields["type"], "null"]);
                fields.insert("type".to_owned(), types);
            }
            fields.values_mut().for_each(allow_null);
        }
        Value::Array(values) => values.iter_mut().for_each(allow_null),
        _ => {}
    }
}

/// Asserts that the answer to a request has the form that the specification gives to its endpoint.
fn check(source: &CoinGecko, document: &Value, endpoint: &str, path: &str) -> Value {
    let (status, body) = source.ask(path);
    assert_eq!(status, 200, "{path}: {body}");
    let content = &document["paths"][endpoint]["get"]["responses"]["200"]["content"]["application/json"];
    let mut schema = content["schema"].clone();
    assert!(schema.is_object(), "{endpoint} is specified");
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{path}: {errors:?}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_requests_get_answers_of_the_specified_form() {
    let source = CoinGecko::start().await;
    source.stop_clock(NOW);
    source.trade("bitcoin");
    let range = format!("vs_currency=usd&from={}&to={}", (NOW - 3 * HOUR) / 1_000, NOW / 1_000);
    for plan in [Plan::Demo, Plan::Pro] {
        source.subscribe(plan);
        let document = specification(plan);
        let check = |endpoint: &str, path: &str| check(&source, &document, endpoint, path);
        check("/ping", "/ping");
        check("/coins/markets", "/coins/markets?vs_currency=usd&ids=bitcoin&precision=full");
        check("/coins/{id}/market_chart", "/coins/bitcoin/market_chart?vs_currency=usd&days=1");
        check("/coins/{id}/market_chart/range", &format!("/coins/bitcoin/market_chart/range?{range}"));
        check("/coins/{id}/ohlc", "/coins/bitcoin/ohlc?vs_currency=usd&days=1");
    }
    check(&source, &specification(Plan::Pro), "/key", "/key");
}

/// Times of a chart's points, before now in minutes.
fn ages(chart: &Value) -> Vec<f64> {
    chart["prices"].as_array().unwrap().iter().map(|row| (NOW - row[0].as_i64().unwrap()) as f64 / 60_000.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_have_the_step_of_their_length_and_end_now() {
    let source = CoinGecko::start().await;
    source.stop_clock(NOW);
    source.trade("bitcoin");
    let chart = |path: &str| source.ask(&format!("/coins/bitcoin/market_chart{path}")).1;
    for (days, step, points) in [(1, 5.0, 288), (2, 60.0, 48), (90, 60.0, 2_160), (91, 1_440.0, 91)] {
        let ages = ages(&chart(&format!("?vs_currency=usd&days={days}")));
        assert!(ages.len().abs_diff(points + 1) <= 1, "{days}: {}", ages.len());
        assert_eq!(ages.last(), Some(&0.0), "the current price");
        let regular = &ages[..ages.len() - 1];
        assert!(regular.windows(2).all(|pair| (pair[0] - pair[1] - step).abs() < 0.1), "{days}: {regular:?}");
    }
    // A day that ended earlier is hourly.
    let range = format!("/range?vs_currency=usd&from={}&to={}", (NOW - 48 * HOUR) / 1_000, (NOW - 24 * HOUR) / 1_000);
    let ages = ages(&chart(&range));
    assert!(ages.len() == 24 && ages.iter().all(|age| *age >= 1_440.0), "{ages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn points_of_charts_vary_in_time_and_have_the_price_of_it() {
    let source = CoinGecko::start().await;
    source.stop_clock(NOW);
    source.trade("bitcoin");
    let (_, chart) = source.ask("/coins/bitcoin/market_chart?vs_currency=usd&days=1");
    let rows: Vec<(i64, f64)> = serde_json::from_value(chart["prices"].clone()).unwrap();
    let late: std::collections::BTreeSet<i64> = rows.iter().map(|(time, _)| time % 300_000).collect();
    assert!(late.len() > 100, "{late:?}");
    assert!(rows.iter().all(|(time, price)| *price == price_at("bitcoin", *time)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_does_not_include_is_refused_as_recorded() {
    let source = CoinGecko::start().await;
    source.stop_clock(NOW);
    source.trade("bitcoin");
    source.subscribe(Plan::Demo);
    let check = |path: &str, status: u16, words: &str| {
        let (found, body) = source.ask(path);
        assert!(found == status && body.to_string().contains(words), "{path}: {found} {body}");
    };
    check("/coins/bitcoin/market_chart?vs_currency=usd&days=366", 401, "10012");
    check("/coins/bitcoin/market_chart?vs_currency=usd&days=max", 401, "10012");
    check("/coins/bitcoin/market_chart?vs_currency=usd", 422, "days");
    check("/coins/bitcoin/market_chart?vs_currency=doge&days=1", 400, "invalid vs_currency");
    check("/coins/bitcoin/market_chart/range?vs_currency=usd&from=2026-01-01&to=2026-01-02", 400, "range");
    check("/coins/bitcorn/market_chart?vs_currency=usd&days=1", 404, "coin not found");
    check("/coins/bitcoin/ohlc?vs_currency=usd&days=50", 400, "days");
    check("/coins/markets?ids=bitcoin", 422, "vs_currency");
    check("/key", 401, "10005");
    check("/nonsense", 404, "Incorrect path");
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_and_months_are_limited_by_the_replicas_clock() {
    let source = CoinGecko::start().await;
    source.subscribe(Plan::Demo);
    source.stop_clock(NOW);
    let ping = || source.ask("/ping").0;
    for _ in 0..Plan::Demo.per_minute() {
        assert_eq!(ping(), 200);
    }
    assert_eq!(ping(), 429);
    source.stop_clock(NOW + 60_000);
    assert_eq!(ping(), 200);
    // A day has 300 credits and more; the month is over before its end.
    let mut now = NOW + 120_000;
    let mut answered = 31;
    'month: loop {
        source.stop_clock(now);
        for _ in 0..Plan::Demo.per_minute() {
            match ping() {
                200 => answered += 1,
                _ => break 'month,
            }
        }
        now += 60_000;
    }
    assert_eq!(answered, 10_000);
    source.stop_clock(NOW + 30 * 24 * HOUR);
    assert_eq!(ping(), 200, "a new month");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_answer_is_repeated_with_its_age() {
    let source = CoinGecko::start().await;
    source.trade("bitcoin");
    source.cache();
    source.stop_clock(NOW);
    let chart = || source.ask("/coins/bitcoin/market_chart?vs_currency=usd&days=1").1;
    let first = chart();
    source.stop_clock(NOW + 299_000);
    assert_eq!(chart(), first);
    source.stop_clock(NOW + 300_000);
    assert_ne!(chart(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_are_spoiled_as_told() {
    let source = CoinGecko::start().await;
    source.trade("bitcoin");
    source.stop_clock(NOW);
    let prices = |faults: &[ChartFault]| {
        source.spoil_charts(faults);
        let (_, chart) = source.ask("/coins/bitcoin/market_chart?vs_currency=usd&days=1");
        chart["prices"].as_array().unwrap().clone()
    };
    let right = prices(&[]);
    assert_eq!(prices(&[ChartFault::Missing(2)]).len(), right.len() - right.len() / 2);
    assert!(prices(&[ChartFault::Repeated(10)]).len() > right.len());
    assert_eq!(prices(&[ChartFault::Null(3)])[2][1], Value::Null);
    assert_eq!(prices(&[ChartFault::Reversed])[0], *right.last().unwrap());
    assert_eq!(prices(&[ChartFault::Seconds])[0][0], right[0][0].as_i64().unwrap() / 1_000);
    source.say_to_chart(ScriptedAnswer::new(503, "busy"));
    assert_eq!(source.ask("/coins/bitcoin/market_chart?vs_currency=usd&days=1").0, 503);
}
