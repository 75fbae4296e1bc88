//! Runs of adjacent usable candles, which decide how many rows they give.

use market::{Candle, EventTime, Window};

use crate::row_spec::RowSpec;

/// Runs of candles of one length, and the holes between them.
pub(super) struct Stretches {
    /// Number of runs of adjacent usable candles.
    pub(super) count: usize,
    /// Number of candles in the longest run.
    pub(super) longest: usize,
    /// Number of holes: one or more windows without any candle.
    pub(super) holes: usize,
    /// The first hole.
    first_hole: Option<(EventTime, EventTime)>,
    /// Number of windows from the first candle to the last, with or without a candle.
    pub(super) windows: usize,
}

impl Stretches {
    /// Finds the runs and holes of a tumbling window's candles, which are ascending.
    pub(super) fn of(candles: &[Candle], window: Window, spec: RowSpec) -> Self {
        let holes: Vec<_> =
            candles.windows(2).map(|pair| (pair[0].end, pair[1].start)).filter(|(end, start)| end < start).collect();
        let (mut count, mut longest, mut adjacent, mut end) = (0, 0, 0, None);
        for candle in candles.iter().filter(|candle| spec.unusable(candle).is_none()) {
            let is_next = end == Some(candle.start);
            count += usize::from(!is_next);
            adjacent = if is_next { adjacent + 1 } else { 1 };
            longest = longest.max(adjacent);
            end = Some(candle.end);
        }
        let spanned = candles.first().zip(candles.last()).map_or(0, |(first, last)| (last.end - first.start).ms());
        let windows = usize::try_from(spanned / window.size().ms()).unwrap_or(0);
        Self { count, longest, holes: holes.len(), first_hole: holes.first().copied(), windows }
    }

    /// Explains why usable candles give no row: `before` candles are only the lookback of the features, and `after`
    /// candles are only predicted.
    pub(super) fn words(&self, window: Window, spec: RowSpec, (before, after): (usize, usize)) -> String {
        let Self { count, longest, .. } = *self;
        let (lookback, horizon) = (spec.lookback(), spec.horizon);
        match (count, longest < lookback) {
            (0 | 1, true) => {
                format!(
                    "{longest} candles of {window} in a row are fewer than the {lookback} that the features look back on"
                )
            }
            (0 | 1, false) => format!(
                "of {longest} candles of {window} in a row the first {before} are only the lookback of the features, and the last \
                 {after} only predicted"
            ),
            (_, true) => format!(
                "the candles of {window} are {count} stretches of at most {longest} in a row, fewer than the {lookback} that the \
                 features look back on"
            ),
            (_, false) => format!(
                "the candles of {window} are {count} stretches of at most {longest} in a row, and in each the first {} are only \
                 the lookback of the features and the last {horizon} only predicted, {} in all",
                lookback - 1,
                before + after
            ),
        }
    }

    /// Describes the holes between the first candle and the last.
    pub(super) fn holes_words(&self, window: Window) -> Option<String> {
        let (from, to) = self.first_hole?;
        Some(match self.holes {
            1 => format!("no candle of {window} is there from {from} to {to}"),
            holes => format!("{holes} holes have no candle of {window}, the first from {from} to {to}"),
        })
    }
}
