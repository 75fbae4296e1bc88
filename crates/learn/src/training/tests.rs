use market::{EventTime, Instrument, Recipe, Span, Window};

use super::*;
use crate::booster::{BaseScore, Boosting};
use crate::candles::Interval;
use crate::prepare::FOLD_ROWS_MIN;

fn config(recipe: Recipe, split: Split) -> LearnConfig {
    LearnConfig {
        instrument: Instrument::new("bitcoin", "usd").expect("valid"),
        recipe,
        interval: Interval::Auto,
        horizon: 1,
        min_coverage: 0.5,
        split,
        holdout: 0.2,
        folds: 3,
        boosting: Boosting {
            rounds_max: 40,
            depth: 3,
            learning_rate: 0.1,
            leaf_rows_min: 10,
            base_score: if recipe == Recipe::Calendar { BaseScore::Mean } else { BaseScore::Zero },
            seed: 42,
            threads: 1,
        },
    }
}

/// A price that rises step by step and swings about the rise, in hourly ticks.
fn hourly(count: i64, close_of: impl Fn(f64) -> f64) -> Vec<Tick> {
    let tick = |idx: i64| {
        let close = close_of(idx as f64);
        let event = EventTime(1_583_020_800_000 + idx * Span::HOUR.ms());
        let bar = Tick::bar(event, Span::HOUR, [close, close * 1.002, close * 0.998, close]);
        Tick { volume: Some(1.0), feed_seq: 1 + idx as u64, ..bar }
    };
    (0..count).map(tick).collect()
}

fn wandering(count: i64) -> Vec<Tick> {
    hourly(count, |idx| 1_000.0 * (0.2 * (idx * 0.13).sin() + 0.1 * (idx * 1.7).sin() + 0.0005 * idx).exp())
}

/// The same with ranges that differ: three times as wide in the afternoon, and never quite equal.
fn stirred(count: i64) -> Vec<Tick> {
    let mut ticks = wandering(count);
    for (idx, tick) in ticks.iter_mut().enumerate() {
        let is_afternoon = (12..18).contains(&tick.event.hour_of_day());
        let reach = 0.002 * (0.5 * hashed(idx as u64)).exp() * if is_afternoon { 3.0 } else { 1.0 };
        (tick.high, tick.low) = (tick.close * (1.0 + reach), tick.close * (1.0 - reach));
    }
    ticks
}

#[test]
fn the_same_ticks_give_the_same_bytes() {
    for (recipe, split) in
        [(Recipe::Returns, Split::Time), (Recipe::Volatility, Split::Time), (Recipe::Calendar, Split::Random)]
    {
        let range = Some(SeqRange { first: 1, last: 900 });
        let [a, b] = [(); 2].map(|()| learn(&stirred(600), range, &config(recipe, split)).expect("learned"));
        assert_eq!(a.model, b.model);
        assert_eq!(a.card.to_json(), b.card.to_json());
        assert_eq!(a.predictions, b.predictions);
        assert_eq!(a.card.model.len(), 16);
    }
}

#[test]
fn a_periodic_price_is_learned_and_the_card_says_so() {
    let learned = learn(&wandering(800), None, &config(Recipe::Returns, Split::Time)).expect("learned");
    let card = &learned.card;
    assert_eq!((card.interval.as_str(), card.split.as_str(), card.horizon), ("1h", "time", 1));
    let skill = card.holdout.scores.skill.expect("the price moves");
    assert!(skill > 0.5, "{skill}");
    assert!(card.verdict.starts_with("The model beats the naive baseline"), "{}", card.verdict);
    assert_eq!(card.folds.len(), 3);
    assert_eq!(card.importance.len(), card.features.len());
    assert!((card.importance.values().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", card.importance);
    assert_eq!(card.rows.train + card.rows.holdout + card.rows.purged, 800 - 24 - 1);
    let fold_rows: usize = card.folds.iter().map(|fold| fold.part.scores.rows).sum();
    assert_eq!(learned.predictions.len(), fold_rows + card.holdout.scores.rows);
    let held_out = learned.predictions.iter().filter(|row| row.fold == Fold::Holdout);
    assert_eq!(held_out.count(), card.rows.holdout);
}

/// The same recipe has a high R2 on a random split and a low one on a split by time.
#[test]
fn a_random_split_flatters_and_is_labeled() {
    let ticks = hourly(1_500, |idx| 1_000.0 + idx + 50.0 * (idx * 0.02).sin());
    let random = learn(&ticks, None, &config(Recipe::Calendar, Split::Random)).expect("learned").card;
    let time = learn(&ticks, None, &config(Recipe::Calendar, Split::Time)).expect("learned").card;
    let r2 = |card: &ModelCard| card.holdout.scores.r2.expect("the price moves");
    assert!(r2(&random) > 0.9 && r2(&time) < 0.0, "{} {}", r2(&random), r2(&time));
    assert_eq!(random.split, "random: leaks the future");
    assert!(random.verdict.starts_with("random: leaks the future"), "{}", random.verdict);
    assert!(random.folds.is_empty());
    assert_eq!(random.interval, "tick");
}

#[test]
fn unpredictable_steps_give_no_skill() {
    let mut price = 1_000.0;
    let mut ticks = hourly(1_200, |_| price);
    for (idx, tick) in ticks.iter_mut().enumerate() {
        price *= 1.0 + 0.01 * (hashed(idx as u64) - 0.5);
        (tick.open, tick.high, tick.low, tick.close) = (price, price, price, price);
    }
    let card = learn(&ticks, None, &config(Recipe::Returns, Split::Time)).expect("learned").card;
    let skill = card.holdout.scores.skill.expect("the price moves");
    assert!(skill.abs() < 0.03, "{skill}");
}

/// Returns a number in 0..1 that looks random: the finalizer of MurmurHash3.
fn hashed(number: u64) -> f64 {
    let mut hash = number + 1;
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    ((hash ^ (hash >> 33)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[test]
fn intervals_cover_about_as_often_as_they_say() {
    let learned = learn(&wandering(2_000), None, &config(Recipe::Returns, Split::Time)).expect("learned");
    for (level, covered) in &learned.card.holdout.coverage {
        let nominal: f64 = level.parse::<f64>().expect("a number") / 100.0;
        assert!((covered - nominal).abs() < 0.15, "{level}: {covered}");
    }
}

#[test]
fn too_few_data_are_refused_by_their_own_errors() {
    let returns = config(Recipe::Returns, Split::Time);
    for count in [0, 1, 10, 100] {
        let error = learn(&wandering(count), None, &returns).err().expect("too few");
        assert!(error.is_not_enough_data(), "{count}: {error}");
    }
    let still = learn(&hourly(500, |_| 100.0), None, &returns).err().expect("constant");
    assert!(matches!(still, LearnError::Constant { .. }), "{still}");
    let minutes = LearnConfig { interval: Interval::Fixed(Window::Minute), ..returns };
    let coarse = learn(&wandering(500), None, &minutes).err().expect("hours are no minutes");
    assert!(matches!(coarse, LearnError::TooCoarse { .. }) && !coarse.is_not_enough_data(), "{coarse}");
}

/// Ranges that depend on the hour are learned; a constant range is refused.
#[test]
fn ranges_that_follow_the_clock_are_learned() {
    let volatility = config(Recipe::Volatility, Split::Time);
    let still = learn(&wandering(1_200), None, &volatility).err().expect("every candle is as wide as the others");
    assert!(matches!(still, LearnError::Constant { what: "range does not change", .. }), "{still}");
    let mut ticks = stirred(1_200);
    // A candle without any movement is no problem.
    (ticks[700].high, ticks[700].low) = (ticks[700].close, ticks[700].close);
    let learned = learn(&ticks, None, &volatility).expect("learned");
    let card = learned.card;
    assert!(card.holdout.scores.skill > Some(0.3), "{}", card.verdict);
    assert!(card.verdict.contains(&format!("of the {}", card.baseline.words(Recipe::Volatility))), "{}", card.verdict);
    assert_eq!(card.holdout.scores.r2_return, None);
    assert!(learned.predictions.iter().all(|row| row.close < 0.1 && row.baseline < 0.1 && row.prediction > 0.0));
    assert!(card.holdout.width["50"] < card.holdout.width["95"]);
}

#[test]
fn the_baseline_is_chosen_without_the_rows_that_are_scored() {
    // Ranges that jump up and down, until the last third, where they change slowly: the best baseline there is the
    // worst before.
    let mut ticks = wandering(900);
    for (idx, tick) in ticks.iter_mut().enumerate() {
        let jumps = if idx % 2 == 0 { 0.002 } else { 0.02 };
        let reach = if idx < 700 { jumps } else { 0.01 * (1.5 + (idx as f64 * 0.05).sin()) };
        (tick.high, tick.low) = (tick.close * (1.0 + reach), tick.close * (1.0 - reach));
    }
    let volatility = LearnConfig { holdout: 0.15, ..config(Recipe::Volatility, Split::Time) };
    let learned = learn(&ticks, None, &volatility).expect("learned");
    let scores = learned.card.holdout.scores;
    let held_out: Vec<_> = learned.predictions.iter().filter(|row| row.fold == Fold::Holdout).collect();
    let last_rmse = {
        let squares = held_out.windows(2).map(|pair| (pair[1].close - pair[0].close).powi(2));
        (squares.sum::<f64>() / (held_out.len() - 1) as f64).sqrt()
    };
    assert!(last_rmse < scores.baseline_rmse, "the last value would be better: {last_rmse} {scores:?}");
    assert_ne!(learned.card.baseline.to_string(), "last");
}

#[test]
fn few_rows_have_few_folds_and_all_of_them_are_scored() {
    let learned = learn(&wandering(130), None, &config(Recipe::Returns, Split::Time)).expect("learned");
    assert!(learned.card.folds.len() < 3);
    assert!(learned.card.folds.iter().all(|fold| fold.part.scores.rows >= FOLD_ROWS_MIN));
}

#[test]
fn each_fold_and_then_the_model_are_reported() {
    let mut told = Vec::new();
    let config = config(Recipe::Returns, Split::Time);
    learn_against(&wandering(400), None, &config, None, |step| told.push(step)).expect("learned");
    let folds = (1..=3).map(|number| Stage::Fold { number, of: 3 });
    assert_eq!(told, folds.chain([Stage::Model { folds: 3 }]).collect::<Vec<_>>());
}
