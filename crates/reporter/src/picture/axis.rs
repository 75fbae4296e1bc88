//! Where an axis has its marks and what stands there.

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Timelike, Utc};
use market::{EventTime, Span};

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// Where, in units of the axis.
    pub(super) at: f64,
    /// What stands there.
    pub(super) label: String,
}

/// Round numbers from `low` to `high`, about `count` of them, in steps of 1, 2 or 5 times a power of ten.
pub(super) fn value_marks(low: f64, high: f64, count: u32) -> Vec<Mark> {
    let step = round_step((high - low) / f64::from(count));
    // A mark at the very end is not lost to the last bit of a division.
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|number| number as f64 * step).map(|at| Mark { at, label: number(at, decimals(step)) }).collect()
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= step * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// The decimals that a step needs to be told from the next one.
fn decimals(step: f64) -> usize {
    (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize
}

/// A number for people: thousands set apart by commas, a true minus sign.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (idx, digit) in whole.chars().enumerate() {
        if idx > 0 && (whole.len() - idx) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let is_zero = plain.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let sign = if value < 0.0 && !is_zero { "\u{2212}" } else { "" };
    format!("{sign}{grouped}{fraction}")
}

/// A number with about four significant digits: 7,123 · 71.23 · 0.0007123.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return number(value, 0);
    }
    number(value, (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize)
}

/// A share in percent with its sign: +5.72 % · −4,485 % · 0.00 %.
pub(super) fn signed_percent(percent: f64) -> String {
    let text = if percent.abs() < 100.0 { number(percent, 2) } else { significant(percent) };
    // What is rounded to nothing has no sign either.
    let sign = if percent > 0.0 && text != number(0.0, 2) { "+" } else { "" };
    format!("{sign}{text} %")
}

/// From one mark of a time axis to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// A span that divides the day.
    Within(Span),
    Days(u64),
    Months(u32),
}

/// Longest step: beyond, marks stand closer than asked for.
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

    /// The first mark at or before an instant.
    fn floor(self, time: DateTime<Utc>) -> DateTime<Utc> {
        let midnight = |date: chrono::NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        let date = time.date_naive();
        match self {
            Self::Within(span) => EventTime(time.timestamp_millis()).floor(span).to_utc(),
            // Counted from the first of each month, so that the marks are dates that people know.
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
                // A day or two before the next first would crowd it.
                let first = time.date_naive().with_day(1)?.checked_add_months(Months::new(1))?;
                let first = first.and_time(NaiveTime::MIN).and_utc();
                let crowds = next + chrono::Duration::days(days as i64 / 2) >= first && days > 1;
                Some(if crowds || next > first { first } else { next })
            }
            Self::Months(months) => time.checked_add_months(Months::new(months)),
        }
    }
}

/// Marks of a time axis, at most `count` or so, at instants that people know. A label names the hour or the day; the
/// first one, and each that begins a new day or year, says which.
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
    use super::*;

    fn labels(marks: Vec<Mark>) -> Vec<String> {
        marks.into_iter().map(|mark| mark.label).collect()
    }

    #[test]
    fn prices_of_any_size_get_round_marks() {
        let check = |low, high, expected: &[&str]| assert_eq!(labels(value_marks(low, high, 4)), expected);
        check(3_800.0, 9_200.0, &["4,000", "6,000", "8,000"]);
        check(0.000_011, 0.000_029, &["0.000015", "0.000020", "0.000025"]);
        check(-1.2, 0.7, &["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5"]);
        check(0.999, 1.001, &["0.9990", "0.9995", "1.0000", "1.0005", "1.0010"]);
    }

    #[test]
    fn numbers_are_grouped_and_zero_has_no_sign() {
        assert_eq!(number(1_234_567.891, 2), "1,234,567.89");
        assert_eq!(number(-0.001, 2), "0.00");
        assert_eq!(
            [0.0004, -0.0004, 5.724, -4_485.2].map(signed_percent),
            ["0.00 %", "0.00 %", "+5.72 %", "\u{2212}4,485 %"]
        );
        assert_eq!(significant(71.234_5), "71.23");
        assert_eq!(significant(123_456.7), "123,457");
        assert_eq!(significant(0.000_712_34), "0.0007123");
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
