//! `aggregator audit`: no findings in a sound pipeline, even while it runs; and every planted fault found.

use std::fs;
use std::path::Path;

use aggregator::Aggregation;
use audit::{self, AuditReport, ConsumedMarket, EventTimeBounds, InstrumentAudit, Retained};
use bus::publish::{FeedMessage, publish, publish_all};
use bus::reader::{Delivery, Selection, read_to_end};
use bus::subject::SubjectParts;
use bus::{Connection, Error, RecordKind, Stream, codec};
use market::tick::TickLine;
use market::windowing::EventTimePolicy;
use market::{Instrument, Window};
use pipeline_tests::disk::SmallDisk;
use pipeline_tests::harness::{self, KINDS, LogMessage, Record, Store, feed};
use pipeline_tests::programs::{Running, eventually, fail, succeed};
use pipeline_tests::test_pipeline::{TestPipeline, sample};
use pipeline_tests::ticks;
use proptest::prelude::*;
use serde_json::{Value, json};
use stream_processor::Processing;

use crate::same_candles::records::{instruments, records, turns};

const MONTH: &str = "btcusdt_1m_2020-03.csv.gz";
/// 2020-03-01T00:00:00Z.
const START: i64 = 1_583_020_800_000;

/// Exit code and report of an audit.
fn audit(pipeline: &TestPipeline) -> (i32, Value) {
    let output = pipeline.program("aggregator").args(["audit", "--format", "json"]).output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// The report of an audit without findings.
fn clean(pipeline: &TestPipeline) -> Value {
    let (code, report) = audit(pipeline);
    assert_eq!((code, &report["differences"]), (0, &json!([])), "{report}");
    assert_eq!(report["windows"], report["equal"], "{report}");
    report
}

fn kind<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == name).unwrap()
}

/// Different, missing, extra.
fn totals(report: &Value) -> [u64; 3] {
    ["different", "missing", "extra"].map(|name| report[name].as_u64().unwrap())
}

async fn purge(admin: &Connection, stream: Stream, body: Value) {
    admin.api::<Value>(&format!("STREAM.PURGE.{stream}"), &body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_pipeline_passes_and_removed_rows_are_not_checked() {
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    succeed(&mut pipeline.replay(&sample(MONTH), "1m"));
    pipeline.wait();
    let report = clean(&pipeline);
    assert_eq!(
        (&report["not_checkable"], &report["feed_first"], &report["feed_last"]),
        (&json!(0), &json!(1), &json!(92))
    );
    assert_eq!(kind(&report, "price")["equal"], 44_512);
    // Minutes and their windows, of 31 days with one gap of 128 minutes.
    let windows = [("candle-1m", 44_512), ("5m", 8_903), ("15m", 2_968), ("1h", 743), ("1d", 31), ("1h-30m", 1_486)];
    for (name, count) in windows.into_iter().chain([("hour-of-day", 24)]) {
        assert_eq!(kind(&report, name)["equal"], count, "{name}");
    }
    let table = succeed(pipeline.program("aggregator").arg("audit"));
    assert!(table.contains("44512") && table.contains("FEED, sequence 1 to 92 of 92"), "{table}");

    let admin = pipeline.server.connect("admin").await;
    purge(&admin, Stream::Feed, json!({ "seq": 40 })).await;
    let report = clean(&pipeline);
    assert_eq!(report["feed_first"], 40);
    // 39 messages of at most 500 rows are removed, and the first 11 minutes and 5 seconds after them are uncertain.
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
    let report = clean(&pipeline);
    let after = report["windows"].as_u64().unwrap();
    assert!(0 < after && after < before, "{after} of {before}: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_pipeline_gives_no_false_alarm() {
    let pipeline = TestPipeline::new().await;
    let mut services = vec![pipeline.start("stream-processor")];
    let mut producer = Running::start(pipeline.replay(&sample(MONTH), "1m").args(["--speed", "600000x"]));
    // The aggregator has not started: MARKET is checked, STATS is not expected.
    let report = clean(&pipeline);
    assert_eq!(kind(&report, "1h")["checked"], 0);
    services.push(pipeline.start("aggregator"));
    let mut windows = Vec::new();
    while producer.is_running() {
        windows.push(clean(&pipeline)["windows"].as_u64().unwrap());
    }
    assert_eq!(producer.wait(), Some(0));
    pipeline.wait();
    windows.push(clean(&pipeline)["windows"].as_u64().unwrap());
    assert!(windows.is_sorted() && windows.first() < windows.last(), "audited while it ran: {windows:?}");
}

/// Publishes a quote of bitcoin/usd, this long after [`START`]; `nth` distinguishes quotes of one event time.
async fn tick(producer: &Connection, after_ms: i64, close: f64, nth: u32) {
    let instrument = Instrument::new("bitcoin", "usd").unwrap();
    let (volume, quote_volume, filled) = (Some(0.1), Some(0.1 * close.abs()), nth == 1);
    let line = TickLine { volume, quote_volume, filled, ..harness::tick(&instrument, START + after_ms, close) };
    let id = format!("test/{after_ms}/{nth}");
    let message = FeedMessage { kind: RecordKind::Tick, instrument, payload: codec::single(&line), id };
    publish(producer, &message).await.unwrap();
}

/// A pipeline with every kind of tick.
struct Case {
    pipeline: TestPipeline,
    producer: Connection,
    partition: u32,
    services: [Running; 2],
}

impl Case {
    async fn new() -> Self {
        let pipeline = TestPipeline::new().await;
        let services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
        let producer = pipeline.server.connect("producer").await;
        let partition = bus::subject::partition("bitcoin", "usd", 16);
        let case = Self { pipeline, producer, partition, services };
        for minutes in [0..1, 1..90, 90..180] {
            for minute in minutes {
                case.tick(minute * 60_000, minute as f64 + 100.1, 0).await;
            }
            // Later input goes into commits of its own.
            case.pipeline.wait();
        }
        // Late but applied, too late, a duplicate, refused.
        case.tick(175 * 60_000 + 1, 300.0, 1).await;
        case.tick(60_000 + 1, 300.0, 2).await;
        case.tick(60_000 + 2, 300.0, 2).await;
        case.tick(179 * 60_000, 300.0, 3).await;
        case.tick(180 * 60_000, -1.0, 4).await;
        case.pipeline.wait();
        case
    }

    async fn tick(&self, after_ms: i64, close: f64, nth: u32) {
        tick(&self.producer, after_ms, close, nth).await;
    }

    /// The stored messages of a kind: sequence and lines.
    async fn stored(&self, stream: Stream, kind: RecordKind) -> Vec<(u64, Vec<Value>)> {
        let admin = self.pipeline.server.connect("admin").await;
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

    fn subject(&self, stream: Stream, kind: RecordKind) -> String {
        bus::subject::stored(stream, self.partition, kind, "bitcoin", "usd")
    }

    async fn delete(&self, stream: Stream, seq: u64) {
        let admin = self.pipeline.server.connect("admin").await;
        admin.api::<Value>(&format!("STREAM.MSG.DELETE.{stream}"), &json!({ "seq": seq })).await.unwrap();
    }

    /// Stores a row with the permission of the step.
    async fn plant(&self, user: &str, stream: Stream, kind: RecordKind, row: &Value) {
        let connection = self.pipeline.server.connect(user).await;
        let jetstream = connection.jetstream();
        jetstream.publish(self.subject(stream, kind), row.to_string().into()).await.unwrap().await.unwrap();
    }

    /// Makes both steps commit once more, so that the planted rows lie before their positions.
    async fn go_on(&self, minute: i64) {
        self.tick(minute * 60_000, 200.0, 0).await;
        self.pipeline.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tampered_row_is_found() {
    let case = Case::new().await;
    let report = clean(&case.pipeline);
    let equal = |name: &str| kind(&report, name)["equal"].as_u64().unwrap();
    assert_eq!((equal("price"), equal("late"), equal("rejected")), (181, 2, 1), "{report}");

    // A candle with another close as its newest revision; an extra candle; a revision stored twice.
    let hours = case.stored(Stream::Stats, RecordKind::Stats(Window::Hour)).await;
    let mut wrong = hours.iter().flat_map(|(_, lines)| lines).nth(1).unwrap().clone();
    (wrong["close"], wrong["revision"]) = (json!(1.5), json!(9));
    (wrong["vwap"], wrong["filled"]) = (json!(1.25), json!(7));
    case.plant("aggregator", Stream::Stats, RecordKind::Stats(Window::Hour), &wrong).await;
    let mut extra = case.stored(Stream::Stats, RecordKind::Stats(Window::FiveMinutes)).await[0].1[0].clone();
    (extra["start_ms"], extra["end_ms"]) = (json!(START - 600_000), json!(START - 300_000));
    case.plant("aggregator", Stream::Stats, RecordKind::Stats(Window::FiveMinutes), &extra).await;
    let minutes = case.stored(Stream::Market, RecordKind::Candle).await;
    let fourth = minutes.iter().flat_map(|(_, lines)| lines).nth(3).unwrap();
    case.plant("stream-processor", Stream::Market, RecordKind::Candle, fourth).await;
    // Rows after the positions are not judged yet.
    clean(&case.pipeline);
    case.go_on(181).await;
    let (code, report) = audit(&case.pipeline);
    assert_eq!((code, totals(&report)), (1, [1, 0, 2]), "{report}");
    let found: Vec<[&str; 4]> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| ["outcome", "kind", "instrument", "row"].map(|name| difference[name].as_str().unwrap()))
        .collect();
    let expected = [
        ["extra", "candle-1m", "bitcoin/usd", "2020-03-01T00:03:00Z"],
        ["extra", "5m", "bitcoin/usd", "2020-02-29T23:50:00Z"],
        ["different", "1h", "bitcoin/usd", "2020-03-01T01:00:00Z"],
    ];
    assert_eq!(found, expected);
    let hour = &report["differences"][2];
    assert_eq!((&hour["found"]["close"], &hour["expected"]["revision"]), (&json!(1.5), &json!(1)), "{hour}");
    let of_both = |name: &str| ["found", "expected"].map(|side| hour[side][name].as_f64());
    let [quote_volume, volume] = ["quote_volume", "volume"].map(|name| of_both(name)[1].unwrap());
    assert_eq!(of_both("vwap"), [Some(1.25), Some(quote_volume / volume)], "{hour}");
    assert_eq!(of_both("filled"), [Some(7.0), None], "{hour}");
    let output = case.pipeline.program("aggregator").arg("audit").output().unwrap();
    let (table, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("2020-03-01T01:00:00Z: close is 1.5 instead of 219.1, "), "{table}");
    assert_eq!(error.trim(), "error: not as FEED says: 1 different, 0 missing, 2 extra");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_removed_row_is_reported_missing() {
    let case = Case::new().await;
    let mut gone = Vec::new();
    // Not the first message of all: it could also have been trimmed.
    for (kind, nth) in [(RecordKind::Price, 1), (RecordKind::Late, 0), (RecordKind::Candle, 0)] {
        let (seq, lines) = case.stored(Stream::Market, kind).await.swap_remove(nth);
        case.delete(Stream::Market, seq).await;
        gone.push(lines.len() as u64);
    }
    let days = case.stored(Stream::Stats, RecordKind::HourOfDay).await;
    case.delete(Stream::Stats, days.last().unwrap().0).await;
    let (code, report) = audit(&case.pipeline);
    let missing = |name: &str| kind(&report, name)["missing"].as_u64().unwrap();
    assert_eq!(["price", "late", "candle-1m"].map(missing).to_vec(), gone, "{report}");
    // When the newest version of a row is removed, the version before is found, which is wrong by now.
    let hours = kind(&report, "hour-of-day");
    assert!(hours["missing"].as_u64().unwrap() + hours["different"].as_u64().unwrap() > 0, "{hours}");
    let [different, missing, extra] = totals(&report);
    assert_eq!(
        (code, different + missing, extra),
        (1, gone.iter().sum::<u64>() + days.last().unwrap().1.len() as u64, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_losses_are_not_checked() {
    let mut case = Case::new().await;
    let admin = case.pipeline.server.connect("admin").await;
    let [processor, aggregator] = &mut case.services;
    let lose = async |service: &mut Running, name: &str, stream: Stream, minutes: std::ops::Range<i64>| {
        service.terminate();
        assert_eq!(service.wait(), Some(0));
        for minute in minutes {
            tick(&case.producer, minute * 60_000, 150.0, 0).await;
        }
        if stream == Stream::Market {
            case.pipeline.wait_for_market();
        }
        let end = bus::topology::stream_info(&admin, stream.name()).await.unwrap().state.last_seq;
        purge(&admin, stream, json!({ "filter": bus::subject::all(stream), "seq": end - 3 })).await;
        *service = Running::start(case.pipeline.program(name).args(["run", "--accept-loss"]));
        case.pipeline.wait();
    };
    lose(processor, "stream-processor", Stream::Feed, 200..260).await;
    let report = clean(&case.pipeline);
    assert_eq!(
        (kind(&report, "gap")["checked"].as_u64(), report["not_checkable"].as_u64() > Some(180)),
        (Some(0), true)
    );
    lose(aggregator, "aggregator", Stream::Market, 260..320).await;
    clean(&case.pipeline);
    for minute in 320..500 {
        tick(&case.producer, minute * 60_000, 150.0, 0).await;
    }
    case.pipeline.wait();
    let report = clean(&case.pipeline);
    let hours = ["checked", "not_checkable"].map(|count| kind(&report, "1h")[count].as_u64().unwrap());
    assert!(hours[0] > 1 && hours[1] > 1, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_other_than_those_of_the_steps_are_refused() {
    let case = Case::new().await;
    let (code, error) = fail(case.pipeline.program("aggregator").args(["audit", "--lateness", "11m"]));
    let expected = "was computed with \"disorder=5000 lateness=600000";
    assert!(code == 3 && error.contains(expected), "{code} {error}");
}

/// Opening a consumer for one instrument costs the server more than delivering thousands of messages.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_asks_no_more_of_the_server_for_more_instruments() {
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let (producer, admin) = tokio::join!(pipeline.server.connect("producer"), pipeline.server.connect("admin"));
    let asked = async || {
        let info: Value = admin.api("INFO", &json!({})).await.unwrap();
        info["api"]["total"].as_u64().unwrap()
    };
    let partitions = ticks::instruments(16);
    // More instruments than buckets.
    let many: Vec<_> = (0..1_100).map(|number| Instrument::new(&format!("many-{number}"), "usd").unwrap()).collect();
    let mut questions = Vec::new();
    for instruments in [partitions, many] {
        for minute in 0..3 {
            let tick = |instrument| ticks::tick(instrument, 1_600_000_000_000 + minute * 60_000);
            for messages in instruments.iter().map(tick).collect::<Vec<_>>().chunks(500) {
                publish_all(&producer, messages).await.unwrap();
            }
        }
        pipeline.wait();
        let before = asked().await;
        clean(&pipeline);
        questions.push(asked().await - before);
    }
    // Steps and leases send requests too, but no more for more instruments.
    assert!(questions[1] < questions[0] + 100, "{questions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_keeps_its_file_in_tmpdir_and_leaves_none() {
    let pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    succeed(&mut pipeline.replay(&sample(MONTH), "1m"));
    pipeline.wait_for_market();
    let audit = |folder: &Path| {
        let mut command = pipeline.program("aggregator");
        command.arg("audit").env("TMPDIR", folder);
        command
    };
    let folder = pipeline.dir.path().join("aside");
    let (code, error) = fail(&mut audit(&folder));
    assert!(code == 2 && error.contains("aside (No such file or directory") && error.contains("set TMPDIR"), "{error}");
    let disk = SmallDisk::new(64 << 10);
    let (code, error) = fail(&mut disk.seen_by(&audit(disk.path())));
    assert!(code == 1 && error.contains("No space left on device") && error.contains("set TMPDIR"), "{error}");

    fs::create_dir(&folder).unwrap();
    let is_in_folder = |link: &Path| fs::read_link(link).is_ok_and(|file| file.starts_with(&folder));
    let mut running = Running::start(&mut audit(&folder));
    eventually("its file is open", || {
        let files = fs::read_dir(format!("/proc/{}/fd", running.id())).into_iter().flatten().flatten();
        files.into_iter().any(|file| is_in_folder(&file.path())) || !running.is_running()
    });
    running.kill();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "the file of a killed audit is removed");
    succeed(&mut audit(&folder));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// The audit's report on the stored output of `feed`, where STATS contains MARKET up to message `stats_read`, and FEED
/// starts at message `feed_first`.
fn report_of(
    feed: &[LogMessage],
    [market, stats]: &[Store; 2],
    instrument: &Instrument,
    stats_read: usize,
    feed_first: u64,
) -> AuditReport {
    let (coin, quote) = (instrument.coin(), instrument.quote());
    let consumed = ConsumedMarket { to: stats_read as u64, lost_to: 0 };
    let mut audit = InstrumentAudit::new(coin, quote, consumed);
    let deliveries = |log: &[LogMessage]| -> Vec<(RecordKind, Delivery)> {
        let delivery = |(idx, message): (usize, &LogMessage)| {
            let subject = SubjectParts::parse(&message.subject).unwrap();
            let kind = KINDS
                .into_iter()
                .chain([RecordKind::Tick, RecordKind::HourOfDay])
                .find(|kind| kind.token() == subject.kind)
                .unwrap();
            let payload = message.payload.clone();
            let subject_text = message.subject.clone().into();
            let (seq, stored_ms) = (idx as u64 + 1, message.stored_ms);
            let delivery = Delivery { seq, subject: subject_text, headers: None, payload, stored_ms, pending: 0 };
            ((subject.coin, subject.quote) == (coin, quote)).then_some((kind, delivery))
        };
        log.iter().enumerate().filter_map(delivery).collect()
    };
    let logs = [(Stream::Feed, feed), (Stream::Market, &market.output), (Stream::Stats, &stats.output)];
    for (stream, log) in logs {
        for (kind, delivery) in deliveries(log) {
            audit.add(&audit::AuditedMessage::new(stream, kind, &delivery, true));
        }
    }
    let retained = Retained { feed_first, is_market_trimmed: false, is_stats_trimmed: false };
    audit.check(retained, EventTimeBounds { disorder_ms: 5_000, lateness_ms: 600_000 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Two implementations that share no code agree on every bit, for any input, packing, commits, crashes and
    /// takeovers, and any progress of STATS. If a part of FEED is lost, the audit reports nothing false on the
    /// rest.
    #[test]
    fn the_steps_and_the_audit_agree(
        records in records(),
        cuts in prop::collection::vec(any::<bool>(), 100),
        market_turns in turns(),
        stats_turns in turns(),
        [stats_read, feed_first] in any::<[prop::sample::Index; 2]>(),
    ) {
        let feed = feed(&records, |idx| cuts[idx]);
        let settings = EventTimePolicy::default();
        let market = harness::run(Processing::new(settings), &feed, &market_turns);
        let read = stats_read.index(market.output.len() + 1);
        let stats = harness::run(Aggregation::new(settings), &market.output[..read], &stats_turns);
        let stores = [market, stats];
        for instrument in instruments() {
            let report = report_of(&feed, &stores, &instrument, read, 1);
            prop_assert!(report.is_clean(), "{report:#?}");
            prop_assert_eq!((report.windows, report.not_checkable), (report.equal, 0));
            let first = feed_first.index(feed.len()) as u64 + 1;
            let report = report_of(&feed, &stores, &instrument, read, first);
            prop_assert!(report.is_clean(), "from {first}: {report:#?}");
        }
    }
}

/// The audit's report on these records, packed by 500.
fn audited(records: &[Record], instrument: &Instrument) -> AuditReport {
    let feed = feed(records, |idx| idx % 500 == 0);
    let market = harness::run(Processing::new(EventTimePolicy::default()), &feed, &[]);
    let stats = harness::run(Aggregation::new(EventTimePolicy::default()), &market.output, &[]);
    let read = market.output.len();
    report_of(&feed, &[market, stats], instrument, read, 1)
}

fn equal(report: &AuditReport, kind: RecordKind) -> u64 {
    report.kinds.iter().find(|found| found.kind == kind).map_or(0, |found| found.counts.equal)
}

#[test]
fn a_source_faster_than_the_memory_of_ticks_is_judged_alike() {
    let [instrument, _] = instruments();
    // A hundred ticks a second, up to a minute and a half behind the newest, some of them twice.
    let ticks = (0..6_000_i64).map(|nth| {
        let behind_ms = if nth % 3 == 0 { nth * 7_919 % 90_000 } else { 0 };
        let mut tick = harness::tick(&instrument, START + nth * 10 - behind_ms, 100.0 + (nth % 17) as f64);
        tick.id = Some((nth % 2) as u64);
        Record::Tick(tick)
    });
    let records: Vec<Record> = ticks.flat_map(|tick| [tick.clone(), tick]).collect();
    let report = audited(&records, &instrument);
    assert!(report.is_clean(), "{report:#?}");
    assert!(equal(&report, RecordKind::Late) > 100, "memory was never full: {report:#?}");
}

#[test]
fn more_sparse_ids_of_a_second_than_are_known_are_judged_alike() {
    const TRADES: u64 = 6_000;
    let [instrument, _] = instruments();
    let trade = |second: i64, id: u64| {
        let mut tick = harness::tick(&instrument, START + second * 1_000, 100.0 + (id % 17) as f64);
        (tick.id, tick.volume) = (Some(id), Some(0.25));
        Record::Tick(tick)
    };
    let second = |second: i64| (0..TRADES).map(move |nth| trade(second, 2 * nth));
    let records: Vec<Record> = (0..3).flat_map(second).collect();
    let report = audited(&records, &instrument);
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!([RecordKind::Price, RecordKind::Late].map(|kind| equal(&report, kind)), [3 * TRADES, 0]);
    // Each second is sent twice, then once more in reverse with the ids between; the last id is far above.
    let disordered = |at: i64| {
        let again = (0..2 * TRADES).rev().map(move |id| trade(at, id));
        second(at).chain(second(at)).chain([trade(at, u64::MAX)]).chain(again)
    };
    let records: Vec<Record> = (0..3).flat_map(disordered).collect();
    let report = audited(&records, &instrument);
    assert!(report.is_clean(), "{report:#?}");
    let [prices, late] = [RecordKind::Price, RecordKind::Late].map(|kind| equal(&report, kind));
    assert!(prices > 3 * (TRADES + 1) && late > 2 * TRADES, "{prices} accepted, {late} late");
}
