//! `aggregator audit`: nothing to find in a sound pipeline, also while it runs; everything that is planted, found.

use bus::publish::{FeedMessage, publish};
use bus::reader::{Selection, read_to_end};
use bus::{Connection, Error, Kind, Stream, codec, history};
use market::tick::TickLine;
use market::{Instrument, Window};
use pipeline_tests::programs::{Running, succeed};
use pipeline_tests::world::{World, sample};
use serde_json::{Value, json};

const MONTH: &str = "btcusdt_1m_2020-03.csv.gz";

/// Exit code and report of an audit.
fn audit(world: &World) -> (i32, Value) {
    let output = world.program("aggregator").args(["audit", "--format", "json"]).output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// The report of an audit that finds nothing.
fn clean(world: &World) -> Value {
    let (code, report) = audit(world);
    assert_eq!((code, &report["differences"]), (0, &json!([])), "{report}");
    assert_eq!(report["windows"], report["equal"], "{report}");
    report
}

fn kind<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == name).unwrap()
}

async fn purge(admin: &Connection, stream: Stream, body: Value) {
    admin.api::<Value>(&format!("STREAM.PURGE.{stream}"), &body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_pipeline_has_nothing_to_find_and_what_is_gone_is_not_checked() {
    let world = World::new().await;
    let _services = [world.start("stream-processor"), world.start("aggregator")];
    succeed(&mut world.replay(&sample(MONTH), "1m"));
    world.wait();
    let report = clean(&world);
    assert_eq!(
        (&report["not_checkable"], &report["feed_first"], &report["feed_last"]),
        (&json!(0), &json!(1), &json!(92))
    );
    assert_eq!(kind(&report, "price")["equal"], 44_512);
    // Minutes, and what is made of them: of 31 days, one gap of 128 minutes.
    let windows = [("candle-1m", 44_512), ("5m", 8_903), ("15m", 2_968), ("1h", 743), ("1d", 31), ("1h-30m", 1_486)];
    for (name, count) in windows.into_iter().chain([("hour-of-day", 24)]) {
        assert_eq!(kind(&report, name)["equal"], count, "{name}");
    }
    let table = succeed(world.program("aggregator").arg("audit"));
    assert!(table.contains("44512") && table.contains("FEED, sequence 1 to 92"), "{table}");

    let admin = world.server.connect("admin").await;
    purge(&admin, Stream::Feed, json!({ "seq": 40 })).await;
    let report = clean(&world);
    assert_eq!(report["feed_first"], 40);
    // 39 messages of at most 500 rows are gone, and the first 11 minutes and 5 seconds after them are uncertain.
    let prices = kind(&report, "price");
    let (checked, lost) = (prices["checked"].as_u64().unwrap(), prices["not_checkable"].as_u64().unwrap());
    assert_eq!(checked + lost, 44_512, "{prices}");
    assert!((39 * 400..39 * 500 + 12).contains(&lost), "{prices}");
    assert_eq!(
        (kind(&report, "hour-of-day")["checked"].as_u64(), kind(&report, "1d")["checked"].as_u64()),
        (Some(0), Some(17))
    );

    let before = report["windows"].as_u64().unwrap();
    for stream in [Stream::Market, Stream::Stats] {
        let end = bus::topology::stream_info(&admin, stream.name()).await.unwrap().state.last_seq;
        purge(&admin, stream, json!({ "filter": bus::subject::all(stream), "seq": end * 3 / 4 })).await;
    }
    let report = clean(&world);
    let after = report["windows"].as_u64().unwrap();
    assert!(0 < after && after < before, "{after} of {before}: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_pipeline_gives_no_false_alarm() {
    let world = World::new().await;
    let mut services = vec![world.start("stream-processor")];
    let mut producer = Running::start(world.replay(&sample(MONTH), "1m").args(["--speed", "600000x"]));
    // The aggregator has not begun: MARKET is checked, STATS is not expected.
    let report = clean(&world);
    assert_eq!(kind(&report, "1h")["checked"], 0);
    services.push(world.start("aggregator"));
    let mut windows = Vec::new();
    while producer.is_running() {
        windows.push(clean(&world)["windows"].as_u64().unwrap());
    }
    assert_eq!(producer.wait(), Some(0));
    world.wait();
    windows.push(clean(&world)["windows"].as_u64().unwrap());
    assert!(windows.is_sorted() && windows.first() < windows.last(), "audited while it ran: {windows:?}");
}

/// A pipeline with ticks of all sorts in it.
struct Case {
    world: World,
    producer: Connection,
    instrument: Instrument,
    partition: u32,
    _services: [Running; 2],
}

impl Case {
    async fn new() -> Self {
        let world = World::new().await;
        let services = [world.start("stream-processor"), world.start("aggregator")];
        let producer = world.server.connect("producer").await;
        let partition = bus::subject::partition("bitcoin", "usd", 16);
        let instrument = Instrument::new("bitcoin", "usd").unwrap();
        let case = Self { world, producer, instrument, partition, _services: services };
        for minute in 0..180 {
            case.tick(minute * 60_000, minute as f64 + 100.1, 0).await;
        }
        // Late and applied, too late, a duplicate, refused.
        case.tick(175 * 60_000 + 1, 300.0, 1).await;
        case.tick(60_000 + 1, 300.0, 2).await;
        case.tick(179 * 60_000, 300.0, 3).await;
        case.tick(180 * 60_000, -1.0, 4).await;
        case.world.wait();
        case
    }

    async fn tick(&self, event_ms: i64, close: f64, nth: u32) {
        let line = TickLine {
            coin: "bitcoin".into(),
            quote: "usd".into(),
            event_ms,
            grain_ms: 60_000,
            id: None,
            open: None,
            high: None,
            low: None,
            close,
            volume: Some(0.1),
            ingest_ms: event_ms,
            source: None,
            market_cap: None,
            volume_24h: None,
            high_24h: None,
            low_24h: None,
        };
        let (instrument, id) = (self.instrument.clone(), format!("test/{event_ms}/{nth}"));
        let message = FeedMessage { kind: Kind::Tick, instrument, payload: codec::single(&line), id };
        publish(&self.producer, &message).await.unwrap();
    }

    /// The stored messages of a kind: sequence and lines.
    async fn stored(&self, stream: Stream, kind: Kind) -> Vec<(u64, Vec<Value>)> {
        let admin = self.world.server.connect("admin").await;
        let subject = self.subject(stream, kind);
        let mut messages = Vec::new();
        let selection = Selection { stream, filters: vec![subject], from: 1 };
        let reading = read_to_end(&admin, selection, |delivery| {
            let lines = codec::lines(&delivery.payload).map(|(_, line)| serde_json::from_slice(line).unwrap());
            messages.push((delivery.seq, lines.collect()));
            Ok::<_, Error>(())
        });
        reading.await.unwrap();
        messages
    }

    fn subject(&self, stream: Stream, kind: Kind) -> String {
        bus::subject::stored(stream, self.partition, kind, "bitcoin", "usd")
    }

    async fn delete(&self, stream: Stream, seq: u64) {
        let admin = self.world.server.connect("admin").await;
        admin.api::<Value>(&format!("STREAM.MSG.DELETE.{stream}"), &json!({ "seq": seq })).await.unwrap();
    }

    /// Stores a row as only the step itself may.
    async fn plant(&self, user: &str, stream: Stream, kind: Kind, row: &Value) {
        let connection = self.world.server.connect(user).await;
        let jetstream = connection.jetstream();
        jetstream.publish(self.subject(stream, kind), row.to_string().into()).await.unwrap().await.unwrap();
    }

    /// Lets both steps commit once more: what was stored behind their positions now stands before them.
    async fn go_on(&self, minute: i64) {
        self.tick(minute * 60_000, 200.0, 0).await;
        self.world.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_tampered_with_is_found() {
    let case = Case::new().await;
    let report = clean(&case.world);
    let equal = |name: &str| kind(&report, name)["equal"].as_u64().unwrap();
    assert_eq!((equal("price"), equal("late"), equal("rejected")), (181, 1, 1), "{report}");

    // A candle with another close, as its newest revision; one too many; a revision that is stored twice.
    let hours = case.stored(Stream::Stats, Kind::Stats(Window::Hour)).await;
    let mut wrong = hours[1].1[0].clone();
    (wrong["close"], wrong["revision"]) = (json!(1.5), json!(9));
    case.plant("aggregator", Stream::Stats, Kind::Stats(Window::Hour), &wrong).await;
    let mut extra = case.stored(Stream::Stats, Kind::Stats(Window::FiveMinutes)).await[0].1[0].clone();
    (extra["start_ms"], extra["end_ms"]) = (json!(-600_000), json!(-300_000));
    case.plant("aggregator", Stream::Stats, Kind::Stats(Window::FiveMinutes), &extra).await;
    let days = case.stored(Stream::Market, Kind::Candle).await;
    case.plant("stream-processor", Stream::Market, Kind::Candle, &days[3].1[0]).await;
    // Behind the positions they are nobody's yet.
    clean(&case.world);
    // A candle, a price and a late tick that are gone.
    for kind in [Kind::Candle, Kind::Price, Kind::Late] {
        let messages = case.stored(Stream::Market, kind).await;
        case.delete(Stream::Market, messages[messages.len() / 2].0).await;
    }
    case.go_on(181).await;

    let (code, report) = audit(&case.world);
    assert_eq!(code, 1);
    let found: Vec<(String, String, String)> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| {
            let text = |name: &str| difference[name].as_str().unwrap().to_owned();
            assert_eq!(text("instrument"), "bitcoin/usd");
            (text("outcome"), text("kind"), text("row"))
        })
        .collect();
    let found: Vec<(&str, &str)> = found.iter().map(|(outcome, kind, _)| (outcome.as_str(), kind.as_str())).collect();
    let expected = [
        ("extra", "5m"),
        ("different", "1h"),
        ("missing", "price"),
        ("missing", "late"),
        ("missing", "candle-1m"),
        ("extra", "candle-1m"),
    ];
    assert_eq!(found, expected, "{report}");
    let totals = ["different", "missing", "extra"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(totals, [1, 3, 2]);
    let hour = &report["differences"][1];
    assert_eq!((&hour["found"]["close"], &hour["expected"]["revision"]), (&json!(1.5), &json!(1)), "{hour}");

    let output = case.world.program("aggregator").arg("audit").output().unwrap();
    let (table, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("close is 1.5 instead of"), "{table}");
    assert_eq!(error.trim(), "error: not as FEED says: 1 different, 3 missing, 2 extra");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_than_those_of_the_steps_are_found_out() {
    let case = Case::new().await;
    let output = case.world.program("aggregator").args(["audit", "--lateness", "1m"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let last = history::last(&case.producer, Stream::Feed, "feed.>").await.unwrap().unwrap();
    assert_eq!(last.seq, 184);
}
