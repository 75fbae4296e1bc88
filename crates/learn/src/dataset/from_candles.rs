//! The rows of recipes that work on candles: one a candle.

use market::{Candle, Span};

use super::{Dataset, DatasetRow};
use crate::features::observed::ObservedCandle;
use crate::lookback::{self, FeatureRow, Lookback};
use crate::row_spec::RowSpec;
use crate::target;

impl Dataset {
    /// Makes the rows of a recipe that works on candles: final ones of one instrument and one tumbling window,
    /// ascending. There is one row a candle, unless a candle is missing in its lookback or its horizon.
    ///
    /// # Panics
    /// The candles are out of order or provisional, the recipe works on ticks, or the horizon is out of its range.
    pub fn from_candles(spec: RowSpec, candles: &[Candle]) -> Self {
        let mut dataset = Self::new(spec.recipe);
        let mut lookback = Lookback::new(spec);
        for (idx, candle) in candles.iter().enumerate() {
            lookback.push(candle);
            if let Some(unusable) = spec.unusable(candle) {
                unusable.count_in(&mut dataset.skipped);
                continue;
            }
            let Some(row) = lookback.feature_row() else {
                dataset.skipped.trailing_window += 1;
                continue;
            };
            let Some(target) = target_candles(spec, candles, idx) else {
                dataset.skipped.horizon += 1;
                continue;
            };
            dataset.push_feature_row(row, target);
        }
        dataset
    }

    fn push_feature_row(&mut self, row: FeatureRow, target: &[Candle]) {
        let FeatureRow { at, features, last, averages, scale } = row;
        let end = &target[target.len() - 1];
        let actual = if self.recipe.predicts_prices() {
            end.close
        } else {
            let observed: Vec<_> = target.iter().map(ObservedCandle::new).collect();
            lookback::range(observed.iter())
        };
        let label = target::label(self.recipe, actual, target::reference(self.recipe, last, averages.as_ref()));
        self.averages.extend(averages);
        self.push(DatasetRow { made: at, target_end: end.end, last, actual, label, scale }, &features);
    }
}

/// Returns the candles of the horizon after a candle; `None` when one of them is missing.
fn target_candles(spec: RowSpec, candles: &[Candle], idx: usize) -> Option<&[Candle]> {
    let target = candles.get(idx + 1..=idx + spec.horizon)?;
    let span = Span(candles[idx].window.size().ms() * spec.horizon as i64);
    // Candles do not overlap, so the last one ends this much later only if none is missing between.
    let is_adjacent = target[spec.horizon - 1].end == candles[idx].end + span;
    let is_whole = is_adjacent && target.iter().all(|candle| spec.unusable(candle).is_none());
    is_whole.then_some(target)
}
