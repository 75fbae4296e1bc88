//! Messages for FEED, each with an id that is the same for the same content: FEED drops the second of two.

use bus::RecordKind;
use bus::codec::{LINES_MAX, PAYLOAD_BYTES_MAX, Pack};
use bus::publish::FeedMessage;
use bytes::Bytes;
use market::{EventTime, Instrument, Span};

/// The longest line of a tick: two names of 64 bytes, five prices or figures of 24, and the keys.
const TICK_BYTES_MAX: usize = 512;

/// Whether one more tick surely fits into the same message.
pub(crate) fn has_room(ticks: &Pack) -> bool {
    ticks.len() < LINES_MAX && ticks.bytes() + TICK_BYTES_MAX <= PAYLOAD_BYTES_MAX
}

/// The place of a tick within its instrument: its time, and the number of a trade.
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
    /// Trades of one instant may be in several messages: their numbers tell these apart.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { event, number } = self;
        match number {
            Some(number) => write!(f, "{}.{number}", event.ms()),
            None => write!(f, "{}", event.ms()),
        }
    }
}

/// Where a message comes from and which instrument it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The source, such as `recording`.
    pub(crate) source: &'static str,
    /// The instrument.
    pub(crate) instrument: &'a Instrument,
}

impl Origin<'_> {
    /// Points, or bars of one grain, from `first` to `last`.
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

    /// Gaps from the beginning of the first to the end of the last.
    pub(crate) fn gaps(self, from: EventTime, to: EventTime, count: usize, payload: Bytes) -> FeedMessage {
        self.message(RecordKind::Gap, format!("{}-{}/{count}", from.ms(), to.ms()), payload)
    }

    /// A heartbeat.
    pub(crate) fn heartbeat(self, event: EventTime, payload: Bytes) -> FeedMessage {
        self.message(RecordKind::Heartbeat, event.ms().to_string(), payload)
    }

    /// The flush after these ticks, by the id of their message, or its sequence if it has none: ticks that come later need another one, even
    /// when they are older than the last.
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
