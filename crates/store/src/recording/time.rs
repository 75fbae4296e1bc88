//! Time of a row: the notation of a file's time column, and parsing a field by it.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use market::{EventTime, Span};

use super::row::RowRefusal;
use super::time_text::{TextTime, TextZone};

/// Largest lead of an observation over the current time. Clocks and time zones differ by less.
const AHEAD_MAX: Span = Span::DAY;

/// Returns the latest time that a row may have.
pub(crate) fn latest(now: EventTime) -> EventTime {
    EventTime(now.ms().saturating_add(AHEAD_MAX.ms()))
}

/// Unit of a number that is a time since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    pub(crate) const ALL: [Self; 4] = [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    /// Returns the unit in which a number of this size is nearest to the present. The times between 2009 and 2262 in the
    /// four units are disjoint.
    pub(crate) fn of_magnitude(value: f64) -> Self {
        match value.abs() {
            size if size < 1e11 => Self::Seconds,
            size if size < 1e14 => Self::Milliseconds,
            size if size < 1e17 => Self::Microseconds,
            _ => Self::Nanoseconds,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Nanoseconds => "ns",
        }
    }

    /// Returns the power of ten that converts the unit to milliseconds.
    fn power(self) -> i32 {
        match self {
            Self::Seconds => 3,
            Self::Milliseconds => 0,
            Self::Microseconds => -3,
            Self::Nanoseconds => -6,
        }
    }

    /// Converts to milliseconds.
    pub(crate) fn to_ms(self, value: f64) -> f64 {
        value * 10_f64.powi(self.power())
    }

    /// Converts to whole milliseconds, rounded down.
    fn whole_ms(self, value: i64) -> i64 {
        match self {
            Self::Seconds => value.saturating_mul(1_000),
            Self::Milliseconds => value,
            Self::Microseconds => value.div_euclid(1_000),
            Self::Nanoseconds => value.div_euclid(1_000_000),
        }
    }
}

/// Notation of the time column of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TimeNotation {
    /// Numbers of one unit, which the name of the column tells, or the numbers.
    Number(Unit),
    /// Numbers whose unit changes within a file; each number tells its own. The first unit is the usual one.
    Numbers(&'static [Unit]),
    /// Text, such as `2024-01-01T00:00:00Z`; times without offset are local times of this zone, in UTC by default.
    Text(Option<Tz>),
}

impl TimeNotation {
    /// Whether numbers may have this unit.
    pub(crate) fn has(self, unit: Unit) -> bool {
        match self {
            Self::Number(own) => own == unit,
            Self::Numbers(units) => units.contains(&unit),
            Self::Text(_) => false,
        }
    }

    /// Returns the unit of a number.
    pub(crate) fn unit_of(self, value: f64) -> Option<Unit> {
        match self {
            Self::Number(unit) => Some(unit),
            Self::Numbers(units) => {
                let own = Unit::of_magnitude(value);
                units.iter().copied().find(|unit| *unit == own).or(units.first().copied())
            }
            Self::Text(_) => None,
        }
    }

    /// Formats the units, such as `milliseconds or microseconds`; `None` for text.
    pub(crate) fn unit_words(self) -> Option<String> {
        let names = |units: &[Unit]| units.iter().map(|unit| unit.name()).collect::<Vec<_>>().join(" or ");
        match self {
            Self::Number(unit) => Some(unit.name().to_owned()),
            Self::Numbers(units) => Some(names(units)),
            Self::Text(_) => None,
        }
    }
}

/// Time of a row, as its field tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stamp {
    /// A time in milliseconds, rounded down, and the number of which it was made.
    At { ms: i64, raw: i64 },
    /// A number in exponent form: the time in milliseconds, and the value in milliseconds of its last written digit.
    Exponent { ms: i64, digit_ms: i64 },
    /// Milliseconds with a fraction.
    Fraction,
    /// A local time that does not exist, because clocks went forward.
    Nonexistent,
    /// A local time that exists twice, because clocks went back.
    Ambiguous,
}

impl Stamp {
    /// Parses a field; `None` when it is no time of this notation.
    pub(crate) fn parse(field: &[u8], notation: TimeNotation) -> Option<Self> {
        match notation {
            TimeNotation::Number(unit) => Self::of_number(field, |_| unit),
            TimeNotation::Numbers(_) => {
                let unit_of = |value| notation.unit_of(value).unwrap_or(Unit::Milliseconds);
                Self::of_number(field, unit_of)
            }
            TimeNotation::Text(zone) => TextTime::parse(field).map(|time| Self::of_text(time, zone)),
        }
    }

    fn of_number(field: &[u8], unit_of: impl Fn(f64) -> Unit) -> Option<Self> {
        let text = str::from_utf8(field).ok()?;
        if let Ok(raw) = text.parse::<i64>() {
            return Some(Self::At { ms: unit_of(raw as f64).whole_ms(raw), raw });
        }
        if let Some((whole, fraction)) = text.split_once('.')
            && let Some(stamp) = Self::of_decimal(whole, fraction, &unit_of)
        {
            return Some(stamp);
        }
        let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
        let unit = unit_of(number);
        // The casts saturate.
        let ms = unit.to_ms(number);
        if unit == Unit::Milliseconds && ms.fract() != 0.0 {
            return Some(Self::Fraction);
        }
        let at = text.find(['e', 'E'])?;
        Some(Self::Exponent { ms: ms.round() as i64, digit_ms: last_digit_ms(text, at, unit) })
    }

    /// Converts a number with decimals exactly: a float of seconds cannot hold each millisecond.
    fn of_decimal(whole: &str, fraction: &str, unit_of: &impl Fn(f64) -> Unit) -> Option<Self> {
        let raw: i64 = whole.parse().ok()?;
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let unit = unit_of(raw as f64);
        if unit == Unit::Milliseconds && fraction.bytes().any(|byte| byte != b'0') {
            return Some(Self::Fraction);
        }
        let thousandths =
            fraction.bytes().chain([b'0'; 3]).take(3).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let part = if unit == Unit::Seconds { thousandths } else { 0 };
        Some(Self::At { ms: unit.whole_ms(raw).saturating_add(part), raw })
    }

    fn of_text(TextTime { ms, zone: written }: TextTime, zone: Option<Tz>) -> Self {
        let at = |ms: i64| Self::At { ms, raw: ms };
        match (written, zone) {
            (TextZone::Offset(seconds), _) => at(ms - i64::from(seconds) * 1_000),
            (TextZone::Day, _) | (TextZone::Local, None) => at(ms),
            (TextZone::Local, Some(zone)) => match naive(ms).map(|local| zone.from_local_datetime(&local)) {
                Some(MappedLocalTime::Single(time)) => at(time.timestamp_millis()),
                Some(MappedLocalTime::Ambiguous(..)) => Self::Ambiguous,
                Some(MappedLocalTime::None) | None => Self::Nonexistent,
            },
        }
    }

    /// Returns the time in milliseconds, possible or not.
    pub(crate) fn ms(self) -> Option<i64> {
        match self {
            Self::At { ms, .. } | Self::Exponent { ms, .. } => Some(ms),
            Self::Fraction | Self::Nonexistent | Self::Ambiguous => None,
        }
    }

    /// Converts to an event time between [`EventTime::EARLIEST`] and `latest`.
    ///
    /// # Errors
    /// The reason why it cannot be the time of a row.
    pub(crate) fn event(self, latest: EventTime) -> Result<EventTime, RowRefusal> {
        let ms = match self {
            Self::At { ms, .. } | Self::Exponent { ms, .. } => ms,
            Self::Fraction => return Err(RowRefusal::FractionalTime),
            Self::Nonexistent => return Err(RowRefusal::NonexistentTime),
            Self::Ambiguous => return Err(RowRefusal::AmbiguousTime),
        };
        match EventTime(ms) {
            event if event < EventTime::EARLIEST => Err(RowRefusal::Before2009),
            event if event > latest => Err(RowRefusal::FUTURE),
            event => Ok(event),
        }
    }
}

fn naive(ms: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_millis(ms).map(|time| time.naive_utc())
}

/// Returns the value in milliseconds of the last written digit of a number in exponent form, at least 1.
fn last_digit_ms(text: &str, exponent_at: usize, unit: Unit) -> i64 {
    let decimals = text[..exponent_at].split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let exponent: i64 = text[exponent_at + 1..].parse().unwrap_or(0);
    let power = exponent.saturating_sub(decimals as i64).saturating_add(i64::from(unit.power())).clamp(0, 18);
    10_i64.pow(power as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01.
    const NOW: EventTime = EventTime(1_767_225_600_000);
    const MS: TimeNotation = TimeNotation::Number(Unit::Milliseconds);

    fn event(field: &str, notation: TimeNotation) -> Option<Result<i64, RowRefusal>> {
        let stamp = Stamp::parse(field.as_bytes(), notation)?;
        Some(stamp.event(latest(NOW)).map(EventTime::ms))
    }

    #[test]
    fn a_time_is_a_whole_number_between_2009_and_tomorrow() {
        let check = |field: &str, expected| assert_eq!(event(field, MS), Some(expected), "{field}");
        check("1230768000000", Ok(1_230_768_000_000));
        check("1583020800000.0", Ok(1_583_020_800_000));
        check("1.5830208e12", Ok(1_583_020_800_000));
        check("1230767999999", Err(RowRefusal::Before2009));
        check("-1", Err(RowRefusal::Before2009));
        check("1767312000000", Ok(1_767_312_000_000));
        check("1767312000001", Err(RowRefusal::FUTURE));
        check("1583020800000.5", Err(RowRefusal::FractionalTime));
        for bad in ["", "2024-01-01", "NaN", "inf"] {
            assert_eq!(event(bad, MS), None, "{bad}");
        }
    }

    #[test]
    fn each_unit_gives_the_same_time_exactly() {
        let check = |field: &str, unit: Unit, expected: i64| {
            assert_eq!(event(field, TimeNotation::Number(unit)), Some(Ok(expected)), "{field}");
        };
        check("1704067200", Unit::Seconds, 1_704_067_200_000);
        check("1704067200.1", Unit::Seconds, 1_704_067_200_100);
        check("1704067200.0019999", Unit::Seconds, 1_704_067_200_001);
        check("1.7040672E9", Unit::Seconds, 1_704_067_200_000);
        check("1704067200123999", Unit::Microseconds, 1_704_067_200_123);
        check("1704067200123000000", Unit::Nanoseconds, 1_704_067_200_123);
    }

    #[test]
    fn a_unit_that_changes_within_a_file_is_told_by_each_number() {
        let both = TimeNotation::Numbers(&[Unit::Milliseconds, Unit::Microseconds]);
        assert_eq!(event("1735689540000", both), Some(Ok(1_735_689_540_000)));
        assert_eq!(event("1735689600000000", both), Some(Ok(1_735_689_600_000)));
        assert_eq!(event("1735689600", both), Some(Err(RowRefusal::Before2009)));
    }

    #[test]
    fn local_times_are_read_in_their_zone() {
        let check = |field: &str, zone: Option<&str>, expected: Result<&str, RowRefusal>| {
            let zone = zone.map(|zone| zone.parse().unwrap());
            let found = event(field, TimeNotation::Text(zone)).unwrap().map(|ms| EventTime(ms).to_rfc3339());
            assert_eq!(found, expected.map(str::to_owned), "{field}");
        };
        let berlin = Some("Europe/Berlin");
        check("2024-01-01 12:00", None, Ok("2024-01-01T12:00:00Z"));
        check("2024-01-01 12:00", berlin, Ok("2024-01-01T11:00:00Z"));
        check("2024-07-01 12:00", berlin, Ok("2024-07-01T10:00:00Z"));
        check("2024-07-01 12:00Z", berlin, Ok("2024-07-01T12:00:00Z"));
        check("2024-07-01T12:00+05:30", berlin, Ok("2024-07-01T06:30:00Z"));
        check("2024-07-01", berlin, Ok("2024-07-01T00:00:00Z"));
        check("2024-03-31 02:30", berlin, Err(RowRefusal::NonexistentTime));
        check("2024-10-27 02:30", berlin, Err(RowRefusal::AmbiguousTime));
        check("2008-12-31 12:00", None, Err(RowRefusal::Before2009));
    }
}
