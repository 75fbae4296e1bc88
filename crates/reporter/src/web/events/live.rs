//! The state behind the events: the newest rows, the log, and the changes without id. One lock guards it, so that a
//! snapshot contains exactly the events before its id.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::Stream;
use bytes::Bytes;
use market::{Candle, Instrument};
use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::held::HeldMessage;
use super::log::{EventLog, Filter, Place, Read};
use super::open_candles::OpenCandles;
use super::snapshot::Snapshot;
use crate::query::rows::{CandleRow, HourRow, PipelineRow, PriceRow};
use crate::view::View;
use crate::view::records::{Candles, LONG, Prices, Records, StoredRecords};

/// Time between two snapshots of a client that falls behind. During a replay at full speed it gets no events in between,
/// since they would come faster than a page can draw.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);

/// How fast messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// As prices change.
    Live,
    /// Faster than anyone can read, as in a replay at full speed.
    Flood,
}

/// The state behind the events.
#[derive(Debug)]
pub(crate) struct Live {
    /// The newest rows. They change while this state is locked, or while it is loading. They are locked after it, or
    /// alone.
    view: Arc<Mutex<View>>,
    log: EventLog,
    open: OpenCandles,
    pipeline: Pipeline,
    /// Number of the last change without id: of an open candle, or of the pipeline.
    change: u64,
    /// Whether the view is being filled. Until it is, changes have no events.
    is_loading: bool,
    /// The last snapshot of all instruments, for the clients that ask within a second.
    shared_snapshot: Option<(Instant, Cursor, Bytes)>,
}

/// The state of the pipeline, with the change that brought it.
#[derive(Debug)]
struct Pipeline {
    row: PipelineRow,
    change: u64,
    text: Bytes,
}

/// What a client has received.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    place: Place,
    change: u64,
}

/// A client as the state knows it: its filter, and what it has received.
#[derive(Debug)]
pub(super) struct Reading {
    filter: Filter,
    /// `None` if it needs a snapshot.
    cursor: Option<Cursor>,
    /// When it may have the next snapshot.
    snapshot_at: Instant,
}

impl Reading {
    /// Returns the time of the snapshot that the client waits for, if it does.
    pub(super) fn snapshot_at(&self) -> Option<Instant> {
        self.cursor.is_none().then_some(self.snapshot_at)
    }
}

impl Live {
    /// Returns the state with this view, whose first event has this number.
    pub(crate) fn new(view: Arc<Mutex<View>>, first: u64, pipeline: PipelineRow) -> Self {
        let pipeline = Pipeline { text: event_without_id("pipeline", &pipeline), row: pipeline, change: 1 };
        let log = EventLog::new(first);
        Self { view, log, open: OpenCandles::default(), pipeline, change: 1, is_loading: true, shared_snapshot: None }
    }

    /// Forgets all rows and events, to read the streams again.
    pub(crate) fn restart(&mut self) {
        self.view().clear();
        self.log.restart();
        self.open.clear();
        (self.is_loading, self.shared_snapshot) = (true, None);
    }

    /// Ends the loading: from now on, changes have events. Clients that came earlier get a snapshot.
    pub(crate) fn loaded(&mut self) {
        self.is_loading = false;
        self.log.cut();
        self.shared_snapshot = None;
    }

    /// Adds the records of a stored message: to the view, and to the log as events. Of many candles at once there is no
    /// event, and their readers get a snapshot instead.
    pub(crate) fn store(&mut self, message: HeldMessage, load: Load) {
        let HeldMessage { stream, seq, mut stored } = message;
        self.view().add(&mut stored);
        self.log.advance(stream, seq);
        let StoredRecords { instrument, records } = &stored;
        if let Records::Candles(candles) = records {
            let newest = candles.rows.iter().map(|candle| candle.start).max();
            newest.into_iter().for_each(|start| self.open.close(instrument, candles.window, start.ms()));
        }
        if self.is_loading {
            return;
        }
        match records {
            Records::Prices(Prices { newest, count }) => {
                self.append(instrument, "price", &PriceEvent { price: newest, count: *count });
            }
            Records::Candles(candles) if load == Load::Flood || candles.lines >= LONG => self.log.skip(instrument),
            Records::Candles(candles) => self.append(instrument, "candle", &CandleEvent::from(candles)),
            Records::Hours(hours) => {
                let hours = hours.iter().map(HourRow::from).collect();
                let (coin, quote) = (instrument.coin(), instrument.quote());
                self.append(instrument, "hour", &HourEvent { coin, quote, hours });
            }
            Records::Forecasts(rows) => rows.iter().for_each(|row| self.append(instrument, "forecast", row)),
            Records::Scores(rows) => rows.iter().for_each(|row| self.append(instrument, "score", row)),
            Records::Models(rows) => rows.iter().for_each(|row| self.append(instrument, "model", row)),
        }
    }

    /// Moves the position over a message that has no event.
    pub(crate) fn pass(&mut self, stream: Stream, seq: u64) {
        self.log.advance(stream, seq);
    }

    /// Sets the newest form of an open candle. Returns whether clients have to know: a candle of a window that has closed
    /// came too late.
    pub(crate) fn set_open(&mut self, instrument: &Instrument, candle: &Candle) -> bool {
        let is_closed = self
            .view()
            .of(instrument)
            .is_some_and(|rows| rows.candles(candle.window).next_back().is_some_and(|last| last.start >= candle.start));
        if is_closed {
            return false;
        }
        let row = CandleRow::from(candle);
        let text = event_without_id("open", &row);
        self.change += 1;
        self.open.put(instrument, row, text, self.change)
    }

    /// Sets the state of the pipeline. Returns whether more than its time has changed.
    pub(crate) fn set_pipeline(&mut self, row: PipelineRow) -> bool {
        self.pipeline.row.as_of_ms = row.as_of_ms;
        let is_new = self.pipeline.row != row;
        if is_new {
            self.change += 1;
            self.pipeline = Pipeline { text: event_without_id("pipeline", &row), row, change: self.change };
            self.shared_snapshot = None;
        }
        is_new
    }

    /// Begins the reading of a client: after the event with its last id if the log has what follows, else with a
    /// snapshot.
    pub(super) fn begin(&self, filter: Filter, last_id: Option<&str>, now: Instant) -> Reading {
        // Changes without id are sent anew.
        let place = last_id.and_then(|id| self.log.place_after(id));
        Reading { filter, cursor: place.map(|place| Cursor { place, change: 0 }), snapshot_at: now }
    }

    /// Returns the next text for a client: a snapshot, an event of the log, or a change without id. `None` if there is
    /// none yet.
    pub(super) fn next(&mut self, reading: &mut Reading, now: Instant) -> Option<Bytes> {
        if let Some(cursor) = &mut reading.cursor {
            match self.log.read(&mut cursor.place, &reading.filter) {
                Read::Event(text) => return Some(text),
                Read::End => return self.next_change(cursor, &reading.filter),
                Read::Lost => reading.cursor = None,
            }
        }
        if now < reading.snapshot_at {
            return None;
        }
        let (cursor, text) = self.snapshot(&reading.filter, now);
        (reading.cursor, reading.snapshot_at) = (Some(cursor), now + SNAPSHOT_EVERY);
        Some(text)
    }

    fn next_change(&self, cursor: &mut Cursor, filter: &Filter) -> Option<Bytes> {
        let open = self.open.after(cursor.change, filter);
        let pipeline =
            (self.pipeline.change > cursor.change).then(|| (self.pipeline.change, self.pipeline.text.clone()));
        let (change, text) = open.into_iter().chain(pipeline).min_by_key(|(change, _)| *change)?;
        cursor.change = change;
        Some(text)
    }

    fn snapshot(&mut self, filter: &Filter, now: Instant) -> (Cursor, Bytes) {
        if *filter != Filter::All {
            return self.new_snapshot(filter);
        }
        // If the log lacks an event since that snapshot, its reader would be lost again at once.
        let is_usable = |at: Instant, cursor: Cursor| now < at + SNAPSHOT_EVERY && self.log.has(cursor.place);
        match &self.shared_snapshot {
            Some((at, cursor, text)) if is_usable(*at, *cursor) => (*cursor, text.clone()),
            _ => {
                let (cursor, text) = self.new_snapshot(filter);
                self.shared_snapshot = Some((now, cursor, text.clone()));
                (cursor, text)
            }
        }
    }

    fn new_snapshot(&self, filter: &Filter) -> (Cursor, Bytes) {
        let (view, pipeline) = (self.view(), &self.pipeline.row);
        let snapshot = match filter {
            Filter::One(instrument) => Snapshot::of_one(&view, &self.open, pipeline, instrument),
            Filter::All => Snapshot::of_all(&view, &self.open, pipeline),
        };
        let text = event(Some(&self.log.id()), "snapshot", &snapshot);
        (Cursor { place: self.log.end(), change: self.change }, text)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&mut self, instrument: &Instrument, name: &str, data: &impl Serialize) {
        self.log.append(instrument, name, &json(data));
    }
}

/// A price, with the number of prices that it is the newest of.
#[derive(Serialize)]
struct PriceEvent<'a> {
    #[serde(flatten)]
    price: &'a PriceRow,
    #[serde(skip_serializing_if = "is_one")]
    count: u64,
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

#[derive(Serialize)]
struct CandleEvent {
    window: &'static str,
    candles: Vec<CandleRow>,
}

impl From<&Candles> for CandleEvent {
    fn from(candles: &Candles) -> Self {
        Self { window: candles.window.name(), candles: candles.rows.iter().map(CandleRow::from).collect() }
    }
}

#[derive(Serialize)]
struct HourEvent<'a> {
    coin: &'a str,
    quote: &'a str,
    hours: Vec<HourRow>,
}

fn event_without_id(name: &str, data: &impl Serialize) -> Bytes {
    event(None, name, data)
}

/// Returns an event as it is sent.
fn event(id: Option<&str>, name: &str, data: &impl Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {name}\ndata: {}\n\n", json(data)).into()
}

/// Returns the JSON of plain data, which has no line breaks.
fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("rows are plain data")
}

#[cfg(test)]
mod tests;
