//! Times written as text: ISO 8601 with `T` or a blank, with or without an offset, and dates alone.

use chrono::NaiveDate;

/// A time as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextTime {
    /// Milliseconds since 1970 if the written time were UTC; fractions of a millisecond are cut off.
    pub(crate) ms: i64,
    pub(crate) zone: TextZone,
}

/// Zone of a written time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextZone {
    /// An offset from UTC in seconds, east is positive.
    Offset(i32),
    /// None: a local time.
    Local,
    /// None, and no time: the UTC day.
    Day,
}

impl TextTime {
    /// Parses a time; `None` when it is not written as year, month, day, and so on.
    pub(crate) fn parse(field: &[u8]) -> Option<Self> {
        let mut rest = Rest(field);
        let year = rest.number(4)?;
        let separator = rest.one_of(b"-/.")?;
        let month = rest.number(2)?;
        rest.one_of(&[separator])?;
        let day = rest.number(2)?;
        let date = NaiveDate::from_ymd_opt(year.cast_signed(), month, day)?;
        if rest.0.is_empty() {
            return Some(Self { ms: date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis(), zone: TextZone::Day });
        }
        rest.one_of(b"Tt ")?;
        let (hour, minute, second, ms) = rest.clock()?;
        let time = date.and_hms_milli_opt(hour, minute, second, ms)?;
        let zone = rest.zone()?;
        rest.0.is_empty().then(|| Self { ms: time.and_utc().timestamp_millis(), zone })
    }
}

/// The part of a field that is not parsed yet.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Takes a number of exactly this many digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let number = number
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))?;
        self.0 = rest;
        Some(number)
    }

    /// Takes one of these bytes.
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Takes a word, in any case.
    fn word(&mut self, word: &[u8]) -> Option<()> {
        let (first, rest) = self.0.split_at_checked(word.len())?;
        first.eq_ignore_ascii_case(word).then(|| self.0 = rest)
    }

    /// Takes the time of the day: hour, minute, second and millisecond. An hour alone needs AM or PM.
    fn clock(&mut self) -> Option<(u32, u32, u32, u32)> {
        let hour = self.number(2)?;
        let (mut minute, mut second, mut ms) = (None, 0, 0);
        if self.one_of(b":").is_some() {
            minute = Some(self.number(2)?);
            if self.one_of(b":").is_some() {
                second = self.number(2)?;
                if self.one_of(b".,").is_some() {
                    ms = self.fraction()?;
                }
            }
        }
        let hour = match self.half() {
            Some(half) => (1..=12).contains(&hour).then_some(hour % 12 + half)?,
            None => minute.map(|_| hour)?,
        };
        Some((hour, minute.unwrap_or(0), second, ms))
    }

    /// Takes the digits of a fraction of a second, and returns its milliseconds.
    fn fraction(&mut self) -> Option<u32> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        let thousandths = fraction.iter().chain(b"000").take(3);
        (digits > 0).then(|| thousandths.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }

    /// Takes AM or PM, and returns the hours that it adds.
    fn half(&mut self) -> Option<u32> {
        let mut rest = *self;
        let _ = rest.one_of(b" -");
        let half = [(b"AM", 0), (b"PM", 12)].into_iter().find(|(word, _)| rest.word(*word).is_some());
        half.map(|(_, hours)| {
            *self = rest;
            hours
        })
    }

    /// Takes the zone: nothing, `Z`, `UTC`, `GMT`, or an offset such as `+02:00`, `+0200` or `+02`.
    fn zone(&mut self) -> Option<TextZone> {
        if self.0.is_empty() {
            return Some(TextZone::Local);
        }
        let _ = self.one_of(b" ");
        if [b"Z".as_slice(), b"UTC", b"GMT"].into_iter().any(|word| self.word(word).is_some()) {
            return Some(TextZone::Offset(0));
        }
        let sign = if self.one_of(b"+-")? == b'+' { 1 } else { -1 };
        let hours = self.number(2)?;
        let has_colon = self.one_of(b":").is_some();
        let minutes = if has_colon || !self.0.is_empty() { self.number(2)? } else { 0 };
        let is_offset = hours <= 18 && minutes < 60;
        is_offset.then(|| TextZone::Offset(sign * (hours * 3_600 + minutes * 60).cast_signed()))
    }
}

/// Whether a field is a date with the year at its end, such as `01/02/2024`, whose day and month can be read in two ways.
pub(crate) fn has_year_last(field: &[u8]) -> bool {
    let date = field.split(|byte| b" T,".contains(byte)).next().unwrap_or_default();
    let parts: Vec<&[u8]> = date.split(|byte| b"/.-".contains(byte)).collect();
    let are_digits = parts.iter().all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    are_digits && parts.len() == 3 && parts[0].len() <= 2 && parts[1].len() <= 2 && matches!(parts[2].len(), 2 | 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_times_are_read_to_the_millisecond() {
        let midnight = 1_704_067_200_000;
        let check = |text: &str, ms: i64, zone: TextZone| {
            assert_eq!(TextTime::parse(text.as_bytes()), Some(TextTime { ms: midnight + ms, zone }), "{text}");
        };
        check("2024-01-01", 0, TextZone::Day);
        check("2024/01/01", 0, TextZone::Day);
        check("2024-01-01 00:00", 0, TextZone::Local);
        check("2024-01-01T01:02:03", 3_723_000, TextZone::Local);
        check("2024-01-01 01:02:03.5", 3_723_500, TextZone::Local);
        check("2024-01-01T01:02:03.123456789", 3_723_123, TextZone::Local);
        check("2024-01-01 01:02:03,123", 3_723_123, TextZone::Local);
        for utc in ["Z", "z", " UTC", "UTC", " GMT", "+00:00", "-0000", "+00"] {
            check(&format!("2024-01-01T01:02:03{utc}"), 3_723_000, TextZone::Offset(0));
        }
        check("2024-01-01 01:02:03.000001+05:30", 3_723_000, TextZone::Offset(19_800));
        check("2024-01-01T01:02:03 -0800", 3_723_000, TextZone::Offset(-28_800));
        check("2024-01-01 09-AM", 9 * 3_600_000, TextZone::Local);
        check("2024-01-01 12-AM", 0, TextZone::Local);
        check("2024-01-01 01:30 PM", 13 * 3_600_000 + 1_800_000, TextZone::Local);
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "2024",
            "2024-1-1",
            "2024-13-01",
            "2024-02-30",
            "2024-01/01",
            "2024-01-01 ",
            "2024-01-01 24:00",
            "2024-01-01 05",
            "2024-01-01 13:00 PM",
            "2024-01-01T00:00:60",
            "2024-01-01T00:00+19:00",
            "2024-01-01T00:00 CET",
            "2024-01-01T00:00:00.Z",
            "01/02/2024",
            "1704067200",
            "20240101",
            "Jan 01, 2024",
        ] {
            assert_eq!(TextTime::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn dates_with_two_readings_are_recognized() {
        for text in ["01/02/2024", "1.2.24", "13-01-2024 12:00", "01/02/2024T00:00"] {
            assert!(has_year_last(text.as_bytes()), "{text}");
        }
        for text in ["2024-01-02", "1704067200", "8,523.50", "1.2", "Jan 01, 2024", "00:01:00", ""] {
            assert!(!has_year_last(text.as_bytes()), "{text}");
        }
    }
}
