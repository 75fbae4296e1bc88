//! What the recipes really achieve on the bundled recordings: neither flattered nor broken.

use std::fs::File;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use market::dataset::{Recipe, first_leak, returns_features};
use market::{EventTime, Instrument, Span, Tick, Window};
use store::model_card::ModelCard;
use trainer::booster::{Boosting, Start};
use trainer::candles::{Interval, fold};
use trainer::fit::Split;
use trainer::learn::{LearnConfig, learn};

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
        let (event, volume) = (EventTime(event), Some(volume));
        Tick { event, grain, id: None, open, high, low, close, volume, feed_seq: 1 }
    };
    let mut rows = csv::Reader::from_reader(MultiGzDecoder::new(file));
    rows.deserialize().take(limit).map(|row| tick(row.expect("a row of the sample"))).collect()
}

fn card(ticks: &[Tick], recipe: Recipe, split: Split) -> ModelCard {
    let calendar = recipe == Recipe::Calendar;
    let boosting = Boosting {
        rounds_max: if calendar { 100 } else { 300 },
        depth: if calendar { 5 } else { 3 },
        learning_rate: if calendar { 0.1 } else { 0.05 },
        leaf_rows_min: if calendar { 1 } else { 20 },
        start: if calendar { Start::Mean } else { Start::Zero },
        seed: 42,
        threads: 1,
    };
    let interval = Interval::Auto;
    let config =
        LearnConfig { instrument: instrument(), recipe, interval, horizon: 1, split, holdout: 0.2, folds: 5, boosting };
    learn(ticks, None, &config).expect("there is enough to learn from").card
}

#[test]
fn the_original_protocol_flatters_and_the_same_model_is_worthless_in_time() {
    let hours = ticks(HOURS, Span::HOUR, 9_200);
    let random = card(&hours, Recipe::Calendar, Split::Random);
    let time = card(&hours, Recipe::Calendar, Split::Time);
    assert!(random.holdout.scores.r2 >= Some(0.99), "{:?}", random.holdout);
    assert_eq!(random.split, "random: leaks the future");
    assert!(time.holdout.scores.r2 < Some(0.0), "{:?}", time.holdout);
    // Even the flattered score loses to the last price.
    assert!(random.holdout.scores.skill < Some(0.0), "{:?}", random.holdout);
}

#[test]
fn returns_are_about_as_good_as_the_last_price_and_intervals_keep_their_word() {
    let minutes = card(&ticks(MINUTES, Span::MINUTE, usize::MAX), Recipe::Returns, Split::Time);
    assert_eq!((minutes.interval.as_str(), minutes.rows.candles), ("15m", 2_968));
    let hours = card(&ticks(HOURS, Span::HOUR, usize::MAX), Recipe::Returns, Split::Time);
    assert_eq!((hours.interval.as_str(), hours.rows.candles), ("1h", 43_789));
    for card in [&minutes, &hours] {
        let skill = card.holdout.scores.skill.expect("the price moves");
        assert!(skill.abs() < 0.01, "{}", card.verdict);
        assert!(card.holdout.scores.r2 > Some(0.98), "what knows the last price explains prices");
        assert_eq!(card.folds.len(), 5);
    }
    let covered = hours.holdout.coverage["90"];
    assert!((0.88..=0.92).contains(&covered), "{:?}", hours.holdout.coverage);
}

#[test]
fn features_of_real_candles_do_not_know_the_future() {
    let candles = fold(&ticks(MINUTES, Span::MINUTE, usize::MAX), &instrument(), Window::QuarterHour);
    assert_eq!(first_leak(&candles, 101, returns_features), None);
}
