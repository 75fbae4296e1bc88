//! Spans as text, as flags take and show them: `250ms`, `90s`, `15m`, `1h`, `7d`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::time::Span;

/// Longest span that a text may name: 10,000 years of 365 days. Its sum with any event time is within `i64`.
const LONGEST: Span = Span(3_650_000 * Span::DAY.ms());

/// Reason why a text is not a span, or not the span of a flag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpanError {
    /// It has another form, as these words of its parser say.
    #[error("{0}; write a span such as 250ms, 90s, 15m, 1h, 7d or 1h 30m")]
    Form(String),
    /// It is shorter than this.
    #[error("at least {0}")]
    TooShort(Span),
    /// It is longer than this.
    #[error("at most {0}")]
    TooLong(Span),
}

/// Parses one or more numbers with units, which are added: `90s`, `1h 30m`. A part of a millisecond is left out.
impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let length = humantime::parse_duration(text).map_err(|error| SpanError::Form(error.to_string()))?;
        let span = i64::try_from(length.as_millis()).map(Self).ok();
        span.filter(|span| *span <= LONGEST).ok_or(SpanError::TooLong(LONGEST))
    }
}

/// Shows a span as flags accept it, in the largest unit of which it is a multiple: `250ms`, `90s`, `15m`, `1h`, `7d`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(Self::DAY, "d"), (Self::HOUR, "h"), (Self::MINUTE, "m"), (Self::SECOND, "s"), (Self(1), "ms")];
        let is_whole = |(unit, _): &(Self, _)| self.0 != 0 && self.0 % unit.0 == 0;
        let (unit, name) = units.into_iter().find(is_whole).unwrap_or((Self(1), "ms"));
        write!(f, "{}{name}", self.0 / unit.0)
    }
}

/// Returns the parser of a flag that takes spans of at least `least`.
pub fn at_least(least: Span) -> impl Fn(&str) -> Result<Span, SpanError> + Clone {
    move |text| {
        let span: Span = text.parse()?;
        if span < least { Err(SpanError::TooShort(least)) } else { Ok(span) }
    }
}

/// Returns the parser of a flag that takes spans of at most `most`.
pub fn at_most(most: Span) -> impl Fn(&str) -> Result<Span, SpanError> + Clone {
    move |text| {
        let span: Span = text.parse()?;
        if span > most { Err(SpanError::TooLong(most)) } else { Ok(span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_as_flags_accept_them() {
        let check = |ms: i64, expected: &str| {
            assert_eq!(Span(ms).to_string(), expected);
            assert_eq!(expected.parse(), Ok(Span(ms)));
        };
        check(0, "0ms");
        check(250, "250ms");
        check(90_000, "90s");
        check(900_000, "15m");
        check(3_600_000, "1h");
        check(7 * 86_400_000, "7d");
    }

    #[test]
    fn parts_of_a_span_are_added() {
        let check = |text: &str, expected: Span| assert_eq!(text.parse(), Ok(expected), "{text}");
        check("1h 30m", Span::minutes(90));
        check("1m30s", Span::seconds(90));
        check("2 days", Span(2 * Span::DAY.ms()));
        check("1500us", Span(1));
    }

    #[test]
    fn a_text_that_is_no_span_is_refused_with_examples() {
        let check = |text: &str, expected: &str| {
            let said = text.parse::<Span>().expect_err(text).to_string();
            assert!(said.contains(expected), "{text}: {said}");
        };
        for text in ["", "soon", "-1s", "5", "1 moon", "1e3s"] {
            check(text, "; write a span such as 250ms, 90s,");
        }
        check("11000years", "at most 3650000d");
        check("500000000000years", "at most 3650000d");
    }

    #[test]
    fn the_bound_of_a_flag_belongs_to_it() {
        let (least, most) = (at_least(Span::SECOND), at_most(Span::HOUR));
        assert_eq!((least("1s"), least("999ms")), (Ok(Span::SECOND), Err(SpanError::TooShort(Span::SECOND))));
        assert_eq!((most("60m"), most("61m")), (Ok(Span::HOUR), Err(SpanError::TooLong(Span::HOUR))));
        assert_eq!(least("999ms").map_err(|error| error.to_string()), Err("at least 1s".to_owned()));
        assert_eq!(most("2h").map_err(|error| error.to_string()), Err("at most 1h".to_owned()));
    }
}
