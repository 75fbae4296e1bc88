//! Lines of FEED and MARKET: the parser of lines in candlewire's own form against serde_json.

use bus::codec::LineReader;
use market::tick::{PriceLine, TickLine};
use serde_json::Value;

/// Both parsers read the same from each line, or both refuse it. The reader keeps the names of the line before.
pub(super) fn run(bytes: &[u8]) {
    let (mut ticks, mut prices) = (LineReader::default(), LineReader::default());
    for (_, line) in bus::codec::lines(bytes) {
        let tick = ticks.tick(line).ok().map(|tick| value(&tick.line));
        let expected = serde_json::from_slice::<TickLine<'_>>(line).ok().map(|tick| value(&tick));
        assert_eq!(tick, expected, "tick {:?}", String::from_utf8_lossy(line));
        let price = prices.price(line).ok().map(|price| value(&price));
        let expected = serde_json::from_slice::<PriceLine<'_>>(line).ok().map(|price| value(&price));
        assert_eq!(price, expected, "price {:?}", String::from_utf8_lossy(line));
    }
}

fn value(record: &impl serde::Serialize) -> Value {
    serde_json::to_value(record).expect("a record is JSON")
}
