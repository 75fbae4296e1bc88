//! Tests of the observer with answers in CoinGecko's form.

use std::collections::HashMap;

use market::validate::Reason;
use market::{EventTime, Instrument, Span};

use super::buffer::BufferedRecord;
use super::markets::Quote;
use super::observer::{FeedEnd, ObservedCoin, Observer, ObserverCounts, Poll};
use super::quote_error::QuoteError;
use crate::feed::{Certified, LastTick};

const START: i64 = 1_747_517_880_000;

/// Returns the time this many seconds after the start.
pub(super) fn at(second: i64) -> EventTime {
    EventTime(START + second * 1_000)
}

/// Returns a poll that the source answered this many seconds after the start; the answer took half a second.
pub(super) fn poll(second: i64) -> Poll {
    Poll { answered_ms: at(second).ms() + 500, date: Some(at(second)) }
}

pub(super) fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usd").unwrap()
}

/// Returns an observer of one coin, polled every minute. FEED has its last tick at this second.
pub(super) fn observer(last_second: Option<i64>) -> Observer {
    let last = last_second.map(|second| LastTick { number: None, event: at(second), grain: None, seq: 1, id: None });
    observer_after(last, None)
}

fn observer_after(last: Option<LastTick>, certified: Option<Certified>) -> Observer {
    let end = FeedEnd { instrument: bitcoin(), last, certified };
    Observer::new(vec![end], Span::MINUTE, Span::minutes(5), at(1_000).ms())
}

pub(super) fn quote(second: i64) -> Quote {
    Quote { price: Ok(100.0), last_updated: Ok(at(second)), volume_24h: Some(5.0), ..Quote::default() }
}

/// Returns the result of one answer; a hole is left as a gap.
pub(super) fn answered(observer: &mut Observer, quote: Option<Quote>, poll: Poll) -> ObservedCoin {
    let quotes: HashMap<_, _> = quote.into_iter().map(|quote| ("bitcoin".to_owned(), quote)).collect();
    let mut observed = observer.answered(0..1, &quotes, poll).remove(0);
    let gap = observed.hole.take().and_then(|hole| hole.gap(&bitcoin()));
    observed.records.splice(0..0, gap);
    observed
}

/// Formats records, with times in seconds from the start and certified spans in parentheses.
fn words(records: &[BufferedRecord]) -> Vec<String> {
    let second = |ms: i64| (ms - START) / 1_000;
    let certified = |ms: Option<i64>| ms.map_or_else(String::new, |ms| format!(" ({})", ms / 1_000));
    let word = |record: &BufferedRecord| match record {
        BufferedRecord::Tick(tick) => format!("tick {}{}", second(tick.event_ms), certified(tick.complete_ms)),
        BufferedRecord::Gap(gap) => format!("gap {} {} {}", second(gap.from_ms), second(gap.to_ms), gap.cause),
        BufferedRecord::Heartbeat(beat) => {
            format!("heartbeat {}{}", second(beat.event_ms), certified(beat.complete_ms))
        }
    };
    records.iter().map(word).collect()
}

/// Checks the records of an answer at a second that shows a price of another second.
fn check(observer: &mut Observer, second: i64, updated: i64, expected: &[&str]) {
    let observed = answered(observer, Some(quote(updated)), poll(second));
    assert_eq!(
        (words(&observed.records), observed.quote_error),
        (expected.iter().map(|&word| word.to_owned()).collect(), None),
        "{second}"
    );
}

/// Returns the records of answers every minute that show nothing new.
fn idle(observer: &mut Observer, seconds: std::ops::Range<i64>, updated: i64) -> Vec<String> {
    let polls = seconds.step_by(60);
    polls.flat_map(|second| words(&answered(observer, Some(quote(updated)), poll(second)).records)).collect()
}

/// Checks that an answer is refused with this error.
fn refuse(observer: &mut Observer, quote: Option<Quote>, poll: Poll, expected: QuoteError) {
    let observed = answered(observer, quote, poll);
    assert_eq!((observed.records, observed.quote_error), (vec![], Some(expected)));
}

#[test]
fn a_tick_is_one_price_and_keeps_rolling_figures_apart() {
    let observed = answered(&mut observer(None), Some(quote(0)), poll(10));
    let [BufferedRecord::Tick(tick)] = observed.records.as_slice() else { panic!("{observed:?}") };
    let line = serde_json::to_string(tick).unwrap();
    let expected = r#"{"coin":"bitcoin","quote":"usd","event_ms":1747517880000,"close":100.0,"ingest_ms":1747517890500,"source":"coingecko","volume_24h":5.0}"#;
    assert_eq!(line, expected);
}

#[test]
fn an_unchanged_time_is_no_tick_and_an_older_one_is_refused() {
    let mut observer = observer(None);
    check(&mut observer, 10, 0, &["tick 0"]);
    check(&mut observer, 70, 0, &[]);
    check(&mut observer, 130, 60, &["tick 60 (60)"]);
    refuse(&mut observer, Some(quote(0)), poll(190), QuoteError::Older);
    check(&mut observer, 250, 60, &[]);
    let ObserverCounts { ticks, unchanged, quote_errors, .. } = observer.counts;
    assert_eq!((ticks, unchanged, quote_errors), (2, 2, 1));
}

#[test]
fn a_restart_publishes_nothing_twice() {
    let mut observer = observer(Some(0));
    check(&mut observer, 10, 0, &[]);
    check(&mut observer, 70, 60, &["tick 60 (60)"]);
}

#[test]
fn heartbeats_add_something_and_come_at_most_once_a_minute() {
    let mut observer = observer(None);
    check(&mut observer, 0, 0, &["tick 0"]);
    assert_eq!(idle(&mut observer, 60..301, 0), [""; 0]);
    check(&mut observer, 310, 0, &["heartbeat 10 (10)"]);
    check(&mut observer, 340, 0, &[]);
    check(&mut observer, 369, 0, &["heartbeat 69 (59)"]);
    check(&mut observer, 428, 400, &["tick 400 (400)"]);
    assert_eq!(idle(&mut observer, 488..700, 400), [""; 0]);
    assert_eq!(idle(&mut observer, 720..780, 400), ["heartbeat 420 (20)"]);
}

#[test]
fn a_tick_certifies_back_over_heartbeats_to_the_tick_before() {
    let mut observer = observer(None);
    check(&mut observer, 0, 0, &["tick 0"]);
    let heartbeats = idle(&mut observer, 60..601, 0);
    assert_eq!(heartbeats.first().unwrap(), "heartbeat 60 (60)");
    assert_eq!(heartbeats.last().unwrap(), "heartbeat 300 (60)");
    check(&mut observer, 660, 640, &["tick 640 (640)"]);
}

#[test]
fn a_local_clock_set_back_silences_no_heartbeat() {
    let mut observer = observer(Some(0));
    check(&mut observer, 400, 0, &["heartbeat 100 (100)"]);
    let behind = Poll { answered_ms: at(300).ms(), ..poll(460) };
    assert_eq!(words(&answered(&mut observer, Some(quote(0)), behind).records), ["heartbeat 160 (60)"]);
}

#[test]
fn an_answer_without_a_date_gives_no_heartbeat() {
    let undated = Poll { date: None, ..poll(1_000) };
    assert_eq!(answered(&mut observer(Some(0)), Some(quote(0)), undated).records, []);
}

#[test]
fn heartbeats_stay_behind_the_largest_lag_of_the_day() {
    let mut observer = observer(None);
    // The first price may have been visible for any time, so it teaches no lag.
    check(&mut observer, 1_000, 0, &["tick 0"]);
    check(&mut observer, 1_060, 0, &["heartbeat 760 (760)"]);
    // The price is ten minutes old when it first appears, although a heartbeat had certified that time.
    check(&mut observer, 1_120, 520, &["tick 520 (520)"]);
    // A price that stays visible for long is not a lag.
    let heartbeats = idle(&mut observer, 1_180..2_500, 520);
    assert_eq!(heartbeats[0], "heartbeat 820 (60)");
    assert_eq!(heartbeats.last().unwrap(), "heartbeat 1840 (60)");
    let day = 86_400;
    idle(&mut observer, 2_500..1_120 + day, 520);
    check(&mut observer, 1_120 + day, 520, &["heartbeat 86920 (60)"]);
    check(&mut observer, 1_121 + day, 520, &["heartbeat 87221 (301)"]);
}

#[test]
fn an_outage_leaves_a_gap_with_its_first_cause_once_it_ends() {
    let mut observer = observer(None);
    check(&mut observer, 0, 0, &["tick 0"]);
    observer.failed(0, "rate-limited", at(60).ms());
    observer.failed(0, "upstream-error", at(120).ms());
    check(&mut observer, 600, 580, &["gap 0 580 rate-limited", "tick 580"]);
    check(&mut observer, 660, 640, &["tick 640 (60)"]);
    observer.failed(0, "upstream-error", at(720).ms());
    check(&mut observer, 780, 770, &["tick 770 (130)"]);
}

#[test]
fn a_coin_that_was_idle_during_the_outage_has_no_gap() {
    let mut observer = observer(None);
    check(&mut observer, 0, 0, &["tick 0"]);
    observer.failed(0, "rate-limited", at(60).ms());
    check(&mut observer, 200, 0, &[]);
    check(&mut observer, 260, 250, &["tick 250 (250)"]);
}

#[test]
fn a_machine_that_slept_leaves_a_gap() {
    let mut observer = observer(None);
    check(&mut observer, 0, 0, &["tick 0"]);
    check(&mut observer, 3_600, 3_590, &["gap 0 3590 not-polled", "tick 3590"]);
}

#[test]
fn a_restart_leaves_a_gap_unless_the_price_is_unchanged() {
    check(&mut observer(Some(-1_000)), 10, 0, &["gap -1000 0 producer-stopped", "tick 0"]);
    check(&mut observer(Some(-100)), 10, 0, &["tick 0 (100)"]);
    // A last tick from the future was rejected, so it does not hide this one.
    check(&mut observer(Some(100_000)), 10, 0, &["tick 0"]);
}

#[test]
fn a_bar_of_a_recording_is_the_tick_before_up_to_its_end() {
    let last = LastTick { number: None, event: at(-60), grain: Some(Span::MINUTE), seq: 1, id: None };
    let mut observer = observer_after(Some(last), None);
    check(&mut observer, 40, 30, &["tick 30 (30)"]);
}

/// Returns every kind of answer without a usable price at this second, after a last tick at second 0.
fn quote_errors(second: i64) -> Vec<(Option<Quote>, QuoteError)> {
    let with = |change: fn(&mut Quote)| {
        let mut quote = quote(second);
        change(&mut quote);
        Some(quote)
    };
    let refused = |change: fn(&mut Quote), reason| (with(change), QuoteError::Refused(reason));
    vec![
        (None, QuoteError::Missing),
        (with(|quote| quote.price = Err(QuoteError::NoPrice)), QuoteError::NoPrice),
        (with(|quote| quote.price = Err(QuoteError::PriceNotNumber)), QuoteError::PriceNotNumber),
        (with(|quote| quote.last_updated = Err(QuoteError::NoTime)), QuoteError::NoTime),
        (with(|quote| quote.last_updated = Err(QuoteError::TimeWithoutZone)), QuoteError::TimeWithoutZone),
        (Some(quote(second + 6)), QuoteError::AheadOfAnswer),
        (Some(quote(-1)), QuoteError::Older),
        refused(|quote| quote.price = Ok(0.0), Reason::ZeroPrice),
        refused(|quote| quote.price = Ok(-1.0), Reason::NegativePrice),
        refused(|quote| quote.price = Ok(f64::INFINITY), Reason::NonFinite),
        refused(|quote| quote.price = Ok(0.9e-15), Reason::OutOfRange),
        refused(|quote| quote.price = Ok(1.1e15), Reason::OutOfRange),
    ]
}

#[test]
fn every_quote_error_leaves_a_gap_with_its_cause() {
    for kind in 0..quote_errors(0).len() {
        let mut observer = observer(None);
        check(&mut observer, 0, 0, &["tick 0"]);
        let mut news = 0;
        let mut cause = "";
        for second in [60, 120, 180] {
            let (quote, expected) = quote_errors(second).swap_remove(kind);
            let observed = answered(&mut observer, quote, poll(second));
            assert_eq!((observed.records, observed.quote_error), (vec![], Some(expected)));
            news += u32::from(observed.is_news);
            cause = expected.cause();
        }
        // Edge servers may answer out of step.
        let is_said = cause != "older-answer";
        assert_eq!((news, observer.counts.quote_errors), (u32::from(is_said), 3), "{cause}");
        let end = answered(&mut observer, Some(quote(230)), poll(240));
        assert_eq!(words(&end.records), [format!("gap 0 230 {cause}"), "tick 230".to_owned()]);
        assert_eq!(end.is_news, is_said);
    }
}

#[test]
fn a_restart_certifies_no_less_than_before() {
    let last = LastTick { number: None, event: at(0), grain: None, seq: 1, id: None };
    // As with a shorter source delay.
    let certified = Certified { end: at(600), issued: at(850) };
    let mut observer = observer_after(Some(last), Some(certified));
    check(&mut observer, 950, 0, &[]);
    check(&mut observer, 1_010, 0, &["heartbeat 710 (110)"]);
    check(&mut observer, 1_070, 1_060, &["tick 1060 (1060)"]);
}

#[test]
fn a_restart_keeps_the_lag_that_the_last_heartbeat_showed() {
    let last = LastTick { number: None, event: at(0), grain: None, seq: 1, id: None };
    let certified = Certified { end: at(100), issued: at(900) };
    let mut observer = observer_after(Some(last), Some(certified));
    check(&mut observer, 960, 0, &["heartbeat 160 (60)"]);
    check(&mut observer, 1_500, 0, &["heartbeat 700 (540)"]);
    let day = 86_400;
    idle(&mut observer, 1_560..900 + day, 0);
    check(&mut observer, 960 + day, 0, &["heartbeat 87060 (620)"]);
}

#[test]
fn prices_from_1e_15_to_1e15_are_taken() {
    for price in [1e-15, 2.1e-14, 1e15] {
        let observed = answered(&mut observer(None), Some(Quote { price: Ok(price), ..quote(0) }), poll(0));
        assert_eq!(words(&observed.records), ["tick 0"], "{price}");
    }
}

#[test]
fn a_price_ahead_of_its_answer_hides_none_that_follows() {
    let mut observer = observer(None);
    check(&mut observer, 0, 0, &["tick 0"]);
    refuse(&mut observer, Some(quote(120)), poll(1), QuoteError::AheadOfAnswer);
    (2..10).for_each(|second| {
        let span = if second == 2 { 2 } else { 1 };
        check(&mut observer, second, second, &[&format!("tick {second} ({span})")]);
    });
    check(&mut observer, 20, 25, &["tick 25 (16)"]);
    refuse(&mut observer, Some(quote(27)), poll(21), QuoteError::AheadOfAnswer);
}

#[test]
fn a_date_far_ahead_of_the_local_clock_silences_no_heartbeat() {
    let mut observer = observer(Some(0));
    let forged = Poll { date: Some(EventTime(253_402_300_799_000)), ..poll(60) };
    refuse(&mut observer, Some(quote(0)), forged, QuoteError::AheadOfClock);
    check(&mut observer, 400, 0, &["heartbeat 100 (100)"]);
}

#[test]
fn without_a_date_the_local_clock_bounds_the_price_time() {
    let mut observer = observer(None);
    let undated = |second: i64| Poll { date: None, ..poll(second) };
    let observed = answered(&mut observer, Some(quote(5)), undated(0));
    assert_eq!(words(&observed.records), ["tick 5"]);
    refuse(&mut observer, Some(quote(16)), undated(10), QuoteError::AheadOfAnswer);
}

#[test]
fn a_clock_that_is_behind_leaves_a_gap_of_its_own_cause() {
    let mut observer = observer(Some(0));
    check(&mut observer, 10, 0, &[]);
    let behind = |second: i64| Poll { answered_ms: at(second - 130).ms(), ..poll(second) };
    refuse(&mut observer, Some(quote(300)), behind(300), QuoteError::AheadOfClock);
    check(&mut observer, 400, 400, &["gap 0 400 clock-behind", "tick 400"]);
}
