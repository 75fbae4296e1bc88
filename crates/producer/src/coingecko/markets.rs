//! Quotes of the endpoint `/coins/markets`: one observation per coin.
//!
//! ```json
//! [{"id":"bitcoin","symbol":"btc","current_price":77671,"market_cap":1555886872303,"total_volume":33235034316,
//!   "high_24h":78419,"low_24h":76696,"last_updated":"2026-05-18T12:49:21.599Z"}]
//! ```
//!
//! Every number may be null, an integer, a float or in exponent form. The order differs from the request, and unknown
//! coins are left out. A price as text or a time without a zone was never observed; each has its own [`QuoteError`].
//! `total_volume`, `high_24h` and `low_24h` cover the rolling 24 hours and never a candle.
//!
//! A parsed answer takes little more memory than its text: entries and fields are slices of it, unknown fields are
//! skipped, and there are no more entries than requested coins.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use market::EventTime;
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::json::{Misfit, field, object};
use super::quote_error::QuoteError;

/// Quote of one coin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quote {
    /// Price, not validated yet, or why there is none.
    pub(crate) price: Result<f64, QuoteError>,
    /// Time of the observation by the source's clock, or why it is not known.
    pub(crate) last_updated: Result<EventTime, QuoteError>,
    pub(crate) market_cap: Option<f64>,
    pub(crate) volume_24h: Option<f64>,
    pub(crate) high_24h: Option<f64>,
    pub(crate) low_24h: Option<f64>,
}

#[cfg(test)]
impl Default for Quote {
    /// A quote without price and time.
    fn default() -> Self {
        let (price, last_updated) = (Err(QuoteError::NoPrice), Err(QuoteError::NoTime));
        Self { price, last_updated, market_cap: None, volume_24h: None, high_24h: None, low_24h: None }
    }
}

/// Parses the quotes of a page, by coin. An entry that is not an object with an id is left out, and its coin counts as
/// missing.
///
/// # Errors
/// The page is not a list, or has more entries than requested coins.
pub(crate) fn quotes(page: &str, asked: usize) -> Result<HashMap<String, Quote>, Misfit> {
    let mut json = Deserializer::from_str(page);
    let entries = json.deserialize_seq(Entries { asked }).and_then(|entries| json.end().map(|()| entries));
    match entries {
        Ok(entries) => Ok(entries.into_iter().filter_map(quote).collect()),
        // Entries may hold any JSON, so in a list only the limit of `Entries` causes this kind of error.
        Err(error) if error.is_data() && page.trim_start().starts_with('[') => {
            Err(Misfit::Form(format!("more entries than the {asked} asked for").into()))
        }
        Err(_) if serde_json::from_str::<IgnoredAny>(page).is_ok() => Err(Misfit::Form("not a list".into())),
        Err(_) => Err(Misfit::NoJson),
    }
}

/// Visitor of a list with at most the requested number of entries.
struct Entries {
    asked: usize,
}

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} entries", self.asked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(self.asked);
        while let Some(entry) = list.next_element()? {
            if entries.len() == self.asked {
                return Err(A::Error::invalid_length(self.asked + 1, &self));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// Used fields of an entry. Each may hold any JSON.
#[derive(Deserialize)]
struct Entry<'a> {
    id: String,
    #[serde(borrow)]
    current_price: Option<&'a RawValue>,
    last_updated: Option<&'a RawValue>,
    market_cap: Option<&'a RawValue>,
    total_volume: Option<&'a RawValue>,
    high_24h: Option<&'a RawValue>,
    low_24h: Option<&'a RawValue>,
}

fn quote(entry: &RawValue) -> Option<(String, Quote)> {
    let entry: Entry<'_> = object(entry.get())?;
    let number = |json| field::<f64>(json);
    let quote = Quote {
        price: price(entry.current_price),
        last_updated: time(entry.last_updated),
        market_cap: number(entry.market_cap),
        volume_24h: number(entry.total_volume),
        high_24h: number(entry.high_24h),
        low_24h: number(entry.low_24h),
    };
    Some((entry.id, quote))
}

/// Parses a price of any size. One beyond f64 becomes infinite, which validation rejects with a reason.
fn price(json: Option<&RawValue>) -> Result<f64, QuoteError> {
    let json = json.ok_or(QuoteError::NoPrice)?.get();
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    json.parse().ok().filter(|_| is_number).ok_or(QuoteError::PriceNotNumber)
}

fn time(json: Option<&RawValue>) -> Result<EventTime, QuoteError> {
    let text: String = field(Some(json.ok_or(QuoteError::NoTime)?)).ok_or(QuoteError::TimeUnreadable)?;
    let Ok(time) = DateTime::parse_from_rfc3339(&text) else {
        let is_local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
            .iter()
            .any(|form| NaiveDateTime::parse_from_str(&text, form).is_ok());
        return Err(if is_local { QuoteError::TimeWithoutZone } else { QuoteError::TimeUnreadable });
    };
    let time = EventTime(time.timestamp_millis());
    let is_in_calendar = (EventTime::EARLIEST..=EventTime::LATEST).contains(&time);
    if is_in_calendar { Ok(time) } else { Err(QuoteError::TimeOutOfRange) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_number_forms_are_read_and_bad_coins_spoil_no_other() {
        let page = r#" [
            {"id":"a","current_price":77671,"high_24h":1.5e3,"low_24h":null,"last_updated":"2026-05-18T12:49:21.599Z"},
            {"id":"b","current_price":1.2e-7,"last_updated":"yesterday","roi":{"times":[1,{"a":"]"}]},"high_24h":1e999},
            {"id":"c","current_price":"12","last_updated":1779092258,"market_cap":[[]],"total_volume":{}},
            {"symbol":"d"},
            {"id":7,"current_price":1},
            null,
            "e",
            ["f",1.5,"2026-05-18T12:49:21.599Z"]
        ] "#;
        let quotes = quotes(page, 8).unwrap();
        let read = |coin: &str| (quotes[coin].price, quotes[coin].last_updated);
        assert_eq!(read("a"), (Ok(77_671.0), Ok(EventTime(1_779_108_561_599))));
        assert_eq!((quotes["a"].high_24h, quotes["a"].low_24h), (Some(1_500.0), None));
        assert_eq!(read("b"), (Ok(1.2e-7), Err(QuoteError::TimeUnreadable)));
        assert_eq!(read("c"), (Err(QuoteError::PriceNotNumber), Err(QuoteError::TimeUnreadable)));
        assert_eq!((quotes["b"].high_24h, quotes["c"].market_cap, quotes["c"].volume_24h), (None, None, None));
        assert_eq!(quotes.len(), 3);
    }

    /// Parses an entry that has an id and this field.
    fn read(field: &str) -> Quote {
        quotes(&format!(r#"[{{"id":"a"{field}}}]"#), 1).unwrap().remove("a").unwrap()
    }

    #[test]
    fn a_price_that_is_no_number_has_a_name() {
        let check = |field: &str, expected| assert_eq!(read(field).price, expected, "{field}");
        check("", Err(QuoteError::NoPrice));
        check(r#","current_price":null"#, Err(QuoteError::NoPrice));
        for json in [r#""12""#, r#""NaN""#, r#""""#, "true", "[12]", r#"{"usd":12}"#] {
            check(&format!(r#","current_price":{json}"#), Err(QuoteError::PriceNotNumber));
        }
        check(r#","current_price": -0.5e-3 "#, Ok(-0.5e-3));
        check(r#","current_price":1e999"#, Ok(f64::INFINITY));
        check(r#","current_price":2.1e-14"#, Ok(2.1e-14));
    }

    #[test]
    fn a_time_that_is_no_instant_has_a_name() {
        let check = |json: &str, expected| {
            let field = format!(r#","last_updated":{json}"#);
            assert_eq!(read(&field).last_updated, expected, "{json}");
        };
        assert_eq!(read("").last_updated, Err(QuoteError::NoTime));
        check("null", Err(QuoteError::NoTime));
        check(r#""2026-05-18T12:49:21.599""#, Err(QuoteError::TimeWithoutZone));
        check(r#""2026-05-18 12:49:21""#, Err(QuoteError::TimeWithoutZone));
        check(r#""2026-05-18""#, Err(QuoteError::TimeUnreadable));
        check(r#""""#, Err(QuoteError::TimeUnreadable));
        check("1779108561", Err(QuoteError::TimeUnreadable));
        check(r#""1970-01-01T00:00:00.000Z""#, Err(QuoteError::TimeOutOfRange));
        check(r#""2008-12-31T23:59:59.999Z""#, Err(QuoteError::TimeOutOfRange));
        check(r#""2009-01-01T00:00:00Z""#, Ok(EventTime::EARLIEST));
        check(r#""2026-05-18T14:49:21.599+02:00""#, Ok(EventTime(1_779_108_561_599)));
    }

    #[test]
    fn a_page_of_another_form_has_no_quotes() {
        let check = |page: &str, expected: &str| {
            let expected = if expected.is_empty() { Misfit::NoJson } else { Misfit::Form(expected.to_owned().into()) };
            assert_eq!(quotes(page, 2), Err(expected), "{page}");
        };
        check(r#"[{"id":"a"},{"id":"b"},{"id":"c"}]"#, "more entries than the 2 asked for");
        check("[0,0,0,", "more entries than the 2 asked for");
        check("{}", "not a list");
        check("17", "not a list");
        for page in ["", "Throttled", r#"[{"id":"a"}"#, r#"[{"id":"a"}] and more"#, r#"[{"id":]"#] {
            check(page, "");
        }
        assert_eq!(quotes(" [] ", 0), Ok(HashMap::new()));
    }

    #[test]
    fn depth_takes_no_stack() {
        let deep = format!(r#"[{{"id":"a","current_price":{}{}}}]"#, "[".repeat(500_000), "]".repeat(500_000));
        assert_eq!(quotes(&deep, 1).unwrap()["a"].price, Err(QuoteError::PriceNotNumber));
    }
}
