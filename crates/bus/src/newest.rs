//! Latest revisions of candles and profile rows.

use std::collections::BTreeMap;

use market::profile::HourOfDayLine;
use market::{Candle, EventTime, Instrument, Window};

use crate::codec;
use crate::connect::Connection;
use crate::error::Error;
use crate::reader::{Selection, read_to_end};
use crate::record_kind::RecordKind;
use crate::stream::Stream;
use crate::subject;

/// The latest revision of each candle of a window, ordered by coin, quote and start.
///
/// # Errors
/// Errors of reading, and stored lines that are not candles.
pub async fn candles(
    connection: &Connection,
    window: Window,
    instrument: Option<&Instrument>,
) -> Result<Vec<Candle>, Error> {
    let (stream, kind) = RecordKind::of_candles(window);
    let mut newest: BTreeMap<(String, String, EventTime), Candle> = BTreeMap::new();
    each_line(connection, stream, kind, instrument, |line| {
        let candle: Candle = serde_json::from_slice(line)?;
        newest.insert((candle.coin.to_string(), candle.quote.to_string(), candle.start), candle);
        Ok(())
    })
    .await?;
    Ok(newest.into_values().collect())
}

/// The latest version of each row of the hour-of-day profile, ordered by coin, quote and hour.
///
/// # Errors
/// Errors of reading, and stored lines that are not profile rows.
pub async fn profile(
    connection: &Connection,
    instrument: Option<&Instrument>,
) -> Result<Vec<HourOfDayLine<'static>>, Error> {
    let mut newest: BTreeMap<(String, String, u8), HourOfDayLine<'static>> = BTreeMap::new();
    each_line(connection, Stream::Stats, RecordKind::HourOfDay, instrument, |line| {
        let row: HourOfDayLine<'_> = serde_json::from_slice(line)?;
        let row = HourOfDayLine {
            coin: row.coin.into_owned().into(),
            quote: row.quote.into_owned().into(),
            hour: row.hour,
            average: row.average,
            min: row.min,
            max: row.max,
            count: row.count,
            first_seq: row.first_seq,
            last_seq: row.last_seq,
        };
        newest.insert((row.coin.to_string(), row.quote.to_string(), row.hour), row);
        Ok(())
    })
    .await?;
    Ok(newest.into_values().collect())
}

/// Visits every stored line of a kind in stream order, so that later lines are newer.
async fn each_line(
    connection: &Connection,
    stream: Stream,
    kind: RecordKind,
    instrument: Option<&Instrument>,
    mut visit: impl FnMut(&[u8]) -> Result<(), serde_json::Error>,
) -> Result<(), Error> {
    let filters = vec![subject::of_kind(stream, kind, instrument)];
    let selection = Selection { stream, filters, from: 1 };
    let read = read_to_end(connection, selection, |delivery| {
        codec::lines(&delivery.payload).try_for_each(|(line, bytes)| {
            visit(bytes).map_err(|error| Error::Unreadable {
                what: format!("line {line} of {stream} message {} on {}", delivery.seq, delivery.subject),
                detail: error.to_string(),
            })
        })
    });
    read.await.map(drop)
}
