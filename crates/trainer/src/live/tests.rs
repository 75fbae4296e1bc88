//! The step over a log in memory, with real models: packed, crashed and handed over anywhere.

mod processes;

use clap::Parser;
use learn::config::LearnConfig;
use market::Span;
use market::tick::PriceLine;
use proptest::prelude::*;
use serde_json::Value;

use self::processes::{Training, run, run_beside};
use super::config::learning_fingerprint;
use super::*;
use crate::cli::{Args, Command};

const MINUTE: i64 = 60_000;
/// 2020-01-02T00:00:00Z, when the times of all entries begin.
const START: i64 = 1_577_923_200_000;

/// A line of MARKET.
#[derive(Debug, Clone)]
enum Entry {
    Price(Tick),
    Heartbeat(i64),
    Flush(i64),
}

impl Entry {
    fn kind(&self) -> RecordKind {
        if matches!(self, Self::Price(_)) { RecordKind::Price } else { RecordKind::Heartbeat }
    }

    fn line(&self, instrument: &Instrument) -> Vec<u8> {
        let (coin, quote) = (instrument.coin().into(), instrument.quote().into());
        let heartbeat =
            |event_ms, flush| HeartbeatLine { coin, quote, event_ms, complete_ms: None, ingest_ms: event_ms, flush };
        let line = match self {
            Self::Price(tick) => serde_json::to_vec(&PriceLine::new(instrument.coin(), instrument.quote(), tick)),
            Self::Heartbeat(event) => serde_json::to_vec(&heartbeat(START + event, false)),
            Self::Flush(event) => serde_json::to_vec(&heartbeat(START + event, true)),
        };
        line.expect("a line")
    }
}

fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usd").expect("valid")
}

fn quote(event: i64, close: f64) -> Entry {
    let prices = [close, close * 1.001, close * 0.999, close];
    let bar = Tick::bar(EventTime(START + event), Span::MINUTE, prices);
    Entry::Price(Tick { volume: Some(1.0), ..bar })
}

/// Minutes of a price that swings, so that there is something to learn.
fn minutes(from: i64, count: i64) -> Vec<Entry> {
    let close = |idx: i64| 100.0 * (0.02 * (idx as f64 / 31.0).sin() + 0.01 * (idx as f64 / 7.3).cos()).exp();
    (from..from + count).map(|idx| quote(idx * MINUTE, close(idx))).collect()
}

/// Packs neighbors of one kind into messages; `cut` returns whether a new message begins at an index.
fn pack(entries: &[Entry], mut cut: impl FnMut(usize) -> bool) -> Vec<(RecordKind, Vec<Entry>)> {
    let mut messages: Vec<(RecordKind, Vec<Entry>)> = Vec::new();
    for (idx, entry) in entries.iter().enumerate() {
        match messages.last_mut().filter(|(kind, _)| *kind == entry.kind() && !cut(idx)) {
            Some((_, of_message)) => of_message.push(entry.clone()),
            None => messages.push((entry.kind(), vec![entry.clone()])),
        }
    }
    messages
}

/// The stored results of a run: the lines of FORECAST in order, and the counts.
#[derive(Debug, Default, PartialEq)]
struct StoredForecasts {
    lines: Vec<(&'static str, String)>,
    counts: Counts,
}

impl StoredForecasts {
    fn of(&self, kind: RecordKind) -> Vec<Value> {
        let of_kind = self.lines.iter().filter(|(token, _)| *token == kind.token());
        of_kind.map(|(_, line)| serde_json::from_str(line).expect("a record")).collect()
    }
}

fn config(flags: &[&str]) -> (ForecastConfig, LearnConfig) {
    let every = if flags.contains(&"--every") { &[][..] } else { &["--every", "12h"] };
    let fixed = ["trainer", "run", "--interval", "5m", "--rounds", "20", "--folds", "1", "--threads", "1"];
    let flags = [&fixed[..], every, flags].concat();
    let Command::Run(run) = Args::try_parse_from(flags).expect("valid flags").command else {
        panic!("run was asked for")
    };
    let config = run.forecast_config().expect("valid flags");
    let learn_config = run.learn_config().expect("valid flags");
    assert_eq!(config.learning, learning_fingerprint(&learn_config));
    (config, learn_config)
}

#[test]
fn any_packing_and_any_crash_give_the_same_forecasts() {
    let entries = minutes(0, 4 * 1_440);
    let whole = run(&pack(&entries, |idx| idx % 500 == 0), 4, &[], &[]);
    assert!(whole.of(RecordKind::Model).len() > 3 && whole.of(RecordKind::Next).len() > 500, "{:?}", whole.counts);
    assert_eq!(whole.counts.forecasts, whole.counts.scored + 1);
    // One by one; and in odd packets, with crashes before, in and after every training.
    assert_eq!(run(&pack(&entries, |_| true), 100, &[], &[]), whole);
    let packets = pack(&entries, |idx| idx % 37 == 0);
    let crashes: Vec<usize> = (1..packets.len()).step_by(5).collect();
    assert_eq!(run(&packets, 3, &crashes, &[]), whole);
}

/// A process that dies while half of a message is applied: the next one applies the message from its beginning.
#[test]
fn a_half_applied_message_is_applied_again_after_a_crash() {
    const PACKET: usize = 50;
    let packets = pack(&minutes(0, 1_700), |idx| idx % PACKET == 0);
    let whole = run(&packets, 4, &[], &[]);
    // The first wait is for the first model: a candle before its first forecast at the earliest.
    let made_ms = whole.of(RecordKind::Next)[0]["made_ms"].as_i64().expect("a time");
    let first = usize::try_from((made_ms - START) / MINUTE).expect("an index");
    assert!((6..PACKET - 1).contains(&(first % PACKET)), "line {} of its packet", first % PACKET);
    let found = run_beside(Training::Awaited, &packets, 4, &[first / PACKET + 1], &[]);
    assert_eq!(found, (whole, 1));
}

#[test]
fn heartbeats_and_a_flush_close_candles_as_prices_do() {
    let mut entries = minutes(0, 2_000);
    entries.insert(1_444, Entry::Heartbeat(1_444 * MINUTE + 10_000));
    entries.push(Entry::Flush(1_999 * MINUTE));
    let stored = run(&pack(&entries, |idx| idx % 100 == 0), 2, &[], &[]);
    let next = stored.of(RecordKind::Next);
    assert_eq!(next.last().expect("forecasts")["made_ms"], START + 2_000 * MINUTE, "the flush closes the last candle");
    assert_eq!(run(&pack(&entries, |_| true), 7, &[500, 1_446, 1_999], &[]), stored);
}

/// An expired model makes no forecasts, and a forecast without truth is not scored.
#[test]
fn expired_models_and_missing_truths_are_counted() {
    // Two days, then three days without ticks, then half an hour.
    let mut entries = minutes(0, 2_880);
    entries.extend(minutes(5 * 1_440, 30));
    let stored = run(&pack(&entries, |_| true), 50, &[], &["--expire", "24h", "--horizon", "2"]);
    let models = stored.of(RecordKind::Model);
    let expires = models.last().expect("a model")["expires_ms"].as_i64().expect("a time");
    let made = stored.of(RecordKind::Next);
    assert!(made.iter().all(|next| next["made_ms"].as_i64() < Some(expires)), "{expires}");
    assert!(stored.counts.expired > 0, "{:?}", stored.counts);
    assert_eq!(stored.counts.unscored, 2, "the candles after the last ones before the hole never came");
    assert_eq!(stored.counts.forecasts, stored.counts.scored + stored.counts.unscored);
}

#[test]
fn too_few_data_make_no_model_and_the_step_goes_on() {
    let still: Vec<Entry> = (0..3_000).map(|idx| quote(idx * MINUTE, 100.0)).collect();
    let stored = run(&pack(&still, |idx| idx % 60 == 0), 5, &[7], &[]);
    assert_eq!((stored.counts.models, stored.counts.forecasts), (0, 0));
    assert!(stored.counts.untrained >= 3, "{:?}", stored.counts);
}

#[test]
fn thin_candles_count_live_by_the_coverage_of_the_fit() {
    // Of every candle of five minutes, three are missing after the first day and a half.
    let whole = 2_160;
    let entries: Vec<Entry> = minutes(0, 2_880)
        .into_iter()
        .zip(0..)
        .filter(|(_, minute)| *minute < whole || minute % 5 < 2)
        .map(|(entry, _)| entry)
        .collect();
    let messages = pack(&entries, |idx| idx % 100 == 0);
    let strict = run(&messages, 5, &[7], &[]);
    let made = |stored: &StoredForecasts| {
        stored.of(RecordKind::Next).iter().map(|next| next["made_ms"].as_i64().unwrap()).max()
    };
    assert_eq!(made(&strict), Some(START + whole * MINUTE), "no candle after it is known to half");
    assert!(strict.counts.thin > 100 && strict.counts.few_points == 0, "{:?}", strict.counts);
    let lenient = run(&messages, 5, &[7], &["--min-coverage", "0.4"]);
    assert!(made(&lenient) > Some(START + 2_800 * MINUTE), "{:?}", lenient.counts);
    assert_eq!(lenient.counts.thin, 0);
    for (stored, min_coverage, least) in [(&strict, 0.5, 1.0), (&lenient, 0.4, 0.4)] {
        let scores = stored.of(RecordKind::Score);
        let coverages = scores.iter().map(|score| score["coverage"].as_f64().unwrap());
        assert_eq!(coverages.fold(1.0, f64::min), least);
        assert!(stored.of(RecordKind::Model).iter().all(|model| model["min_coverage"] == min_coverage));
    }
}

#[test]
fn points_too_few_for_a_range_forecast_no_volatility() {
    let points: Vec<Entry> = minutes(0, 1_600)
        .into_iter()
        .map(|entry| match entry {
            Entry::Price(tick) => Entry::Price(Tick {
                grain: None,
                complete: Some(Span::MINUTE),
                high: tick.close,
                low: tick.close,
                ..tick
            }),
            other => other,
        })
        .collect();
    // Five points a candle; then two.
    let few = points.iter().enumerate().filter(|(idx, _)| *idx < 1_500 || idx % 5 < 2).map(|(_, entry)| entry.clone());
    let few: Vec<Entry> = few.collect();
    let stored = run(&pack(&few, |idx| idx % 100 == 0), 5, &[], &["--recipe", "volatility", "--min-coverage", "0.2"]);
    assert!(stored.counts.models > 0 && stored.counts.thin == 0, "{:?}", stored.counts);
    assert!(stored.counts.few_points > 15, "{:?}", stored.counts);
    let made = stored.of(RecordKind::Next).iter().map(|next| next["made_ms"].as_i64().unwrap()).max();
    assert_eq!(made, Some(START + 1_500 * MINUTE));
}

#[test]
fn features_beyond_the_training_data_are_marked() {
    // The price rises by half within a candle, further than any return in training.
    let mut entries = minutes(0, 2_000);
    let leap = 1_900;
    for entry in &mut entries[leap..] {
        if let Entry::Price(tick) = entry {
            (tick.open, tick.high, tick.low, tick.close) =
                (tick.open * 1.5, tick.high * 1.5, tick.low * 1.5, tick.close * 1.5);
        }
    }
    let stored = run(&pack(&entries, |idx| idx % 50 == 0), 5, &[], &[]);
    let after = START + (leap as i64 + 5) * MINUTE;
    let next = stored.of(RecordKind::Next);
    let at_leap = next.iter().find(|next| next["made_ms"] == after).expect("a forecast after the leap");
    assert_eq!(at_leap["status"], "unlike-training");
    assert!(next.iter().any(|next| next["status"] != "unlike-training"));
    assert!(stored.counts.unlike_training > 0);
}

#[test]
fn drift_starts_a_training_ahead_of_schedule() {
    // The price swings for two days; then it goes up and down every few minutes, ten times as far.
    let mut entries = minutes(0, 2_880);
    entries.extend((2_880..4_200).map(|idx| {
        let sign = if (idx / 5) % 2 == 0 { 1.0 } else { -1.0 };
        quote(idx * MINUTE, 100.0 * (0.1 * sign + 0.03 * (idx as f64 * 0.37).sin()).exp())
    }));
    let stored = run(&pack(&entries, |idx| idx % 20 == 0), 5, &[], &["--every", "24h"]);
    assert!(stored.counts.drifts > 0, "{:?}", stored.counts);
    assert!(stored.of(RecordKind::Model).iter().any(|model| model["cause"] == "drift"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn random_packings_and_crashes_change_nothing(
        sizes in prop::collection::vec(1_usize..200, 20..40),
        commit in 1_usize..9,
        crashes in prop::collection::btree_set(0_usize..60, 0..6),
    ) {
        // Late ticks, a hole, and a horizon of two candles.
        let mut entries = minutes(0, 1_700);
        entries.swap(300, 303);
        let late = entries.remove(1_440);
        entries.insert(1_446, late);
        entries.drain(1_500..1_520);
        let flags = ["--horizon", "2"];
        let mut ends = std::collections::BTreeSet::new();
        sizes.iter().fold(0, |at, size| { ends.insert(at + size); at + size });
        let crashes: Vec<usize> = crashes.into_iter().collect();
        let found = run(&pack(&entries, |idx| ends.contains(&idx)), commit, &crashes, &flags);
        prop_assert_eq!(found, run(&pack(&entries, |idx| idx % 500 == 0), 1, &[], &flags));
    }
}
