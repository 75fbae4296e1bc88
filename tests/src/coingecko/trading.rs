//! Prices of the replica: quotes, charts and candles of coins that trade, all from one function of time.

use market::{EventTime, Span};
use serde_json::{Value, json};

/// A fault of charts, as seen in recorded answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartFault {
    /// Each price of this many is null.
    Null(usize),
    /// Each row of this many is missing.
    Missing(usize),
    /// Each row of this many comes twice, the second time with the same price.
    Repeated(usize),
    /// Rows come in the reverse order.
    Reversed,
    /// Times are in seconds.
    Seconds,
    /// Market caps and volumes are shorter than prices, and the caps null.
    Short,
}

/// The price of a coin that trades, in usd.
pub fn price_at(coin: &str, time_ms: i64) -> f64 {
    let base = 10.0 + coin.bytes().map(f64::from).sum::<f64>();
    let hours = (time_ms % (1_000 * Span::DAY.ms())) as f64 / Span::HOUR.ms() as f64;
    let price = base * (1.0 + 0.02 * (hours / 3.7).sin() + 0.005 * (hours * 5.3).sin());
    (price * 1e6).round() / 1e6
}

/// An element of `/coins/markets` with all fields of a real one.
pub(super) fn quote(coin: &str, price: f64, updated_ms: i64) -> Value {
    let updated = EventTime(updated_ms).to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    json!({
        "id": coin, "symbol": &coin[..coin.len().min(3)], "name": coin,
        "image": "https://coin-images.coingecko.com/coins/images/1/large/coin.png?1696501400",
        "current_price": price, "market_cap": price * 1e7, "market_cap_rank": 1, "fully_diluted_valuation": null,
        "total_volume": price * 1e5, "high_24h": price * 1.01, "low_24h": price * 0.99,
        "price_change_24h": -747.3360347281705, "price_change_percentage_24h": -0.95302,
        "market_cap_change_24h": null, "market_cap_change_percentage_24h": null,
        "circulating_supply": 20030493.0, "total_supply": 20030843.0, "max_supply": 21000000.0,
        "ath": price * 1.5, "ath_change_percentage": -33.3, "ath_date": "2025-10-06T18:57:42.558Z",
        "atl": price * 0.1, "atl_change_percentage": 900.0, "atl_date": "2013-07-05T00:00:00.000Z",
        "roi": null, "last_updated": updated,
    })
}

/// The time of the newest price of a coin that trades: an update is visible some seconds after its minute.
pub(super) fn updated_ms(now_ms: i64, update: Span) -> i64 {
    let moment = now_ms.div_euclid(update.ms()) * update.ms();
    if now_ms - moment >= 3_000 { moment + 1_599 } else { moment - update.ms() + 1_599 }
}

/// The quote of a coin that trades.
pub(super) fn traded(coin: &str, now_ms: i64, update: Span) -> Value {
    let updated = updated_ms(now_ms, update);
    quote(coin, price_at(coin, updated), updated)
}

/// A chart of `[from, to]` at a moment: points at the step that the length has, whose times vary, and the current price.
pub(super) fn chart(coin: &str, from_ms: i64, to_ms: i64, now_ms: i64, faults: &[ChartFault]) -> Value {
    let to_ms = to_ms.min(now_ms);
    let ends_now = now_ms - to_ms < Span::minutes(5).ms();
    let step = match to_ms - from_ms {
        length if length <= Span::DAY.ms() && ends_now => Span::minutes(5),
        length if length <= 90 * Span::DAY.ms() => Span::HOUR,
        _ => Span::DAY,
    };
    let first = from_ms.div_euclid(step.ms()) + i64::from(from_ms.rem_euclid(step.ms()) > 0);
    let regular = (first..).map(|number| number * step.ms()).take_while(|time| *time <= to_ms);
    let mut times: Vec<i64> = regular.map(|time| if step == Span::DAY { time } else { time + jitter(time) }).collect();
    times.retain(|time| *time <= now_ms);
    if ends_now {
        // The current price, at a whole second.
        let current = to_ms / 1_000 * 1_000;
        times.retain(|time| *time < current);
        times.push(current);
    }
    rows(coin, &times, faults)
}

/// Up to a second, as in recorded answers.
fn jitter(time_ms: i64) -> i64 {
    (time_ms / 1_000).wrapping_mul(7_919).rem_euclid(997)
}

fn rows(coin: &str, times: &[i64], faults: &[ChartFault]) -> Value {
    let (mut prices, mut caps, mut volumes) = (Vec::new(), Vec::new(), Vec::new());
    let is_each = |number: usize, of: fn(&ChartFault) -> Option<usize>| {
        faults.iter().filter_map(of).any(|every| (number + 1).is_multiple_of(every))
    };
    let is_short = faults.contains(&ChartFault::Short);
    for (number, time) in times.iter().enumerate() {
        let shown = if faults.contains(&ChartFault::Seconds) { time / 1_000 } else { *time };
        if is_each(number, |fault| if let ChartFault::Missing(every) = fault { Some(*every) } else { None }) {
            continue;
        }
        let is_null = is_each(number, |fault| if let ChartFault::Null(every) = fault { Some(*every) } else { None });
        let price = price_at(coin, *time);
        let row = json!([shown, if is_null { Value::Null } else { json!(price) }]);
        if is_each(number, |fault| if let ChartFault::Repeated(every) = fault { Some(*every) } else { None }) {
            prices.push(row.clone());
        }
        prices.push(row);
        if !is_short || number % 2 == 0 {
            caps.push(json!([shown, if is_short { Value::Null } else { json!(price * 1e7) }]));
            volumes.push(json!([shown, price * 1e5]));
        }
    }
    if faults.contains(&ChartFault::Reversed) {
        prices.reverse();
    }
    json!({"prices": prices, "market_caps": caps, "total_volumes": volumes})
}

/// Candles of `/coins/{id}/ohlc`, stamped with their end. The last one is not complete.
pub(super) fn ohlc(coin: &str, days: i64, now_ms: i64) -> Value {
    let body = match days {
        1 => Span::minutes(30),
        2..=30 => Span(4 * Span::HOUR.ms()),
        _ => Span(4 * Span::DAY.ms()),
    };
    let first = (now_ms - days * Span::DAY.ms()).div_euclid(body.ms()) + 1;
    let ends = (first..).map(|number| number * body.ms()).take_while(|end| *end < now_ms + body.ms());
    let candle = |end: i64| {
        let samples: Vec<f64> = (0..=10).map(|part| price_at(coin, end - body.ms() + part * body.ms() / 10)).collect();
        let high = samples.iter().copied().fold(f64::MIN, f64::max);
        let low = samples.iter().copied().fold(f64::MAX, f64::min);
        json!([end, samples[0], high, low, samples[10]])
    };
    ends.map(candle).collect()
}
