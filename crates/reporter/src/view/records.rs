//! The records of a stored message, as far as they are shown.

use bus::codec::{LineReader, lines};
use bus::subject::SubjectParts;
use bus::{Error, RecordKind};
use market::forecast::{ModelLine, NextLine, ScoreLine};
use market::profile::HourOfDayLine;
use market::tick::PriceLine;
use market::{Candle, Instrument, Window};

use crate::query::rows::{ForecastRow, ModelRow, PriceRow};

/// Lines from which a message is long: a recording is being replayed, or history was fetched.
pub(crate) const LONG: usize = 64;

/// The records of one message, which are of one kind and one instrument.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredRecords {
    /// The instrument.
    pub(crate) instrument: Instrument,
    /// The records.
    pub(crate) records: Records,
}

/// Records of one kind, in stored order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Records {
    /// Accepted prices.
    Prices(Prices),
    /// Final candles.
    Candles(Candles),
    /// Rows of the hour-of-day profile.
    Hours(Vec<HourOfDayLine<'static>>),
    /// Forecasts that wait for their truth.
    Forecasts(Vec<ForecastRow>),
    /// Scored forecasts. Their intervals are those of the pending ones, which the message lacks.
    Scores(Vec<ForecastRow>),
    /// Trained models.
    Models(Vec<ModelRow>),
}

/// Accepted prices, of which one is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prices {
    /// The newest by event time.
    pub(crate) newest: PriceRow,
    /// Number of prices.
    pub(crate) count: u64,
}

/// Final candles of one kind of window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candles {
    /// The kind of window.
    pub(crate) window: Window,
    /// The candles, or the newest of them.
    pub(crate) rows: Vec<Candle>,
    /// Number of lines of the message.
    pub(crate) lines: usize,
}

/// How much of a message is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Every line.
    Whole,
    /// Of a long message with 1-minute candles only the newest ones, since a replay stores hundreds of thousands.
    Newest,
}

impl StoredRecords {
    /// Parses the message with this sequence; `None` if its kind is not shown or it has no line.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if a line is not what the subject says.
    pub(crate) fn parse(subject: &str, seq: u64, payload: &[u8], depth: Depth) -> Result<Option<Self>, Error> {
        let Some((kind, instrument)) = subject_parts(subject) else { return Ok(None) };
        let records = match kind {
            RecordKind::Price => prices(payload, seq).map(|prices| prices.map(Records::Prices)),
            RecordKind::Candle => candles(payload, Window::Minute, depth),
            RecordKind::Stats(window) => candles(payload, window, Depth::Whole),
            RecordKind::HourOfDay => each(payload, owned_hour).map(|rows| rows.map(Records::Hours)),
            RecordKind::Next => each(payload, pending).map(|rows| rows.map(Records::Forecasts)),
            RecordKind::Score => each(payload, scored).map(|rows| rows.map(Records::Scores)),
            RecordKind::Model => each(payload, model).map(|rows| rows.map(Records::Models)),
            _ => return Ok(None),
        };
        let unreadable = |(line, error): Refused| Error::Unreadable {
            what: format!("line {line} of a message on {subject}"),
            detail: error.to_string(),
        };
        Ok(records.map_err(unreadable)?.map(|records| Self { instrument, records }))
    }
}

/// The kind and the instrument of a stored subject.
pub(super) fn subject_parts(subject: &str) -> Option<(RecordKind, Instrument)> {
    let parts = SubjectParts::parse(subject)?;
    let kind = shown_kinds().find(|kind| kind.token() == parts.kind)?;
    Some((kind, Instrument::new(parts.coin, parts.quote).ok()?))
}

/// Every kind of record that is shown. Their tokens differ between the streams.
fn shown_kinds() -> impl Iterator<Item = RecordKind> {
    let others = [RecordKind::Price, RecordKind::HourOfDay, RecordKind::Next, RecordKind::Score, RecordKind::Model];
    Window::ALL.into_iter().map(super::kind_of).chain(others)
}

/// A line that is not what its subject says: its index and the reason.
type Refused = (u32, serde_json::Error);

fn prices(payload: &[u8], seq: u64) -> Result<Option<Prices>, Refused> {
    let mut reader = LineReader::default();
    let (mut newest, mut count) = (None, 0);
    for (number, line) in lines(payload) {
        let price = reader.price(line).map_err(|error| (number, error))?;
        count += 1;
        // A late tick within the allowed lateness is accepted, but it is not the newest price.
        if newest.as_ref().is_none_or(|newest: &PriceLine<'_>| newest.event_ms <= price.event_ms) {
            newest = Some(price);
        }
    }
    Ok(newest.map(|newest| Prices { newest: PriceRow::new(&newest, seq), count }))
}

fn candles(payload: &[u8], window: Window, depth: Depth) -> Result<Option<Records>, Refused> {
    let stored: Vec<(u32, &[u8])> = lines(payload).collect();
    let parse = |&(number, line): &(u32, &[u8])| serde_json::from_slice(line).map_err(|error| (number, error));
    let rows: Result<Vec<Candle>, Refused> = if depth == Depth::Newest && stored.len() >= LONG {
        newest_candles(stored.iter().rev().map(parse))
    } else {
        stored.iter().map(parse).collect()
    };
    let rows = rows?;
    let lines = stored.len();
    Ok((!rows.is_empty()).then_some(Records::Candles(Candles { window, rows, lines })))
}

/// The candles from the last one back to the newest window. Windows close in order, so the last candle that is no
/// revision has the newest window.
fn newest_candles(backwards: impl Iterator<Item = Result<Candle, Refused>>) -> Result<Vec<Candle>, Refused> {
    let mut newest = Vec::new();
    for candle in backwards {
        let candle = candle?;
        let is_first_revision = candle.revision <= 1;
        newest.push(candle);
        if is_first_revision {
            break;
        }
    }
    newest.reverse();
    Ok(newest)
}

fn owned_hour(line: &[u8]) -> serde_json::Result<HourOfDayLine<'static>> {
    let row: HourOfDayLine<'_> = serde_json::from_slice(line)?;
    let (coin, quote) = (row.coin.into_owned().into(), row.quote.into_owned().into());
    Ok(HourOfDayLine { coin, quote, ..row })
}

fn pending(line: &[u8]) -> serde_json::Result<ForecastRow> {
    Ok(ForecastRow::from(&serde_json::from_slice::<NextLine<'_>>(line)?))
}

fn model(line: &[u8]) -> serde_json::Result<ModelRow> {
    Ok(ModelRow::from(&serde_json::from_slice::<ModelLine<'_>>(line)?))
}

fn scored(line: &[u8]) -> serde_json::Result<ForecastRow> {
    Ok(ForecastRow::scored(&serde_json::from_slice::<ScoreLine<'_>>(line)?, Vec::new()))
}

/// Parses every line; `None` without lines.
fn each<T>(payload: &[u8], parse: impl Fn(&[u8]) -> serde_json::Result<T>) -> Result<Option<Vec<T>>, Refused> {
    let rows = lines(payload).map(|(number, line)| parse(line).map_err(|error| (number, error)));
    let rows = rows.collect::<Result<Vec<T>, Refused>>()?;
    Ok((!rows.is_empty()).then_some(rows))
}
