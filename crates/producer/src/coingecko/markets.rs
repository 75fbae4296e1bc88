//! `/coins/markets`: one observation of each coin.
//!
//! ```json
//! [{"id":"bitcoin","symbol":"btc","current_price":77671,"market_cap":1555886872303,"total_volume":33235034316,
//!   "high_24h":78419,"low_24h":76696,"last_updated":"2026-05-18T12:49:21.599Z"}]
//! ```
//!
//! Every number may be null, an integer, a float or in exponent form; the order is not the one asked for; unknown coins
//! are left out. `total_volume`, `high_24h` and `low_24h` are of the rolling 24 hours and never a candle's.
//!
//! An answer takes little more memory than its text: entries and fields are slices of it, unknown fields are skipped, and
//! there are no more entries than coins asked for.

use std::collections::HashMap;
use std::fmt;

use chrono::DateTime;
use market::EventTime;
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::json::{field, object};

/// What the source says of one coin.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Quote {
    pub(crate) price: Option<f64>,
    /// When the source last looked, by its own clock.
    pub(crate) last_updated: Option<EventTime>,
    pub(crate) market_cap: Option<f64>,
    pub(crate) volume_24h: Option<f64>,
    pub(crate) high_24h: Option<f64>,
    pub(crate) low_24h: Option<f64>,
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
    let last_updated = field::<String>(entry.last_updated);
    let last_updated = last_updated.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    let quote = Quote {
        price: number(entry.current_price),
        last_updated: last_updated.map(|time| EventTime(time.timestamp_millis())),
        market_cap: number(entry.market_cap),
        volume_24h: number(entry.total_volume),
        high_24h: number(entry.high_24h),
        low_24h: number(entry.low_24h),
    };
    Some((entry.id, quote))
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
        let a = Quote {
            price: Some(77_671.0),
            last_updated: Some(EventTime(1_779_108_561_599)),
            high_24h: Some(1_500.0),
            ..Quote::default()
        };
        assert_eq!(quotes["a"], a);
        assert_eq!(quotes["b"], Quote { price: Some(1.2e-7), ..Quote::default() });
        assert_eq!(quotes["c"], Quote::default());
        assert_eq!(quotes.len(), 3);
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
        assert_eq!(quotes(&deep, 1).unwrap()["a"], Quote::default());
    }
}
