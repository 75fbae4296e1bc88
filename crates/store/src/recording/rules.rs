//! Rules of a recording: the user's settings, the shape of the rows, and the judgement of single rows.

use std::str::FromStr;
use std::time::Duration;

use market::span_text::SpanError;
use market::validate::{GRAIN_MAX, validate};
use market::{EventTime, Instrument, Span};

use super::row::{RecordingRow, RowRefusal};

/// Default number of rows in memory while a file is sorted.
pub const REORDER_ROWS: usize = 10_000;
/// Default distance from its neighbors beyond which a single row counts as a mistyped time.
pub const STEP_MAX: Span = Span(30 * Span::DAY.0);
/// Shortest distance of points that can count as a hole.
const HOLE_MIN: Span = Span::MINUTE;

/// Settings for sorting and judging rows.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Kind of rows, as the user gives it; `None` derives it from the rows.
    pub grain: Option<Grain>,
    /// Rows of an unsorted file in memory at a time. The others are in a temporary file.
    pub reorder_rows: usize,
    /// Distance from its neighbors beyond which a single row is refused. At least two grains.
    pub step_max: Span,
    /// Row that counts when two of one time differ, as the user gives it; `None` takes the last, unless there are many
    /// conflicts.
    pub conflict: Option<Conflict>,
    /// Treatment of an open or close outside low and high.
    pub outside: Outside,
    /// The current time. Later rows are refused, and candles that have not ended are left out.
    pub now: EventTime,
}

impl Rules {
    /// Returns the default rules at this current time.
    pub fn at(now: EventTime) -> Self {
        Self {
            grain: None,
            reorder_rows: REORDER_ROWS,
            step_max: STEP_MAX,
            conflict: None,
            outside: Outside::Widen,
            now,
        }
    }
}

/// Kind of rows, as a user types it: `1m` for candles of a minute; `trades`, `0` or `1ms` for single trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// Candles of this length, from 2 ms to 366 days.
    Candles(Span),
    /// Trades: every row of an instant counts.
    Trades,
}

impl FromStr for Grain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if ["trades", "0"].contains(&text) {
            return Ok(Self::Trades);
        }
        let refused = |why: &str| format!("{why}: write the length of a candle, such as 1m or 1h, or trades");
        match text.parse::<Span>() {
            Ok(Span(0 | 1)) => Ok(Self::Trades),
            Ok(length) if length <= GRAIN_MAX => Ok(Self::Candles(length)),
            Err(SpanError::Form(words)) => Err(refused(&words)),
            _ => Err(refused("longer than a year")),
        }
    }
}

/// Choice between two rows of one time with different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflict {
    /// The later line counts, or the line of the file that was named later.
    #[default]
    Last,
    /// The earlier line counts.
    First,
    /// Neither counts: the files are refused.
    Refuse,
}

impl FromStr for Conflict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" => Ok(Self::Last),
            "first" => Ok(Self::First),
            "refuse" => Ok(Self::Refuse),
            _ => Err("write last, first or refuse".to_owned()),
        }
    }
}

/// Treatment of a row whose open or close is outside its low and high.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// Low and high are widened to include both.
    Widen,
    /// The row is refused.
    Reject,
}

impl FromStr for Outside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "widen" => Ok(Self::Widen),
            "reject" => Ok(Self::Reject),
            _ => Err("write widen or reject".to_owned()),
        }
    }
}

/// Kind of rows in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowShape {
    /// Candles of this length. Rows without open, high and low among them are points.
    Candles(Span),
    /// Prices at instants, usually this far apart.
    Points(Span),
    /// Trades: every row of an instant counts, and no trade happened between two rows.
    Trades,
}

impl RowShape {
    /// Returns the length of a candle; `None` for points and trades.
    pub fn grain(self) -> Option<Span> {
        match self {
            Self::Candles(grain) => Some(grain),
            Self::Points(_) | Self::Trades => None,
        }
    }

    /// Returns the usual distance of rows; `None` for trades.
    pub(crate) fn step(self) -> Option<Span> {
        match self {
            Self::Candles(step) | Self::Points(step) => Some(step),
            Self::Trades => None,
        }
    }

    /// Returns the distance beyond which two rows have a hole between them: two usual steps, and at least a minute.
    pub fn hole(self) -> Span {
        self.step().map_or(HOLE_MIN, |step| Span(step.ms().saturating_mul(2)).max(HOLE_MIN))
    }

    /// Formats the shape, such as `candles of 1m`.
    pub fn words(self) -> String {
        match self {
            Self::Candles(grain) => format!("candles of {}", span_words(grain)),
            Self::Points(step) => format!("prices about {} apart", span_words(step)),
            Self::Trades => "trades".to_owned(),
        }
    }
}

/// Formats a span as a user types it, such as `1h 30m`.
pub(crate) fn span_words(span: Span) -> String {
    humantime::format_duration(Duration::from_millis(span.ms().unsigned_abs())).to_string()
}

/// Judge of single rows of one instrument.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) instrument: Instrument,
    pub(crate) shape: RowShape,
    pub(crate) outside: Outside,
    pub(crate) now: EventTime,
}

impl Judge {
    /// Returns the row in the form in which it can count, and whether its range was widened.
    ///
    /// # Errors
    /// The reason why the row cannot be an observation.
    pub(crate) fn judge(&self, mut row: RecordingRow) -> Result<(RecordingRow, bool), RowRefusal> {
        match self.shape {
            RowShape::Trades if row.open != row.close || row.high != row.close || row.low != row.close => {
                return Err(RowRefusal::NotATrade);
            }
            RowShape::Trades => row.is_point = true,
            // In such a file an id is the number of a row, not of a trade.
            RowShape::Candles(_) | RowShape::Points(_) => row.id = None,
        }
        let is_outside = row.open.min(row.close) < row.low || row.open.max(row.close) > row.high;
        // With low above high it is unknown which of the four prices is wrong, so the range is not widened.
        let is_widened = is_outside && row.low <= row.high && self.outside == Outside::Widen;
        if is_widened {
            row.low = row.low.min(row.open).min(row.close);
            row.high = row.high.max(row.open).max(row.close);
        }
        let now = self.now.ms();
        validate(&row.to_line(&self.instrument, self.shape.grain(), now), &self.instrument, 0, now)?;
        let is_unfinished = !row.is_point && self.shape.grain().is_some_and(|grain| row.event + grain > self.now);
        if is_unfinished { Err(RowRefusal::Unfinished) } else { Ok((row, is_widened)) }
    }
}

#[cfg(test)]
mod tests {
    use market::validate::Reason;

    use super::*;

    const NOW: EventTime = EventTime(1_704_067_200_000);

    fn judge(
        shape: RowShape,
        outside: Outside,
        minutes_ago: i64,
        [open, high, low, close]: [f64; 4],
    ) -> Result<String, RowRefusal> {
        let instrument = Instrument::new("bitcoin", "usd").unwrap();
        let event = EventTime(NOW.ms() - minutes_ago * 60_000);
        let row = RecordingRow {
            event,
            open,
            high,
            low,
            close,
            volume: None,
            quote_volume: None,
            id: None,
            is_point: false,
            complete: None,
            is_behind_jump: false,
            line: 2,
            file: 0,
        };
        let (row, is_widened) = Judge { instrument, shape, outside, now: NOW }.judge(row)?;
        Ok(format!("{} {} {} {}{}", row.open, row.high, row.low, row.close, if is_widened { " widened" } else { "" }))
    }

    #[test]
    fn open_and_close_outside_the_range_widen_it() {
        let check = |prices: [f64; 4], expected: Result<&str, RowRefusal>| {
            let found = judge(RowShape::Candles(Span::MINUTE), Outside::Widen, 5, prices);
            assert_eq!(found, expected.map(str::to_owned), "{prices:?}");
        };
        check([100.0, 103.0, 99.0, 102.0], Ok("100 103 99 102"));
        check([99.5, 103.0, 100.0, 102.0], Ok("99.5 103 99.5 102 widened"));
        check([102.0, 103.0, 101.0, 103.0000000001], Ok("102 103.0000000001 101 103.0000000001 widened"));
        check([90.0, 103.0, 100.0, 110.0], Ok("90 110 90 110 widened"));
        check([100.0, 99.0, 103.0, 100.0], Err(Reason::HighLowOrder.into()));
        check([-1.0, 103.0, 99.0, 102.0], Err(Reason::NegativePrice.into()));
        check([0.0, 103.0, 99.0, 102.0], Err(Reason::ZeroPrice.into()));
        check(
            [2.1e-14, 2.2e-14, 2e-14, 2.1e-14],
            Ok("0.000000000000021 0.000000000000022 0.00000000000002 0.000000000000021"),
        );
        check([1e-16, 1e-16, 1e-16, 1e-16], Err(Reason::OutOfRange.into()));
        let refused = judge(RowShape::Candles(Span::MINUTE), Outside::Reject, 5, [99.5, 103.0, 100.0, 102.0]);
        assert_eq!(refused, Err(Reason::HighLowOrder.into()));
    }

    #[test]
    fn unfinished_candles_and_future_times_do_not_count() {
        let check = |minutes_ago: i64, expected: Option<RowRefusal>| {
            let found = judge(RowShape::Candles(Span::HOUR), Outside::Widen, minutes_ago, [1.0; 4]);
            assert_eq!(found.err(), expected, "{minutes_ago}");
        };
        check(60, None);
        check(59, Some(RowRefusal::Unfinished));
        check(0, Some(RowRefusal::Unfinished));
        check(-3, Some(RowRefusal::FUTURE));
        assert!(judge(RowShape::Points(Span::HOUR), Outside::Widen, 0, [1.0; 4]).is_ok());
    }

    #[test]
    fn a_trade_has_one_price() {
        assert!(judge(RowShape::Trades, Outside::Widen, 5, [1.0; 4]).is_ok());
        assert_eq!(judge(RowShape::Trades, Outside::Widen, 5, [1.0, 2.0, 1.0, 1.0]), Err(RowRefusal::NotATrade));
    }

    #[test]
    fn a_grain_is_a_length_or_trades() {
        let check = |text: &str, expected: Option<Grain>| assert_eq!(text.parse().ok(), expected, "{text}");
        check("1m", Some(Grain::Candles(Span::MINUTE)));
        check("30d", Some(Grain::Candles(Span(30 * Span::DAY.ms()))));
        check("100ms", Some(Grain::Candles(Span(100))));
        for trades in ["trades", "0", "0s", "1ms"] {
            check(trades, Some(Grain::Trades));
        }
        check("366d", Some(Grain::Candles(GRAIN_MAX)));
        for bad in ["", "2y", "ticks", "-1m"] {
            check(bad, None);
        }
    }
}
