//! Composition of the overview, `output_plot.png`, as a pure function from rows to a picture.
//!
//! A forecast of the next close looks right on any plot, because the last price does too. So there are three panels:
//! all predictions on one time axis, the last rows one by one with the baseline of each, and the model's gain over the
//! naive baseline. Start reading at [`draw`].

use store::model_card::ModelCard;
use store::predictions::Prediction;

use super::canvas::Canvas;
use super::frame::Area;
use super::layout::{Format, HEIGHT, MARGIN, OVERVIEW_TOP, WIDTH};
use super::picture::Picture;
use super::text::{Anchor, TextStyle};
use super::theme::{BACKGROUND, INK, MUTED};
use super::{labels, last_rows, overview, skill_panel, title};

/// Draws predictions, in any order. `card` is the model card of their training.
pub(super) fn draw(card: &ModelCard, predictions: &[Prediction], format: Format) -> Picture {
    let instrument = labels::instrument(card);
    let title = format!("Predictions of {instrument} beside actual values, intervals and baseline. {}", card.verdict);
    compose(card, predictions, format).finish(title)
}

pub(super) fn compose(card: &ModelCard, predictions: &[Prediction], format: Format) -> Canvas {
    let mut rows: Vec<&Prediction> = predictions.iter().collect();
    rows.sort_by_key(|row| row.timestamp);
    let unseen: Vec<&Prediction> = rows.iter().copied().filter(|row| row.fold.is_held_out()).collect();
    match format {
        Format::Wide => compose_wide(card, &rows, &unseen),
        Format::Narrow => compose_narrow(card, &rows, &unseen),
    }
}

fn compose_wide(card: &ModelCard, rows: &[&Prediction], unseen: &[&Prediction]) -> Canvas {
    let mut canvas = Canvas::new((WIDTH, HEIGHT), BACKGROUND);
    title::draw(&mut canvas, card);
    let right = f64::from(WIDTH) - MARGIN;
    let bottom = f64::from(HEIGHT) - 70.0;
    overview::draw(&mut canvas, Area { left: MARGIN, top: OVERVIEW_TOP, right, bottom: 560.0 }, card, rows);
    last_rows::draw(&mut canvas, Area { left: MARGIN, top: 614.0, right: 1_010.0, bottom }, card, unseen);
    skill_panel::draw(&mut canvas, Area { left: 1_064.0, top: 614.0, right, bottom }, card, unseen);
    title::footer(&mut canvas, card, rows.len(), unseen.len());
    canvas
}

/// Height of a panel of the narrow overview, with its title and without the labels below it.
const PANEL_HEIGHT: f64 = 290.0;
/// Distance of two panels of the narrow overview.
const PANEL_GAP: f64 = 76.0;

fn compose_narrow(card: &ModelCard, rows: &[&Prediction], unseen: &[&Prediction]) -> Canvas {
    let format = Format::Narrow;
    let mut canvas = Canvas::new((format.width(), 0), BACKGROUND);
    let (left, right) = (format.margin(), f64::from(format.width()) - format.margin());
    let mut top = title::draw_narrow(&mut canvas, card) + PANEL_GAP - 56.0;
    for (panel, rows) in [overview::draw, last_rows::draw, skill_panel::draw].into_iter().zip([rows, unseen, unseen]) {
        panel(&mut canvas, Area { left, top, right, bottom: top + PANEL_HEIGHT }, card, rows);
        top += PANEL_HEIGHT + PANEL_GAP;
    }
    let bottom = title::footer_narrow(&mut canvas, card, (rows.len(), unseen.len()), top - 36.0);
    canvas.end_at(bottom);
    canvas
}

/// Draws the plot of an empty file of predictions.
pub(super) fn no_data() -> Picture {
    let mut canvas = Canvas::new((WIDTH, HEIGHT), BACKGROUND);
    let middle = (f64::from(WIDTH) / 2.0, f64::from(HEIGHT) / 2.0);
    canvas.text(middle, "no data", TextStyle::new(44.0, INK).bold().anchored(Anchor::Middle));
    let style = TextStyle::new(20.0, MUTED).anchored(Anchor::Middle);
    canvas.text((middle.0, middle.1 + 38.0), "the file of predictions holds no row", style);
    canvas.finish("No data: the file of predictions holds no row")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use store::predictions::Fold;

    use super::super::samples::{card, pixels_of, row, rows, rows_around};
    use super::super::theme;
    use super::*;

    fn wide(card: &ModelCard, predictions: &[Prediction]) -> Picture {
        draw(card, predictions, Format::Wide)
    }

    #[test]
    fn a_picture_shows_prediction_actual_baseline_and_interval() {
        let rows = [rows(60, Fold::Validation(1)), rows(40, Fold::Holdout)].concat();
        let picture = wide(&card("time", 40), &rows);
        assert_eq!((picture.width(), picture.height()), (WIDTH, HEIGHT));
        for picture in [picture, draw(&card("time", 40), &rows, Format::Narrow)] {
            for color in [theme::MODEL, theme::INK, theme::BASELINE, theme::BAND, theme::HOLDOUT] {
                assert!(pixels_of(&picture, color) > 100, "{color:?}");
            }
            assert_eq!(pixels_of(&picture, theme::WARNING), 0);
        }
    }

    #[test]
    fn a_random_split_has_the_warning_color() {
        for format in [Format::Wide, Format::Narrow] {
            let picture = draw(&card("random: leaks the future", 40), &rows(40, Fold::Test), format);
            assert!(pixels_of(&picture, theme::WARNING) > 100);
            assert_eq!(pixels_of(&picture, theme::HOLDOUT), 0);
        }
    }

    #[test]
    fn order_of_rows_does_not_matter() {
        let forward = rows(30, Fold::Holdout);
        let backward: Vec<_> = forward.iter().rev().cloned().collect();
        assert!(wide(&card("time", 30), &forward) == wide(&card("time", 30), &backward));
    }

    #[test]
    fn unusual_data_is_drawn() {
        let still = |count| {
            vec![Prediction { prediction: 5.0, baseline: 5.0, bands: [None; 4], ..row(0, 5.0, Fold::Holdout) }; count]
        };
        for rows in [still(1), still(2), rows(1, Fold::Validation(1)), rows(3, Fold::Test)] {
            for format in [Format::Wide, Format::Narrow] {
                let picture = draw(&card("time", 1), &rows, format);
                assert!(pixels_of(&picture, theme::INK) > 100, "{rows:?}");
            }
        }
    }

    #[test]
    fn no_data_is_drawn_as_text() {
        assert!(pixels_of(&no_data(), theme::INK) > 100);
    }

    #[test]
    fn the_saved_error_ends_at_one_minus_the_ratio() {
        let rows = [row(0, 10.0, Fold::Holdout), row(1, 12.0, Fold::Holdout)];
        let rows: Vec<&Prediction> = rows.iter().collect();
        // Squared errors of the model are 0.64 each, of the baseline 1 each: each row saves 18 %.
        let saved = skill_panel::saved(&rows).expect("the price moved");
        assert!((saved[0] - 18.0).abs() < 1e-9 && (saved[1] - 36.0).abs() < 1e-9, "{saved:?}");
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
            let rows = rows_around(10_f64.powf(size), 10_f64.powf(width), count, unseen);
            for format in [Format::Wide, Format::Narrow] {
                let canvas = compose(&card, &rows, format);
                let texts = canvas.texts();
                for (idx, (text, [left, right], base)) in texts.iter().enumerate() {
                    prop_assert!(*left >= 0.0 && *right <= canvas.size().0, "{text} from {left} to {right}");
                    prop_assert!(*base >= 0.0 && *base <= canvas.size().1, "{text} at {base}");
                    for (other, [from, to], beside) in &texts[..idx] {
                        let is_apart = right < from || to < left || (base - beside).abs() >= 12.0;
                        prop_assert!(is_apart, "{text} and {other} from {left} to {right}");
                    }
                }
                let names = texts.iter().filter(|(text, ..)| text.starts_with("holdout"));
                prop_assert_eq!(names.count(), usize::from(unseen > 0));
            }
        }
    }
}
