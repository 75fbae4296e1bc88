//! The windows that the bars of a recording fill. A bar longer than a minute counts only in windows that hold all of
//! it.

use market::tick::counts_in;
use market::{EventTime, Span, Window};
use serde::Serialize;

/// Tumbling windows, shortest first.
const TUMBLING: [Window; 5] = [Window::Minute, Window::FiveMinutes, Window::QuarterHour, Window::Hour, Window::Day];
/// The moving average: one hour, every 30 minutes.
const MOVING: Window = Window::HourEveryHalf;

/// Bars and points of an instrument, and the windows that hold the bars.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(into = "WindowFitJson")]
pub(crate) struct WindowFit {
    /// Length of the longest bar.
    grain: Option<Span>,
    bars: u64,
    points: u64,
    /// Points with a trade id.
    trades: u64,
    /// Bars and points without a volume.
    without_volume: u64,
    /// Bars that a single window holds whole, for each of [`TUMBLING`].
    held: [u64; TUMBLING.len()],
    /// Bars in moving-average windows that begin on the hour, and in those that begin at half past.
    on_hour: u64,
    half_past: u64,
}

/// The fit in the JSON summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WindowFitJson {
    /// Length of the longest bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    grain_ms: Option<Span>,
    bars: u64,
    points: u64,
    /// Shortest window that holds more than half of the bars; absent without bars, or if no window does.
    #[serde(skip_serializing_if = "Option::is_none")]
    shortest_window: Option<Window>,
    /// Bars that cross the bounds of that window.
    #[serde(skip_serializing_if = "Option::is_none")]
    bars_across: Option<u64>,
}

impl From<WindowFit> for WindowFitJson {
    fn from(fit: WindowFit) -> Self {
        let (shortest_window, bars_across) = fit.shortest().unzip();
        Self { grain_ms: fit.grain, bars: fit.bars, points: fit.points, shortest_window, bars_across }
    }
}

impl WindowFit {
    /// Adds a row that counts: a bar of length `grain`, or a point, with an id if it is a trade.
    pub(crate) fn add(&mut self, event: EventTime, grain: Option<Span>, id: Option<u64>, volume: Option<f64>) {
        self.without_volume += u64::from(volume.is_none());
        let Some(length) = grain else {
            self.points += 1;
            self.trades += u64::from(id.is_some());
            return;
        };
        self.bars += 1;
        self.grain = self.grain.max(grain);
        let is_held = |window: Window, start: EventTime| counts_in(event, Some(length), start, window.end(start));
        for (window, held) in TUMBLING.into_iter().zip(&mut self.held) {
            *held += u64::from(window.starts(event).any(|start| is_held(window, start)));
        }
        for start in MOVING.starts(event).filter(|&start| is_held(MOVING, start)) {
            let is_on_hour = start.floor(Span::HOUR) == start;
            *(if is_on_hour { &mut self.on_hour } else { &mut self.half_past }) += 1;
        }
    }

    /// Adds the counts of another instrument.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.grain = self.grain.max(other.grain);
        self.bars += other.bars;
        self.points += other.points;
        self.trades += other.trades;
        self.without_volume += other.without_volume;
        self.held.iter_mut().zip(other.held).for_each(|(held, other)| *held += other);
        self.on_hour += other.on_hour;
        self.half_past += other.half_past;
    }

    /// Returns the shortest window that holds more than half of the bars, and the number of bars that it does not hold.
    fn shortest(&self) -> Option<(Window, u64)> {
        let mut windows = TUMBLING.into_iter().zip(self.held);
        let (window, held) = windows.find(|(_, held)| held * 2 > self.bars)?;
        Some((window, self.bars - held))
    }

    /// Formats the fit in one line; `None` without a row.
    pub(crate) fn in_words(&self) -> Option<String> {
        let rows = self.bars + self.points;
        let volume = match self.without_volume {
            0 => String::new(),
            without if without == rows => "; none has a volume".to_owned(),
            without => format!("; {without} of {rows} have no volume"),
        };
        (rows > 0).then(|| self.windows_in_words() + &volume)
    }

    fn windows_in_words(&self) -> String {
        let Some(grain) = self.grain else {
            let what = if self.trades == self.points { "trades, all that an instant has" } else { "points" };
            return format!("{what}: each counts in every window that contains its time");
        };
        let Some((window, across)) = self.shortest() else {
            let reason =
                if grain > Span::DAY { "they are longer than the longest, 1d" } else { "they cross its bounds" };
            return format!("warning: bars of {grain} fill no window: {reason}; the tables leave them out");
        };
        let mut words = format!("bars of {grain}: the shortest window they fill is {window}{}", self.moving_average());
        if across > 0 {
            words += &format!("; {across} of {} bars cross its bounds and are not in it", self.bars);
        }
        words
    }

    /// Describes the missing windows of the moving average.
    fn moving_average(&self) -> &'static str {
        match (self.on_hour > 0, self.half_past > 0) {
            (true, true) => "",
            (true, false) => "; the 1-hour moving average has only the windows on the hour",
            (false, true) => "; the 1-hour moving average has only the windows on the half hour",
            (false, false) => "; the 1-hour moving average and shorter windows have none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats the fit of bars of `minutes`, one after the other, the first `offset` minutes after midnight.
    fn words(minutes: i64, offset: i64, count: i64) -> String {
        let mut fit = WindowFit::default();
        let grain = Span::minutes(minutes);
        let first = EventTime(Span::DAY.ms() * 19_000 + Span::minutes(offset).ms());
        (0..count).for_each(|idx| fit.add(first + Span(idx * grain.ms()), Some(grain), None, Some(1.0)));
        fit.in_words().unwrap()
    }

    #[test]
    fn the_shortest_window_that_bars_fill_is_named() {
        let check = |minutes, offset, expected: &str| assert_eq!(words(minutes, offset, 144), expected);
        check(1, 0, "bars of 1m: the shortest window they fill is 1m");
        check(5, 0, "bars of 5m: the shortest window they fill is 5m");
        check(15, 0, "bars of 15m: the shortest window they fill is 15m");
        let hours = "bars of 1h: the shortest window they fill is";
        check(60, 0, &format!("{hours} 1h; the 1-hour moving average has only the windows on the hour"));
        let shifted = "1d; the 1-hour moving average has only the windows on the half hour";
        check(60, 30, &format!("{hours} {shifted}; 6 of 144 bars cross its bounds and are not in it"));
        let none = "the 1-hour moving average and shorter windows have none";
        check(1_440, 0, &format!("bars of 1d: the shortest window they fill is 1d; {none}"));
        check(240, 0, &format!("bars of 4h: the shortest window they fill is 1d; {none}"));
    }

    #[test]
    fn bars_that_fill_no_window_are_a_warning() {
        let longer = "they are longer than the longest, 1d";
        assert_eq!(
            words(10_080, 0, 9),
            format!("warning: bars of 7d fill no window: {longer}; the tables leave them out")
        );
        let across = "they cross its bounds";
        assert_eq!(
            words(1_440, 1_110, 9),
            format!("warning: bars of 1d fill no window: {across}; the tables leave them out")
        );
    }

    #[test]
    fn points_count_in_every_window() {
        let mut fit = WindowFit::default();
        assert_eq!(fit.in_words(), None);
        fit.add(EventTime(7), None, Some(1), Some(0.0));
        assert!(fit.in_words().unwrap().starts_with("trades, all that an instant has: each counts"), "{fit:?}");
        fit.add(EventTime(7), None, None, None);
        let words = fit.in_words().unwrap();
        assert!(words.starts_with("points: ") && words.ends_with("; 1 of 2 have no volume"), "{words}");
        assert_eq!(WindowFitJson::from(fit).shortest_window, None);
    }
}
