//! Scores of the recipes on the bundled recordings.

use std::fs::File;
use std::path::Path;

use clap::{Parser, ValueEnum};
use flate2::read::MultiGzDecoder;
use learn::candles::fold;
use learn::leakage::first_leak;
use learn::lookback::feature_rows;
use learn::row_spec::RowSpec;
use learn::split::Split;
use learn::training::learn;
use market::{EventTime, Instrument, Recipe, Span, Tick, Window};
use store::model_card::ModelCard;
use trainer::Args;
use trainer::cli::Command;

const MINUTES: &str = "btcusdt_1m_2020-03.csv.gz";
const HOURS: &str = "btcusdt_1h_2019-2023.csv.gz";

fn instrument() -> Instrument {
    Instrument::new("bitcoin", "usdt").expect("valid")
}

/// The first `limit` rows of a recording as ticks.
fn ticks(sample: &str, grain: Span, limit: usize) -> Vec<Tick> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(sample);
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tick = |(event, open, high, low, close, volume): (i64, f64, f64, f64, f64, f64)| {
        let bar = Tick::bar(EventTime(event), grain, [open, high, low, close]);
        Tick { volume: Some(volume), ..bar }
    };
    let mut rows = csv::Reader::from_reader(MultiGzDecoder::new(file));
    rows.deserialize().take(limit).map(|row| tick(row.expect("a row of the sample"))).collect()
}

fn card(ticks: &[Tick], recipe: Recipe, split: Split) -> ModelCard {
    let split = split.to_possible_value().expect("a value of the flag");
    let flags = ["trainer", "train", "--recipe", recipe.name(), "--split", split.get_name(), "--threads", "1"];
    let args = Args::try_parse_from(flags).expect("valid flags");
    let Command::Train(train) = args.command else { panic!("train was asked for") };
    let config = train.learn.config(instrument()).expect("no contradiction");
    learn(ticks, None, &config).expect("there is enough to learn from").card
}

/// The protocol of the original program flatters: the same model is worthless on a split by time.
#[test]
fn the_original_protocol_flatters() {
    let hours = ticks(HOURS, Span::HOUR, 9_200);
    let random = card(&hours, Recipe::Calendar, Split::Random);
    let time = card(&hours, Recipe::Calendar, Split::Time);
    assert!(random.holdout.scores.r2 >= Some(0.99), "{:?}", random.holdout);
    assert_eq!(random.split, "random: leaks the future");
    assert!(time.holdout.scores.r2 < Some(0.0), "{:?}", time.holdout);
    // Even the flattered score loses to the last price.
    assert!(random.holdout.scores.skill < Some(0.0), "{:?}", random.holdout);
}

/// Returns are about as good as the last price, and the intervals hold as many truths as they say.
#[test]
fn returns_are_about_as_good_as_the_last_price() {
    let minutes = card(&ticks(MINUTES, Span::MINUTE, usize::MAX), Recipe::Returns, Split::Time);
    assert_eq!((minutes.interval.as_str(), minutes.rows.candles), ("15m", 2_968));
    let hours = card(&ticks(HOURS, Span::HOUR, usize::MAX), Recipe::Returns, Split::Time);
    assert_eq!((hours.interval.as_str(), hours.rows.candles), ("1h", 43_789));
    for card in [&minutes, &hours] {
        let skill = card.holdout.scores.skill.expect("the price moves");
        assert!(skill.abs() < 0.01, "{}", card.verdict);
        assert!(card.holdout.scores.r2 > Some(0.98), "the last price explains most of a price");
        assert_eq!(card.folds.len(), 5);
    }
    let covered = hours.holdout.coverage["90"];
    assert!((0.88..=0.92).contains(&covered), "{:?}", hours.holdout.coverage);
}

#[test]
fn volatility_beats_the_best_running_average() {
    let hours = card(&ticks(HOURS, Span::HOUR, usize::MAX), Recipe::Volatility, Split::Time);
    let (skill, test) = (hours.holdout.scores.skill, hours.holdout.scores.diebold_mariano.expect("they differ"));
    assert!(skill >= Some(0.055) && test.p < 0.01, "{}", hours.verdict);
    assert!(hours.verdict.starts_with("The model beats the naive baseline"), "{}", hours.verdict);
    for (level, covered) in &hours.holdout.coverage {
        let nominal: f64 = level.parse::<f64>().expect("a number") / 100.0;
        assert!((covered - nominal).abs() < 0.02, "{:?}", hours.holdout.coverage);
    }
}

#[test]
fn features_of_real_candles_do_not_know_the_future() {
    let candles = fold(&ticks(MINUTES, Span::MINUTE, usize::MAX), &instrument(), Window::QuarterHour).candles;
    for recipe in [Recipe::Returns, Recipe::Volatility] {
        let spec = RowSpec { recipe, horizon: 1, min_coverage: 0.5 };
        assert_eq!(first_leak(&candles, 301, |candles| feature_rows(spec, candles)), None, "{recipe}");
    }
}
