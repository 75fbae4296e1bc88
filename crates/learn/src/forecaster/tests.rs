use market::{Candle, Instrument, Span, Tick};

use super::*;
use crate::booster::{BaseScore, Boosting, LabeledRows};
use crate::candles::fold;
use crate::fit::{FitConfig, fit};
use crate::lookback::feature_rows;
use crate::row_spec::RowSpec;
use crate::split::Split;

const BOOSTING: Boosting = Boosting {
    rounds_max: 30,
    depth: 3,
    learning_rate: 0.1,
    leaf_rows_min: 10,
    base_score: BaseScore::Zero,
    seed: 42,
    threads: 1,
};

/// Hours whose price and range wander.
fn candles(count: i64) -> Vec<Candle> {
    let tick = |idx: i64| {
        let at = idx as f64;
        let close = 1_000.0 * (0.2 * (at * 0.13).sin() + 0.1 * (at * 1.7).sin()).exp();
        let reach = 0.01 * (0.7 * (at * 0.4).cos() + 0.3 * (at * 2.9).sin()).exp();
        let event = EventTime(1_583_020_800_000 + idx * Span::HOUR.ms());
        let bar = Tick::bar(event, Span::HOUR, [close, close * (1.0 + reach), close * (1.0 - reach), close]);
        Tick { volume: Some(1.0 + (idx % 5) as f64), ..bar }
    };
    let ticks: Vec<_> = (0..count).map(tick).collect();
    fold(&ticks, &Instrument::new("bitcoin", "usd").expect("valid"), Window::Hour).candles
}

fn spec(recipe: Recipe, horizon: usize) -> RowSpec {
    RowSpec { recipe, horizon, min_coverage: 0.5 }
}

fn trained(recipe: Recipe, horizon: usize, dataset: &Dataset) -> Forecaster {
    let train: Vec<usize> = (0..dataset.rows.len() / 2).collect();
    let interval = Some(Window::Hour);
    let fit_config =
        FitConfig { interval, horizon, min_coverage: Some(0.5), origin: None, split: Split::Time, boosting: BOOSTING };
    let forecaster = fit(dataset, &train, &fit_config).expect("a model").forecaster;
    assert_eq!(forecaster.recipe(), recipe);
    forecaster
}

#[test]
fn a_loaded_model_predicts_live_as_in_scoring() {
    let candles = candles(500);
    for (recipe, horizon) in [(Recipe::Returns, 1), (Recipe::Volatility, 1), (Recipe::Volatility, 5)] {
        let dataset = Dataset::from_candles(spec(recipe, horizon), &candles);
        let all: Vec<usize> = (0..dataset.rows.len()).collect();
        let trained = trained(recipe, horizon, &dataset);
        let bytes = trained.to_bytes().expect("bytes");
        let loaded = Forecaster::load(&bytes, 1).expect("a model");
        assert_eq!((loaded.interval(), loaded.horizon()), (Some(Window::Hour), horizon));
        assert_eq!(loaded.min_coverage(), Some(0.5));
        assert_eq!((loaded.baseline(), loaded.calibration()), (trained.baseline(), trained.calibration()));
        assert!(loaded.calibration().rows() > 30 && loaded.to_bytes().expect("bytes") == bytes);
        let scored = trained.predict_rows(&dataset, &all).expect("predictions");
        for known in feature_rows(spec(recipe, horizon), &candles) {
            let Some(row) = dataset.rows.iter().position(|row| row.made == known.at) else { continue };
            assert_eq!(loaded.predict(&known).expect("a prediction"), scored[row], "{recipe} {}", known.at);
        }
        let half = all.len() / 2;
        assert_eq!(
            loaded.evaluate(&dataset, &all[half..]).expect("scores"),
            trained.evaluate(&dataset, &all[half..]).expect("scores")
        );
        assert_eq!(loaded.evaluate(&dataset, &[]).expect("no scores"), None);
    }
}

#[test]
fn features_unlike_the_training_are_marked() {
    let dataset = Dataset::from_candles(spec(Recipe::Volatility, 1), &candles(500));
    let forecaster = trained(Recipe::Volatility, 1, &dataset);
    let train: Vec<usize> = (0..dataset.rows.len() / 2).collect();
    let alike = forecaster.predict_rows(&dataset, &train).expect("predictions");
    assert!(alike.iter().all(|row| !row.is_unlike), "rows that were learned from");
    let mut known = feature_rows(spec(Recipe::Volatility, 1), &candles(60)).pop().expect("known");
    let is_unlike = |known: &FeatureRow| forecaster.predict(known).expect("a prediction").is_unlike;
    assert!(!is_unlike(&known));
    known.features[0] = 2.9;
    assert!(is_unlike(&known), "a range as never before");
    // The volume was never missing in training.
    known.features[0] = 0.0;
    known.features[14] = f32::NAN;
    assert!(is_unlike(&known), "missing as never before");
}

/// Returns the error of loading a model whose metadata was changed.
fn load_changed(change: impl Fn(&mut serde_json::Value)) -> ForecasterError {
    let dataset = Dataset::from_candles(spec(Recipe::Returns, 1), &candles(200));
    let mut model = trained(Recipe::Returns, 1, &dataset).model.into_inner().expect("no panic");
    let mut metadata =
        serde_json::from_str(&model.metadata(METADATA_KEY).expect("readable").expect("metadata")).expect("json");
    change(&mut metadata);
    model
        .set_metadata(METADATA_KEY, &metadata.to_string(), crate::features::columns(Recipe::Returns))
        .expect("written");
    Forecaster::load(&model.to_bytes().expect("bytes"), 1).err().expect("refused")
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_advice() {
    let dataset = Dataset::from_candles(spec(Recipe::Returns, 1), &candles(200));
    let bytes = trained(Recipe::Returns, 1, &dataset).to_bytes().expect("bytes");
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        let error = Forecaster::load(&bytes[..cut], 1).err().expect("cut short");
        assert!(error.to_string().contains("damaged or cut short"), "{cut}: {error}");
    }
    let table = LabeledRows { features: &dataset.features, labels: &vec![1.0; dataset.rows.len()] };
    let foreign = crate::booster::Model::fit(table, &BOOSTING, 1).and_then(|model| model.to_bytes()).expect("bytes");
    let error = Forecaster::load(&foreign, 1).err().expect("refused");
    assert!(matches!(error, ForecasterError::Foreign), "{error}");
    let error = load_changed(|metadata| metadata["format"] = 99.into());
    assert!(matches!(error, ForecasterError::OtherFormat { found: 99 }), "{error}");
    let error = load_changed(|metadata| metadata["format"] = 1.into());
    assert!(error.to_string().contains("what coverage candles need: train a new model"), "{error}");
    let error = load_changed(|metadata| metadata["features"][3] = "moon_phase".into());
    assert!(error.to_string().contains("moon_phase") && error.to_string().contains("train a new model"), "{error}");
    let error = load_changed(|metadata| metadata["recipe"] = "astrology".into());
    assert!(matches!(error, ForecasterError::OtherFeatures { .. }), "{error}");
}
