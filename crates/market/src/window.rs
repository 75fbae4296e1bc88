//! Windows `[start, end)`: tumbling and hopping, aligned to UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::{EventTime, Span};

/// A kind of window: its size, and the distance of the starts of two neighbors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Window {
    /// One minute, tumbling.
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes, tumbling.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// A quarter of an hour, tumbling.
    #[serde(rename = "15m")]
    QuarterHour,
    /// One hour, tumbling.
    #[serde(rename = "1h")]
    Hour,
    /// One UTC day, tumbling.
    #[serde(rename = "1d")]
    Day,
    /// One hour every 30 minutes: the moving average. Each instant lies in exactly two of them.
    #[serde(rename = "1h-30m")]
    HourEveryHalf,
}

impl Window {
    /// All kinds: tumbling ones by size, then the hopping one.
    pub const ALL: [Self; 6] =
        [Self::Minute, Self::FiveMinutes, Self::QuarterHour, Self::Hour, Self::Day, Self::HourEveryHalf];

    /// Returns the name in records, subjects and tables, such as `1h-30m`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::Day => "1d",
            Self::HourEveryHalf => "1h-30m",
        }
    }

    /// Returns the distance from a window's start to its end.
    pub const fn size(self) -> Span {
        match self {
            Self::Minute => Span::MINUTE,
            Self::FiveMinutes => Span::minutes(5),
            Self::QuarterHour => Span::minutes(15),
            Self::Hour | Self::HourEveryHalf => Span::HOUR,
            Self::Day => Span::DAY,
        }
    }

    /// Returns the distance from one window's start to the next one's. Equal to the size when tumbling.
    pub const fn hop(self) -> Span {
        match self {
            Self::HourEveryHalf => Span::minutes(30),
            tumbling => tumbling.size(),
        }
    }

    /// Returns how many windows of this kind contain each instant.
    const fn overlap(self) -> i64 {
        match self {
            Self::HourEveryHalf => 2,
            _ => 1,
        }
    }

    /// Returns the starts of all windows of this kind that contain `event`, newest first:
    /// `t − floor_mod(t, hop)`, then back by `hop` while the window still contains `t`.
    pub fn starts(self, event: EventTime) -> impl Iterator<Item = EventTime> {
        self.starts_from(event.floor(self.hop()))
    }

    /// Returns the same, given the newest start.
    pub(crate) fn starts_from(self, newest: EventTime) -> impl Iterator<Item = EventTime> {
        let hop = self.hop().ms();
        (0..self.overlap()).map(move |back| EventTime(newest.ms() - back * hop))
    }

    /// Returns the end of the window that begins at `start`.
    pub fn end(self, start: EventTime) -> EventTime {
        start + self.size()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown window {0:?}: one of 1m, 5m, 15m, 1h, 1d, 1h-30m")]
pub struct UnknownWindow(String);

impl FromStr for Window {
    type Err = UnknownWindow;

    fn from_str(name: &str) -> Result<Self, UnknownWindow> {
        Self::ALL.into_iter().find(|window| window.name() == name).ok_or_else(|| UnknownWindow(name.to_owned()))
    }
}

// The size of a hopping window must be a multiple of its hop, or instants would lie in different numbers of windows.
const _: () = {
    let mut idx = 0;
    while idx < Window::ALL.len() {
        assert!(Window::ALL[idx].size().0 == Window::ALL[idx].hop().0 * Window::ALL[idx].overlap());
        idx += 1;
    }
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_start_is_aligned_and_contains_the_instant(ms in -1_000_000_000_000_i64..4_000_000_000_000) {
            for window in Window::ALL {
                let starts: Vec<_> = window.starts(EventTime(ms)).collect();
                prop_assert_eq!(starts.len() as i64, window.size().ms() / window.hop().ms());
                for start in starts {
                    prop_assert_eq!(start.ms().rem_euclid(window.hop().ms()), 0);
                    prop_assert!(start.ms() <= ms && ms < window.end(start).ms());
                }
            }
        }
    }
}
