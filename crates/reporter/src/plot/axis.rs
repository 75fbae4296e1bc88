//! Marks of value axes and time axes, with their labels.

use std::ops::Range;

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Timelike, Utc};
use market::{EventTime, Span};

use super::extent::Extent;
use crate::number::{decimal, number, significant};

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// Position in units of the axis.
    pub(super) at: f64,
    /// Text at the mark.
    pub(super) label: String,
}

/// Powers of ten that are written in plain digits. Beyond them labels would be mostly zeros.
const PLAIN: Range<i32> = -6..10;

/// Returns about `count` round numbers within an extent, in steps of 1, 2 or 5 times a power of ten. Each mark is an
/// integer multiple of that power, and its label is written from the integer, so that no two labels are equal in any
/// narrow extent.
pub(super) fn value_marks(extent: Extent, count: u32) -> Vec<Mark> {
    let (factor, power) = round_step((extent.high - extent.low) / f64::from(count));
    let step = scaled(factor, power);
    // The tolerance keeps a mark at the very end, in spite of rounding.
    let first = (extent.low / step - 1e-9).ceil() as i64 * factor;
    let last = (extent.high / step + 1e-9).floor() as i64 * factor;
    let digits = first.unsigned_abs().max(last.unsigned_abs()).checked_ilog10().unwrap_or(0);
    let exponent = power + digits as i32;
    let multiples = (first..=last).step_by(factor as usize);
    multiples.map(|count| Mark { at: scaled(count, power), label: value_label(count, power, exponent) }).collect()
}

/// Returns the smallest of 1, 2 and 5 times a power of ten that is at least `step`, as factor and power.
fn round_step(step: f64) -> (i64, i32) {
    let power = step.log10().floor() as i32;
    let factor = [1, 2, 5].into_iter().find(|&factor| scaled(factor, power) >= step * 0.999_999);
    factor.map_or((1, power + 1), |factor| (factor, power))
}

/// Returns `count` · 10^`power`, rounded once.
fn scaled(count: i64, power: i32) -> f64 {
    format!("{count}e{power}").parse().unwrap_or(f64::NAN)
}

/// Formats `count` · 10^`power`. All labels of an axis have one form, which depends on `exponent`, the power of ten of
/// the largest.
fn value_label(count: i64, power: i32, exponent: i32) -> String {
    match u32::try_from(power) {
        _ if !PLAIN.contains(&exponent) => {
            let digits = decimal(count, power.abs_diff(exponent) as usize);
            if count == 0 { "0".to_owned() } else { format!("{digits}e{exponent}") }
        }
        Ok(power) => decimal(count * 10_i64.pow(power), 0),
        Err(_) => decimal(count, power.unsigned_abs() as usize),
    }
}

/// Formats a percentage with its sign: +5.72 % · −4,485 % · 0.00 %.
pub(super) fn signed_percent(percent: f64) -> String {
    let text = if percent.abs() < 100.0 { number(percent, 2) } else { significant(percent) };
    // A value that is rounded to zero has no sign.
    let sign = if percent > 0.0 && text != number(0.0, 2) { "+" } else { "" };
    format!("{sign}{text} %")
}

/// Distance of marks on a time axis.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// A span that divides the day.
    Within(Span),
    Days(u64),
    Months(u32),
}

/// Longest step. On a longer axis, marks are closer than requested.
const YEARS_MAX: u32 = 100;

const STEPS: [Step; 21] = [
    Step::Within(Span::minutes(1)),
    Step::Within(Span::minutes(2)),
    Step::Within(Span::minutes(5)),
    Step::Within(Span::minutes(10)),
    Step::Within(Span::minutes(15)),
    Step::Within(Span::minutes(30)),
    Step::Within(Span::HOUR),
    Step::Within(Span::minutes(120)),
    Step::Within(Span::minutes(180)),
    Step::Within(Span::minutes(360)),
    Step::Within(Span::minutes(720)),
    Step::Days(1),
    Step::Days(2),
    Step::Days(5),
    Step::Days(10),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Months(12),
    Step::Months(24),
];

impl Step {
    fn days(self) -> f64 {
        match self {
            Self::Within(span) => span.ms() as f64 / Span::DAY.ms() as f64,
            Self::Days(days) => days as f64,
            Self::Months(months) => f64::from(months) * 30.0,
        }
    }

    /// Returns the first mark at or before an instant.
    fn floor(self, time: DateTime<Utc>) -> DateTime<Utc> {
        let midnight = |date: chrono::NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        let date = time.date_naive();
        match self {
            Self::Within(span) => EventTime(time.timestamp_millis()).floor(span).to_utc(),
            // Counted from the first of each month, so that marks are familiar dates.
            Self::Days(days) => {
                let back = u64::from(date.day0()) % days;
                midnight(date.checked_sub_days(Days::new(back)).unwrap_or(date))
            }
            Self::Months(months) => {
                let back = (date.year().unsigned_abs() * 12 + date.month0()) % months;
                let first = date.with_day(1).unwrap_or(date);
                midnight(first.checked_sub_months(Months::new(back)).unwrap_or(first))
            }
        }
    }

    fn next(self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Within(span) => Some(EventTime(time.timestamp_millis() + span.ms()).to_utc()),
            Self::Days(days) => {
                let next = time.checked_add_days(Days::new(days))?;
                // A mark one or two days before the next first of a month would be too close to it.
                let first = time.date_naive().with_day(1)?.checked_add_months(Months::new(1))?;
                let first = first.and_time(NaiveTime::MIN).and_utc();
                let crowds = next + chrono::Duration::days(days as i64 / 2) >= first && days > 1;
                Some(if crowds || next > first { first } else { next })
            }
            Self::Months(months) => time.checked_add_months(Months::new(months)),
        }
    }
}

/// Returns about `count` marks of a time axis, at most, at round instants. A label shows the hour or the day; the first
/// one, and each that begins a new day or year, shows that too.
pub(super) fn time_marks(from: EventTime, to: EventTime, count: u32) -> Vec<Mark> {
    let days = (to - from).ms() as f64 / Span::DAY.ms() as f64;
    let wanted = days / f64::from(count);
    let years = Step::Months(12 * (wanted / 365.0).ceil().clamp(1.0, f64::from(YEARS_MAX)) as u32);
    let step = STEPS.into_iter().find(|step| step.days() >= wanted * 0.999_999).unwrap_or(years);
    let mut marks = Vec::new();
    let mut before: Option<DateTime<Utc>> = None;
    let mut time = step.floor(from.to_utc());
    while time.timestamp_millis() <= to.ms() {
        if time.timestamp_millis() >= from.ms() {
            marks.push(Mark { at: time.timestamp_millis() as f64, label: label(time, before, step) });
            before = Some(time);
        }
        match step.next(time) {
            Some(next) => time = next,
            None => break,
        }
    }
    marks
}

fn label(time: DateTime<Utc>, before: Option<DateTime<Utc>>, step: Step) -> String {
    let is_new_year = before.is_none_or(|before| before.year() != time.year());
    let is_new_day = before.is_none_or(|before| before.date_naive() != time.date_naive());
    match step {
        Step::Within(_) if is_new_day && time.hour() == 0 && time.minute() == 0 => time.format("%b %-d").to_string(),
        Step::Within(_) if is_new_day => time.format("%b %-d, %H:%M").to_string(),
        Step::Within(_) => time.format("%H:%M").to_string(),
        Step::Days(_) if is_new_year => time.format("%b %-d, %Y").to_string(),
        Step::Days(_) => time.format("%b %-d").to_string(),
        Step::Months(months) if months >= 12 => time.format("%Y").to_string(),
        Step::Months(_) if is_new_year => time.format("%b %Y").to_string(),
        Step::Months(_) => time.format("%b").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(marks: Vec<Mark>) -> Vec<String> {
        marks.into_iter().map(|mark| mark.label).collect()
    }

    #[test]
    fn prices_of_any_size_get_round_marks() {
        let check = |low, high, expected: &[&str]| assert_eq!(labels(value_marks(Extent { low, high }, 4)), expected);
        check(3_800.0, 9_200.0, &["4,000", "6,000", "8,000"]);
        check(0.000_011, 0.000_029, &["0.000015", "0.000020", "0.000025"]);
        check(-1.2, 0.7, &["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5"]);
        check(0.999, 1.001, &["0.9990", "0.9995", "1.0000", "1.0005", "1.0010"]);
        check(9.4e-15, 1.06e-14, &["0.95e-14", "1.00e-14", "1.05e-14"]);
        check(-1e-15, 1e-15, &["\u{2212}1.0e-15", "\u{2212}0.5e-15", "0", "0.5e-15", "1.0e-15"]);
        check(0.0, 9.9e14, &["0", "5e14"]);
        check(2.0e9, 9.0e9, &["2,000,000,000", "4,000,000,000", "6,000,000,000", "8,000,000,000"]);
        check(
            1e15,
            1e15 + 2e6,
            &["1.0000000000e15", "1.0000000005e15", "1.0000000010e15", "1.0000000015e15", "1.0000000020e15"],
        );
    }

    proptest! {
        /// Prices of any size, also in an extent of 10^-9 of their size.
        #[test]
        fn labels_are_distinct_complete_and_narrow(size in -15.0..15.0_f64, width in -11.9..1.0_f64, count in 5_u32..8) {
            let low = 10_f64.powf(size);
            let extent = Extent::of([low, low * (1.0 + 10_f64.powf(width))]).padded(0.04);
            let marks = value_marks(extent, count);
            prop_assert!((2..=count as usize + 1).contains(&marks.len()), "{marks:?}");
            for pair in marks.windows(2) {
                prop_assert!(pair[0].at < pair[1].at && pair[0].label != pair[1].label, "{marks:?}");
            }
            let step = marks[1].at - marks[0].at;
            for mark in &marks {
                let read: f64 = mark.label.replace(',', "").replace('\u{2212}', "-").parse().expect("a number");
                prop_assert!((read - mark.at).abs() <= step * 1e-3, "{mark:?}");
                prop_assert!(mark.label.len() <= 22, "{mark:?}");
            }
        }
    }

    #[test]
    fn a_percentage_has_a_sign_and_zero_has_none() {
        assert_eq!(
            [0.0004, -0.0004, 5.724, -4_485.2].map(signed_percent),
            ["0.00 %", "0.00 %", "+5.72 %", "\u{2212}4,485 %"]
        );
    }

    #[test]
    fn time_marks_fit_any_span() {
        let check = |from: &str, to: &str, expected: &[&str]| {
            let time = |text: &str| EventTime(text.parse::<DateTime<Utc>>().expect("a time").timestamp_millis());
            assert_eq!(labels(time_marks(time(from), time(to), 5)), expected, "{from} {to}");
        };
        check("2020-03-30T22:10:00Z", "2020-03-31T00:40:00Z", &["Mar 30, 22:30", "23:00", "23:30", "Mar 31", "00:30"]);
        check("2020-03-01T12:00:00Z", "2020-04-01T00:00:00Z", &["Mar 11, 2020", "Mar 21", "Apr 1"]);
        check("2019-11-20T00:00:00Z", "2020-03-10T00:00:00Z", &["Dec 2019", "Jan 2020", "Feb", "Mar"]);
        check("2017-08-20T00:00:00Z", "2024-03-10T00:00:00Z", &["2018", "2020", "2022", "2024"]);
        check("2020-03-01T00:00:00Z", "2020-03-01T00:04:00Z", &["Mar 1", "00:01", "00:02", "00:03", "00:04"]);
    }

    #[test]
    fn a_span_of_nothing_ends() {
        let time = EventTime(1_583_020_800_000);
        assert_eq!(time_marks(time, time, 5).len(), 1);
        assert_eq!(time_marks(EventTime::EARLIEST, EventTime::LATEST, 8).len() / 100, 0);
    }
}
