//! Text format of live records: one line each.

use std::collections::BTreeMap;

use market::tick::PriceLine;
use market::{Candle, EventTime, Span};
use serde_json::Value;

use crate::{count, volume};

/// Formats a record of a live subject. An unknown record is shown as it is. Control characters never reach the
/// terminal.
pub(super) fn line(subject: &str, record: &[u8]) -> String {
    let text = price(subject, record).or_else(|| candle(record)).or_else(|| generic(subject, record));
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(record).into_owned());
    text.chars().map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

fn price(subject: &str, record: &[u8]) -> Option<String> {
    if !subject.starts_with("live.price.") {
        return None;
    }
    let price: PriceLine<'_> = serde_json::from_slice(record).ok()?;
    let time = EventTime(price.event_ms);
    let filled = if price.filled { " filled" } else { "" };
    Some(format!("{time} {}/{} {}{filled} feed_seq={}", price.coin, price.quote, price.close, price.feed_seq))
}

fn candle(record: &[u8]) -> Option<String> {
    let candle: Candle = serde_json::from_slice(record).ok()?;
    let known = |name, words: Option<String>| words.map(|words| format!(" {name}={words}")).unwrap_or_default();
    let volume = known("volume", volume::words(&candle, |volume| volume.to_string()));
    let quote_volume = known("quote_volume", candle.quote_volume.map(|volume| volume.to_string()));
    let vwap = known("vwap", candle.vwap().map(|price| price.to_string()));
    let state = if candle.is_final { format!("revision={}", candle.revision) } else { "provisional".to_owned() };
    Some(format!(
        "{} {}/{} {} open={} high={} low={} close={} average={}{volume}{quote_volume}{vwap} ticks={} coverage={} {state}",
        candle.start,
        candle.coin,
        candle.quote,
        candle.window,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.average,
        count::words(&candle),
        candle.coverage,
    ))
}

/// Formats any other record: time, kind and instrument from the subject, then every field.
fn generic(subject: &str, record: &[u8]) -> Option<String> {
    let mut fields: BTreeMap<String, Value> = serde_json::from_slice(record).ok()?;
    let mut parts = Vec::new();
    if let Some(time) = fields.remove("event_ms").and_then(|time| time.as_i64()) {
        parts.push(EventTime(time).to_rfc3339());
    }
    let mut tokens = subject.rsplit('.');
    if let (Some(quote), Some(coin), Some(kind)) = (tokens.next(), tokens.next(), tokens.next()) {
        parts.push(format!("{coin}/{quote} {kind}"));
        fields.remove("coin");
        fields.remove("quote");
    }
    parts.extend(fields.iter().map(|(name, value)| field(name, value)));
    Some(parts.join(" "))
}

/// Formats a field by its name: times as UTC, spans in seconds.
fn field(name: &str, value: &Value) -> String {
    let ms = value.as_i64().filter(|_| name.ends_with("_ms"));
    match (name.strip_suffix("_ms"), ms) {
        (Some(span @ ("grain" | "complete" | "late")), Some(ms)) => {
            format!("{span}={}s", ms as f64 / Span::SECOND.ms() as f64)
        }
        (Some(time), Some(ms)) => format!("{time}={}", EventTime(ms)),
        _ => match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_is_one_readable_line() {
        let check = |subject, record: &str, expected| assert_eq!(line(subject, record.as_bytes()), expected);
        check(
            "live.price.bitcoin.usdt",
            r#"{"coin":"bitcoin","quote":"usdt","event_ms":1583020800000,"grain_ms":60000,"close":8523.61,"feed_seq":7}"#,
            "2020-03-01T00:00:00Z bitcoin/usdt 8523.61 feed_seq=7",
        );
        check(
            "live.price.bitcoin.usdt",
            r#"{"coin":"bitcoin","quote":"usdt","event_ms":1583020800000,"close":8523.61,"filled":true,"feed_seq":7}"#,
            "2020-03-01T00:00:00Z bitcoin/usdt 8523.61 filled feed_seq=7",
        );
        check(
            "live.gap.bitcoin.usdt",
            r#"{"coin":"bitcoin","quote":"usdt","from_ms":1583313720000,"to_ms":1583321400000,"cause":"missing-in-recording"}"#,
            "bitcoin/usdt gap cause=missing-in-recording from=2020-03-04T09:22:00Z to=2020-03-04T11:30:00Z",
        );
        check(
            "live.late.bitcoin.usdt",
            r#"{"coin":"bitcoin","quote":"usdt","event_ms":1583020800000,"grain_ms":60000,"close":8.5,"feed_seq":7,"line":0,"late_ms":900500}"#,
            "2020-03-01T00:00:00Z bitcoin/usdt late close=8.5 feed_seq=7 grain=60s late=900.5s line=0",
        );
        check(
            "live.candle-1m.bitcoin.usdt",
            r#"{"coin":"bitcoin","quote":"usdt","window":"1m","start_ms":1583020800000,"end_ms":1583020860000,"open":2.0,"close":1.0,"average":1.5,"count":2,"coverage":1.0,"grain_ms":60000,"revision":1,"final":true,"first_seq":1,"last_seq":1}"#,
            "2020-03-01T00:00:00Z bitcoin/usdt 1m open=2 high=1 low=1 close=1 average=1.5 ticks=2 coverage=1 revision=1",
        );
    }

    #[test]
    fn what_is_partial_or_filled_is_shown_as_such() {
        let check = |volume: &str, expected| {
            let record = format!(
                r#"{{"coin":"bitcoin","quote":"usdt","window":"1h","start_ms":0,"end_ms":3600000,"close":1.0,"average":1.0,{volume},"count":60,"coverage":1.0,"revision":1,"final":true,"first_seq":1,"last_seq":1}}"#
            );
            let text = line("live.stats.1h.bitcoin.usdt", record.as_bytes());
            assert!(text.contains(expected), "{text}");
        };
        check(r#""volume":15.0,"volume_count":3"#, " average=1 volume=≥ 15 (3 of 60) ticks=60 ");
        check(r#""volume":15.0"#, " average=1 volume=15 ticks=60 ");
        check(
            r#""volume":15.0,"quote_volume":18.0,"vwap":1.2,"filled":12"#,
            " volume=15 quote_volume=18 vwap=1.2 ticks=60 (12 filled) coverage",
        );
    }

    #[test]
    fn a_hostile_record_cannot_drive_the_terminal() {
        let text =
            line("live.rejected.bitcoin.usdt", br#"{"feed_seq":1,"head":"\u001b[2Jx","line":0,"reason":"unparsable"}"#);
        assert_eq!(text, "bitcoin/usdt rejected feed_seq=1 head=\u{fffd}[2Jx line=0 reason=unparsable");
        assert_eq!(line("live.price.bitcoin.usdt", b"not\x07 json"), "not\u{fffd} json");
    }
}
