//! A fast parser for ticks and prices in the exact form in which candlewire writes them.
//!
//! Almost every line that a step reads has that form: no white space, keys in the order of the record, names without
//! escapes, numbers without sign or exponent. This parser reads it in one pass. Every other line, valid or not, goes to
//! serde_json, which alone decides what is refused.

use std::borrow::Cow;

use market::tick::{PriceLine, TickLine};

/// A reader for the lines of one message. They start with the same instrument names, which are parsed once.
#[derive(Debug, Default)]
pub struct LineReader<'a> {
    names: Option<Names<'a>>,
}

/// A parsed tick.
#[derive(Debug)]
pub struct ReadTick<'a> {
    /// The record.
    pub line: TickLine<'a>,
    /// The beginning of the line, if the price of this tick is written with the same bytes up to its sequence; see
    /// [`price_end`].
    pub price_head: Option<&'a [u8]>,
}

/// The end of a price line whose beginning is [`ReadTick::price_head`]: the sequence of its message in FEED.
pub fn price_end(feed_seq: u64) -> String {
    format!(",\"feed_seq\":{feed_seq}}}")
}

impl<'a> LineReader<'a> {
    /// Parses a tick of FEED.
    ///
    /// # Errors
    /// When serde_json refuses it.
    #[inline]
    pub fn tick(&mut self, line: &'a [u8]) -> serde_json::Result<ReadTick<'a>> {
        match Cursor::new(line).tick(&mut self.names) {
            Some(tick) => Ok(tick),
            None => Ok(ReadTick { line: serde_json::from_slice(line)?, price_head: None }),
        }
    }

    /// Parses a price of MARKET.
    ///
    /// # Errors
    /// When serde_json refuses it.
    #[inline]
    pub fn price(&mut self, line: &'a [u8]) -> serde_json::Result<PriceLine<'a>> {
        match Cursor::new(line).price(&mut self.names) {
            Some(price) => Ok(price),
            None => serde_json::from_slice(line),
        }
    }
}

/// Largest number of digits of an integer that always fits 64 bits.
const DIGITS_MAX: usize = 18;
/// Integers up to here are exact as f64.
const MANTISSA_MAX: u64 = 1 << 53;
/// The powers of ten that are exact as f64 and that [`DIGITS_MAX`] can need.
const POWERS_OF_TEN: [f64; DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

/// Largest length of a number that has no shorter form: 15 digits and a point, which f64 distinguishes from all others.
const SHORTEST_BYTES_MAX: usize = 16;
/// Numbers from here on are written without an exponent.
const PLAIN_MIN: f64 = 1e-4;

/// The beginning of a line with instrument names.
#[derive(Debug, Clone, Copy)]
struct Names<'a> {
    head: &'a [u8],
    coin: &'a str,
    quote: &'a str,
}

/// The fields that ticks and prices have in common.
struct Observation {
    event_ms: i64,
    grain_ms: Option<i64>,
    complete_ms: Option<i64>,
    id: Option<u64>,
    open: Option<f64>,
    high: Option<f64>,
    low: Option<f64>,
    close: f64,
    volume: Option<f64>,
    quote_volume: Option<f64>,
    filled: bool,
}

/// The unread rest of a line. A method returns `None` for a line of another form.
struct Cursor<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    /// Whether every decimal so far is written in its shortest form.
    is_as_written: bool,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn new(line: &'a [u8]) -> Self {
        Self { whole: line, rest: line, is_as_written: true }
    }

    #[inline]
    fn tick(mut self, names: &mut Option<Names<'a>>) -> Option<ReadTick<'a>> {
        let Names { coin, quote, .. } = self.names(names)?;
        let Observation { event_ms, grain_ms, complete_ms, id, open, high, low, close, volume, quote_volume, filled } =
            self.observation()?;
        // A price omits fields that equal its close.
        let is_as_price = self.is_as_written && [open, high, low].into_iter().flatten().all(|price| price != close);
        let price_head = is_as_price.then(|| self.done());
        let line = TickLine {
            coin: Cow::Borrowed(coin),
            quote: Cow::Borrowed(quote),
            event_ms,
            grain_ms,
            complete_ms,
            id,
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            filled,
            ingest_ms: self.after(r#","ingest_ms":"#)?.integer()? as i64,
            source: self.optional(r#","source":"#, Self::name)?.map(Cow::Borrowed),
            market_cap: self.optional(r#","market_cap":"#, Self::number)?,
            volume_24h: self.optional(r#","volume_24h":"#, Self::number)?,
            high_24h: self.optional(r#","high_24h":"#, Self::number)?,
            low_24h: self.optional(r#","low_24h":"#, Self::number)?,
        };
        self.end(ReadTick { line, price_head })
    }

    #[inline]
    fn price(mut self, names: &mut Option<Names<'a>>) -> Option<PriceLine<'a>> {
        let Names { coin, quote, .. } = self.names(names)?;
        let Observation { event_ms, grain_ms, complete_ms, id, open, high, low, close, volume, quote_volume, filled } =
            self.observation()?;
        let price = PriceLine {
            coin: Cow::Borrowed(coin),
            quote: Cow::Borrowed(quote),
            event_ms,
            grain_ms,
            complete_ms,
            id,
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            filled,
            feed_seq: self.after(r#","feed_seq":"#)?.integer()?,
        };
        self.end(price)
    }

    /// The names of the line before, if this line has the same.
    #[inline]
    fn names(&mut self, names: &mut Option<Names<'a>>) -> Option<Names<'a>> {
        if let Some(known) = names
            && let Some(rest) = self.rest.strip_prefix(known.head)
        {
            self.rest = rest;
            return Some(*known);
        }
        let coin = self.after(r#"{"coin":"#)?.name()?;
        let quote = self.after(r#","quote":"#)?.name()?;
        *names = Some(Names { head: self.done(), coin, quote });
        *names
    }

    #[inline]
    fn observation(&mut self) -> Option<Observation> {
        Some(Observation {
            event_ms: self.after(r#","event_ms":"#)?.integer()? as i64,
            grain_ms: self.optional(r#","grain_ms":"#, Self::integer)?.map(|ms| ms as i64),
            complete_ms: self.optional(r#","complete_ms":"#, Self::integer)?.map(|ms| ms as i64),
            id: self.optional(r#","id":"#, Self::integer)?,
            open: self.optional(r#","open":"#, Self::number)?,
            high: self.optional(r#","high":"#, Self::number)?,
            low: self.optional(r#","low":"#, Self::number)?,
            close: self.after(r#","close":"#)?.number()?,
            volume: self.optional(r#","volume":"#, Self::number)?,
            quote_volume: self.optional(r#","quote_volume":"#, Self::number)?,
            filled: self.after(r#","filled":true"#).is_some(),
        })
    }

    /// The bytes that were read so far.
    fn done(&self) -> &'a [u8] {
        &self.whole[..self.whole.len() - self.rest.len()]
    }

    fn end<T>(self, record: T) -> Option<T> {
        (self.rest == b"}").then_some(record)
    }

    /// The cursor after `key`, if `key` is next.
    #[inline(always)]
    fn after(&mut self, key: &str) -> Option<&mut Self> {
        self.rest = self.rest.strip_prefix(key.as_bytes())?;
        Some(self)
    }

    /// The value of `key`, if `key` is next; the outer `None` means a value of another form.
    #[inline(always)]
    fn optional<T>(&mut self, key: &str, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.after(key) {
            Some(cursor) => value(cursor).map(Some),
            None => Some(None),
        }
    }

    /// A string of printable ASCII without escapes.
    fn name(&mut self) -> Option<&'a str> {
        let text = self.rest.strip_prefix(b"\"")?;
        let len = text.iter().position(|&byte| matches!(byte, b'"' | b'\\') || !(b' '..=b'~').contains(&byte))?;
        self.rest = text[len..].strip_prefix(b"\"")?;
        std::str::from_utf8(&text[..len]).ok()
    }

    /// An integer of at most [`DIGITS_MAX`] digits.
    fn integer(&mut self) -> Option<u64> {
        let (integer, len) = self.digits(0);
        let has_leading_zero = len > 1 && self.rest[0] == b'0';
        if len == 0 || len > DIGITS_MAX || has_leading_zero {
            return None;
        }
        self.rest = &self.rest[len..];
        Some(integer)
    }

    /// The number that the next digits form after those of `before`, and their count. The number is valid up to
    /// [`DIGITS_MAX`] digits.
    fn digits(&self, before: u64) -> (u64, usize) {
        let mut number = before;
        let mut len = 0;
        while let Some(digit) = self.rest.get(len).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            len += 1;
        }
        (number, len)
    }

    /// A decimal without sign and exponent, rounded to the nearest f64.
    fn number(&mut self) -> Option<f64> {
        let whole = self.rest;
        let mut digits = self.integer()?;
        let mut decimals = 0;
        if let Some(rest) = self.rest.strip_prefix(b".") {
            self.rest = rest;
            (digits, decimals) = self.digits(digits);
            self.rest = &rest[decimals..];
            if decimals == 0 {
                return None;
            }
        }
        let text = &whole[..whole.len() - self.rest.len()];
        // Both operands are exact then, so the division rounds once.
        let is_exact = text.len() <= DIGITS_MAX && digits <= MANTISSA_MAX;
        let number = if is_exact {
            digits as f64 / POWERS_OF_TEN[decimals]
        } else {
            std::str::from_utf8(text).ok()?.parse().ok()?
        };
        let is_shortest = text.len() <= SHORTEST_BYTES_MAX && (decimals == 1 || !text.ends_with(b"0"));
        self.is_as_written &= decimals > 0 && is_shortest && (number >= PLAIN_MIN || digits == 0);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use market::{EventTime, Span, Tick};
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    const TICK: &str = r#"{"coin":"bitcoin","quote":"usd","event_ms":1747517892000,"grain_ms":60000,"id":7,"open":1.5,"high":2.25,"low":1.0,"close":103376.01,"volume":0.5,"quote_volume":51688.005,"filled":true,"ingest_ms":1747517893120,"source":"recording","market_cap":2.05e12,"volume_24h":18.4,"high_24h":103718.0,"low_24h":102771.0}"#;
    const PRICE: &str = r#"{"coin":"bitcoin","quote":"usd","event_ms":1747517892000,"grain_ms":60000,"id":7,"open":1.5,"high":2.25,"low":1.0,"close":103376.01,"volume":0.5,"quote_volume":51688.005,"filled":true,"feed_seq":812}"#;

    /// A record must be read, or refused with the same message, as by serde_json. Bits count: -0 is not 0.
    fn check<'a, T: Deserialize<'a> + Serialize>(line: &'a [u8], read: impl Fn(&'a [u8]) -> serde_json::Result<T>) {
        let text = |record: serde_json::Result<T>| match record {
            Ok(record) => serde_json::to_string(&record).unwrap(),
            Err(error) => error.to_string(),
        };
        let (found, expected) = (text(read(line)), text(serde_json::from_slice(line)));
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(line));
    }

    fn check_both(line: &[u8]) {
        check(line, |line| LineReader::default().tick(line).map(|tick| tick.line));
        check(line, |line| LineReader::default().price(line));
        // After a line with the same names.
        check(line, |line| behind_another().tick(line).map(|tick| tick.line));
        check(line, |line| behind_another().price(line));
        check_price_head(line);
    }

    fn behind_another<'a>() -> LineReader<'a> {
        let mut reader = LineReader::default();
        reader.price(PRICE.as_bytes()).unwrap();
        reader
    }

    /// Checks that the price of a tick starts with `price_head`, if there is one.
    fn check_price_head(line: &[u8]) -> bool {
        let Ok(ReadTick { line, price_head: Some(head) }) = LineReader::default().tick(line) else { return false };
        let (coin, quote) = (line.coin.clone(), line.quote.clone());
        let price = |price: Option<f64>| price.unwrap_or(line.close);
        let tick = Tick {
            event: EventTime(line.event_ms),
            grain: line.grain_ms.map(Span),
            complete: line.complete_ms.map(Span),
            id: line.id,
            open: price(line.open),
            high: price(line.high),
            low: price(line.low),
            close: line.close,
            volume: line.volume,
            quote_volume: line.quote_volume,
            filled: line.filled,
            feed_seq: 812,
        };
        let expected = serde_json::to_string(&PriceLine::new(&coin, &quote, &tick)).unwrap();
        assert_eq!(format!("{}{}", String::from_utf8_lossy(head), price_end(812)), expected);
        true
    }

    #[test]
    fn lines_of_candlewire_are_read_without_serde_json() {
        let plain = TICK.replace("2.05e12", "2050000000000.0");
        assert!(check_price_head(plain.as_bytes()));
        assert!(Cursor::new(plain.as_bytes()).tick(&mut None).is_some());
        assert!(Cursor::new(PRICE.as_bytes()).price(&mut None).is_some());
        let traded = r#""quote_volume":51688.005,"filled":true,"#;
        for traded_as in ["", r#""quote_volume":0.0,"#, r#""filled":true,"#] {
            assert!(Cursor::new(PRICE.replace(traded, traded_as).as_bytes()).price(&mut None).is_some());
            assert!(check_price_head(plain.replace(traded, traded_as).as_bytes()));
            check_both(plain.replace(traded, traded_as).as_bytes());
        }
        let optional = r#""grain_ms":60000,"id":7,"open":1.5,"high":2.25,"low":1.0,"#;
        for point in ["", r#""complete_ms":20000,"#] {
            assert!(Cursor::new(PRICE.replace(optional, point).as_bytes()).price(&mut None).is_some());
            check_both(plain.replace(optional, point).as_bytes());
        }
        check_both(plain.as_bytes());
    }

    #[test]
    fn a_line_with_another_instrument_is_not_misread() {
        let lines = ["bitcoin", "bitcoin", "bit", "bitcoin-cash", "bitcoin"].map(|coin| TICK.replace("bitcoin", coin));
        let mut reader = LineReader::default();
        let coins = lines.each_ref().map(|line| reader.tick(line.as_bytes()).unwrap().line.coin);
        assert_eq!(coins, ["bitcoin", "bitcoin", "bit", "bitcoin-cash", "bitcoin"]);
    }

    #[test]
    fn numbers_in_another_form_are_not_copied_into_a_price() {
        for close in ["103376.010", "103376", "0.000001", "1234567890123456.5", "0.1000000000000000055", "1e5"] {
            assert!(!check_price_head(TICK.replace("103376.01", close).as_bytes()), "{close}");
        }
        // An open that equals the close is omitted.
        assert!(!check_price_head(TICK.replace("1.5", "103376.01").as_bytes()));
    }

    #[test]
    fn lines_of_every_other_form_are_read_as_by_serde_json() {
        let numbers = [
            "0",
            "-0",
            "-0.0",
            "00",
            "01",
            "1.",
            ".5",
            "1.e5",
            "1e400",
            "-1e400",
            "1E5",
            "1e-400",
            "+1",
            "null",
            "true",
            "\"1\"",
            "NaN",
            "Infinity",
            "9007199254740993",
            "9007199254740992.5",
            "18446744073709551615",
            "18446744073709551616",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "0.1000000000000000055511151231257827",
            "123456789012345678",
            "1234567890123456789",
            "12345678901234567.8",
            "0.000000000000000001",
            "5e-324",
            "1 ",
            " 1",
            "1.7976931348623157e308",
            "1.7976931348623159e308",
            "999999999999999999999999999999999999999999.5",
            "1_0",
            "0x1",
        ];
        for line in [TICK, PRICE] {
            let place = |key: &str| line.find(key).map(|at| at + key.len());
            for key in ["event_ms", "id", "close", "volume", "quote_volume", "filled", "ingest_ms", "low_24h"] {
                let key = &format!("\"{key}\":");
                let Some(start) = place(key) else { continue };
                let end = start + line[start..].find([',', '}']).unwrap();
                for number in numbers {
                    check_both(format!("{}{number}{}", &line[..start], &line[end..]).as_bytes());
                }
            }
            for name in ["", "a b", "caf\u{e9}", "\\u0041", "a\\\"b", "\u{7f}", "\t", "\\ud800", "\\x"] {
                check_both(line.replace("bitcoin", name).as_bytes());
                check_both(line.replace("recording", name).as_bytes());
            }
            for (from, to) in [
                ("{", "{ "),
                ("}", "}}"),
                ("}", "} "),
                ("}", ",}"),
                ("}", ""),
                ("}", ",\"other\":[{}]}"),
                ("}", ",\"close\":1}"),
                ("\"quote\"", "\"qu\\u006fte\""),
                ("\"id\":7,", "\"id\":7,\"id\":7,"),
                ("\"coin\":\"bitcoin\",", ""),
                ("\"close\":103376.01,", ""),
                ("\"id\":7", "\"id\":null"),
                ("\"filled\":true,", ""),
                ("\"filled\":true", "\"filled\":false"),
                ("\"filled\":true", "\"filled\":trues"),
                ("\"filled\":true", "\"filled\":true,\"filled\":true"),
                ("\"quote_volume\":51688.005,\"filled\":true", "\"filled\":true,\"quote_volume\":51688.005"),
                ("\"usd\"", "7"),
                ("\"usd\"", "null"),
            ] {
                check_both(line.replace(from, to).as_bytes());
            }
            check_both(&[line.as_bytes(), b"\r"].concat());
            check_both(&line.replace("bitcoin", "bit\0coin").into_bytes());
            check_both(&[&line.as_bytes()[..15], b"\xff", &line.as_bytes()[15..]].concat());
        }
        check_both(b"");
        check_both(b"{}");
    }

    fn decimal() -> impl Strategy<Value = String> {
        prop_oneof![
            "(0|[1-9][0-9]{0,20})(\\.[0-9]{1,24})?",
            any::<f64>().prop_map(|number| format!("{number}")),
            (0_u64..1 << 60, 0_usize..12).prop_map(|(digits, decimals)| {
                let digits = format!("{digits:013}");
                let (whole, rest) = digits.split_at(digits.len() - decimals);
                if rest.is_empty() { whole.to_owned() } else { format!("{whole}.{rest}") }
            }),
        ]
    }

    proptest! {
        #[test]
       fn every_number_has_the_bits_of_serde_json(number in decimal()) {
            let bits = |number: f64| number.to_bits();
            let mut cursor = Cursor::new(number.as_bytes());
            if let Some(found) = cursor.number().filter(|_| cursor.rest.is_empty()) {
                if cursor.is_as_written {
                    prop_assert_eq!(&serde_json::to_string(&found).unwrap(), &number);
                }
                prop_assert_eq!(Some(bits(found)), serde_json::from_str(&number).ok().map(bits), "{}", number);
            }
        }

        #[test]
       fn a_line_with_a_random_change_is_judged_as_by_serde_json(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), len in 0_usize..3, is_tick in any::<bool>(),
        ) {
            let mut line = if is_tick { TICK.replace("2.05e12", "2.05") } else { PRICE.to_owned() }.into_bytes();
            let at = at.index(line.len());
            let end = (at + len).min(line.len());
            line.splice(at..end, [byte]);
            check_both(&line);
        }
    }
}
