//! The web API over real streams: its answers equal what is stored, and have the form that its description gives.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use bus::publish::{FeedMessage, publish};
use bus::reader::{Selection, read_to_end};
use bus::{Connection, RecordKind, Stream, codec, newest, subject};
use market::table::{CANDLE_COLUMNS, candle_row};
use market::tick::{PriceLine, TickLine};
use market::{EventTime, Window};
use pipeline_tests::docs;
use pipeline_tests::health::{Watched, page};
use pipeline_tests::programs::{Running, eventually, program, succeed};
use pipeline_tests::served_page::ServedPage;
use pipeline_tests::test_pipeline::{TestPipeline, sample_lines};
use pipeline_tests::ticks::{bitcoin, tick_line};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

const MINUTE: i64 = 60_000;
const DAY: i64 = 1_440 * MINUTE;
/// 2020-03-01T00:00:00Z.
const FIRST: i64 = 1_583_020_800_000;
/// The table of each window that `aggregator show` prints.
const SHOWN: [(Window, &str); 4] = [
    (Window::Minute, "candles-1m"),
    (Window::Hour, "hourly"),
    (Window::Day, "daily"),
    (Window::HourEveryHalf, "moving-average"),
];

/// A reporter and its API.
struct Api {
    reporter: Watched,
    addr: String,
}

impl Api {
    fn start(command: &mut Command) -> Self {
        let ServedPage { reporter, addr } = ServedPage::start(command);
        Self { reporter, addr }
    }

    /// Starts a reporter that has read what is stored.
    fn of(pipeline: &TestPipeline) -> Self {
        let api = Self::start(&mut pipeline.program("reporter"));
        eventually("the reporter is ready", || api.reporter.is_ready());
        api
    }

    /// Status and JSON of an answer.
    fn ask(&self, path: &str) -> (u16, Value) {
        let (status, text) = page(&self.addr, path);
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}")))
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(path);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// All rows of a question, by following its cursors, oldest first.
    fn all(&self, path: &str, rows: &str, limit: usize) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let mut answer = self.get(&format!("{path}&limit={limit}{cursor}"));
            let Value::Array(found) = answer[rows].take() else { panic!("{path} has no {rows}") };
            assert!(found.len() <= limit, "{path}");
            let is_empty = found.is_empty();
            all.splice(0..0, found);
            let Some(next) = answer["next"].as_str() else { return all };
            assert!(!is_empty, "{path} has a cursor after no rows");
            cursor = format!("&cursor={next}");
        }
    }
}

/// A candle of an answer as `aggregator show` prints it, without the grain, which the API leaves out.
fn cells(candle: &Value) -> Vec<String> {
    let time = |name: &str| EventTime(candle[name].as_i64().unwrap()).to_rfc3339();
    let cell = |name: &str| match name {
        "start" => time("start_ms"),
        "end" => time("end_ms"),
        "filled" if candle[name] == 0 => String::new(),
        _ => match &candle[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Bool(known) => known.to_string(),
            // `aggregator show` writes 2.0 as 2.
            number => number.as_u64().map_or_else(|| number.as_f64().unwrap().to_string(), |number| number.to_string()),
        },
    };
    CANDLE_COLUMNS.into_iter().filter(|column| *column != "grain_ms").map(cell).collect()
}

/// The rows of a table without the column of the grain.
fn rows_of_csv(csv: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows = reader.records().map(|record| without_grain(record.unwrap().iter().map(str::to_owned)));
    rows.collect()
}

fn without_grain(cells: impl Iterator<Item = String>) -> Vec<String> {
    cells.zip(CANDLE_COLUMNS).filter(|(_, column)| *column != "grain_ms").map(|(cell, _)| cell).collect()
}

/// A history with all that a source does: minutes are missing, some hours are thin, prices are fetched afterwards, and
/// some come late enough to revise closed windows. After three days nothing comes for two months.
fn history(random: &mut StdRng) -> Vec<TickLine<'static>> {
    let mut lines: Vec<(i64, TickLine<'static>)> = Vec::new();
    for (first, minutes) in [(FIRST, 3 * 1_440), (FIRST + 63 * DAY + 7 * MINUTE, 600)] {
        let mut density = 1.0;
        for minute in 0..minutes {
            if minute % 120 == 0 {
                density = *[1.0, 0.95, 0.3].choose(random).unwrap();
            }
            if !random.random_bool(density) {
                continue;
            }
            let event_ms = first + minute * MINUTE;
            let (filled, late_ms) = (random.random_bool(0.1), random.random_range(0..9 * MINUTE));
            let line =
                TickLine { grain_ms: Some(MINUTE), volume: Some(1.5), filled, ..tick_line(&bitcoin(), event_ms) };
            lines.push((event_ms + if random.random_bool(0.05) { late_ms } else { 0 }, line));
        }
    }
    lines.sort_by_key(|(arrival_ms, _)| *arrival_ms);
    lines.into_iter().map(|(_, line)| line).collect()
}

async fn publish_lines(producer: &Connection, lines: &[TickLine<'static>]) {
    let mut pack = codec::Pack::default();
    for line in lines {
        pack.push(line);
    }
    for payload in pack.into_payloads() {
        let id = format!("api/{}/{}", lines[0].event_ms, payload.len());
        let message = FeedMessage { kind: RecordKind::Tick, instrument: bitcoin(), payload, id };
        publish(producer, &message).await.unwrap();
    }
}

/// All prices of MARKET by event time, as stored.
async fn stored_prices(connection: &Connection) -> BTreeMap<i64, f64> {
    let filters = vec![subject::of_kind(Stream::Market, RecordKind::Price, None)];
    let mut prices = BTreeMap::new();
    let selection = Selection { stream: Stream::Market, filters, from: 1 };
    let read = read_to_end(connection, selection, |delivery| {
        for (_, line) in codec::lines(&delivery.payload) {
            let price: PriceLine<'_> = serde_json::from_slice(line).unwrap();
            prices.insert(price.event_ms, price.close);
        }
        Ok::<_, bus::Error>(())
    });
    read.await.unwrap();
    prices
}

/// Asks for random parts of every history, in pages of random size, and compares them with what is stored.
async fn check_parts(api: &Api, connection: &Connection, to_max: i64, random: &mut StdRng) {
    let mut part = || {
        let (a, b) = (random.random_range(FIRST - DAY..to_max), random.random_range(FIRST - DAY..to_max));
        let limit = *[1_000, 77, 5_000, 300].choose(random).unwrap();
        (a.min(b)..a.max(b), limit)
    };
    for window in Window::ALL {
        let stored = newest::candles(connection, window, Some(&bitcoin())).await.unwrap();
        assert!(!stored.is_empty(), "{window}");
        for _ in 0..6 {
            let (range, limit) = part();
            let path = format!(
                "/api/v1/candles?coin=bitcoin&quote=usd&window={window}&from_ms={}&to_ms={}",
                range.start, range.end
            );
            let found: Vec<_> = api.all(&path, "candles", limit).iter().map(cells).collect();
            let expected = stored.iter().filter(|candle| range.contains(&candle.start.ms()));
            let expected: Vec<_> = expected.map(|candle| without_grain(candle_row(candle).into_iter())).collect();
            assert!(found == expected, "{path}: {} candles instead of {}", found.len(), expected.len());
        }
    }
    let stored = stored_prices(connection).await;
    for _ in 0..6 {
        let (range, limit) = part();
        let path = format!("/api/v1/prices?coin=bitcoin&quote=usd&from_ms={}&to_ms={}", range.start, range.end);
        let found = api.all(&path, "prices", limit);
        let found: Vec<_> =
            found.iter().map(|row| (row["event_ms"].as_i64().unwrap(), row["close"].as_f64().unwrap())).collect();
        let expected: Vec<_> = stored.range(range).map(|(event_ms, close)| (*event_ms, *close)).collect();
        assert!(found == expected, "{path}: {} prices instead of {}", found.len(), expected.len());
    }
}

/// Revised, thin, filled and missing candles: random parts of the histories, in pages of random size, equal the tables and
/// the streams, also while steps write, and after a trim.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_api_equal_what_is_stored() {
    let mut random = StdRng::seed_from_u64(24);
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let producer = pipeline.server.connect("producer").await;
    let reader = pipeline.server.connect("aggregator").await;
    let lines = history(&mut random);
    let (replayed, live) = lines.split_at(lines.len() - 300);
    let mut rest = replayed;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(random.random_range(1..400).min(rest.len()));
        publish_lines(&producer, now).await;
        rest = later;
    }
    pipeline.wait();
    let api = Api::of(&pipeline);
    let written_to = replayed.iter().map(|line| line.event_ms).max().unwrap() - 2 * DAY;
    let writing = async {
        for line in live {
            publish_lines(&producer, std::slice::from_ref(line)).await;
        }
    };
    let ((), ()) = tokio::join!(writing, check_parts(&api, &reader, written_to, &mut random));
    pipeline.wait();
    let to_max = FIRST + 65 * DAY;
    check_parts(&api, &reader, to_max, &mut random).await;
    let tables = pipeline.tables();
    for (window, table) in SHOWN {
        let path = format!("/api/v1/candles?coin=bitcoin&quote=usd&window={window}");
        let candles = api.all(&path, "candles", 5_000);
        let has = |name: &str, is: &dyn Fn(f64) -> bool| {
            assert!(candles.iter().any(|candle| candle[name].as_f64().is_some_and(is)), "no {name} in {table}");
        };
        if window == Window::Hour {
            has("revision", &|revision| revision > 1.0);
            has("coverage", &|coverage| coverage < 0.5);
            has("filled", &|filled| filled > 0.0);
        }
        let found: Vec<_> = candles.iter().map(cells).collect();
        assert!(found == rows_of_csv(&tables[table]), "{table}");
    }
    succeed(pipeline.program("topology").args(["trim", "market", "--older-than", "0s"]));
    check_trimmed(&api, &reader, &mut random).await;
}

/// After a trim, the newest candles and prices are left.
async fn check_trimmed(api: &Api, connection: &Connection, random: &mut StdRng) {
    let candles = newest::candles(connection, Window::Minute, None).await.unwrap();
    let prices = stored_prices(connection).await;
    let limit = random.random_range(50..400);
    let found = api.all("/api/v1/candles?coin=bitcoin&quote=usd&window=1m", "candles", limit);
    let expected: Vec<_> = candles.iter().map(|candle| without_grain(candle_row(candle).into_iter())).collect();
    assert!(found.iter().map(cells).collect::<Vec<_>>() == expected, "{} candles", found.len());
    let found = api.all("/api/v1/prices?coin=bitcoin&quote=usd", "prices", limit);
    assert_eq!(found.len(), prices.len());
}

/// A replay of five days of the sample with forecasts.
async fn forecasting() -> (TestPipeline, Vec<Running>) {
    let pipeline = TestPipeline::new().await;
    let file = pipeline.dir.path().join("minutes.csv");
    let lines = sample_lines("btcusdt_1m_2020-03.csv.gz").unwrap().take(7_301).map(|line| line.unwrap() + "\n");
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let mut services: Vec<Running> = ["stream-processor", "aggregator"].map(|name| pipeline.start(name)).into();
    let flags = ["run", "--archive", "archive", "--threads", "1", "--folds", "1", "--rounds", "40"];
    services.push(Running::start(pipeline.program("trainer").args(flags)));
    succeed(&mut pipeline.replay(&file, "1m"));
    succeed(pipeline.program("topology").args(["wait", "market", "stats", "forecast"]));
    (pipeline, services)
}

/// All lines of a kind of FORECAST or MARKET, in order.
async fn stored_lines(connection: &Connection, stream: Stream, kind: RecordKind) -> Vec<Value> {
    let filters = vec![subject::of_kind(stream, kind, None)];
    let mut lines = Vec::new();
    let read = read_to_end(connection, Selection { stream, filters, from: 1 }, |delivery| {
        lines.extend(codec::lines(&delivery.payload).map(|(_, line)| serde_json::from_slice::<Value>(line).unwrap()));
        Ok::<_, bus::Error>(())
    });
    read.await.unwrap();
    lines
}

/// Asserts that an answer has the form that the document gives to a status of a path.
fn check_form(document: &Value, path: &str, status: u16, answer: &Value) {
    let content = &document["paths"][path]["get"]["responses"][status.to_string()]["content"]["application/json"];
    let mut schema = content["schema"].clone();
    assert!(schema.is_object(), "{path} has no schema for {status}");
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{path}: {errors:?}");
}

/// The example of each described route.
fn examples(document: &Value) -> BTreeMap<String, String> {
    let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| *path != "/api/v1/events");
    let example = |(path, item): (&String, &Value)| {
        let parameters = item["get"]["parameters"].as_array().unwrap().iter();
        let shown = parameters.filter(|parameter| !parameter["example"].is_null());
        let pair = |parameter: &Value| {
            let value = &parameter["example"];
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{}={value}", parameter["name"].as_str().unwrap())
        };
        (path.clone(), format!("{path}?{}", shown.map(pair).collect::<Vec<_>>().join("&")))
    };
    paths.map(example).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_described_form_and_content() {
    let (pipeline, _services) = forecasting().await;
    let connection = pipeline.server.connect("reporter").await;
    let api = Api::of(&pipeline);
    let document = api.get("/api/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    eventually("the steps are known", || !api.get("/api/v1/pipeline")["steps"].as_array().unwrap().is_empty());
    let examples = examples(&document);
    assert_eq!(examples.len(), 8);
    let mut answers = BTreeMap::new();
    for (path, url) in &examples {
        let answer = api.get(url);
        check_form(&document, path, 200, &answer);
        answers.insert(path.as_str(), answer);
    }
    check_forecasts(&api, &connection).await;
    check_models(&answers["/api/v1/models"], &connection).await;
    check_quality(&answers["/api/v1/quality"], &pipeline, &connection).await;
    let instruments = &answers["/api/v1/instruments"]["instruments"];
    let (price, change) = (&instruments[0]["price"], &instruments[0]["change_24h"]);
    let prices = answers["/api/v1/prices"]["prices"].as_array().unwrap();
    assert_eq!((price, prices.len()), (&prices[9], 10));
    assert!(change.as_f64().is_some_and(|change| change != 0.0 && change.abs() < 0.2), "{change}");
    assert_eq!(answers["/api/v1/hours"]["hours"].as_array().unwrap().len(), 24);
    let state = &answers["/api/v1/pipeline"];
    assert_eq!((&state["connected"], &state["source"]), (&Value::Bool(true), &"finished".into()), "{state}");
    let steps = state["steps"].as_array().unwrap();
    let instances = steps.iter().map(|step| (step["service"].as_str().unwrap(), step["instances"].as_u64()));
    let expected = ["stream-processor", "aggregator", "trainer"].map(|service| (service, Some(1)));
    assert_eq!(instances.collect::<Vec<_>>(), expected);
    check_mistakes(&api, &document);
    check_commands(&api);
    check_etag(&api, &examples["/api/v1/candles"]);
}

/// Pages of scored forecasts are the stored scores, with the intervals of the forecasts.
async fn check_forecasts(api: &Api, connection: &Connection) {
    let scores = stored_lines(connection, Stream::Forecast, RecordKind::Score).await;
    let made = stored_lines(connection, Stream::Forecast, RecordKind::Next).await;
    let made: BTreeMap<i64, &Value> = made.iter().map(|line| (line["made_ms"].as_i64().unwrap(), line)).collect();
    let found = api.all("/api/v1/forecasts?coin=bitcoin&quote=usdt", "scored", 60);
    assert!(found.len() > 100 && found.len() == scores.len(), "{} of {}", found.len(), scores.len());
    for (row, score) in found.iter().zip(&scores) {
        for name in ["made_ms", "target_end_ms", "model", "prediction", "baseline", "actual", "error", "inside"] {
            assert_eq!(row[name], score[name], "{name}");
        }
        let line = made[&row["made_ms"].as_i64().unwrap()];
        let bands = row["bands"].as_array().unwrap();
        for (level, lower, upper) in [(0.5, "lower_50", "upper_50"), (0.9, "lower", "upper")] {
            let band = bands.iter().find(|band| band["level"] == level);
            let ends = band.map_or((&Value::Null, &Value::Null), |band| (&band["lower"], &band["upper"]));
            assert_eq!(ends, (&line[lower], &line[upper]), "{level}");
        }
    }
    let pending = api.get("/api/v1/forecasts?coin=bitcoin&quote=usdt")["pending"].take();
    let newest = made.last_key_value().unwrap().1;
    assert_eq!(pending.as_array().unwrap().iter().map(|row| &row["made_ms"]).collect::<Vec<_>>(), [&newest["made_ms"]]);
    assert_eq!(api.all("/api/v1/forecasts?coin=bitcoin&quote=usdt&recipe=calendar", "scored", 60).len(), 0);
}

async fn check_models(answer: &Value, connection: &Connection) {
    let mut stored = stored_lines(connection, Stream::Forecast, RecordKind::Model).await;
    stored.reverse();
    let models = answer["models"].as_array().unwrap();
    assert_eq!(models.len(), stored.len());
    for (row, line) in models.iter().zip(&stored) {
        for name in ["model", "role", "cause", "valid_from_ms", "expires_ms", "trained_ticks"] {
            assert_eq!(row[name], line[name], "{name}");
        }
        assert_eq!(row["scores"]["rmse"], line["scores"]["rmse"]);
        assert_eq!(row["beats_baseline"], line["role"] == "champion");
    }
    let scores = stored_lines(connection, Stream::Forecast, RecordKind::Score).await;
    let live = answer["live"].as_array().unwrap();
    assert_eq!(live.iter().map(|live| live["scored"].as_u64().unwrap()).sum::<u64>(), scores.len() as u64);
    assert_eq!(live[0]["model"], scores.last().unwrap()["model"]);
}

async fn check_quality(answer: &Value, pipeline: &TestPipeline, connection: &Connection) {
    for (name, count) in
        [("accepted", "accepted"), ("duplicates", "duplicate"), ("late", "late"), ("candles", "candles")]
    {
        assert_eq!(answer[name], pipeline.count(count), "{name}");
    }
    let gaps = stored_lines(connection, Stream::Market, RecordKind::Gap).await;
    let spans =
        |gaps: &[Value]| gaps.iter().map(|gap| (gap["from_ms"].clone(), gap["to_ms"].clone())).collect::<Vec<_>>();
    let mut stored = spans(&gaps);
    stored.reverse();
    assert!(!stored.is_empty() && spans(answer["gaps"].as_array().unwrap()) == stored, "{answer}");
    assert!(answer["coverage_24h"].as_f64().is_some_and(|coverage| coverage > 0.5), "{answer}");
}

/// The commands of the page about the API work as written.
fn check_commands(api: &Api) {
    let commands = docs::commands("docs/api.md");
    assert!(!commands.is_empty());
    for command in commands {
        assert!(command.text.contains("127.0.0.1:8080"), "{}", command.place);
        let text = command.text.replace("127.0.0.1:8080", &api.addr);
        let answer: Value = serde_json::from_str(&succeed(Command::new("bash").args(["-c", &text]))).unwrap();
        assert!(answer.is_object() && answer.get("error").is_none(), "{}: {answer}", command.place);
    }
}

/// A mistake has a sentence, of the described form.
fn check_mistakes(api: &Api, document: &Value) {
    let check = |path: &str, query: &str, status: u16, code: &str, said: &str| {
        let (found, answer) = api.ask(&format!("{path}?{query}"));
        check_form(document, path, status, &answer);
        let error = &answer["error"];
        let words = error["message"].as_str().unwrap();
        assert!((found, &error["code"]) == (status, &code.into()) && words.contains(said), "{path}?{query}: {answer}");
    };
    let one = "coin=bitcoin&quote=usdt";
    check("/api/v1/candles", one, 400, "bad_request", "window");
    check("/api/v1/candles", &format!("{one}&window=2h"), 400, "bad_request", "2h");
    check("/api/v1/candles", &format!("{one}&window=1h&cursor=x"), 400, "bad_request", "cursor");
    check("/api/v1/candles", &format!("{one}&window=1h&limit=5001"), 400, "too_large", "5000");
    check("/api/v1/candles", &format!("{one}&window=1h&since=1"), 400, "bad_request", "since");
    check("/api/v1/candles", "coin=bitcorn&quote=usdt&window=1h", 404, "not_found", "bitcorn/usdt");
    check("/api/v1/prices", "coin=Bitcoin&quote=usdt", 400, "bad_request", "Bitcoin");
    check("/api/v1/models", "coin=bitcorn&quote=usdt", 404, "not_found", "/api/v1/instruments");
    let (status, answer) = api.ask("/api/v1/nonsense");
    assert!(status == 404 && answer["error"]["message"].as_str().unwrap().contains("openapi.json"), "{answer}");
}

/// A client that has an answer already is told so.
fn check_etag(api: &Api, path: &str) {
    let ask = |header: &str| {
        let mut stream = TcpStream::connect(&api.addr).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n{header}\r\n", api.addr).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let first = ask("");
    let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim();
    let second = ask(&format!("If-None-Match: {tag}\r\n"));
    assert!(second.starts_with("HTTP/1.0 304 ") && second.ends_with("\r\n\r\n"), "{second}");
    assert!(ask("If-None-Match: \"other\"\r\n").starts_with("HTTP/1.0 200 "));
}

#[test]
fn without_a_server_the_api_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program("reporter", dir.path());
    let api = Api::start(command.args(["--nats-url", "nats://127.0.0.1:1"]));
    let (status, answer) = api.ask("/api/v1/candles?coin=bitcoin&quote=usdt&window=1h");
    let error = &answer["error"];
    assert_eq!((status, &error["code"]), (503, &"unavailable".into()));
    assert!(error["message"].as_str().unwrap().contains("the NATS server is away"), "{error}");
    let state = api.get("/api/v1/pipeline");
    assert_eq!((&state["connected"], &state["source"]), (&false.into(), &"none".into()));
    assert_eq!(api.get("/api/v1/instruments")["instruments"], serde_json::json!([]));
}
