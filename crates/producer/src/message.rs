//! Messages for FEED. Equal content gets an equal id, so that FEED drops a repetition.

use bus::RecordKind;
use bus::codec::{LINES_MAX, PAYLOAD_BYTES_MAX, Pack};
use bus::publish::FeedMessage;
use bytes::Bytes;
use market::{EventTime, Instrument, Span};

/// Length of a tick's line in bytes, at most: two names of 64 bytes, five numbers of 24, and the keys.
const TICK_BYTES_MAX: usize = 512;

/// Whether one more tick is sure to fit into the same message.
pub(crate) fn has_room(ticks: &Pack) -> bool {
    ticks.len() < LINES_MAX && ticks.bytes() + TICK_BYTES_MAX <= PAYLOAD_BYTES_MAX
}

/// Position of a tick within its instrument: its event time, and the id of a trade.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickKey {
    pub(crate) event: EventTime,
    pub(crate) number: Option<u64>,
}

impl From<EventTime> for TickKey {
    fn from(event: EventTime) -> Self {
        Self { event, number: None }
    }
}

impl std::fmt::Display for TickKey {
    /// Includes the trade id, because trades of one instant may be in several messages.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { event, number } = self;
        match number {
            Some(number) => write!(f, "{}.{number}", event.ms()),
            None => write!(f, "{}", event.ms()),
        }
    }
}

/// Source and instrument of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The source, such as `recording`.
    pub(crate) source: &'static str,
    /// The instrument.
    pub(crate) instrument: &'a Instrument,
}

impl Origin<'_> {
    /// Returns a message of points, or of bars of one grain, from `first` to `last`.
    pub(crate) fn ticks(
        self,
        grain: Option<Span>,
        first: impl Into<TickKey>,
        last: impl Into<TickKey>,
        count: usize,
        payload: Bytes,
    ) -> FeedMessage {
        let grain = grain.map_or_else(|| "point".to_owned(), |grain| grain.ms().to_string());
        self.message(RecordKind::Tick, format!("{grain}/{}-{}/{count}", first.into(), last.into()), payload)
    }

    /// Returns a message of gaps, from the begin of the first to the end of the last.
    pub(crate) fn gaps(self, from: EventTime, to: EventTime, count: usize, payload: Bytes) -> FeedMessage {
        self.message(RecordKind::Gap, format!("{}-{}/{count}", from.ms(), to.ms()), payload)
    }

    /// Returns a heartbeat message.
    pub(crate) fn heartbeat(self, event: EventTime, payload: Bytes) -> FeedMessage {
        self.message(RecordKind::Heartbeat, event.ms().to_string(), payload)
    }

    /// Returns the flush after the ticks of the message `after`: its id, or its sequence if it has none. Ticks that
    /// come later need another flush, even if they are older than the last tick.
    pub(crate) fn flush(self, event: EventTime, after: &str, payload: Bytes) -> FeedMessage {
        self.message(RecordKind::Heartbeat, format!("flush/{}/{after}", event.ms()), payload)
    }

    fn message(self, kind: RecordKind, what: String, payload: Bytes) -> FeedMessage {
        let Self { source, instrument } = self;
        FeedMessage {
            kind,
            instrument: instrument.clone(),
            payload,
            id: format!("{source}/{kind}/{instrument}/{what}"),
        }
    }
}
