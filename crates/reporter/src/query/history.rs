//! The history of candles and prices.

use bus::{Connection, Error, RecordKind, Stream};
use market::tick::PriceLine;
use market::{Candle, Instrument, Span, Window};

use super::cursor::Key;
use super::paging::{Order, Page, PageRequest, Place, ReadLine, page};
use super::rows::{CandleRow, PriceRow};
use super::source::StoredSeries;

/// The part of a history that a page is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Rows before this time are not asked for.
    pub(super) from: i64,
    /// Rows from this key on are not asked for.
    pub(super) before: Key,
    /// Number of rows, at most.
    pub(super) limit: usize,
}

/// Reads a page of final candles; `None` if there is no candle of this kind.
///
/// # Errors
/// The streams cannot be read.
pub(super) async fn candles(
    connection: &Connection,
    instrument: &Instrument,
    window: Window,
    part: Part,
) -> Result<Option<Page<CandleRow>>, Error> {
    history(connection, RecordKind::of_candles(window), instrument, window.size(), part, &read_candle).await
}

/// Reads a page of accepted prices; `None` if there is no price.
///
/// # Errors
/// The streams cannot be read.
pub(super) async fn prices(
    connection: &Connection,
    instrument: &Instrument,
    part: Part,
) -> Result<Option<Page<PriceRow>>, Error> {
    history(connection, (Stream::Market, RecordKind::Price), instrument, Span(0), part, &read_price).await
}

async fn history<R: Send>(
    connection: &Connection,
    kind: (Stream, RecordKind),
    instrument: &Instrument,
    size: Span,
    Part { from, before, limit }: Part,
    read: ReadLine<'_, R>,
) -> Result<Option<Page<R>>, Error> {
    let Some(series) = StoredSeries::open(connection, kind, instrument).await? else { return Ok(None) };
    let order = Order::Time { slack_ms: series.slack(size).await?.ms() };
    page(&series, &PageRequest { order, from, before, limit, read }).await.map(Some)
}

fn read_candle(line: &[u8], _: Place) -> serde_json::Result<Option<(Key, CandleRow)>> {
    let candle: Candle = serde_json::from_slice(line)?;
    Ok(Some((Key::at(candle.start.ms()), CandleRow::from(&candle))))
}

fn read_price(line: &[u8], place: Place) -> serde_json::Result<Option<(Key, PriceRow)>> {
    let price: PriceLine<'_> = serde_json::from_slice(line)?;
    // The identity of a tick. One without an id or a grain comes first.
    let id = price.id.map_or(0, |id| id.saturating_add(1));
    let grain = price.grain_ms.map_or(0, |grain_ms| grain_ms.unsigned_abs());
    Ok(Some((Key { time: price.event_ms, tie: [id, grain] }, PriceRow::new(&price, place.seq))))
}
