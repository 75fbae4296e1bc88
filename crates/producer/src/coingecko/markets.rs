//! `/coins/markets`: one observation of each coin.
//!
//! ```json
//! [{"id":"bitcoin","symbol":"btc","current_price":77671,"market_cap":1555886872303,"total_volume":33235034316,
//!   "high_24h":78419,"low_24h":76696,"last_updated":"2026-05-18T12:49:21.599Z"}]
//! ```
//!
//! Every number may be null, an integer, a float or in exponent form; the order is not the one asked for; unknown coins
//! are left out. A price that is a text and a time without a zone were never seen, and are quote_errors with a name. `total_volume`, `high_24h` and `low_24h` are of the rolling 24 hours and never a candle's.
//!
//! An answer takes little more memory than its text: entries and fields are slices of it, unknown fields are skipped, and
//! there are no more entries than coins asked for.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use market::EventTime;
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::json::{field, object};
use super::quote_error::QuoteError;

/// What the source says of one coin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quote {
    /// The price, not yet validated, or why there is none.
    pub(crate) price: Result<f64, QuoteError>,
    /// When the source last looked, by its own clock, or why that is not known.
    pub(crate) last_updated: Result<EventTime, QuoteError>,
    pub(crate) market_cap: Option<f64>,
    pub(crate) volume_24h: Option<f64>,
    pub(crate) high_24h: Option<f64>,
    pub(crate) low_24h: Option<f64>,
}

#[cfg(test)]
impl Default for Quote {
    /// Of a coin about which nothing is known.
    fn default() -> Self {
        let (price, last_updated) = (Err(QuoteError::NoPrice), Err(QuoteError::NoTime));
        Self { price, last_updated, market_cap: None, volume_24h: None, high_24h: None, low_24h: None }
    }
}

/// Why a page has no quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoQuotes {
    /// It has more entries than coins were asked for.
    TooMany,
    /// It is JSON, but no list.
    NoList,
    /// It is no JSON.
    NoJson,
}

/// The quotes of a page by coin. An entry that is not an object with an id is left out: its coin counts as missing.
///
/// # Errors
/// A page that is no list, or a list of more entries than were asked for.
pub(crate) fn quotes(page: &str, asked: usize) -> Result<HashMap<String, Quote>, NoQuotes> {
    let mut json = Deserializer::from_str(page);
    let entries = json.deserialize_seq(Entries { asked }).and_then(|entries| json.end().map(|()| entries));
    match entries {
        Ok(entries) => Ok(entries.into_iter().filter_map(quote).collect()),
        // Entries may hold any JSON, so only the limit of `Entries` makes an error of this kind in a list.
        Err(error) if error.is_data() && page.trim_start().starts_with('[') => Err(NoQuotes::TooMany),
        Err(_) if serde_json::from_str::<IgnoredAny>(page).is_ok() => Err(NoQuotes::NoList),
        Err(_) => Err(NoQuotes::NoJson),
    }
}

/// Reads a list up to the number of entries that were asked for.
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

/// The fields of an entry that are used. Each may hold any JSON.
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

/// A price of any size: one beyond f64 is infinite, which validation has a name for.
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
    fn numbers_of_every_form_are_read_and_bad_coins_spoil_no_other() {
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

    /// What an entry with this field beside its id gives.
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
        let check = |page: &str, expected| assert_eq!(quotes(page, 2), Err(expected), "{page}");
        check(r#"[{"id":"a"},{"id":"b"},{"id":"c"}]"#, NoQuotes::TooMany);
        check("[0,0,0,", NoQuotes::TooMany);
        check("{}", NoQuotes::NoList);
        check("17", NoQuotes::NoList);
        check("", NoQuotes::NoJson);
        check("Throttled", NoQuotes::NoJson);
        check(r#"[{"id":"a"}"#, NoQuotes::NoJson);
        check(r#"[{"id":"a"}] and more"#, NoQuotes::NoJson);
        check(r#"[{"id":]"#, NoQuotes::NoJson);
        assert_eq!(quotes(" [] ", 0), Ok(HashMap::new()));
    }

    #[test]
    fn depth_takes_no_stack() {
        let deep = format!(r#"[{{"id":"a","current_price":{}{}}}]"#, "[".repeat(500_000), "]".repeat(500_000));
        assert_eq!(quotes(&deep, 1).unwrap()["a"].price, Err(QuoteError::PriceNotNumber));
    }
}
