//! The same records give the same candles, in any order within the disorder bound, with any packing, commits, crashes
//! and takeovers, and with any number of instances. The candles equal those of a plain computation.

mod plain;
pub(crate) mod records;

use std::collections::BTreeMap;

use bus::RecordKind;
use market::windowing::EventTimePolicy;
use pipeline_tests::harness::{
    End, KINDS, LogMessage, Record, Store, Turn, feed, heartbeat, lines, newest, run_both, tick,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use self::plain::Plain;
use self::records::{DISORDER, START, instruments, pace, records, turns};

/// Each input in a commit of its own, by one instance.
fn one_by_one(feed: &[LogMessage]) -> [Store; 2] {
    let turn = Turn { instance: 0, inputs: 1, is_live: true, end: End::Commit };
    run_both(EventTimePolicy::default(), feed, [&vec![turn; feed.len()], &vec![turn; 16 * feed.len()]])
}

/// Checks that random turns include takeovers with states that lack inputs, and refused commits; otherwise the
/// properties below would prove little.
#[test]
fn turns_by_chance_apply_again_and_overtake() {
    let mut runner = TestRunner::deterministic();
    let (mut replayed, mut refused) = ([0; 2], [0; 2]);
    for _ in 0..20 {
        let mut draw = |turns: BoxedStrategy<Vec<Turn>>| turns.new_tree(&mut runner).unwrap().current();
        let (market, stats) = (draw(turns().boxed()), draw(turns().boxed()));
        let feed = feed(&records().new_tree(&mut runner).unwrap().current(), |_| true);
        let stores = run_both(EventTimePolicy::default(), &feed, [&market, &stats]);
        for (store, (replayed, refused)) in stores.iter().zip(replayed.iter_mut().zip(&mut refused)) {
            *replayed += store.replayed;
            *refused += store.refused;
        }
    }
    assert!(replayed.iter().all(|&replayed| replayed > 100), "{replayed:?}");
    assert!(refused.iter().all(|&refused| refused > 10), "{refused:?}");
}

type Rows = BTreeMap<(&'static str, String, i64), Value>;

/// The newest row of every window and hour, of every instrument.
fn rows([market, stats]: &[Store; 2]) -> Rows {
    let mut rows = Rows::new();
    for instrument in instruments() {
        for kind in KINDS.into_iter().chain([RecordKind::HourOfDay]) {
            let log = match kind {
                RecordKind::Candle => &market.output,
                RecordKind::Stats(_) | RecordKind::HourOfDay => &stats.output,
                _ => continue,
            };
            let newest = newest(log, kind, &instrument).into_iter();
            rows.extend(newest.map(|(key, row)| ((kind.token(), instrument.to_string(), key), row)));
        }
    }
    rows
}

/// All lines other than candles and profile rows, of every instrument, in order.
fn others([market, _]: &[Store; 2]) -> Vec<Vec<Value>> {
    let kinds = [RecordKind::Price, RecordKind::Heartbeat, RecordKind::Gap, RecordKind::Late, RecordKind::Rejected];
    instruments().iter().flat_map(|instrument| kinds.map(|kind| lines(&market.output, kind, instrument))).collect()
}

/// Without the fields that give a position in FEED.
fn without_place(mut row: Value) -> Value {
    const PLACE: [&str; 4] = ["first_seq", "last_seq", "feed_seq", "line"];
    row.as_object_mut().unwrap().retain(|field, _| !PLACE.contains(&field.as_str()));
    row
}

fn placeless_rows(stores: &[Store; 2]) -> Rows {
    rows(stores).into_iter().map(|(key, row)| (key, without_place(row))).collect()
}

fn placeless_others(stores: &[Store; 2]) -> Vec<Vec<Value>> {
    others(stores).into_iter().map(|lines| lines.into_iter().map(without_place).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any packing of FEED into commits, any crash and any takeover gives the same output bytes.
    #[test]
    fn one_feed_gives_equal_bytes_across_crashes_and_takeovers(
        records in records(), cuts in prop::collection::vec(any::<bool>(), 120), market in turns(), stats in turns(),
    ) {
        let feed = feed(&records, |idx| cuts[idx]);
        let plain = one_by_one(&feed);
        let disturbed = run_both(EventTimePolicy::default(), &feed, [&market, &stats]);
        prop_assert_eq!(rows(&disturbed), rows(&plain));
        prop_assert_eq!(others(&disturbed), others(&plain));
        for (disturbed, plain) in disturbed.iter().zip(&plain) {
            prop_assert_eq!(&disturbed.counts, &plain.counts);
            prop_assert_eq!(&disturbed.states, &plain.states);
        }
    }

    #[test]
    fn the_candles_are_those_of_a_plain_computation(
        records in records(), cuts in prop::collection::vec(any::<bool>(), 120), market in turns(), stats in turns(),
    ) {
        let feed = feed(&records, |idx| cuts[idx]);
        let stores = run_both(EventTimePolicy::default(), &feed, [&market, &stats]);
        let mut duplicates = 0;
        for instrument in instruments() {
            let plain = Plain::of(&instrument, &records);
            plain.check(&instrument, &stores);
            duplicates += plain.duplicates;
        }
        prop_assert_eq!(&stores[0].counts["duplicate"], &Value::from(duplicates));
    }

    #[test]
    fn records_packed_otherwise_give_the_same_candles(
        records in records(), cuts in prop::collection::vec(any::<bool>(), 120), market in turns(), stats in turns(),
    ) {
        let plain = one_by_one(&feed(&records, |_| true));
        let packed = run_both(EventTimePolicy::default(), &feed(&records, |idx| cuts[idx]), [&market, &stats]);
        prop_assert_eq!(placeless_rows(&packed), placeless_rows(&plain));
        prop_assert_eq!(placeless_others(&packed), placeless_others(&plain));
        for (packed, plain) in packed.iter().zip(&plain) {
            prop_assert_eq!(&packed.counts, &plain.counts);
        }
    }

    #[test]
    fn any_order_within_the_disorder_bound_gives_the_same_candles(
        arrivals in prop::collection::vec((0_usize..2, pace(), 0..=DISORDER, 0_u8..10, 1.0..1e5_f64), 1..120),
        cuts in prop::collection::vec(any::<bool>(), 122), market in turns(), stats in turns(),
    ) {
        let (ordered, arriving) = disordered(arrivals);
        let plain = one_by_one(&feed(&ordered, |_| true));
        let disturbed = run_both(EventTimePolicy::default(), &feed(&arriving, |idx| cuts[idx]), [&market, &stats]);
        prop_assert_eq!(placeless_rows(&disturbed), placeless_rows(&plain));
        prop_assert_eq!(&disturbed[0].counts, &plain[0].counts);
        prop_assert_eq!(&disturbed[0].counts["late"], &Value::from(0));
    }
}

/// Ticks and heartbeats in order of event time, and in an order of arrival with delays up to the disorder bound; both
/// end with a flush of each instrument.
fn disordered(arrivals: Vec<(usize, i64, i64, u8, f64)>) -> (Vec<Record>, Vec<Record>) {
    let instruments = instruments();
    let mut now_ms = START;
    let mut ordered = Vec::new();
    for (id, (idx, pace_ms, delay_ms, kind, close)) in arrivals.into_iter().enumerate() {
        now_ms += pace_ms;
        let record = if kind == 0 {
            Record::Heartbeat(heartbeat(&instruments[idx], now_ms, false))
        } else {
            let mut tick = tick(&instruments[idx], now_ms, close);
            tick.id = Some(id as u64);
            Record::Tick(tick)
        };
        ordered.push((now_ms + delay_ms, record));
    }
    let mut arriving = ordered.clone();
    arriving.sort_by_key(|(arrival_ms, _)| *arrival_ms);
    let flushes = instruments.map(|instrument| Record::Heartbeat(heartbeat(&instrument, now_ms, true)));
    let flushed =
        |records: Vec<(i64, Record)>| records.into_iter().map(|(_, record)| record).chain(flushes.clone()).collect();
    (flushed(ordered), flushed(arriving))
}
