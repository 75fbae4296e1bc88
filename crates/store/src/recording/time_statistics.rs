//! Statistics of a file's times: whether they are possible, of one unit, and complete to the last digit.

use market::{EventTime, Span};

use super::steps::Steps;
use super::time::{Stamp, TimeNotation, Unit};

/// Value in milliseconds of the finest last digit up to which a file in exponent form can represent every minute.
const DIGIT_MS: i64 = 10_000;
/// Rows that a grid needs at least; fewer may lie on one by chance.
const GRID_ROWS_MIN: u64 = 3;
/// Rounding to which candle times may be cut. Candles may be a multiple of 100 s long; times that were cut to it
/// coincide, or follow each other unevenly.
const HUNDRED_SECONDS_MS: i64 = 100_000;
/// One shared time in this number of rows is significant.
const SHARED_ROWS: u64 = 20;

/// A time as the file has it, for errors.
#[derive(Debug, Clone)]
struct WrittenTime {
    line: u32,
    text: String,
    /// The number; `None` for text.
    value: Option<f64>,
}

/// Statistics of a file's times.
#[derive(Debug)]
pub(crate) struct TimeStatistics {
    notation: TimeNotation,
    latest: EventTime,
    possible: u64,
    impossible: u64,
    /// The first possible time.
    first: Option<WrittenTime>,
    grid: Grid,
    first_impossible: Option<WrittenTime>,
    other_unit: Option<(WrittenTime, Unit)>,
    exponents: Option<Exponents>,
    /// Whether a number of each unit was found.
    seen: [bool; Unit::ALL.len()],
}

#[derive(Debug)]
struct Exponents {
    first: WrittenTime,
    finest: i64,
    are_minutes: bool,
}

impl TimeStatistics {
    /// Returns empty statistics of times in this notation; a time after `latest` is impossible.
    pub(crate) fn new(notation: TimeNotation, latest: EventTime) -> Self {
        Self {
            notation,
            latest,
            possible: 0,
            impossible: 0,
            first: None,
            grid: Grid::default(),
            first_impossible: None,
            other_unit: None,
            exponents: None,
            seen: [false; Unit::ALL.len()],
        }
    }

    /// Returns the units of the numbers.
    pub(crate) fn units(&self) -> impl Iterator<Item = Unit> {
        Unit::ALL.into_iter().filter(|unit| self.seen[*unit as usize])
    }

    /// Adds a line's time; returns it if it is possible.
    pub(crate) fn note(&mut self, stamp: Stamp, line: u32, field: &[u8]) -> Option<EventTime> {
        if let Stamp::Exponent { ms, digit_ms } = stamp {
            let known = self.exponents.get_or_insert_with(|| Exponents {
                first: written(line, field),
                finest: digit_ms,
                are_minutes: true,
            });
            known.finest = known.finest.min(digit_ms);
            known.are_minutes &= ms % Span::MINUTE.ms() == 0;
        }
        if matches!(stamp, Stamp::Nonexistent | Stamp::Ambiguous) {
            return None;
        }
        let event = stamp.event(self.latest).ok();
        if let Some(event) = event {
            if self.possible == 0 {
                self.first = Some(written(line, field));
            }
            self.possible += 1;
            self.note_possible(stamp, event);
        } else {
            self.note_impossible(line, field);
        }
        event
    }

    fn note_possible(&mut self, stamp: Stamp, event: EventTime) {
        let raw = match stamp {
            Stamp::At { raw, .. } => raw,
            _ => event.ms(),
        };
        let unit = self.notation.unit_of(raw as f64);
        if let Some(unit) = unit {
            self.seen[unit as usize] = true;
        }
        self.grid.note(event, raw, unit);
    }

    fn note_impossible(&mut self, line: u32, field: &[u8]) {
        self.impossible += 1;
        let time = written(line, field);
        if self.other_unit.is_none() {
            let range = EventTime::EARLIEST.ms() as f64..=self.latest.ms() as f64;
            let is_possible = |unit: &Unit| time.value.is_some_and(|value| range.contains(&unit.to_ms(value)));
            let unit = Unit::ALL.into_iter().filter(|unit| !self.notation.has(*unit)).find(is_possible);
            self.other_unit = unit.map(|unit| (time.clone(), unit));
        }
        self.first_impossible.get_or_insert(time);
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
            (Some((time, unit)), _) => Err((time.line, self.in_unit(time, *unit))),
            (None, Some(time)) if self.impossible > self.possible => Err((time.line, self.mostly_impossible(time))),
            (None, _) => Ok(()),
        }
    }

    fn mixed(&self, WrittenTime { text, .. }: &WrittenTime, unit: Unit) -> String {
        let own = self.notation.unit_words().unwrap_or_default();
        format!(
            "{text} is a time in {}, and line {} has one in {own}: convert the whole column to {own}",
            unit.name(),
            self.first.as_ref().map_or(0, |first| first.line)
        )
    }

    fn in_unit(&self, WrittenTime { text, value, .. }: &WrittenTime, unit: Unit) -> String {
        let (own, value) = (self.notation.unit_words().unwrap_or_default(), value.unwrap_or_default());
        format!(
            "{text} reads as {} in {own}; as {} it is {}: convert the column to {own}, or give it a name without a unit, such as \
             time",
            self.date(value),
            unit.name(),
            date(unit.to_ms(value))
        )
    }

    fn mostly_impossible(&self, time: &WrittenTime) -> String {
        let Self { impossible, possible, notation, .. } = self;
        let rows = impossible + possible;
        match (notation.unit_words(), time.value) {
            (Some(own), Some(value)) => {
                let reads = if notation.has(Unit::Milliseconds) && value.fract() != 0.0 {
                    "is a fraction of a millisecond".to_owned()
                } else {
                    format!("reads as {} in {own}", self.date(value))
                };
                format!(
                    "{} {reads}, and {impossible} of {rows} rows have a time that is fractional, before 2009 or after tomorrow: \
                     write whole milliseconds since 1970 (UTC)",
                    time.text
                )
            }
            _ => format!(
                "{} is before 2009 or after tomorrow, as are {impossible} of {rows} rows: name the column of the time with \
                 --columns time=NAME",
                time.text
            ),
        }
    }

    /// Returns the day of a number in the notation of the file.
    fn date(&self, value: f64) -> String {
        date(self.notation.unit_of(value).unwrap_or(Unit::Milliseconds).to_ms(value))
    }
}

/// The coarsest grid that all times of a file lie on.
#[derive(Debug)]
struct Grid {
    /// Whether all numbers can be a rounded 32-bit float of their unit.
    are_floats: bool,
    are_hundreds: bool,
    are_minutes: bool,
    are_seconds: bool,
    /// Whether some number counts seconds.
    has_seconds: bool,
}

impl Default for Grid {
    fn default() -> Self {
        Self { are_floats: true, are_hundreds: true, are_minutes: true, are_seconds: true, has_seconds: false }
    }
}

impl Grid {
    fn note(&mut self, event: EventTime, raw: i64, unit: Option<Unit>) {
        let ms = event.ms();
        self.are_floats &= unit.is_some_and(|unit| raw.trailing_zeros() >= float_bits(unit));
        self.are_hundreds &= ms % HUNDRED_SECONDS_MS == 0;
        self.are_minutes &= ms % Span::MINUTE.ms() == 0;
        self.are_seconds &= ms % Span::SECOND.ms() == 0;
        self.has_seconds |= unit == Some(Unit::Seconds);
    }

    /// Whether the grid comes from lost digits rather than from a clock: 32-bit floats, or times that an exponent form
    /// cut before they were written.
    fn is_cut(&self, steps: &mut Steps, shared: u64, rows: u64) -> bool {
        let is_clock = if self.has_seconds { self.are_minutes } else { self.are_seconds };
        let is_binary = self.are_floats && !is_clock;
        let is_decimal = self.are_hundreds && !self.are_minutes;
        is_binary || (is_decimal && (shared * SHARED_ROWS >= rows || !steps.are_multiples()))
    }
}

/// Returns the binary zeros at the end of every time since 2004, or since 2006, as a 32-bit float of this unit.
fn float_bits(unit: Unit) -> u32 {
    match unit {
        Unit::Seconds => 7,
        Unit::Milliseconds => 16,
        Unit::Microseconds => 26,
        Unit::Nanoseconds => 36,
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

fn written(line: u32, field: &[u8]) -> WrittenTime {
    let text = String::from_utf8_lossy(field).into_owned();
    WrittenTime { line, value: text.parse().ok(), text }
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
    use super::super::time::latest;
    use super::*;

    /// 2026-01-01.
    const NOW: EventTime = EventTime(1_767_225_600_000);

    fn judge(fields: &[&str]) -> Result<(), String> {
        judge_as(TimeNotation::Number(Unit::Milliseconds), fields)
    }

    fn judge_as(notation: TimeNotation, fields: &[&str]) -> Result<(), String> {
        let (mut times, mut steps, mut shared) = (TimeStatistics::new(notation, latest(NOW)), Steps::default(), 0);
        let mut before = None;
        for (line, field) in (2..).zip(fields) {
            let stamp = Stamp::parse(field.as_bytes(), notation);
            let event = stamp.and_then(|stamp| times.note(stamp, line, field.as_bytes()));
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
    fn times_of_a_second_unit_are_named_in_any_notation() {
        let check = |notation: TimeNotation, fields: &[&str], expected: &str| {
            let said = judge_as(notation, fields).expect_err("refused");
            assert!(said.contains(expected), "{fields:?}: {said}");
        };
        let seconds = TimeNotation::Number(Unit::Seconds);
        check(
            seconds,
            &["1704067200", "1704067260000"],
            "3: 1704067260000 is a time in milliseconds, and line 2 has one in seconds",
        );
        check(seconds, &["946684800"], "2: 946684800 reads as 2000-01-01 in seconds, and 1 of 1 rows");
        check(TimeNotation::Text(None), &["1999-01-01"], "2: 1999-01-01 is before 2009 or after tomorrow");
        let both = TimeNotation::Numbers(&[Unit::Milliseconds, Unit::Microseconds]);
        check(
            both,
            &["1704067200000", "1704067260"],
            "3: 1704067260 is a time in seconds, and line 2 has one in milliseconds or micro",
        );
        assert_eq!(judge_as(both, &["1735689540000", "1735689600000000"]), Ok(()));
    }

    #[test]
    fn seconds_whose_digits_were_cut_are_refused() {
        let seconds = TimeNotation::Number(Unit::Seconds);
        let check = |step: i64, cut: fn(i64) -> i64, is_cut: bool| {
            let fields: Vec<_> = (0..60).map(|row| cut(1_704_067_200 + row * step).to_string()).collect();
            let said = judge_as(seconds, &fields.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(said.is_err_and(|said| said.contains("has lost its last digits")), is_cut, "{step}");
        };
        for step in [60, 900, 3_600] {
            check(step, |seconds| seconds as f32 as i64, true);
            check(step, |seconds| seconds / 10_000 * 10_000, true);
            check(step, |seconds| seconds, false);
        }
        check(86_400, |seconds| seconds, false);
        assert!(judge_as(seconds, &["1.70407E+9"]).is_err());
    }
}
