//! In-memory view of the newest rows of every instrument, for tables and page. Its size is bounded.

use std::collections::BTreeMap;

use bus::codec::lines;
use bus::subject::SubjectParts;
use bus::{Error, RecordKind};
use market::profile::HourOfDayLine;
use market::tick::PriceLine;
use market::{Candle, EventTime, Window};

/// Windows whose candles are shown.
pub(crate) const WINDOWS: [Window; 4] = [Window::Minute, Window::Hour, Window::Day, Window::HourEveryHalf];

/// Coin and quote currency.
pub(crate) type Name = (String, String);

/// The newest rows of every instrument.
#[derive(Debug)]
pub(crate) struct View {
    /// Windows of a kind that are kept per instrument, at most.
    windows_max: usize,
    instruments: BTreeMap<Name, InstrumentView>,
}

/// The newest rows of one instrument.
#[derive(Debug, Default)]
pub(crate) struct InstrumentView {
    /// Newest price by event time.
    pub(crate) price: Option<LastPrice>,
    candles: BTreeMap<Window, BTreeMap<EventTime, Candle>>,
    hours: BTreeMap<u8, HourOfDayLine<'static>>,
}

/// A price with its times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LastPrice {
    /// Event time of the tick.
    pub(crate) event: EventTime,
    /// Time since which the price is known. For a bar, that is its end.
    pub(crate) known: EventTime,
    /// Price in quote currency.
    pub(crate) close: f64,
    /// Whether it was fetched afterwards.
    pub(crate) filled: bool,
    /// Sequence of its message in MARKET.
    pub(crate) seq: u64,
}

impl InstrumentView {
    /// Returns the newest revisions of a window's candles, oldest first.
    pub(crate) fn candles(&self, window: Window) -> impl DoubleEndedIterator<Item = &Candle> {
        self.candles.get(&window).into_iter().flat_map(BTreeMap::values)
    }

    /// Returns the hour-of-day profile, by hour.
    pub(crate) fn hours(&self) -> impl Iterator<Item = &HourOfDayLine<'static>> {
        self.hours.values()
    }
}

impl View {
    /// Returns an empty view that keeps this number of windows of a kind.
    pub(crate) fn new(windows_max: usize) -> Self {
        Self { windows_max, instruments: BTreeMap::new() }
    }

    /// Returns every instrument that has a row, by name.
    pub(crate) fn instruments(&self) -> impl Iterator<Item = (&Name, &InstrumentView)> {
        self.instruments.iter()
    }

    /// Adds a stored message by its sequence, if its kind is shown. Later messages must be newer.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if a line is not what its subject says.
    pub(crate) fn apply(&mut self, subject: &str, seq: u64, payload: &[u8]) -> Result<(), Error> {
        let Some(stored) = SubjectParts::parse(subject) else { return Ok(()) };
        let window = |kind: RecordKind| WINDOWS.into_iter().find(|&window| kind_of(window) == kind);
        let kind = shown_kinds().find(|kind| kind.token() == stored.kind);
        let Some(kind) = kind else { return Ok(()) };
        for (line, bytes) in lines(payload) {
            let taken = match window(kind) {
                Some(_) => self.candle(bytes),
                None if kind == RecordKind::HourOfDay => self.hour(bytes),
                None => self.price(seq, bytes),
            };
            taken.map_err(|error| Error::Unreadable {
                what: format!("line {line} of a message on {subject}"),
                detail: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// Returns the event time of the newest price of all instruments.
    pub(crate) fn newest(&self) -> Option<EventTime> {
        self.newest_times().map(|(event, _)| event)
    }

    /// Returns the event time of the newest price of all instruments, and the time from which it is known.
    pub(crate) fn newest_times(&self) -> Option<(EventTime, EventTime)> {
        self.instruments().filter_map(|(_, rows)| rows.price.as_ref()).map(|price| (price.event, price.known)).max()
    }

    fn price(&mut self, seq: u64, line: &[u8]) -> Result<(), serde_json::Error> {
        let line: PriceLine<'_> = serde_json::from_slice(line)?;
        let tick = line.tick();
        let price = LastPrice { event: tick.event, known: tick.end(), close: tick.close, filled: tick.filled, seq };
        let newest = &mut self.instrument(&line.coin, &line.quote).price;
        // A late tick within the allowed lateness is accepted, but it is not the current price.
        if newest.is_none_or(|newest| newest.event <= price.event) {
            *newest = Some(price);
        }
        Ok(())
    }

    fn candle(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        let candle: Candle = serde_json::from_slice(line)?;
        let windows_max = self.windows_max;
        let windows = self.instrument(&candle.coin, &candle.quote).candles.entry(candle.window).or_default();
        windows.insert(candle.start, candle);
        if windows.len() > windows_max {
            windows.pop_first();
        }
        Ok(())
    }

    fn hour(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        let row: HourOfDayLine<'_> = serde_json::from_slice(line)?;
        let (coin, quote) = (row.coin.into_owned(), row.quote.into_owned());
        let hours = &mut self.instrument(&coin, &quote).hours;
        hours.insert(row.hour, HourOfDayLine { coin: coin.into(), quote: quote.into(), ..row });
        Ok(())
    }

    fn instrument(&mut self, coin: &str, quote: &str) -> &mut InstrumentView {
        self.instruments.entry((coin.to_owned(), quote.to_owned())).or_default()
    }
}

/// Returns the kind of the messages that hold a window's candles.
pub(crate) fn kind_of(window: Window) -> RecordKind {
    if window == Window::Minute { RecordKind::Candle } else { RecordKind::Stats(window) }
}

fn shown_kinds() -> impl Iterator<Item = RecordKind> {
    WINDOWS.into_iter().map(kind_of).chain([RecordKind::HourOfDay, RecordKind::Price])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(event: i64, close: f64) -> String {
        format!(
            r#"{{"coin":"bitcoin","quote":"usd","event_ms":{event},"grain_ms":60000,"close":{close},"feed_seq":1}}"#
        )
    }

    fn hourly(start: i64, close: f64, revision: u32) -> String {
        let end = start + 3_600_000;
        format!(
            r#"{{"coin":"bitcoin","quote":"usd","window":"1h","start_ms":{start},"end_ms":{end},"close":{close},"average":1.0,
            "count":1,"coverage":1.0,"grain_ms":60000,"revision":{revision},"final":true,"first_seq":1,"last_seq":1}}"#
        )
        .replace('\n', " ")
    }

    #[test]
    fn the_newest_revision_counts_and_old_windows_are_dropped() {
        let mut view = View::new(2);
        let rows = [hourly(0, 1.0, 1), hourly(3_600_000, 2.0, 1), hourly(7_200_000, 3.0, 1), hourly(3_600_000, 2.5, 2)];
        view.apply("stats.3.1h.bitcoin.usd", 1, rows.join("\n").as_bytes()).expect("candles");
        let (_, instrument) = view.instruments().next().expect("an instrument");
        let closes: Vec<_> = instrument.candles(Window::Hour).map(|candle| candle.close).collect();
        assert_eq!(closes, [2.5, 3.0]);
    }

    #[test]
    fn a_late_tick_is_not_the_current_price() {
        let mut view = View::new(2);
        view.apply("market.3.price.bitcoin.usd", 1, [price(120_000, 9.0), price(60_000, 8.0)].join("\n").as_bytes())
            .expect("prices");
        view.apply("market.3.late.bitcoin.usd", 2, price(180_000, 7.0).as_bytes()).expect("ignored");
        let (name, instrument) = view.instruments().next().expect("an instrument");
        assert_eq!(name, &("bitcoin".to_owned(), "usd".to_owned()));
        assert_eq!(instrument.price.map(|price| price.close), Some(9.0));
    }

    #[test]
    fn an_unreadable_line_is_an_error_with_its_subject() {
        let error = View::new(2).apply("market.3.price.bitcoin.usd", 1, b"{}").expect_err("no price");
        assert!(error.to_string().contains("line 0 of a message on market.3.price.bitcoin.usd"), "{error}");
    }
}
