//! `/coins/markets`: one observation of each coin.
//!
//! ```json
//! [{"id":"bitcoin","symbol":"btc","current_price":77671,"market_cap":1555886872303,"total_volume":33235034316,
//!   "high_24h":78419,"low_24h":76696,"last_updated":"2026-05-18T12:49:21.599Z"}]
//! ```
//!
//! Every number may be null, an integer, a float or in exponent form; the order is not the one asked for; unknown coins
//! are left out. `total_volume`, `high_24h` and `low_24h` are of the rolling 24 hours and never a candle's.

use std::collections::HashMap;

use chrono::DateTime;
use market::EventTime;
use serde_json::Value;

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

/// The quotes of an answer by coin. What is not an object with an id is left out: its coin counts as missing.
pub(crate) fn quotes(list: &[Value]) -> HashMap<&str, Quote> {
    list.iter().filter_map(|coin| Some((coin.get("id")?.as_str()?, quote(coin)))).collect()
}

fn quote(coin: &Value) -> Quote {
    let number = |name: &str| coin.get(name).and_then(Value::as_f64);
    let last_updated = coin.get("last_updated").and_then(Value::as_str);
    let last_updated = last_updated.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    Quote {
        price: number("current_price"),
        last_updated: last_updated.map(|time| EventTime(time.timestamp_millis())),
        market_cap: number("market_cap"),
        volume_24h: number("total_volume"),
        high_24h: number("high_24h"),
        low_24h: number("low_24h"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_of_every_form_are_read_and_bad_coins_spoil_no_other() {
        let list = [
            json!({"id":"a","current_price":77671,"high_24h":1.5e3,"low_24h":null,"last_updated":"2026-05-18T12:49:21.599Z"}),
            json!({"id":"b","current_price":1.2e-7,"last_updated":"yesterday"}),
            json!({"id":"c","current_price":"12","last_updated":1779092258}),
            json!({"symbol":"d"}),
            json!(null),
        ];
        let quotes = quotes(&list);
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
}
