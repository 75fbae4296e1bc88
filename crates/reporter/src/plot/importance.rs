//! Share of each feature in the gain of all splits.

use store::model_card::ModelCard;

use super::canvas::Canvas;
use super::heading::Heading;
use super::labels;
use super::layout::Format;
use super::picture::Picture;
use super::text::{Anchor, TextStyle};
use super::theme::{BACKGROUND, BAND, INK, MODEL, MUTED, SMALL};
use crate::number::number;

/// Features that are drawn, at most: the most important ones.
const FEATURES_MAX: usize = 24;
const ROW: f64 = 26.0;
/// Space for the figure at the end of the longest bar.
const FIGURE_WIDTH: f64 = 76.0;

/// Draws a bar for each feature, the most important first.
pub(super) fn draw(card: &ModelCard, format: Format) -> Picture {
    let mut features: Vec<(&String, f64)> = card.importance.iter().map(|(name, share)| (name, *share)).collect();
    features.retain(|(_, share)| *share > 0.0);
    features.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let mut canvas = Canvas::new((format.width(), 0), BACKGROUND);
    let of = format!("{} · {} · model {}", labels::instrument(card), labels::subject(card), card.model);
    let about = about(features.len(), card.importance.len() - features.len());
    let top = Heading { title: "Importance of the features", of: &of, about: &about }.draw(&mut canvas, format) + 6.0;
    features.truncate(FEATURES_MAX);
    bars(&mut canvas, format, top, &features);
    canvas.end_at(top + ROW * features.len() as f64 + 16.0);
    canvas.finish(format!("Importance of the features of {of}"))
}

/// Says what the bars mean, and how many features have none.
fn about(features: usize, unused: usize) -> String {
    let shown = match features {
        0 => {
            return "The model card names no importance: the model has no split, or it is of an earlier version."
                .to_owned();
        }
        1..=FEATURES_MAX => String::new(),
        more => format!(" The {FEATURES_MAX} most important of {more} are shown."),
    };
    let unused = match unused {
        0 => String::new(),
        1 => " One other is in no split.".to_owned(),
        unused => format!(" {unused} others are in no split."),
    };
    format!(
        "Share of each feature in what the trees have learned: the reduction of the squared error in training.{shown}{unused}"
    )
}

fn bars(canvas: &mut Canvas, format: Format, top: f64, features: &[(&String, f64)]) {
    let style = TextStyle::new(SMALL, INK);
    let names = features.iter().map(|(name, _)| style.width(name)).fold(0.0, f64::max);
    let left = format.margin() + names + 12.0;
    let room = f64::from(format.width()) - format.margin() - FIGURE_WIDTH - left;
    let most = features.first().map_or(0.0, |(_, share)| *share).max(f64::MIN_POSITIVE);
    for (idx, (name, share)) in features.iter().enumerate() {
        let middle = top + ROW * (idx as f64 + 0.5);
        let end = left + (room * share / most).max(0.0);
        canvas.text((left - 12.0, middle + 5.5), name.as_str(), style.anchored(Anchor::Right));
        canvas.rectangle((left, middle - 8.0), (end, middle + 8.0), if idx == 0 { MODEL } else { BAND });
        let figure = format!("{} %", number(100.0 * share, 1));
        canvas.text((end + 8.0, middle + 5.5), figure, TextStyle::new(SMALL, MUTED));
    }
}
