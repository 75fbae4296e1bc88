//! The material of the pictures of one model, and the kinds of pictures.

use market::Candle;
use store::model_card::ModelCard;
use store::predictions::Prediction;

use super::layout::Format;
use super::picture::Picture;
use super::scored_days::ScoredDay;
use super::{calibration, candlesticks, drawing, importance, residuals, skill_over_time};

/// A kind of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum PlotKind {
    /// Predictions beside actual values, intervals and baseline
    Overview,
    /// The newest candles with their volumes
    Candles,
    /// Errors of the predictions over time, and how often each size occurs
    Residuals,
    /// How often the intervals held the actual value, against how often they should
    Calibration,
    /// Share of each feature in what the trees have learned
    Importance,
    /// Skill of each fold, of the holdout and of the scored forecasts, by time
    Skill,
}

impl PlotKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Overview, Self::Candles, Self::Residuals, Self::Calibration, Self::Importance, Self::Skill];

    /// Returns the name in flags and addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Candles => "candles",
            Self::Residuals => "residuals",
            Self::Calibration => "calibration",
            Self::Importance => "importance",
            Self::Skill => "skill",
        }
    }
}

/// The material of the pictures of one model.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The model card.
    pub(crate) card: ModelCard,
    /// The predictions of the same training.
    pub(crate) predictions: Vec<Prediction>,
    /// Candles of one window, oldest first; may be empty.
    pub(crate) candles: Vec<Candle>,
    /// Scored forecasts of the recipe by day, oldest first; empty without forecasts.
    pub(crate) scored: Vec<ScoredDay>,
}

impl Subject {
    /// Draws a picture of a kind.
    pub(crate) fn draw(&self, kind: PlotKind, format: Format) -> Picture {
        let Self { card, predictions, candles, scored } = self;
        match kind {
            PlotKind::Overview => drawing::draw(card, predictions, format),
            PlotKind::Candles => candlesticks::draw(candles, format),
            PlotKind::Residuals => residuals::draw(card, predictions, format),
            PlotKind::Calibration => calibration::draw(card, scored, format),
            PlotKind::Importance => importance::draw(card, format),
            PlotKind::Skill => skill_over_time::draw(card, scored, format),
        }
    }

    /// Whether there is anything to draw for a kind.
    pub(crate) fn has(&self, kind: PlotKind) -> bool {
        match kind {
            PlotKind::Candles => !self.candles.is_empty(),
            PlotKind::Importance => !self.card.importance.is_empty(),
            PlotKind::Calibration => !self.card.holdout.coverage.is_empty(),
            PlotKind::Overview | PlotKind::Residuals | PlotKind::Skill => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use market::{EventTime, Window};
    use plotters::style::RGBColor;
    use proptest::prelude::*;
    use store::predictions::Fold;

    use super::super::samples::{candle, card, row, rows, texts_of};
    use super::super::theme;
    use super::*;

    const DAY_MS: i64 = 86_400_000;
    const FORMATS: [Format; 2] = [Format::Wide, Format::Narrow];

    fn subject() -> Subject {
        let day = |day: i64, inside| {
            let (from_ms, to_ms) = (1_583_107_200_000 + day * DAY_MS, 1_583_193_600_000 + day * DAY_MS);
            ScoredDay { from_ms, to_ms, rows: 96, squares: 90.0, baseline_squares: 100.0, inside: [(inside, 96); 4] }
        };
        let hour = |hour: i64| {
            let rising = candle(Window::Hour, 1_583_020_800_000 + hour * 3_600_000, 100.0 + (hour % 9) as f64);
            let coverage = if hour % 20 == 0 { 0.4 } else { 1.0 };
            if hour % 3 == 0 { Candle { open: rising.close * 1.01, coverage, ..rising } } else { rising }
        };
        Subject {
            card: card("time", 40),
            predictions: [rows(60, Fold::Validation(1)), rows(40, Fold::Holdout)].concat(),
            candles: (0..200).filter(|number| number % 50 != 17).map(hour).collect(),
            scored: vec![day(0, 80), day(1, 90)],
        }
    }

    #[test]
    fn every_kind_is_drawn_in_its_colors() {
        let colors: [(PlotKind, &[RGBColor]); 6] = [
            (PlotKind::Overview, &[theme::MODEL, theme::BAND, theme::BASELINE, theme::INK]),
            (PlotKind::Candles, &[theme::RISING, theme::FALLING, theme::BAND, theme::HOLDOUT]),
            (PlotKind::Residuals, &[theme::MODEL, theme::BAND, theme::AXIS]),
            (PlotKind::Calibration, &[theme::MODEL, theme::INK, theme::AXIS]),
            (PlotKind::Importance, &[theme::MODEL, theme::BAND]),
            (PlotKind::Skill, &[theme::MODEL, theme::BASELINE, theme::INK, theme::BAND]),
        ];
        let subject = subject();
        for ((kind, colors), format) in colors.into_iter().flat_map(|of_kind| FORMATS.map(|format| (of_kind, format))) {
            // Edges are smoothed, so a thin line may have no pixel of its exact color.
            let shapes = subject.draw(kind, format).to_element();
            for RGBColor(red, green, blue) in colors {
                let color = format!("#{red:02X}{green:02X}{blue:02X}");
                assert!(shapes.contains(&color), "{kind:?} {format:?} {color}");
            }
        }
    }

    /// A renderer places every text inside the picture, and none over another.
    #[test]
    fn texts_fit_into_every_kind_as_a_renderer_sees_them() {
        let subject = subject();
        for (kind, format) in PlotKind::ALL.into_iter().flat_map(|kind| FORMATS.map(|format| (kind, format))) {
            let picture = subject.draw(kind, format);
            let texts = texts_of(&picture.to_svg());
            assert!(texts.len() > 5, "{kind:?}: {texts:?}");
            for (idx, (text, at)) in texts.iter().enumerate() {
                let is_inside = at.left() >= 0.0 && at.right() <= picture.width() as f32 + 0.5;
                assert!(is_inside && at.bottom() <= picture.height() as f32, "{kind:?} {format:?}: {text} {at:?}");
                for (other, beside) in &texts[..idx] {
                    let is_apart = at.left() >= beside.right() || at.right() <= beside.left();
                    let is_below = (at.bottom() - beside.bottom()).abs() >= 12.0;
                    assert!(is_apart || is_below, "{kind:?} {format:?}: {text} {at:?} and {other} {beside:?}");
                }
            }
        }
    }

    #[test]
    fn a_subject_without_extras_is_drawn_and_says_so() {
        let mut card = card("time", 1);
        card.importance.clear();
        card.holdout.coverage.clear();
        card.folds.clear();
        let empty = Subject { card, predictions: Vec::new(), candles: Vec::new(), scored: Vec::new() };
        for (kind, format) in PlotKind::ALL.into_iter().flat_map(|kind| FORMATS.map(|format| (kind, format))) {
            assert!(!texts_of(&empty.draw(kind, format).to_svg()).is_empty(), "{kind:?}");
        }
        let missing = PlotKind::ALL.into_iter().filter(|kind| !empty.has(*kind));
        assert_eq!(missing.collect::<Vec<_>>(), [PlotKind::Candles, PlotKind::Calibration, PlotKind::Importance]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Also values beyond any price.
        #[test]
        fn any_finite_predictions_are_drawn(
            values in proptest::collection::vec(
                (proptest::num::f64::NORMAL, proptest::num::f64::NORMAL, proptest::num::f64::NORMAL, 0..3_i64), 1..40,
            ),
        ) {
            let row = |(idx, (close, prediction, baseline, fold)): (usize, &(f64, f64, f64, i64))| {
                let fold = [Fold::Validation(1), Fold::Holdout, Fold::Test][*fold as usize];
                let timestamp = EventTime(1_583_020_800_000 + idx as i64 * 60_000);
                Prediction { timestamp, prediction: *prediction, baseline: *baseline, ..row(0, *close, fold) }
            };
            let predictions = values.iter().enumerate().map(row).collect();
            let subject = Subject { predictions, ..subject() };
            for (kind, format) in PlotKind::ALL.into_iter().flat_map(|kind| FORMATS.map(|format| (kind, format))) {
                texts_of(&subject.draw(kind, format).to_svg());
            }
        }
    }
}
