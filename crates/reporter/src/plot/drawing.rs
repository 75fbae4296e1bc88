//! Composition of `output_plot.png`, as a pure function from rows to pixels.
//!
//! A forecast of the next close looks right on any plot, because the last price does too. So there are three panels:
//! all predictions on one time axis, the last rows one by one with the baseline of each, and the model's gain over the
//! naive baseline. Start reading at [`draw`].

use store::model_card::ModelCard;
use store::predictions::Prediction;

use super::canvas::{Anchor, Canvas, Image, SCALE, TextStyle};
use super::frame::Area;
use super::layout::{HEIGHT, MARGIN, OVERVIEW_TOP, WIDTH};
use super::theme::{BACKGROUND, INK, MUTED};
use super::{last_rows, overview, skill_panel, title};

/// Draws predictions, in any order. `card` is the model card of their training.
pub fn draw(card: &ModelCard, predictions: &[Prediction]) -> Image {
    draw_at(SCALE, card, predictions)
}

fn draw_at(scale: u32, card: &ModelCard, predictions: &[Prediction]) -> Image {
    compose(scale, card, predictions).finish()
}

fn compose(scale: u32, card: &ModelCard, predictions: &[Prediction]) -> Canvas {
    let mut canvas = Canvas::new((WIDTH, HEIGHT), scale, BACKGROUND);
    let mut rows: Vec<&Prediction> = predictions.iter().collect();
    rows.sort_by_key(|row| row.timestamp);
    let unseen: Vec<&Prediction> = rows.iter().copied().filter(|row| row.fold.is_held_out()).collect();
    title::draw(&mut canvas, card);
    let right = f64::from(WIDTH) - MARGIN;
    let bottom = f64::from(HEIGHT) - 70.0;
    overview::draw(&mut canvas, Area { left: MARGIN, top: OVERVIEW_TOP, right, bottom: 560.0 }, card, &rows);
    last_rows::draw(&mut canvas, Area { left: MARGIN, top: 614.0, right: 1_010.0, bottom }, card, &unseen);
    skill_panel::draw(&mut canvas, Area { left: 1_064.0, top: 614.0, right, bottom }, card, &unseen);
    title::footer(&mut canvas, card, rows.len(), unseen.len());
    canvas
}

/// Draws the plot of an empty file of predictions.
pub fn no_data() -> Image {
    let mut canvas = Canvas::new((WIDTH, HEIGHT), 1, BACKGROUND);
    let middle = (f64::from(WIDTH) / 2.0, f64::from(HEIGHT) / 2.0);
    canvas.text(middle, "no data", TextStyle::new(44.0, INK).bold().anchored(Anchor::Middle));
    let style = TextStyle::new(20.0, MUTED).anchored(Anchor::Middle);
    canvas.text((middle.0, middle.1 + 38.0), "the file of predictions holds no row", style);
    canvas.finish()
}

#[cfg(test)]
mod tests {
    use market::EventTime;
    use market::band::Band;
    use plotters::style::RGBColor;
    use proptest::prelude::*;
    use store::predictions::Fold;

    use super::super::theme;
    use super::*;

    /// Returns a card as the trainer writes it, with the given split and number of holdout rows.
    fn card(split: &str, rows: usize) -> ModelCard {
        let scores = serde_json::json!({
            "rows": rows, "r2": 0.5, "rmse": 1.0, "mae": 1.0, "baseline_rmse": 2.0, "baseline_mae": 2.0, "skill": 0.5,
            "coverage": {"90": 0.91}, "width": {"90": 5.0}, "width_relative": {"90": 0.05}, "unlike_training": 0,
        });
        serde_json::from_value(serde_json::json!({
            "model": "4be1c1f02b6f2a07", "coin": "bitcoin", "quote": "usdt", "recipe": "returns", "interval": "15m",
            "horizon": 1, "baseline": "last", "split": split, "threads": 2, "seed": 42, "features": [], "verdict": "it does",
            "parameters": {"rounds": 7, "rounds_max": 9, "depth": 3, "learning_rate": 0.05, "leaf_rows_min": 20,
                "objective": "reg:squarederror", "tree_method": "hist", "holdout": 0.2},
            "time": {"first_ms": 1, "last_ms": 2, "holdout_from_ms": 2},
            "rows": {"ticks": 9, "candles": 9, "train": 5, "holdout": rows, "purged": 1,
                "skipped": store::model_card::Skipped::default()},
            "versions": {"candlewire": "0.1.0", "xgboost": "3.4.1", "card": 1},
            "holdout": scores, "folds": [], "duration_ms": 1,
        }))
        .expect("a card")
    }

    fn row(minute: i64, close: f64, fold: Fold) -> Prediction {
        let band = Some(Band { lower: close - 2.0, upper: close + 3.0 });
        let timestamp = EventTime(1_583_020_800_000 + minute * 60_000);
        Prediction { timestamp, close, prediction: close + 0.8, baseline: close - 1.0, bands: [band; 4], fold }
    }

    fn rows(count: i64, fold: Fold) -> Vec<Prediction> {
        (0..count).map(|minute| row(minute, 100.0 + (minute % 7) as f64, fold)).collect()
    }

    /// Draws without smoothing, which takes most of the time and does not matter for the tests.
    fn unsmoothed(card: &ModelCard, predictions: &[Prediction]) -> Image {
        draw_at(1, card, predictions)
    }

    fn count(image: &Image, color: RGBColor) -> usize {
        image.pixels.chunks_exact(3).filter(|pixel| **pixel == [color.0, color.1, color.2]).count()
    }

    #[test]
    fn a_picture_shows_prediction_actual_baseline_and_interval() {
        let image = draw(&card("time", 40), &[rows(60, Fold::Validation(1)), rows(40, Fold::Holdout)].concat());
        assert_eq!((image.width, image.height, image.pixels.len()), (WIDTH, HEIGHT, (WIDTH * HEIGHT * 3) as usize));
        for color in [theme::MODEL, theme::INK, theme::BASELINE, theme::BAND, theme::HOLDOUT] {
            assert!(count(&image, color) > 100, "{color:?}");
        }
        assert_eq!(count(&image, theme::WARNING), 0);
    }

    #[test]
    fn a_random_split_has_the_warning_color() {
        let image = unsmoothed(&card("random: leaks the future", 40), &rows(40, Fold::Test));
        assert!(count(&image, theme::WARNING) > 100);
        assert_eq!(count(&image, theme::HOLDOUT), 0);
    }

    #[test]
    fn order_of_rows_does_not_matter() {
        let forward = rows(30, Fold::Holdout);
        let backward: Vec<_> = forward.iter().rev().cloned().collect();
        assert!(unsmoothed(&card("time", 30), &forward) == unsmoothed(&card("time", 30), &backward));
    }

    #[test]
    fn unusual_data_is_drawn() {
        let still = |count| {
            vec![Prediction { prediction: 5.0, baseline: 5.0, bands: [None; 4], ..row(0, 5.0, Fold::Holdout) }; count]
        };
        for rows in [still(1), still(2), rows(1, Fold::Validation(1)), rows(3, Fold::Test)] {
            let image = unsmoothed(&card("time", 1), &rows);
            assert!(count(&image, theme::INK) > 100, "{rows:?}");
        }
    }

    #[test]
    fn no_data_is_drawn_as_text_and_encoded_as_png() {
        let image = no_data();
        assert!(count(&image, theme::INK) > 100);
        let png = image.to_png().expect("encoded");
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("pixels");
        assert!(pixels == image.pixels);
    }

    #[test]
    fn the_saved_error_ends_at_one_minus_the_ratio() {
        let rows = [row(0, 10.0, Fold::Holdout), row(1, 12.0, Fold::Holdout)];
        let rows: Vec<&Prediction> = rows.iter().collect();
        // Squared errors of the model are 0.64 each, of the baseline 1 each: each row saves 18 %.
        let saved = skill_panel::saved(&rows).expect("the price moved");
        assert!((saved[0] - 18.0).abs() < 1e-9 && (saved[1] - 36.0).abs() < 1e-9, "{saved:?}");
    }

    /// Returns rows around a price that move by a share of it, of which the last `unseen` are holdout rows.
    fn rows_around(price: f64, width: f64, count: i64, unseen: i64) -> Vec<Prediction> {
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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Holds for any prices and any begin of the holdout.
        #[test]
        fn every_text_is_inside_and_none_covers_another(
            size in -15.0..15.0_f64, width in -9.0..-0.4_f64, count in 2_i64..400, unseen in 0.0..=1.0_f64,
        ) {
            let unseen = (count as f64 * unseen).ceil() as i64;
            let mut card = card("time", unseen as usize);
            let scores = &mut card.holdout.scores;
            (scores.rmse, scores.baseline_rmse) = (10_f64.powf(size + width), 10_f64.powf(size));
            let texts = compose(1, &card, &rows_around(10_f64.powf(size), 10_f64.powf(width), count, unseen)).texts();
            for (idx, (text, [left, right], base)) in texts.iter().enumerate() {
                prop_assert!(*left >= 0.0 && *right <= f64::from(WIDTH), "{text} from {left} to {right}");
                for (other, [from, to], beside) in &texts[..idx] {
                    let is_apart = right < from || to < left || (base - beside).abs() >= 12.0;
                    prop_assert!(is_apart, "{text} and {other} from {left} to {right}");
                }
            }
            let names = texts.iter().filter(|(text, ..)| text.starts_with("holdout starts"));
            prop_assert_eq!(names.count(), usize::from(unseen > 0));
        }
    }
}
