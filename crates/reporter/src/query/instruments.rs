//! The instruments with their newest price, and the hour-of-day profile of one.

use std::sync::Arc;

use market::{Instrument, Span, Window};

use super::answers::{InstrumentRow, Instruments};
use super::rows::PriceRow;
use crate::view::{InstrumentView, LastPrice, Name, View};

/// How old the price of comparison may be beyond 24 hours.
const COMPARED_MAX: Span = Span::HOUR;

/// Returns a page of instruments whose name contains `search`, after the instrument of a cursor.
pub(super) fn page(view: &View, search: &str, after: Option<&Name>, limit: usize) -> Instruments {
    let search = search.to_lowercase();
    let matches = |(coin, quote): &Name| search.is_empty() || format!("{coin}/{quote}").contains(&search);
    let rest = view.instruments().filter(|(name, _)| after.is_none_or(|after| *name > after) && matches(name));
    let mut rows: Vec<_> = rest.take(limit.saturating_add(1)).collect();
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|((coin, quote), _)| format!("{coin}/{quote}"));
    Instruments { instruments: rows.into_iter().map(|(name, rows)| row(name, rows)).collect(), next }
}

/// Parses the cursor of a page of instruments.
///
/// # Errors
/// A sentence for the client.
pub(super) fn cursor(text: &str) -> Result<Name, String> {
    let name = text.parse::<Instrument>();
    let name =
        name.map_err(|_| "cursor is not one of instruments: pass `next` of the page before unchanged".to_owned())?;
    Ok((name.coin().to_owned(), name.quote().to_owned()))
}

fn row((coin, quote): &Name, rows: &InstrumentView) -> InstrumentRow {
    let (coin, quote): (Arc<str>, Arc<str>) = (coin.as_str().into(), quote.as_str().into());
    let price = rows.price.map(|LastPrice { event, known, close, filled, seq }| PriceRow {
        coin: coin.clone(),
        quote: quote.clone(),
        event_ms: event.ms(),
        known_ms: known.ms(),
        close,
        filled,
        seq,
    });
    InstrumentRow { change_24h: change_24h(rows), coin, quote, price }
}

/// Returns the change of the price since the last hourly candle that ended 24 hours before.
fn change_24h(rows: &InstrumentView) -> Option<f64> {
    let price = rows.price?;
    let before = price.known.saturating_sub(Span::DAY);
    let compared = rows.candles(Window::Hour).rev().find(|candle| candle.end <= before)?;
    let is_near = before - compared.end <= COMPARED_MAX;
    (is_near && compared.close > 0.0).then(|| price.close / compared.close - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn price(coin: &str, known_ms: i64, close: f64) -> String {
        let event_ms = known_ms - 60_000;
        format!(
            r#"{{"coin":"{coin}","quote":"usd","event_ms":{event_ms},"grain_ms":60000,"close":{close:e},"filled":true,"feed_seq":1}}"#
        )
    }

    fn hourly(end_ms: i64, close: f64) -> String {
        let start_ms = end_ms - HOUR_MS;
        format!(
            r#"{{"coin":"bitcoin","quote":"usd","window":"1h","start_ms":{start_ms},"end_ms":{end_ms},"close":{close:e},"average":1.0,"count":1,"coverage":1.0,"revision":1,"final":true,"first_seq":1,"last_seq":1}}"#
        )
    }

    #[test]
    fn pages_follow_each_other_and_a_search_filters() {
        let mut view = View::new(50);
        for (seq, coin) in (1..).zip(["bitcoin", "dogecoin", "ethereum", "bitcoin-cash"]) {
            view.apply(&format!("market.1.price.{coin}.usd"), seq, price(coin, 60_000, 2.0).as_bytes())
                .expect("a price");
        }
        let names = |page: &Instruments| page.instruments.iter().map(|row| row.coin.to_string()).collect::<Vec<_>>();
        let first = page(&view, "", None, 3);
        assert_eq!(names(&first), ["bitcoin", "bitcoin-cash", "dogecoin"]);
        let after = cursor(first.next.as_deref().expect("a cursor")).expect("its own cursor");
        let second = page(&view, "", Some(&after), 3);
        assert_eq!((names(&second), second.next), (vec!["ethereum".to_owned()], None));
        assert_eq!(names(&page(&view, "BitCoin", None, 9)), ["bitcoin", "bitcoin-cash"]);
        assert_eq!(page(&view, "bitcoin", None, 1).next.as_deref(), Some("bitcoin/usd"));
        let price = second.instruments[0].price.as_ref().expect("a price");
        assert_eq!((price.event_ms, price.known_ms, price.close, price.filled, price.seq), (0, 60_000, 2.0, true, 3));
        assert!(cursor("../usd").is_err());
    }

    #[test]
    fn the_change_is_since_the_hour_before_24_hours() {
        let check = |ends: &[i64], expected: Option<f64>| {
            let mut view = View::new(50);
            let known_ms = 100 * HOUR_MS + 600_000;
            view.apply("market.1.price.bitcoin.usd", 1, price("bitcoin", known_ms, 3.0).as_bytes()).expect("a price");
            for &end in ends {
                let candle = hourly(end * HOUR_MS, end as f64 / 50.0);
                view.apply("stats.1.1h.bitcoin.usd", 1, candle.as_bytes()).expect("a candle");
            }
            assert_eq!(page(&view, "", None, 1).instruments[0].change_24h, expected, "{ends:?}");
        };
        check(&[75, 76, 77, 100], Some(3.0 / (76.0 / 50.0) - 1.0));
        check(&[75, 77], None);
        check(&[100], None);
    }
}
