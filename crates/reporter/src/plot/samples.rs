//! Cards and rows for tests of drawing.

use market::band::Band;
use market::{Candle, EventTime, Span, Window};
use plotters::style::RGBColor;
use resvg::usvg::{Group, Node, Options, Rect, Tree};
use store::model_card::ModelCard;
use store::predictions::{Fold, Prediction};

use super::fonts;
use super::picture::Picture;

/// Returns a card as the trainer writes it, with the given split and number of holdout rows.
pub(crate) fn card(split: &str, rows: usize) -> ModelCard {
    let scores = serde_json::json!({
        "rows": rows, "r2": 0.5, "rmse": 1.0, "mae": 1.0, "baseline_rmse": 2.0, "baseline_mae": 2.0, "skill": 0.5,
        "diebold_mariano": {"statistic": 2.0, "p": 0.0226}, "coverage": {"50": 0.47, "80": 0.81, "90": 0.91, "95": 0.94},
        "width": {"50": 2.0, "80": 4.0, "90": 5.0, "95": 6.5},
        "width_relative": {"50": 0.02, "80": 0.04, "90": 0.05, "95": 0.065}, "unlike_training": 0,
    });
    let fold = |number: i64| {
        let mut fold = scores.clone();
        let more = serde_json::json!({"fold": number, "train_rows": 40 * number, "rounds": 7, "baseline": "last",
            "from_ms": 1_583_020_800_000_i64 + number * 600_000, "to_ms": 1_583_020_800_000_i64 + (number + 1) * 600_000});
        fold.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        fold
    };
    serde_json::from_value(serde_json::json!({
        "model": "4be1c1f02b6f2a07", "coin": "bitcoin", "quote": "usdt", "recipe": "returns", "interval": "15m",
        "horizon": 1, "baseline": "last", "split": split, "threads": 2, "seed": 42,
        "features": ["return_1", "range_4"], "importance": {"return_1": 0.75, "range_4": 0.25}, "verdict": "it does",
        "parameters": {"rounds": 7, "rounds_max": 9, "depth": 3, "learning_rate": 0.05, "leaf_rows_min": 20,
            "objective": "reg:squarederror", "tree_method": "hist", "holdout": 0.2},
        "time": {"first_ms": 1_583_020_800_000_i64, "last_ms": 1_583_026_800_000_i64,
            "holdout_from_ms": 1_583_024_400_000_i64},
        "rows": {"ticks": 9, "candles": 9, "train": 5, "holdout": rows, "purged": 1,
            "skipped": store::model_card::Skipped::default()},
        "versions": {"candlewire": "0.1.0", "xgboost": "3.4.1", "card": 4},
        "holdout": scores, "folds": [fold(1), fold(2)], "duration_ms": 1,
    }))
    .expect("a card")
}

pub(crate) fn row(minute: i64, close: f64, fold: Fold) -> Prediction {
    let band = Some(Band { lower: close - 2.0, upper: close + 3.0 });
    let timestamp = EventTime(1_583_020_800_000 + minute * 60_000);
    Prediction { timestamp, close, prediction: close + 0.8, baseline: close - 1.0, bands: [band; 4], fold }
}

pub(crate) fn rows(count: i64, fold: Fold) -> Vec<Prediction> {
    (0..count).map(|minute| row(minute, 100.0 + (minute % 7) as f64, fold)).collect()
}

/// Returns rows around a price that move by a share of it, of which the last `unseen` are holdout rows.
pub(crate) fn rows_around(price: f64, width: f64, count: i64, unseen: i64) -> Vec<Prediction> {
    let row = |minute: i64| {
        let close = price * (1.0 + width * (minute as f64 / 5.0).sin());
        let band = Some(Band { lower: close * (1.0 - width), upper: close * (1.0 + width) });
        let fold = match count - minute {
            left if left <= unseen => Fold::Holdout,
            _ => Fold::Validation(1 + (minute * 5 / count) as usize),
        };
        Prediction {
            prediction: close * (1.0 + width / 9.0),
            baseline: price,
            bands: [band; 4],
            ..row(minute, close, fold)
        }
    };
    (0..count).map(row).collect()
}

/// Returns a candle of bitcoin/usdt that begins at a time and closes at a price, above its open.
pub(crate) fn candle(window: Window, start: i64, close: f64) -> Candle {
    Candle {
        coin: "bitcoin".into(),
        quote: "usdt".into(),
        window,
        start: EventTime(start),
        end: window.end(EventTime(start)),
        open: close * 0.99,
        high: close * 1.02,
        low: close * 0.98,
        close,
        average: close,
        volume: Some(close / 7.0),
        volume_count: None,
        quote_volume: None,
        count: 60,
        filled: 0,
        coverage: 1.0,
        grain: Some(Span::MINUTE),
        revision: 1,
        is_final: true,
        first_seq: 0,
        last_seq: 0,
    }
}

/// Counts the pixels of a color in the PNG of a picture.
pub(crate) fn pixels_of(picture: &Picture, color: RGBColor) -> usize {
    let pixels = picture.to_pixels().expect("drawn");
    let is_of = |pixel: &&[u8]| **pixel == [color.0, color.1, color.2, 255];
    pixels.data().chunks_exact(4).filter(is_of).count()
}

/// Returns every text of an SVG document with its box, as a renderer lays it out.
pub(crate) fn texts_of(svg: &str) -> Vec<(String, Rect)> {
    fn collect(group: &Group, texts: &mut Vec<(String, Rect)>) {
        for node in group.children() {
            match node {
                Node::Group(group) => collect(group, texts),
                Node::Text(text) => {
                    let words = text.chunks().iter().map(|chunk| chunk.text().trim()).collect();
                    texts.push((words, text.abs_bounding_box()));
                }
                Node::Path(_) | Node::Image(_) => {}
            }
        }
    }
    let options = Options { fontdb: fonts::database(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).expect("well-formed SVG");
    let mut texts = Vec::new();
    collect(tree.root(), &mut texts);
    texts
}
