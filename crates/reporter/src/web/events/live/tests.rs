//! Tests of the state behind the events.

use serde_json::{Value, json};

use super::*;
use crate::query::rows::SourceState;
use crate::view::records::Depth;

const PRICE: &str = "market.0.price.bitcoin.usd";
const MINUTES: &str = "market.0.candle-1m.bitcoin.usd";

fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usd").expect("an instrument")
}

fn pipeline(connected: bool, as_of_ms: i64) -> PipelineRow {
    PipelineRow {
        connected,
        source: SourceState::None,
        rate_per_s: 0.0,
        steps: Vec::new(),
        credits: None,
        newest_event_ms: None,
        as_of_ms,
    }
}

fn price_line(event_ms: i64) -> String {
    format!(r#"{{"coin":"bitcoin","quote":"usd","event_ms":{event_ms},"close":1.5,"feed_seq":1}}"#)
}

fn minute_line(minute: i64, revision: u32, is_final: bool) -> String {
    let (start, end) = (minute * 60_000, (minute + 1) * 60_000);
    format!(
        r#"{{"coin":"bitcoin","quote":"usd","window":"1m","start_ms":{start},"end_ms":{end},"close":2.0,"average":2.0,"count":1,"coverage":1.0,"revision":{revision},"final":{is_final},"first_seq":1,"last_seq":1}}"#
    )
}

/// The state with a sequence for each of its messages, and a client.
struct Served {
    live: Live,
    seq: u64,
    reading: Reading,
    now: Instant,
}

impl Served {
    fn new(filter: Filter) -> Self {
        let mut live = Live::new(Arc::new(Mutex::new(View::new(5))), 100, pipeline(false, 1));
        live.loaded();
        let now = Instant::now();
        let reading = live.begin(filter, None, now);
        Self { live, seq: 0, reading, now }
    }

    fn store(&mut self, subject: &str, lines: &[String]) {
        self.seq += 1;
        let stored = StoredRecords::parse(subject, self.seq, lines.join("\n").as_bytes(), Depth::Newest);
        let stored = stored.expect("records").expect("records");
        self.live.store(HeldMessage { stream: Stream::Market, seq: self.seq, stored }, Load::Live);
    }

    fn open(&mut self, minute: i64) -> bool {
        let candle: Candle = serde_json::from_str(&minute_line(minute, 0, false)).expect("a candle");
        self.live.set_open(&bitcoin(), &candle)
    }

    /// All texts for the client: the name, the id if there is one, and the data.
    fn read(&mut self) -> Vec<(String, Option<String>, Value)> {
        let next = || {
            let text = self.live.next(&mut self.reading, self.now)?;
            let text = String::from_utf8(text.to_vec()).expect("text");
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let data = serde_json::from_str(&field("data: ").expect("data")).expect("JSON");
            Some((field("event: ").expect("a name"), field("id: "), data))
        };
        std::iter::from_fn(next).collect()
    }

    fn names(&mut self) -> Vec<String> {
        self.read().into_iter().map(|(name, ..)| name).collect()
    }

    /// Begins again as a client that comes back with this id.
    fn come_back(&mut self, id: Option<&str>) {
        self.reading = self.live.begin(self.reading.filter.clone(), id, self.now);
    }
}

#[test]
fn a_snapshot_has_the_newest_rows_and_events_follow_it() {
    let mut served = Served::new(Filter::One(bitcoin()));
    served.store(PRICE, &[price_line(1_000), price_line(61_000)]);
    served.store(MINUTES, &[minute_line(0, 1, true)]);
    served.open(1);
    let [(name, id, snapshot)] = &served.read()[..] else { panic!("not one event") };
    assert_eq!((name.as_str(), id.as_deref()), ("snapshot", Some("2-0-0-102")));
    assert_eq!(snapshot["price"]["event_ms"], 61_000);
    assert_eq!(snapshot["pipeline"]["connected"], false);
    let minutes = snapshot["candles"]["1m"].as_array().expect("candles");
    let finals: Vec<_> =
        minutes.iter().map(|candle| (candle["start_ms"].as_i64(), candle["final"].as_bool())).collect();
    assert_eq!(finals, [(Some(0), Some(true)), (Some(60_000), Some(false))]);
    served.store(PRICE, &[price_line(62_000), price_line(63_000)]);
    served.store(MINUTES, &[minute_line(1, 1, true)]);
    let [(price, price_id, row), (candle, candle_id, rows)] = &served.read()[..] else { panic!("not two events") };
    assert_eq!((price.as_str(), price_id.as_deref()), ("price", Some("3-0-0-103")));
    assert_eq!(
        *row,
        json!({"coin": "bitcoin", "quote": "usd", "event_ms": 63_000, "known_ms": 63_000, "close": 1.5, "seq": 3, "count": 2})
    );
    assert_eq!((candle.as_str(), candle_id.as_deref()), ("candle", Some("4-0-0-104")));
    assert_eq!(rows["window"], "1m");
    assert_eq!(rows["candles"][0]["start_ms"], 60_000);
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed() {
    let mut served = Served::new(Filter::All);
    served.store(PRICE, &[price_line(1_000)]);
    let id = served.read()[0].1.clone();
    served.store(PRICE, &[price_line(2_000)]);
    served.open(0);
    served.come_back(id.as_deref());
    assert_eq!(served.names(), ["price", "pipeline", "open"], "what has no id is sent anew");
    // Later than the snapshot that clients share.
    served.now += SNAPSHOT_EVERY;
    served.come_back(Some("0-0-0-7"));
    assert_eq!(served.names(), ["snapshot"]);
}

#[test]
fn an_open_candle_ends_with_its_window() {
    let mut served = Served::new(Filter::One(bitcoin()));
    assert_eq!(served.names(), ["snapshot"]);
    assert!(served.open(0) && served.open(1));
    assert_eq!(served.names(), ["open", "open"]);
    served.open(0);
    served.store(MINUTES, &[minute_line(0, 1, true)]);
    assert_eq!(served.names(), ["candle"]);
    assert!(!served.open(0), "it came after the final one");
    assert_eq!(served.names(), Vec::<String>::new());
}

#[test]
fn the_pipeline_is_sent_when_it_has_changed() {
    let mut served = Served::new(Filter::One(bitcoin()));
    served.names();
    assert!(!served.live.set_pipeline(pipeline(false, 2)), "only the time");
    assert!(served.live.set_pipeline(pipeline(true, 3)));
    let [(name, None, row)] = &served.read()[..] else { panic!("not one event without id") };
    assert_eq!(name, "pipeline");
    assert_eq!(row["connected"], true);
}

/// A message of many candles has no event, and a snapshot follows at most once a second.
#[test]
fn many_candles_at_once_are_a_snapshot() {
    let mut served = Served::new(Filter::One(bitcoin()));
    assert_eq!(served.names(), ["snapshot"]);
    let replayed = |from: i64| (from..from + 100).map(|minute| minute_line(minute, 1, true)).collect::<Vec<_>>();
    served.store(MINUTES, &replayed(0));
    served.store(PRICE, &[price_line(1_000)]);
    assert_eq!(served.names(), Vec::<String>::new());
    assert_eq!(served.reading.snapshot_at(), Some(served.now + SNAPSHOT_EVERY));
    served.now += SNAPSHOT_EVERY;
    let [(name, _, snapshot)] = &served.read()[..] else { panic!("not one event") };
    assert_eq!(name, "snapshot");
    assert_eq!(snapshot["candles"]["1m"][0]["start_ms"], 99 * 60_000);
    assert_eq!(snapshot["price"]["event_ms"], 1_000);
    served.store(PRICE, &[price_line(2_000)]);
    assert_eq!(served.names(), ["price"]);
}

#[test]
fn while_rows_are_read_a_client_waits_for_the_whole() {
    let mut served = Served::new(Filter::All);
    served.live.restart();
    assert_eq!(served.names(), ["snapshot"]);
    served.store(PRICE, &[price_line(1_000)]);
    assert_eq!(served.names(), Vec::<String>::new());
    served.live.loaded();
    served.now += SNAPSHOT_EVERY;
    let [(_, _, snapshot)] = &served.read()[..] else { panic!("not one event") };
    assert_eq!(snapshot["prices"][0]["event_ms"], 1_000);
}

#[test]
fn clients_of_all_instruments_share_a_snapshot() {
    let mut served = Served::new(Filter::All);
    let first = served.live.next(&mut served.reading, served.now).expect("a snapshot");
    served.store(PRICE, &[price_line(1_000)]);
    served.come_back(None);
    let second = served.live.next(&mut served.reading, served.now).expect("a snapshot");
    assert_eq!(first.as_ptr(), second.as_ptr());
    assert_eq!(served.names(), ["price"], "the event since then follows");
}
