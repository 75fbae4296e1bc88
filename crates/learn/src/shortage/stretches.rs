//! How the candles that count follow each other, which decides how many rows they give.

use market::{Candle, EventTime, Window};

use crate::dataset::RowSpec;

/// The candles of one length, by what lies between them.
pub(super) struct Stretches {
    /// Runs of adjacent candles that count.
    pub(super) count: usize,
    /// Candles of the longest of them.
    pub(super) longest: usize,
    /// Places where one or more windows have no candle at all.
    pub(super) holes: usize,
    /// The first of these.
    first_hole: Option<(EventTime, EventTime)>,
    /// Windows from the first candle to the last, with a candle or without.
    pub(super) windows: usize,
}

impl Stretches {
    /// Of ascending candles of a tumbling window.
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

    /// Why so many candles that count, `before` and `after`, give no row: the features look back on the first, and the last
    /// are only predicted.
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

    /// What is missing between the first candle and the last.
    pub(super) fn holes_words(&self, window: Window) -> Option<String> {
        let (from, to) = self.first_hole?;
        Some(match self.holes {
            1 => format!("no candle of {window} is there from {from} to {to}"),
            holes => format!("{holes} holes have no candle of {window}, the first from {from} to {to}"),
        })
    }
}
