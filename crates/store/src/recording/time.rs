//! The time column: parsing a field, and checking whether the times of a file are possible.

use market::{EventTime, Span};

use super::row::RowRefusal;
use super::steps::Steps;

/// Largest lead of an observation over the current time. Clocks and time zones differ by less.
const AHEAD_MAX: Span = Span::DAY;
/// Value in milliseconds of the finest last digit up to which a file in exponent form can represent every minute.
const DIGIT_MS: i64 = 10_000;
/// Rows that a grid needs at least; fewer may lie on one by chance.
const GRID_ROWS_MIN: u64 = 3;
/// Every time since 2004 as a 32-bit float is a multiple of 2^16 ms, or of a larger power of two.
const FLOAT_BITS: u32 = 16;
/// Rounding to which candle times may be cut. Candles may be a multiple of 100 s long; times that were cut to it
/// coincide, or follow each other unevenly.
const HUNDRED_SECONDS_MS: i64 = 100_000;
/// One shared time in this number of rows is significant.
const SHARED_ROWS: u64 = 20;

/// A number in the time column, as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stamp {
    /// A whole number.
    Whole(i64),
    /// A number with a fraction.
    Fraction(f64),
    /// An integer in exponent form, and the value of its last written digit.
    Exponent(i64, i64),
}

impl Stamp {
    /// Parses a field; `None` when it is not a number.
    pub(crate) fn parse(field: &[u8]) -> Option<Self> {
        let text = str::from_utf8(field).ok()?;
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
        if number.fract() != 0.0 {
            return Some(Self::Fraction(number));
        }
        // Programs that know only floats write `1583020800000.0`. The cast saturates.
        let whole = number as i64;
        Some(text.find(['e', 'E']).map_or(Self::Whole(whole), |at| Self::Exponent(whole, last_digit(text, at))))
    }

    /// Converts to an event time between [`EventTime::EARLIEST`] and `latest`.
    ///
    /// # Errors
    /// The reason why it cannot be the time of a row.
    pub(crate) fn event(self, latest: EventTime) -> Result<EventTime, RowRefusal> {
        let ms = match self {
            Self::Whole(ms) | Self::Exponent(ms, _) => ms,
            Self::Fraction(_) => return Err(RowRefusal::FractionalTime),
        };
        match EventTime(ms) {
            event if event < EventTime::EARLIEST => Err(RowRefusal::Before2009),
            event if event > latest => Err(RowRefusal::FUTURE),
            event => Ok(event),
        }
    }

    fn value(self) -> f64 {
        match self {
            Self::Whole(whole) | Self::Exponent(whole, _) => whole as f64,
            Self::Fraction(number) => number,
        }
    }
}

/// Returns the latest time that a row may have.
pub(crate) fn latest(now: EventTime) -> EventTime {
    EventTime(now.ms().saturating_add(AHEAD_MAX.ms()))
}

/// Returns the value of the last written digit of a number in exponent form, at least 1.
fn last_digit(text: &str, exponent_at: usize) -> i64 {
    let decimals = text[..exponent_at].split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let exponent: i64 = text[exponent_at + 1..].parse().unwrap_or(0);
    let power = exponent.saturating_sub(decimals as i64).clamp(0, 18);
    10_i64.pow(power as u32)
}

/// A unit of time other than milliseconds, as a number of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Unit {
    name: &'static str,
    ms: f64,
}

const OTHER_UNITS: [Unit; 3] = [
    Unit { name: "seconds", ms: 1e3 },
    Unit { name: "microseconds", ms: 1e-3 },
    Unit { name: "nanoseconds", ms: 1e-6 },
];

/// A time as the file has it, for errors.
#[derive(Debug, Clone)]
struct WrittenTime {
    line: u32,
    text: String,
    value: f64,
}

/// Statistics of a file's times.
#[derive(Debug)]
pub(crate) struct TimeStatistics {
    latest: EventTime,
    possible: u64,
    impossible: u64,
    /// The first possible time.
    first: Option<WrittenTime>,
    grid: Grid,
    first_impossible: Option<WrittenTime>,
    other_unit: Option<(WrittenTime, Unit)>,
    exponents: Option<Exponents>,
}

#[derive(Debug)]
struct Exponents {
    first: WrittenTime,
    finest: i64,
    are_minutes: bool,
}

impl TimeStatistics {
    /// Returns empty statistics; a time after `latest` is impossible.
    pub(crate) fn new(latest: EventTime) -> Self {
        Self {
            latest,
            possible: 0,
            impossible: 0,
            first: None,
            grid: Grid::default(),
            first_impossible: None,
            other_unit: None,
            exponents: None,
        }
    }

    /// Adds a line's time; returns it if it is possible.
    pub(crate) fn note(&mut self, stamp: Stamp, line: u32, field: &[u8]) -> Option<EventTime> {
        if let Stamp::Exponent(value, digit) = stamp {
            let known = self.exponents.get_or_insert_with(|| Exponents {
                first: written(stamp, line, field),
                finest: digit,
                are_minutes: true,
            });
            known.finest = known.finest.min(digit);
            known.are_minutes &= value % Span::MINUTE.ms() == 0;
        }
        let event = stamp.event(self.latest).ok();
        if let Some(event) = event {
            if self.possible == 0 {
                self.first = Some(written(stamp, line, field));
            }
            self.possible += 1;
            self.grid.note(event);
        } else {
            self.note_impossible(stamp, line, field);
        }
        event
    }

    fn note_impossible(&mut self, stamp: Stamp, line: u32, field: &[u8]) {
        self.impossible += 1;
        if self.first_impossible.is_none() {
            self.first_impossible = Some(written(stamp, line, field));
        }
        if self.other_unit.is_none() {
            let range = EventTime::EARLIEST.ms() as f64..=self.latest.ms() as f64;
            let unit = OTHER_UNITS.into_iter().find(|unit| range.contains(&(stamp.value() * unit.ms)));
            self.other_unit = unit.map(|unit| (written(stamp, line, field), unit));
        }
    }

    /// Checks whether the times of the file are possible. `steps` are their distances, `shared` is the number of rows
    /// that have the time of the row before.
    ///
    /// # Errors
    /// The line that shows that they are not, and advice.
    pub(crate) fn judge(&self, steps: &mut Steps, shared: u64) -> Result<(), (u32, String)> {
        let exponents = self.exponents.as_ref().filter(|exponents| exponents.are_cut());
        let is_cut = self.possible >= GRID_ROWS_MIN && self.grid.is_cut(steps, shared, self.possible);
        let cut = exponents.map(|exponents| &exponents.first).or(self.first.as_ref().filter(|_| is_cut));
        if let Some(WrittenTime { line, text, .. }) = cut {
            let problem = format!(
                "{text} has lost its last digits, as spreadsheets cut them: give the column a number format without decimals \
                 and export it again"
            );
            return Err((*line, problem));
        }
        match (&self.other_unit, &self.first_impossible) {
            (Some((time, unit)), _) if self.possible > 0 => Err((time.line, self.mixed(time, *unit))),
            (Some((time, unit)), _) => Err((time.line, time.in_unit(*unit))),
            (None, Some(time)) if self.impossible > self.possible => Err((time.line, self.mostly_impossible(time))),
            (None, _) => Ok(()),
        }
    }

    fn mixed(&self, WrittenTime { text, .. }: &WrittenTime, Unit { name, .. }: Unit) -> String {
        format!(
            "{text} is a time in {name}, and line {} has one in milliseconds: convert the whole column to milliseconds",
            self.first.as_ref().map_or(0, |first| first.line)
        )
    }

    fn mostly_impossible(&self, time: &WrittenTime) -> String {
        let Self { impossible, possible, .. } = self;
        let reads = if time.value.fract() == 0.0 {
            format!("reads as {} in milliseconds", date(time.value))
        } else {
            "is a fraction of a millisecond".to_owned()
        };
        format!(
            "{} {reads}, and {impossible} of {} rows have a time that is fractional, before 2009 or after tomorrow: write whole \
             milliseconds since 1970 (UTC)",
            time.text,
            impossible + possible
        )
    }
}

/// The coarsest grid that all times of a file lie on.
#[derive(Debug)]
struct Grid {
    /// Trailing binary zeros that all times have, at least.
    bits: u32,
    are_hundreds: bool,
    are_minutes: bool,
    are_seconds: bool,
}

impl Default for Grid {
    fn default() -> Self {
        Self { bits: u64::BITS, are_hundreds: true, are_minutes: true, are_seconds: true }
    }
}

impl Grid {
    fn note(&mut self, event: EventTime) {
        let ms = event.ms();
        self.bits = self.bits.min(ms.trailing_zeros());
        self.are_hundreds &= ms % HUNDRED_SECONDS_MS == 0;
        self.are_minutes &= ms % Span::MINUTE.ms() == 0;
        self.are_seconds &= ms % Span::SECOND.ms() == 0;
    }

    /// Whether the grid comes from lost digits rather than from a clock: 32-bit floats, or times that an exponent form
    /// cut before they were written.
    fn is_cut(&self, steps: &mut Steps, shared: u64, rows: u64) -> bool {
        let is_binary = self.bits >= FLOAT_BITS && !self.are_seconds;
        let is_decimal = self.are_hundreds && !self.are_minutes;
        is_binary || (is_decimal && (shared * SHARED_ROWS >= rows || !steps.are_multiples()))
    }
}

impl Exponents {
    /// Whether the exponent form has cut digits off. Programs leave trailing zeros out, so the finest number of the
    /// file counts: down to ten seconds it can represent every minute; at a hundred seconds it may be exact if each
    /// time is a whole minute.
    fn are_cut(&self) -> bool {
        self.finest > 10 * DIGIT_MS || (self.finest > DIGIT_MS && !self.are_minutes)
    }
}

impl WrittenTime {
    fn in_unit(&self, Unit { name, ms }: Unit) -> String {
        let Self { text, value, .. } = self;
        format!(
            "{text} reads as {} in milliseconds; as {name} it is {}: convert the column to milliseconds",
            date(*value),
            date(value * ms)
        )
    }
}

fn written(stamp: Stamp, line: u32, field: &[u8]) -> WrittenTime {
    WrittenTime { line, text: String::from_utf8_lossy(field).into_owned(), value: stamp.value() }
}

/// Returns the day of a time in milliseconds.
fn date(ms: f64) -> String {
    let is_in_calendar = (-1e14..=1e14).contains(&ms);
    if is_in_calendar {
        EventTime(ms as i64).to_utc().date_naive().to_string()
    } else {
        "a day beyond the calendar".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01.
    const NOW: EventTime = EventTime(1_767_225_600_000);

    fn judge(fields: &[&str]) -> Result<(), String> {
        let (mut times, mut steps, mut shared) = (TimeStatistics::new(latest(NOW)), Steps::default(), 0);
        let mut before = None;
        for (line, field) in (2..).zip(fields) {
            let event = Stamp::parse(field.as_bytes()).and_then(|stamp| times.note(stamp, line, field.as_bytes()));
            if let Some((before, event)) = before.zip(event) {
                steps.note(event - before, line);
                shared += u64::from(event == before);
            }
            before = event.or(before);
        }
        times.judge(&mut steps, shared).map_err(|(line, problem)| format!("{line}: {problem}"))
    }

    #[test]
    fn times_of_another_unit_are_refused_with_its_name() {
        let check = |fields: &[&str], expected: &str| {
            let said = judge(fields).expect_err("refused");
            assert!(said.contains(expected), "{fields:?}: {said}");
        };
        let seconds =
            "1704067200 reads as 1970-01-20 in milliseconds; as seconds it is 2024-01-01: convert the column to";
        check(&["1704067200", "1704067260"], &format!("2: {seconds}"));
        check(&["1704067200.25"], "as seconds it is 2024-01-01");
        check(&["1704067200000000"], "as microseconds it is 2024-01-01");
        check(&["1704067200000000000"], "as nanoseconds it is 2024-01-01");
        check(
            &["1704067200", "1704067260000"],
            "2: 1704067200 is a time in seconds, and line 3 has one in milliseconds",
        );
        check(&["1735689540000", "1735689600000000"], "3: 1735689600000000 is a time in microseconds, and line 2");
        check(&["0", "1", "1704067260000"], "2: 0 reads as 1970-01-01 in milliseconds, and 2 of 3 rows");
        check(&["-5"], "2: -5 reads as 1969-12-31 in milliseconds");
        check(&["1704067200000.5"], "2: 1704067200000.5 is a fraction of a millisecond");
        check(&["4102444800000"], "2: 4102444800000 reads as 2100-01-01 in milliseconds");
    }

    #[test]
    fn a_few_impossible_times_do_not_refuse_the_file() {
        assert_eq!(judge(&["0", "1704067200000", "1704067260000", "4102444800000", "1704067320000"]), Ok(()));
        assert_eq!(judge(&[]), Ok(()));
    }

    #[test]
    fn times_whose_digits_were_cut_are_refused() {
        let check = |fields: &[&str], is_cut: bool| {
            let said = judge(fields);
            let expected = format!("2: {} has lost its last digits", fields[0]);
            assert_eq!(said.as_ref().is_err_and(|said| said.starts_with(&expected)), is_cut, "{fields:?}: {said:?}");
        };
        check(&["1.70407E+12", "1.70407E+12"], true);
        // A multiple of a minute by coincidence.
        check(&["1.70406E+12"], true);
        check(&["1.704067e12"], true);
        check(&["1.7040672E+12", "1.7040673E+12"], true);
        check(&["1.7040672e+12", "1.7041536e+12"], false);
        check(&["1.7040672e12", "1.70406726e12"], false);
        check(&["1.704067200000E+12"], false);
        check(&["17040672E5"], false);
    }

    #[test]
    fn times_that_were_cut_before_they_were_written_are_refused() {
        let check = |step_ms: i64, cut: fn(i64) -> i64, is_cut: bool| {
            let fields: Vec<_> = (0..60).map(|row| cut(1_704_067_200_000 + row * step_ms).to_string()).collect();
            let said = judge(&fields.iter().map(String::as_str).collect::<Vec<_>>());
            let is_refused = said.as_ref().is_err_and(|said| said.contains("has lost its last digits"));
            assert_eq!(is_refused, is_cut, "{step_ms}: {said:?}");
        };
        for (step_ms, is_cut) in [(60_000, true), (300_000, false), (900_000, false)] {
            check(step_ms, |ms| ms / 100_000 * 100_000, is_cut);
        }
        for step_ms in [60_000, 900_000, 3_600_000, 86_400_000] {
            check(step_ms, |ms| ms / 10_000_000 * 10_000_000, true);
            check(step_ms, |ms| ms as f32 as i64, true);
            check(step_ms, |ms| ms, false);
        }
        check(100_000, |ms| ms, false);
        check(131_072, |ms| ms, false);
    }

    #[test]
    fn a_time_is_a_whole_number_between_2009_and_tomorrow() {
        let check = |field: &str, expected: Result<i64, RowRefusal>| {
            let found = Stamp::parse(field.as_bytes()).expect("a number").event(latest(NOW));
            assert_eq!(found.map(EventTime::ms), expected, "{field}");
        };
        check("1230768000000", Ok(1_230_768_000_000));
        check("1583020800000.0", Ok(1_583_020_800_000));
        check("1.5830208e12", Ok(1_583_020_800_000));
        check("1230767999999", Err(RowRefusal::Before2009));
        check("-1", Err(RowRefusal::Before2009));
        check("1767312000000", Ok(1_767_312_000_000));
        check("1767312000001", Err(RowRefusal::FUTURE));
        check("1583020800000.5", Err(RowRefusal::FractionalTime));
        for bad in ["", "2024-01-01", "NaN", "inf"] {
            assert_eq!(Stamp::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
