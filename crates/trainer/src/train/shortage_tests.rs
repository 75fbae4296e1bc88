//! Too few data to learn from: the message and the exit code.

use clap::Parser;
use learn::config::LearnConfig;
use learn::training::learn;
use market::{EventTime, Instrument, Span, Tick};
use service::Code;

use crate::cli::{Args, Command};

fn config(flags: &[&str]) -> LearnConfig {
    let args = Args::try_parse_from([&["trainer", "train", "--threads", "1"], flags].concat()).expect("valid flags");
    let Command::Train(train) = args.command else { panic!("train was asked for") };
    train.learn.config(Instrument::new("bitcoin", "usd").expect("valid")).expect("valid flags")
}

/// Returns `count` ticks, `step` apart, from a time of the first day on.
fn ticks(count: i64, step: Span, grain: Option<Span>, from: Span) -> Vec<Tick> {
    let tick = |idx: i64| {
        let event = EventTime(1_583_020_800_000 + from.ms() + idx * step.ms());
        Tick { grain, feed_seq: 1 + idx as u64, ..Tick::point(event, 100.0 + (idx as f64 * 0.7).sin()) }
    };
    (0..count).map(tick).collect()
}

fn bars(count: i64, grain: Span) -> Vec<Tick> {
    ticks(count, grain, Some(grain), Span(0))
}

/// Asserts that learning fails with this exit code and all of these words.
fn check(name: &str, ticks: &[Tick], flags: &[&str], code: Code, words: &[&str]) {
    let error = anyhow::Error::from(learn(ticks, None, &config(flags)).err().expect(name));
    let said = format!("{error}");
    assert_eq!(crate::error::code_of(&error), Some(code), "{name}: {said}");
    for words in words {
        assert!(said.contains(words), "{name}: {words:?} is missing in {said:?}");
    }
}

#[test]
fn rows_that_are_too_coarse_are_named_with_what_works() {
    const DAYS: Span = Span(7 * Span::DAY.0);
    let hourly = bars(500, Span::HOUR);
    let words = ["--interval 1m does not work", "500 bars of 1h", "what works is --interval 1h (475 rows)"];
    check("hours as minutes", &hourly, &["--interval", "1m"], Code::BadConfig, &words);
    let words = ["52 bars of 7d", "the longest candle is 1d: take bars of at most that length"];
    check("weeks", &bars(52, DAYS), &[], Code::NotEnoughData, &words);
    check("weeks as days", &bars(52, DAYS), &["--interval", "1d"], Code::NotEnoughData, &words);
    let from = Span::minutes(18 * 60 + 30);
    let words = ["400 bars of 1d", "begins at 18:30 UTC: take bars that begin at 00:00 UTC, or shorter ones"];
    check("days of another zone", &ticks(400, Span::DAY, Some(Span::DAY), from), &[], Code::NotEnoughData, &words);
}

#[test]
fn points_that_are_too_sparse_are_named_with_what_works() {
    let hourly = ticks(301, Span::HOUR, None, Span(0));
    let words = [
        "301 points, 1h apart on average",
        "300 of 300 candles of 1h are known to less than --min-coverage 0.5, the usual one to 0",
        "what works is --min-coverage 0 --interval 1h (275 rows)",
    ];
    check("a point an hour", &hourly, &[], Code::NotEnoughData, &words);
    learn(&hourly, None, &config(&["--min-coverage", "0", "--interval", "1h"])).expect("as it was advised");
    let certified: Vec<Tick> =
        hourly.into_iter().map(|tick| Tick { complete: Some(Span::minutes(15)), ..tick }).collect();
    let words = ["the usual one to 0.25", "what works is --min-coverage 0.2 --interval 1h"];
    check("a quarter is known", &certified, &["--interval", "1h"], Code::NotEnoughData, &words);
    let words = [
        "have no bar and fewer than 4 points",
        "what works is --recipe returns, which needs no ranges (275 rows of 1h)",
    ];
    check(
        "no ranges",
        &certified,
        &["--min-coverage", "0.2", "--recipe", "volatility", "--interval", "1h"],
        Code::NotEnoughData,
        &words,
    );
}

#[test]
fn too_few_rows_are_named_with_what_works() {
    let words = [
        "8 rows of 1h, at least 100",
        "what works is --interval 15m (108 rows) or --interval 5m (375 rows) or --interval 1m (1975 rows)",
    ];
    let minutes = bars(2_000, Span::MINUTE);
    check("a longer interval", &minutes, &["--interval", "1h"], Code::NotEnoughData, &words);
    check("few", &bars(20, Span::MINUTE), &[], Code::NotEnoughData, &["take more data: 100 rows are 125 candles"]);
    check("none", &[], &[], Code::NotEnoughData, &["no ticks", "take more data"]);
    let ticks = bars(20, Span::MINUTE);
    check("ticks", &ticks, &["--recipe", "calendar"], Code::NotEnoughData, &["20 bars of 1m; take more data"]);
}

#[test]
fn candles_that_are_looked_back_on_are_no_holes() {
    let words = [
        "25 rows of 1h, at least 100 are needed; the data are 50 bars of 1h; of 50 candles of 1h in a row the first 24 are only \
         the lookback of the features, and the last 1 only predicted; take more data: 100 rows are 125 candles in a row",
    ];
    check("no hole", &bars(50, Span::HOUR), &[], Code::NotEnoughData, &words);
    let words = ["20 candles of 1h in a row are fewer than the 25 that the features look back on; take more data"];
    check("short", &bars(20, Span::HOUR), &[], Code::NotEnoughData, &words);
}

#[test]
fn holes_are_counted_apart_with_the_first_of_them() {
    let hourly = |missing: &[i64]| -> Vec<Tick> {
        let is_there = |tick: &Tick| !missing.contains(&((tick.event.ms() - 1_583_020_800_000) / Span::HOUR.ms()));
        bars(126, Span::HOUR).into_iter().filter(is_there).collect()
    };
    let words = [
        "69 rows of 1h",
        "the candles of 1h are 2 stretches of at most 61 in a row, and in each the first 24 are only the lookback of the features \
         and the last 1 only predicted, 50 in all; no candle of 1h is there from 2020-03-03T10:00:00Z to 2020-03-03T17:00:00Z; \
         fill the holes, or take more data",
    ];
    check("a hole", &hourly(&[58, 59, 60, 61, 62, 63, 64]), &[], Code::NotEnoughData, &words);
    let words = ["2 holes have no candle of 1h, the first from 2020-03-01T05:00:00Z to 2020-03-01T06:00:00Z"];
    check("two holes", &hourly(&[5, 70]), &[], Code::NotEnoughData, &words);
}

#[test]
fn prices_further_apart_than_any_candle_are_named_so() {
    let monthly = ticks(150, Span(30 * Span::DAY.0), None, Span(0));
    let words = ["150 points, 30d apart on average", "take prices at most 1d apart, the longest candle"];
    check("months", &monthly, &[], Code::NotEnoughData, &words);
}
