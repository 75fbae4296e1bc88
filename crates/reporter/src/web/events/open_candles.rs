//! Open candles: the newest form of each, with the number of the change that brought it. A client asks for changes after the
//! last one that it had, so a slow client gets the newest form only, and one that comes back gets all of them.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use market::{Instrument, Window};

use super::log::Filter;
use crate::query::rows::CandleRow;

/// Open windows of a kind, at most: two of a hopping window, and one that has ended and is not closed yet.
const WINDOWS_MAX: usize = 3;
/// Instruments with open candles, at most: each takes about 10 KB. Others have none on the page.
const INSTRUMENTS_MAX: usize = 2_000;

/// The open candles of all instruments.
#[derive(Debug, Default)]
pub(super) struct OpenCandles {
    candles: HashMap<Instrument, Vec<OpenCandle>>,
    /// The instrument of each change that is not superseded.
    changes: BTreeMap<u64, Instrument>,
}

#[derive(Debug)]
struct OpenCandle {
    /// Number of the change.
    change: u64,
    row: CandleRow,
    /// The event as it is sent.
    text: Bytes,
}

impl OpenCandles {
    /// Replaces the earlier form of an open candle. Returns whether it is kept.
    pub(super) fn put(&mut self, instrument: &Instrument, row: CandleRow, text: Bytes, change: u64) -> bool {
        if self.candles.len() >= INSTRUMENTS_MAX && !self.candles.contains_key(instrument) {
            return false;
        }
        let window = row.window;
        self.remove(instrument, |open| (open.window, open.start_ms) == (window, row.start_ms));
        let candles = self.candles.entry(instrument.clone()).or_default();
        candles.push(OpenCandle { change, row, text });
        self.changes.insert(change, instrument.clone());
        let starts: Vec<i64> =
            self.of(instrument).filter(|open| open.window == window).map(|open| open.start_ms).collect();
        if starts.len() > WINDOWS_MAX {
            let oldest = starts.into_iter().min();
            self.remove(instrument, |open| open.window == window && Some(open.start_ms) == oldest);
        }
        true
    }

    /// Removes the candles of windows that have closed: those of this kind up to this start.
    pub(super) fn close(&mut self, instrument: &Instrument, window: Window, start_ms: i64) {
        self.remove(instrument, |open| open.window == window && open.start_ms <= start_ms);
    }

    /// Removes all candles.
    pub(super) fn clear(&mut self) {
        self.candles.clear();
        self.changes.clear();
    }

    /// Returns the open candles of an instrument.
    pub(super) fn of(&self, instrument: &Instrument) -> impl Iterator<Item = &CandleRow> {
        self.candles.get(instrument).into_iter().flatten().map(|open| &open.row)
    }

    /// Returns the first change after this one that is wanted, with its event.
    pub(super) fn after(&self, change: u64, filter: &Filter) -> Option<(u64, Bytes)> {
        let instrument = match filter {
            Filter::One(instrument) => instrument,
            Filter::All => self.changes.range(change + 1..).next()?.1,
        };
        let later = self.candles.get(instrument)?.iter().filter(|open| open.change > change);
        later.min_by_key(|open| open.change).map(|open| (open.change, open.text.clone()))
    }

    fn remove(&mut self, instrument: &Instrument, is_removed: impl Fn(&CandleRow) -> bool) {
        let Some(candles) = self.candles.get_mut(instrument) else { return };
        let changes = &mut self.changes;
        candles.retain(|open| {
            let is_removed = is_removed(&open.row);
            if is_removed {
                changes.remove(&open.change);
            }
            !is_removed
        });
        if candles.is_empty() {
            self.candles.remove(instrument);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitcoin() -> Instrument {
        Instrument::new("bitcoin", "usd").expect("an instrument")
    }

    fn row(window: Window, start_ms: i64) -> CandleRow {
        CandleRow {
            coin: "bitcoin".into(),
            quote: "usd".into(),
            window,
            start_ms,
            end_ms: start_ms + window.size().ms(),
            open: 1.0,
            high: 1.0,
            low: 1.0,
            close: 1.0,
            average: 1.0,
            volume: None,
            volume_count: None,
            quote_volume: None,
            vwap: None,
            count: 1,
            filled: 0,
            coverage: 0.5,
            revision: 0,
            is_final: false,
        }
    }

    /// All changes after one, as texts.
    fn all_after(open: &OpenCandles, mut change: u64, filter: &Filter) -> Vec<Bytes> {
        let next = || {
            let (next, text) = open.after(change, filter)?;
            change = next;
            Some(text)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_client_gets_the_newest_form_of_each_open_candle() {
        let mut open = OpenCandles::default();
        let ethereum = Instrument::new("ethereum", "usd").expect("an instrument");
        let put = |open: &mut OpenCandles, of: &Instrument, row: CandleRow, text: &'static str, change| {
            assert!(open.put(of, row, Bytes::from_static(text.as_bytes()), change));
        };
        put(&mut open, &bitcoin(), row(Window::Minute, 0), "minute", 1);
        put(&mut open, &ethereum, row(Window::Minute, 0), "other", 2);
        put(&mut open, &bitcoin(), row(Window::Hour, 0), "hour", 3);
        put(&mut open, &bitcoin(), row(Window::Minute, 0), "minute again", 4);
        assert_eq!(all_after(&open, 0, &Filter::All), ["other", "hour", "minute again"]);
        assert_eq!(all_after(&open, 0, &Filter::One(bitcoin())), ["hour", "minute again"]);
        assert_eq!(all_after(&open, 3, &Filter::One(bitcoin())), ["minute again"]);
        open.close(&bitcoin(), Window::Minute, 0);
        assert_eq!(all_after(&open, 0, &Filter::One(bitcoin())), ["hour"]);
        open.clear();
        assert!(all_after(&open, 0, &Filter::All).is_empty() && open.candles.is_empty());
    }

    #[test]
    fn windows_that_never_close_are_bounded() {
        let mut open = OpenCandles::default();
        for start in 0..10 {
            open.put(&bitcoin(), row(Window::Minute, start * 60_000), Bytes::new(), start as u64 + 1);
        }
        let starts: Vec<_> = open.of(&bitcoin()).map(|row| row.start_ms / 60_000).collect();
        assert_eq!((starts, open.changes.len()), (vec![7, 8, 9], WINDOWS_MAX));
    }
}
