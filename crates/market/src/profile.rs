//! The hour-of-day profile: statistics of prices at each UTC hour, over all days.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::exact::ExactSum;
use crate::instrument::Instrument;
use crate::tick::Tick;

/// One row of the profile: `{"coin":…,"quote":…,"hour":0,"average":…,"min":…,"max":…,"count":…,"first_seq":…,
/// "last_seq":…}`. Average, min and max are of the ticks' closes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HourOfDayLine<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// UTC hour, 0 to 23.
    pub hour: u8,
    /// Mean of the closes.
    pub average: f64,
    /// Smallest close.
    pub min: f64,
    /// Largest close.
    pub max: f64,
    /// Number of ticks.
    pub count: u64,
    /// Smallest FEED sequence among the ticks.
    pub first_seq: u64,
    /// Largest FEED sequence among the ticks.
    pub last_seq: u64,
}

/// The profile of one instrument.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    hours: [Option<Hour>; 24],
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Hour {
    sum: ExactSum,
    min: f64,
    max: f64,
    count: u64,
    first_seq: u64,
    last_seq: u64,
}

impl Profile {
    /// Adds an accepted tick to its hour, if it counts for an hour.
    ///
    /// # Panics
    /// The tick was not validated: prices in range always fit an exact sum.
    pub fn add(&mut self, tick: &Tick) {
        if !tick.counts_in_hour() {
            return;
        }
        let hour = self.hours[usize::from(tick.event.hour_of_day())].get_or_insert(Hour {
            sum: ExactSum::default(),
            min: tick.close,
            max: tick.close,
            count: 0,
            first_seq: tick.feed_seq,
            last_seq: tick.feed_seq,
        });
        hour.sum.add(tick.close).expect("validated prices fit an exact sum");
        hour.min = hour.min.min(tick.close);
        hour.max = hour.max.max(tick.close);
        hour.count += 1;
        hour.first_seq = hour.first_seq.min(tick.feed_seq);
        hour.last_seq = hour.last_seq.max(tick.feed_seq);
    }

    /// Returns the row of a UTC hour; `None` without a tick.
    pub fn row<'a>(&self, instrument: &'a Instrument, hour: u8) -> Option<HourOfDayLine<'a>> {
        let of_hour = self.hours.get(usize::from(hour)).copied().flatten()?;
        Some(HourOfDayLine {
            coin: Cow::Borrowed(instrument.coin()),
            quote: Cow::Borrowed(instrument.quote()),
            hour,
            average: of_hour.sum.mean(of_hour.count),
            min: of_hour.min,
            max: of_hour.max,
            count: of_hour.count,
            first_seq: of_hour.first_seq,
            last_seq: of_hour.last_seq,
        })
    }
}
