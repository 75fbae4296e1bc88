//! Candles: the statistics of the ticks in a window.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::exact::ExactSum;
use crate::instrument::Instrument;
use crate::tick::{Tick, TickIdentity};
use crate::time::{EventTime, Span};
use crate::window::Window;

/// One window of one instrument: final (closed) or provisional (still open).
#[derive(Debug, Clone, PartialEq)]
pub struct Candle {
    /// Coin.
    pub coin: Arc<str>,
    /// Quote currency.
    pub quote: Arc<str>,
    /// Kind of window.
    pub window: Window,
    /// First instant of the window.
    pub start: EventTime,
    /// First instant after the window.
    pub end: EventTime,
    /// Open of the earliest tick by (event time, id).
    pub open: f64,
    /// Highest high.
    pub high: f64,
    /// Lowest low.
    pub low: f64,
    /// Close of the latest tick by (event time, id).
    pub close: f64,
    /// Mean of the ticks' closes: the exact sum divided by `count`, rounded once.
    pub average: f64,
    /// Volume traded, in units of the coin, of the ticks with a volume; absent when no tick has one.
    pub volume: Option<f64>,
    /// Number of ticks with a volume, when only some have one: `volume` is then a part of the traded volume.
    pub volume_count: Option<u64>,
    /// Value traded, in quote currency: the exact sum of the ticks' quote volumes, rounded once. Absent unless every
    /// tick has one.
    pub quote_volume: Option<f64>,
    /// Number of ticks.
    pub count: u64,
    /// Number of ticks that were fetched afterwards; at most `count`.
    pub filled: u64,
    /// Share of the window that is known, 0 to 1: the length of the union, inside the window, of its own bars and of
    /// certified spans, ÷ the window's length.
    pub coverage: f64,
    /// Longest bar among the ticks; absent without bars.
    pub grain: Option<Span>,
    /// 0 while provisional, then 1, then 1 + the number of late ticks applied since the window closed.
    pub revision: u32,
    /// Whether the window has closed.
    pub is_final: bool,
    /// Smallest FEED sequence among the ticks.
    pub first_seq: u64,
    /// Largest FEED sequence among the ticks.
    pub last_seq: u64,
}

impl Candle {
    /// Returns the instrument.
    ///
    /// # Panics
    /// Never for candles of this pipeline: the names of ticks are checked on entry.
    pub fn instrument(&self) -> Instrument {
        Instrument::new(&self.coin, &self.quote).expect("a candle's names were checked at the edge")
    }

    /// Returns the volume when every tick has one, so that it is the whole traded volume.
    pub fn whole_volume(&self) -> Option<f64> {
        self.volume.filter(|_| self.volume_count.is_none())
    }

    /// Returns the volume-weighted average price: `quote_volume` ÷ `volume`, when every tick has both and the volume is
    /// above 0.
    pub fn vwap(&self) -> Option<f64> {
        let volume = self.whole_volume().filter(|&volume| volume > 0.0)?;
        Some(self.quote_volume? / volume)
    }
}

/// A candle as a record: `{"coin":"bitcoin","quote":"usd","window":"1m","start_ms":…,"end_ms":…,"open":…,"high":…,
/// "low":…,"close":…,"average":…,"volume":…,"quote_volume":…,"vwap":…,"count":4,"coverage":1.0,"grain_ms":60000,
/// "revision":1,"final":true,"first_seq":…,"last_seq":…}`. Open, high and low are left out when equal to close, volume
/// when unknown, volume_count when 0 or equal to count, quote_volume unless every tick has one, vwap unless the candle
/// has it, filled when 0, grain_ms without bars.
#[derive(Serialize, Deserialize)]
struct CandleLine<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    quote: Cow<'a, str>,
    window: Window,
    start_ms: EventTime,
    end_ms: EventTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    close: f64,
    average: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    volume: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    volume_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quote_volume: Option<f64>,
    /// For readers in other languages; the quotient of the two fields is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vwap: Option<f64>,
    count: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    filled: u64,
    coverage: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grain_ms: Option<Span>,
    revision: u32,
    #[serde(rename = "final")]
    is_final: bool,
    first_seq: u64,
    last_seq: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Serialize for Candle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unless_close = |price: f64| (price != self.close).then_some(price);
        CandleLine {
            coin: Cow::Borrowed(&self.coin),
            quote: Cow::Borrowed(&self.quote),
            window: self.window,
            start_ms: self.start,
            end_ms: self.end,
            open: unless_close(self.open),
            high: unless_close(self.high),
            low: unless_close(self.low),
            close: self.close,
            average: self.average,
            volume: self.volume,
            volume_count: self.volume_count,
            quote_volume: self.quote_volume,
            vwap: self.vwap(),
            count: self.count,
            filled: self.filled,
            coverage: self.coverage,
            grain_ms: self.grain,
            revision: self.revision,
            is_final: self.is_final,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Candle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = CandleLine::deserialize(deserializer)?;
        Instrument::new(&line.coin, &line.quote).map_err(serde::de::Error::custom)?;
        Ok(Self {
            coin: line.coin.into(),
            quote: line.quote.into(),
            window: line.window,
            start: line.start_ms,
            end: line.end_ms,
            open: line.open.unwrap_or(line.close),
            high: line.high.unwrap_or(line.close),
            low: line.low.unwrap_or(line.close),
            close: line.close,
            average: line.average,
            volume: line.volume,
            volume_count: line.volume_count,
            quote_volume: line.quote_volume,
            count: line.count,
            filled: line.filled,
            coverage: line.coverage,
            grain: line.grain_ms,
            revision: line.revision,
            is_final: line.is_final,
            first_seq: line.first_seq,
            last_seq: line.last_seq,
        })
    }
}

/// Accumulates the ticks of a window in constant space, in any order of arrival. Never empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartialCandle {
    earliest: TickIdentity,
    latest: TickIdentity,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    closes: ExactSum,
    volumes: ExactSum,
    volume_count: u64,
    /// `None` once a tick has no quote volume. On the heap, so that windows of other sources stay small.
    quote_volumes: Option<Box<ExactSum>>,
    count: u64,
    filled: u64,
    grain: Option<Span>,
    first_seq: u64,
    last_seq: u64,
}

/// The exact terms that a tick adds to the sums of its windows, computed once for all of them.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a> {
    tick: &'a Tick,
    close: ExactSum,
    volume: Option<ExactSum>,
    quote_volume: Option<ExactSum>,
}

const IN_RANGE: &str = "validated prices and volumes fit an exact sum";

impl<'a> Term<'a> {
    /// Computes the terms of a tick.
    ///
    /// # Panics
    /// The tick was not validated: prices and volumes in range always fit an exact sum.
    pub fn new(tick: &'a Tick) -> Self {
        let exact = |value| ExactSum::from_f64(value).expect(IN_RANGE);
        let (volume, quote_volume) = (tick.volume.map(exact), tick.quote_volume.map(exact));
        Self { tick, close: exact(tick.close), volume, quote_volume }
    }

    /// Returns the tick.
    pub(crate) fn tick(&self) -> &'a Tick {
        self.tick
    }
}

impl PartialCandle {
    /// Starts with the first tick of a window.
    ///
    /// # Panics
    /// Not within the life of a stream: sums have room for 2^25 ticks and more.
    pub fn new(term: &Term<'_>) -> Self {
        let tick = term.tick;
        let mut partial = Self {
            earliest: tick.identity(),
            latest: tick.identity(),
            open: tick.open,
            high: tick.high,
            low: tick.low,
            close: tick.close,
            closes: ExactSum::default(),
            volumes: ExactSum::default(),
            volume_count: 0,
            quote_volumes: term.quote_volume.map(|_| Box::default()),
            count: 0,
            filled: 0,
            grain: tick.grain,
            first_seq: tick.feed_seq,
            last_seq: tick.feed_seq,
        };
        partial.add(term);
        partial
    }

    /// Adds a tick.
    ///
    /// # Panics
    /// As [`PartialCandle::new`].
    pub fn add(&mut self, term: &Term<'_>) {
        let tick = term.tick;
        if tick.identity() < self.earliest {
            self.earliest = tick.identity();
            self.open = tick.open;
        }
        if tick.identity() > self.latest {
            self.latest = tick.identity();
            self.close = tick.close;
        }
        self.high = self.high.max(tick.high);
        self.low = self.low.min(tick.low);
        self.closes.merge(&term.close).expect(IN_RANGE);
        if let Some(volume) = &term.volume {
            self.volumes.merge(volume).expect(IN_RANGE);
            self.volume_count += 1;
        }
        match (&mut self.quote_volumes, &term.quote_volume) {
            (Some(quote_volumes), Some(quote_volume)) => quote_volumes.merge(quote_volume).expect(IN_RANGE),
            (quote_volumes, _) => *quote_volumes = None,
        }
        self.count += 1;
        self.filled += u64::from(tick.filled);
        self.grain = self.grain.max(tick.grain);
        self.first_seq = self.first_seq.min(tick.feed_seq);
        self.last_seq = self.last_seq.max(tick.feed_seq);
    }

    /// Returns the candle of the window of this kind that begins at `start`, of which `covered` is known. The candle is
    /// provisional when `revision` is 0.
    pub fn candle(
        &self,
        instrument: &Instrument,
        (window, start): (Window, EventTime),
        covered: Span,
        revision: u32,
    ) -> Candle {
        let (coin, quote) = instrument.names();
        Candle {
            coin,
            quote,
            window,
            start,
            end: window.end(start),
            open: self.open,
            high: self.high,
            low: self.low,
            close: self.close,
            average: self.closes.mean(self.count),
            volume: (self.volume_count > 0).then(|| self.volumes.to_f64()),
            volume_count: Some(self.volume_count).filter(|&count| 0 < count && count < self.count),
            quote_volume: self.quote_volumes.as_ref().map(|quote_volumes| quote_volumes.to_f64()),
            count: self.count,
            filled: self.filled,
            coverage: covered.ms() as f64 / window.size().ms() as f64,
            grain: self.grain,
            revision,
            is_final: revision > 0,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tick(event: i64, grain: Option<i64>, close: f64, volume: Option<f64>) -> Tick {
        let point = Tick::point(EventTime(event), close);
        Tick { grain: grain.map(Span), volume, feed_seq: event as u64, ..point }
    }

    fn candle(ticks: &[Tick]) -> Candle {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let mut partial = PartialCandle::new(&Term::new(&ticks[0]));
        ticks[1..].iter().for_each(|tick| partial.add(&Term::new(tick)));
        partial.candle(&instrument, (Window::Minute, EventTime(0)), Span(45_000), 1)
    }

    #[test]
    fn open_and_close_follow_event_time() {
        let candle = candle(&[tick(30_000, None, 10.0, None), tick(0, Some(60_000), 8.0, None)]);
        assert_eq!((candle.coverage, candle.open, candle.close, candle.average), (0.75, 8.0, 10.0, 9.0));
        assert_eq!((candle.first_seq, candle.last_seq, candle.count), (0, 30_000, 2));
        assert_eq!(candle.grain, Some(Span::MINUTE));
    }

    #[test]
    fn a_volume_of_some_ticks_is_marked_as_partial() {
        let volume = |volumes: [Option<f64>; 2]| {
            let candle = candle(&[tick(0, None, 1.0, volumes[0]), tick(1, None, 1.0, volumes[1])]);
            (candle.volume, candle.volume_count, candle.whole_volume())
        };
        assert_eq!(volume([Some(5.0), None]), (Some(5.0), Some(1), None));
        assert_eq!(volume([Some(5.0), Some(0.0)]), (Some(5.0), None, Some(5.0)));
        assert_eq!(volume([None, None]), (None, None, None));
    }

    /// Ticks with these volumes and quote volumes.
    fn traded(volumes: &[(Option<f64>, Option<f64>)]) -> Candle {
        let tick = |(event, &(volume, quote_volume)): (i64, &(Option<f64>, Option<f64>))| Tick {
            quote_volume,
            ..tick(event, None, 1.0, volume)
        };
        candle(&(0..).zip(volumes).map(tick).collect::<Vec<_>>())
    }

    #[test]
    fn a_quote_volume_needs_all_ticks_and_a_vwap_both_volumes() {
        let check = |volumes: &[(Option<f64>, Option<f64>)], expected: (Option<f64>, Option<f64>)| {
            let candle = traded(volumes);
            assert_eq!((candle.quote_volume, candle.vwap()), expected, "{volumes:?}");
        };
        check(&[(Some(2.0), Some(10.0)), (Some(1.0), Some(6.5))], (Some(16.5), Some(5.5)));
        check(&[(Some(2.0), None), (Some(1.0), Some(6.5))], (None, None));
        check(&[(Some(2.0), Some(10.0)), (Some(1.0), None)], (None, None));
        check(&[(Some(2.0), Some(10.0)), (Some(1.0), None), (Some(1.0), Some(6.5))], (None, None));
        check(&[(None, Some(10.0)), (Some(1.0), Some(6.5))], (Some(16.5), None));
        check(&[(None, Some(10.0))], (Some(10.0), None));
        check(&[(Some(0.0), Some(0.0)), (Some(0.0), Some(0.0))], (Some(0.0), None));
        check(&[(Some(0.0), Some(0.0)), (Some(4.0), Some(6.0))], (Some(6.0), Some(1.5)));
    }

    #[test]
    fn filled_counts_the_ticks_that_were_fetched_afterwards() {
        let filled = |filled: [bool; 3]| {
            let tick = |filled| Tick { filled, ..tick(0, None, 1.0, None) };
            candle(&filled.map(tick)).filled
        };
        assert_eq!([filled([true, false, true]), filled([true; 3]), filled([false; 3])], [2, 3, 0]);
    }

    /// A record of a source without these fields has the bytes that it always had.
    #[test]
    fn absent_fields_are_left_out_of_the_record() {
        let plain = candle(&[tick(0, None, 1.0, Some(0.5))]);
        let record = r#"{"coin":"bitcoin","quote":"usd","window":"1m","start_ms":0,"end_ms":60000,"close":1.0,"average":1.0,"volume":0.5,"count":1,"coverage":0.75,"revision":1,"final":true,"first_seq":0,"last_seq":0}"#;
        assert_eq!(serde_json::to_string(&plain).unwrap(), record);
        assert_eq!(serde_json::from_str::<Candle>(record).unwrap(), plain);
        let filled = Tick { quote_volume: Some(0.75), filled: true, ..tick(0, None, 1.0, Some(0.5)) };
        let filled = candle(&[filled]);
        let record = record.replace(r#""count":1,"#, r#""quote_volume":0.75,"vwap":1.5,"count":1,"filled":1,"#);
        assert_eq!(serde_json::to_string(&filled).unwrap(), record);
        assert_eq!(serde_json::from_str::<Candle>(&record).unwrap(), filled);
    }

    proptest! {
        /// The expected sum is an integer that is rounded once: every quote volume is a multiple of 2⁻⁴⁰.
        #[test]
        fn a_quote_volume_is_the_exact_sum_rounded_once_in_any_order(
            parts in prop::collection::vec((0_u64..1 << 53, 0_u32..60), 1..40),
            swaps in prop::collection::vec(any::<prop::sample::Index>(), 40),
        ) {
            let unit = 2_f64.powi(-40);
            let value = |&(mantissa, shift): &(u64, u32)| mantissa as f64 * 2_f64.powi(shift as i32) * unit;
            let total: u128 = parts.iter().map(|&(mantissa, shift)| u128::from(mantissa) << shift).sum();
            let mut volumes: Vec<_> = parts.iter().map(|part| (Some(0.5), Some(value(part)))).collect();
            let expected = total as f64 * unit;
            let vwap = expected / (0.5 * parts.len() as f64);
            for (idx, swap) in swaps.iter().enumerate().take(volumes.len()) {
                let candle = traded(&volumes);
                prop_assert_eq!((candle.quote_volume, candle.vwap()), (Some(expected), Some(vwap)));
                volumes.swap(idx, swap.index(parts.len()));
            }
        }
    }
}
