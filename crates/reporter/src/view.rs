//! In-memory view of the newest rows of every instrument, for tables and page. Its size is bounded.

pub(crate) mod records;

use std::collections::BTreeMap;

use bus::{Error, RecordKind};
use market::profile::HourOfDayLine;
use market::{Candle, EventTime, Instrument, Window};

use crate::query::rows::{ForecastRow, PriceRow};
use records::{Depth, Records, StoredRecords, subject_parts};

/// Windows whose candles are shown in tables.
pub(crate) const WINDOWS: [Window; 4] = [Window::Minute, Window::Hour, Window::Day, Window::HourEveryHalf];
/// Pending forecasts of an instrument, at most: three recipes with a few horizons each need far less.
const PENDING_MAX: usize = 64;

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
    /// Pending forecasts, in stored order.
    pending: Vec<ForecastRow>,
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

impl LastPrice {
    /// Returns the price of an instrument as a row.
    pub(crate) fn row(self, (coin, quote): &Name) -> PriceRow {
        PriceRow {
            coin: coin.as_str().into(),
            quote: quote.as_str().into(),
            event_ms: self.event.ms(),
            known_ms: self.known.ms(),
            close: self.close,
            filled: self.filled,
            seq: self.seq,
        }
    }
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

    /// Returns the forecasts whose truth is not known yet, in stored order.
    pub(crate) fn pending(&self) -> &[ForecastRow] {
        &self.pending
    }

    fn add_price(&mut self, row: &PriceRow) {
        let &PriceRow { event_ms, known_ms, close, filled, seq, .. } = row;
        let price = LastPrice { event: EventTime(event_ms), known: EventTime(known_ms), close, filled, seq };
        // A late tick within the allowed lateness is accepted, but it is not the current price.
        if self.price.as_ref().is_none_or(|newest| newest.event <= price.event) {
            self.price = Some(price);
        }
    }

    fn add_candle(&mut self, candle: &Candle, windows_max: usize) {
        let windows = self.candles.entry(candle.window).or_default();
        // The newest message of a subject may be read before the ones that it follows.
        if windows.get(&candle.start).is_none_or(|known| known.revision <= candle.revision) {
            windows.insert(candle.start, candle.clone());
        }
        if windows.len() > windows_max {
            windows.pop_first();
        }
    }

    fn add_forecast(&mut self, forecast: &ForecastRow) {
        self.pending.retain(|pending| !pending.is_same(forecast));
        self.pending.push(forecast.clone());
        if self.pending.len() > PENDING_MAX {
            self.pending.remove(0);
        }
    }

    /// Adds the intervals of the pending forecast to its score. Forecasts for earlier targets will not be scored any more:
    /// their targets have no candle.
    fn score(&mut self, scored: &mut ForecastRow) {
        if let Some(pending) = self.pending.iter().find(|pending| pending.is_same(scored)) {
            scored.bands.clone_from(&pending.bands);
        }
        let waits = |pending: &ForecastRow| pending.target_end_ms > scored.target_end_ms;
        let is_alike = |pending: &ForecastRow| (pending.recipe, pending.interval) == (scored.recipe, scored.interval);
        self.pending.retain(|pending| !is_alike(pending) || waits(pending));
    }
}

impl View {
    /// Returns an empty view that keeps this number of windows of a kind.
    pub(crate) fn new(windows_max: usize) -> Self {
        Self { windows_max, instruments: BTreeMap::new() }
    }

    /// Forgets all rows.
    pub(crate) fn clear(&mut self) {
        self.instruments.clear();
    }

    /// Returns every instrument that has a row, by name.
    pub(crate) fn instruments(&self) -> impl Iterator<Item = (&Name, &InstrumentView)> {
        self.instruments.iter()
    }

    /// Returns the rows of an instrument.
    pub(crate) fn of(&self, instrument: &Instrument) -> Option<&InstrumentView> {
        self.instruments.get(&name_of(instrument))
    }

    /// Adds a stored message by its sequence, if its kind is shown. Later messages must be newer.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if a line is not what its subject says.
    pub(crate) fn apply(&mut self, subject: &str, seq: u64, payload: &[u8]) -> Result<(), Error> {
        if let Some(mut stored) = StoredRecords::parse(subject, seq, payload, Depth::Whole)? {
            self.add(&mut stored);
        }
        Ok(())
    }

    /// Adds the records of a message. Scores are given the intervals of their pending forecasts.
    pub(crate) fn add(&mut self, stored: &mut StoredRecords) {
        let windows_max = self.windows_max;
        let rows = self.instruments.entry(name_of(&stored.instrument)).or_default();
        match &mut stored.records {
            Records::Prices(prices) => rows.add_price(&prices.newest),
            Records::Candles(candles) => candles.rows.iter().for_each(|candle| rows.add_candle(candle, windows_max)),
            Records::Hours(hours) => rows.hours.extend(hours.iter().map(|hour| (hour.hour, hour.clone()))),
            Records::Forecasts(forecasts) => forecasts.iter().for_each(|forecast| rows.add_forecast(forecast)),
            Records::Scores(scores) => scores.iter_mut().for_each(|scored| rows.score(scored)),
            Records::Models(_) => {}
        }
    }

    /// Whether a message on this subject would add rows of which there are none.
    pub(crate) fn lacks(&self, subject: &str) -> bool {
        let Some((kind, instrument)) = subject_parts(subject) else { return false };
        let rows = self.of(&instrument);
        match kind {
            RecordKind::Price => rows.is_none_or(|rows| rows.price.is_none()),
            RecordKind::Candle => rows.is_none_or(|rows| !rows.candles.contains_key(&Window::Minute)),
            RecordKind::Stats(window) => rows.is_none_or(|rows| !rows.candles.contains_key(&window)),
            RecordKind::HourOfDay => rows.is_none_or(|rows| rows.hours.is_empty()),
            RecordKind::Next => rows.is_none_or(|rows| rows.pending.is_empty()),
            _ => false,
        }
    }

    /// Returns the newest price of all instruments by event time: its event time, and the time since which it is known.
    pub(crate) fn newest_times(&self) -> Option<(EventTime, EventTime)> {
        self.instruments().filter_map(|(_, rows)| rows.price).map(|price| (price.event, price.known)).max()
    }
}

fn name_of(instrument: &Instrument) -> Name {
    (instrument.coin().to_owned(), instrument.quote().to_owned())
}

/// Returns the kind of the messages that hold a window's candles.
pub(crate) fn kind_of(window: Window) -> RecordKind {
    RecordKind::of_candles(window).1
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
        let prices = [price(120_000, 9.0), price(60_000, 8.0)].join("\n");
        view.apply("market.3.price.bitcoin.usd", 1, prices.as_bytes()).expect("prices");
        view.apply("market.3.late.bitcoin.usd", 2, price(180_000, 7.0).as_bytes()).expect("ignored");
        let (name, instrument) = view.instruments().next().expect("an instrument");
        assert_eq!(name, &("bitcoin".to_owned(), "usd".to_owned()));
        assert_eq!(instrument.price.map(|price| price.close), Some(9.0));
    }

    #[test]
    fn an_older_message_that_is_read_later_changes_nothing() {
        let mut view = View::new(2);
        for (revision, close) in [(2, 2.5), (1, 2.0)] {
            let candle = hourly(0, close, revision);
            view.apply("stats.3.1h.bitcoin.usd", 1, candle.as_bytes()).expect("a candle");
        }
        let instrument = view.of(&Instrument::new("bitcoin", "usd").expect("an instrument")).expect("rows");
        assert_eq!(instrument.candles(Window::Hour).next().map(|candle| candle.close), Some(2.5));
        assert!(!view.lacks("stats.3.1h.bitcoin.usd") && !view.lacks("checkpoint.stats.3.position"));
        assert!(view.lacks("stats.3.1d.bitcoin.usd") && view.lacks("market.7.price.ethereum.usd"));
    }

    /// A forecast of the hour that ends at this time.
    fn forecast(target_end: i64, rest: &str) -> String {
        let (made, model) = (target_end - 3_600_000, "4be1c1f02b6f2a07");
        format!(
            r#"{{"coin":"bitcoin","quote":"usd","recipe":"returns","interval":"1h","made_ms":{made},"target_start_ms":{made},"target_end_ms":{target_end},"model":"{model}","status":"candidate","prediction":8.0,"baseline":7.5,{rest}}}"#
        )
    }

    #[test]
    fn a_score_ends_its_forecast_and_has_its_intervals() {
        const NEXT: &str = "forecast.3.next.bitcoin.usd";
        let mut view = View::new(2);
        for target_end in [3_600_000, 7_200_000, 10_800_000] {
            let next = forecast(target_end, r#""level":0.9,"lower":6.0,"upper":9.0"#);
            view.apply(NEXT, 1, next.as_bytes()).expect("a forecast");
        }
        let score = forecast(7_200_000, r#""actual":8.5,"coverage":1.0,"error":0.5,"inside":true"#);
        let score = StoredRecords::parse("forecast.3.score.bitcoin.usd", 2, score.as_bytes(), Depth::Whole);
        let mut score = score.expect("a score").expect("a score");
        view.add(&mut score);
        let Records::Scores(scored) = &score.records else { panic!("no scores: {score:?}") };
        let bands: Vec<_> = scored[0].bands.iter().map(|band| (band.level, band.lower, band.upper)).collect();
        assert_eq!((scored[0].actual, &bands[..]), (Some(8.5), &[(0.9, 6.0, 9.0)][..]));
        // The first target has no candle, so it will not be scored.
        let pending: Vec<i64> =
            view.of(&score.instrument).expect("rows").pending().iter().map(|row| row.target_end_ms).collect();
        assert_eq!(pending, [10_800_000]);
    }

    #[test]
    fn of_a_long_message_only_the_newest_candles_are_parsed() {
        let minute = |start: i64, revision: u32| {
            let candle = hourly(start * 60_000, 1.0, revision).replace(r#""1h""#, r#""1m""#);
            candle.replace(&format!("{}", start * 60_000 + 3_600_000), &format!("{}", start * 60_000 + 60_000))
        };
        let message = |lines: i64| {
            let lines = (0..lines).map(|start| minute(start, 1)).chain([minute(5, 2), minute(7, 2)]);
            lines.collect::<Vec<_>>().join("\n")
        };
        let parsed = |lines: i64, depth: Depth| {
            let payload = message(lines);
            let stored = StoredRecords::parse("market.3.candle-1m.bitcoin.usd", 1, payload.as_bytes(), depth);
            let Records::Candles(candles) = stored.expect("candles").expect("candles").records else {
                panic!("no candles")
            };
            (
                candles.lines,
                candles.rows.iter().map(|candle| (candle.start.ms() / 60_000, candle.revision)).collect::<Vec<_>>(),
            )
        };
        assert_eq!(parsed(300, Depth::Newest), (302, vec![(299, 1), (5, 2), (7, 2)]));
        assert_eq!(parsed(300, Depth::Whole).1.len(), 302);
        assert_eq!(parsed(20, Depth::Newest).1.len(), 22);
    }

    #[test]
    fn an_unreadable_line_is_an_error_with_its_subject() {
        let error = View::new(2).apply("market.3.price.bitcoin.usd", 1, b"{}").expect_err("no price");
        assert!(error.to_string().contains("line 0 of a message on market.3.price.bitcoin.usd"), "{error}");
    }
}
