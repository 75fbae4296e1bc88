//! The first event of a client: the newest rows, from which it goes on with events.

use std::collections::BTreeMap;

use market::{Instrument, Window};
use serde::Serialize;

use super::open_candles::OpenCandles;
use crate::query::rows::{CandleRow, ForecastRow, PipelineRow, PriceRow};
use crate::view::{InstrumentView, Name, View};

/// Instruments of a snapshot of all of them, at most: it has about 4 KB of each. The rows of others come with their events,
/// and `/api/v1/instruments` lists them.
const INSTRUMENTS_MAX: usize = 200;

/// The newest rows of one instrument, or of all.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot<'a> {
    /// State of the pipeline.
    pipeline: &'a PipelineRow,
    /// The newest price, of a snapshot of one instrument.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<PriceRow>,
    /// The newest prices, of a snapshot of all instruments.
    #[serde(skip_serializing_if = "Option::is_none")]
    prices: Option<Vec<PriceRow>>,
    /// Of each kind of window the last final candle and the open ones.
    candles: BTreeMap<&'static str, Vec<CandleRow>>,
    /// Pending forecasts.
    forecasts: Vec<&'a ForecastRow>,
}

impl<'a> Snapshot<'a> {
    /// Returns the rows of one instrument, which may be unknown yet.
    pub(super) fn of_one(
        view: &'a View,
        open: &OpenCandles,
        pipeline: &'a PipelineRow,
        instrument: &Instrument,
    ) -> Self {
        let name = (instrument.coin().to_owned(), instrument.quote().to_owned());
        let rows = view.of(instrument);
        let mut snapshot = Self::empty(pipeline);
        snapshot.price = rows.and_then(|rows| rows.price).map(|price| price.row(&name));
        snapshot.add(instrument, rows, open);
        snapshot
    }

    /// Returns the rows of all instruments.
    pub(super) fn of_all(view: &'a View, open: &OpenCandles, pipeline: &'a PipelineRow) -> Self {
        let mut snapshot = Self::empty(pipeline);
        let price = |(name, rows): (&Name, &InstrumentView)| rows.price.map(|price| price.row(name));
        snapshot.prices = Some(view.instruments().take(INSTRUMENTS_MAX).filter_map(price).collect());
        for ((coin, quote), rows) in view.instruments().take(INSTRUMENTS_MAX) {
            if let Ok(instrument) = Instrument::new(coin, quote) {
                snapshot.add(&instrument, Some(rows), open);
            }
        }
        snapshot
    }

    fn empty(pipeline: &'a PipelineRow) -> Self {
        Self { pipeline, price: None, prices: None, candles: BTreeMap::new(), forecasts: Vec::new() }
    }

    fn add(&mut self, instrument: &Instrument, rows: Option<&'a InstrumentView>, open: &OpenCandles) {
        for window in Window::ALL {
            let last = rows.and_then(|rows| rows.candles(window).next_back()).map(CandleRow::from);
            let open = open.of(instrument).filter(|candle| candle.window == window).cloned();
            let candles: Vec<CandleRow> = last.into_iter().chain(open).collect();
            if !candles.is_empty() {
                self.candles.entry(window.name()).or_default().extend(candles);
            }
        }
        self.forecasts.extend(rows.into_iter().flat_map(InstrumentView::pending));
    }
}
