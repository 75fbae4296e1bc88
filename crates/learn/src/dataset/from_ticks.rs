//! The rows of the `calendar` recipe: one a tick.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use market::{EventTime, Recipe, Span, Tick};

use super::{Dataset, DatasetError, DatasetRow};
use crate::features::calendar;
use crate::target;

impl Dataset {
    /// Makes the `calendar` rows: one a tick, except ticks before which no price is known. The price of a point is
    /// known at its event time, the close of a bar at the bar's end. Where bars overlap, the last price is that of the
    /// newest bar that has ended. `ticks` are ascending by (event time, id). Times count from the first tick, which is
    /// a training tick in every split by time.
    ///
    /// # Errors
    /// Two different minutes have the same value as f32; that takes a recording of 31 years.
    ///
    /// # Panics
    /// The ticks are out of order.
    pub fn from_ticks(ticks: &[Tick]) -> Result<Self, DatasetError> {
        assert!(ticks.is_sorted_by_key(Tick::identity), "ticks are sorted by (event time, id)");
        let mut dataset = Self::new(Recipe::Calendar);
        let Some(first) = ticks.first() else { return Ok(dataset) };
        let mut prices = LastPrice::default();
        let mut before = (first.event, calendar::row(first.event, first.event));
        for (idx, tick) in ticks.iter().enumerate() {
            let features = calendar::row(tick.event, first.event);
            if features[0] == before.1[0] && tick.event.floor(Span::MINUTE) != before.0.floor(Span::MINUTE) {
                let days = (tick.event - first.event).ms() / Span::DAY.ms();
                return Err(DatasetError::TimesCollapse { days, at: tick.event });
            }
            before = (tick.event, features);
            match prices.at(tick.event, ticks) {
                None => dataset.skipped.trailing_window += 1,
                Some(last) => {
                    let (made, target_end, actual) = (tick.event, tick.end(), tick.close);
                    let label = target::label(Recipe::Calendar, actual, 1.0);
                    dataset.push(DatasetRow { made, target_end, last, actual, label, scale: 1.0 }, &features);
                }
            }
            prices.push(idx, tick);
        }
        Ok(dataset)
    }
}

/// The newest known price as time goes on.
#[derive(Default)]
struct LastPrice {
    /// Ticks that have not ended yet, by their end and their index.
    pending: BinaryHeap<Reverse<(EventTime, usize)>>,
    /// Index of the tick that ended last.
    last: Option<usize>,
}

impl LastPrice {
    /// Returns the price known at `now`. Calls must not go back in time.
    fn at(&mut self, now: EventTime, ticks: &[Tick]) -> Option<f64> {
        while self.pending.peek().is_some_and(|Reverse((end, _))| *end <= now) {
            self.last = self.pending.pop().map(|Reverse((_, idx))| idx);
        }
        self.last.map(|idx| ticks[idx].close)
    }

    fn push(&mut self, idx: usize, tick: &Tick) {
        self.pending.push(Reverse((tick.end(), idx)));
    }
}
