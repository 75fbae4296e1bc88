//! The rows of the `calendar` recipe: one a tick.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use market::{EventTime, Recipe, Span, Tick};

use super::{Dataset, Row};
use crate::{features, target};

/// Why ticks cannot become a dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// An f32 cannot tell two different minutes apart.
    #[error("the ticks span {days} days, too long to tell the minutes around {at} apart as a feature")]
    TimesCollapse {
        /// Length of the recording in days.
        days: i64,
        /// Where two minutes became one number.
        at: EventTime,
    },
}

/// Makes the `calendar` rows: one a tick, but for those before which no price is known. A point is known at its event time,
/// the close of a bar at the bar's end: where bars overlap, the last price is that of the newest bar that has ended.
/// `ticks` are ascending by (event time, id). Times are counted from the first tick, which is a training tick in every
/// split by time.
///
/// # Errors
/// When two different minutes become the same f32; that takes a recording of 31 years.
///
/// # Panics
/// When ticks are out of order.
pub fn calendar(ticks: &[Tick]) -> Result<Dataset, DatasetError> {
    assert!(ticks.is_sorted_by_key(Tick::identity), "ticks are sorted by (event time, id)");
    let mut dataset = Dataset::new(Recipe::Calendar);
    let Some(first) = ticks.first() else { return Ok(dataset) };
    let mut prices = LastPrice::default();
    let mut before = (first.event, features::calendar_row(first.event, first.event));
    for (idx, tick) in ticks.iter().enumerate() {
        let features = features::calendar_row(tick.event, first.event);
        if features[0] == before.1[0] && tick.event.floor(Span::MINUTE) != before.0.floor(Span::MINUTE) {
            let days = (tick.event - first.event).ms() / Span::DAY.ms();
            return Err(DatasetError::TimesCollapse { days, at: tick.event });
        }
        before = (tick.event, features);
        match prices.at(tick.event, ticks) {
            None => dataset.skipped.trailing_window += 1,
            Some(last) => {
                let (known, target_end, actual) = (tick.event, tick.end(), tick.close);
                let label = target::label(Recipe::Calendar, actual, 1.0);
                dataset.push(Row { known, target_end, last, actual, label, scale: 1.0 }, &features);
            }
        }
        prices.push(idx, tick);
    }
    Ok(dataset)
}

/// The newest price that is known, while time goes on.
#[derive(Default)]
struct LastPrice {
    /// Ticks that have not ended yet, by their end and their place.
    pending: BinaryHeap<Reverse<(EventTime, usize)>>,
    /// Place of the tick that ended last.
    last: Option<usize>,
}

impl LastPrice {
    /// The price that is known at an instant. Instants do not go back.
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
