//! The event log: the last events in order of arrival, each encoded once. It is bounded and has no clock and no task.
//!
//! A reader has a place in the log and nothing else. One whose place has left the log, or which comes to a skipped event,
//! has lost events and needs a snapshot.

use std::collections::VecDeque;

use bus::Stream;
use bytes::Bytes;
use market::Instrument;

/// Events that are kept, at most: an hour of 30 instruments with a price every two seconds.
const EVENTS_MAX: usize = 1 << 16;
/// Bytes of the events that are kept, at most.
const BYTES_MAX: usize = 8 << 20;
/// Bytes that an event takes beside its text, roughly.
const OVERHEAD: usize = 96;

/// Instruments of which a reader wants events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Filter {
    /// All.
    All,
    /// One.
    One(Instrument),
}

impl Filter {
    /// Whether events of this instrument are wanted.
    pub(super) fn admits(&self, instrument: &Instrument) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == instrument,
        }
    }
}

/// The sequences up to which streams are contained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    market: u64,
    stats: u64,
    forecast: u64,
}

impl Position {
    /// Moves forward to a sequence of a stream.
    pub(super) fn advance(&mut self, stream: Stream, seq: u64) {
        let part = match stream {
            Stream::Market => &mut self.market,
            Stream::Stats => &mut self.stats,
            Stream::Forecast => &mut self.forecast,
            // The page reads no raw input.
            Stream::Feed => return,
        };
        *part = seq.max(*part);
    }
}

/// Limits of a log.
#[derive(Debug, Clone, Copy)]
struct Limits {
    events: usize,
    bytes: usize,
}

/// The log.
#[derive(Debug)]
pub(super) struct EventLog {
    limits: Limits,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Number of the next event.
    next: u64,
    position: Position,
}

#[derive(Debug)]
struct Entry {
    instrument: Instrument,
    /// The event as it is sent; `None` if it was skipped.
    text: Option<Bytes>,
}

impl Entry {
    fn bytes(&self) -> usize {
        OVERHEAD + self.text.as_ref().map_or(0, Bytes::len)
    }
}

/// A place in a log: the number of the next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

/// The result of reading a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    /// The next event.
    Event(Bytes),
    /// No further event yet.
    End,
    /// Events were lost.
    Lost,
}

impl EventLog {
    /// Returns an empty log. Its first event has this number. Logs whose numbers have no event in common do not mistake
    /// each other's ids.
    pub(super) fn new(first: u64) -> Self {
        Self::with_limits(first, Limits { events: EVENTS_MAX, bytes: BYTES_MAX })
    }

    fn with_limits(first: u64, limits: Limits) -> Self {
        Self { limits, entries: VecDeque::new(), bytes: 0, next: first, position: Position::default() }
    }

    /// Returns the place after the last event.
    pub(super) fn end(&self) -> Place {
        Place(self.next)
    }

    /// Returns the id of everything so far: `812-344-20-1790000000000042`, the sequences in MARKET, STATS and FORECAST and
    /// the number of the last event. A client sends it when it comes back.
    pub(super) fn id(&self) -> String {
        let Position { market, stats, forecast } = self.position;
        format!("{market}-{stats}-{forecast}-{}", self.next - 1)
    }

    /// Returns the place after the event with this id; `None` if the log does not have the following event any more, or
    /// never had this one.
    pub(super) fn place_after(&self, id: &str) -> Option<Place> {
        let number: u64 = id.rsplit('-').next()?.parse().ok()?;
        let next = number.checked_add(1)?;
        (self.first()..=self.next).contains(&next).then_some(Place(next))
    }

    /// Moves the position without an event.
    pub(super) fn advance(&mut self, stream: Stream, seq: u64) {
        self.position.advance(stream, seq);
    }

    /// Adds an event: a name and JSON without line breaks.
    pub(super) fn append(&mut self, instrument: &Instrument, name: &str, data: &str) {
        self.next += 1;
        let text = format!("id: {}\nevent: {name}\ndata: {data}\n\n", self.id());
        self.push(Entry { instrument: instrument.clone(), text: Some(text.into()) });
    }

    /// Adds an event without a text: its readers need a snapshot instead.
    pub(super) fn skip(&mut self, instrument: &Instrument) {
        self.next += 1;
        self.push(Entry { instrument: instrument.clone(), text: None });
    }

    /// Forgets all events: every reader needs a snapshot.
    pub(super) fn cut(&mut self) {
        self.entries.clear();
        self.bytes = 0;
        // So that the last place is before the first event.
        self.next += 1;
    }

    /// Forgets all events and the position, since the streams are read from another log.
    pub(super) fn restart(&mut self) {
        self.cut();
        self.position = Position::default();
    }

    /// Whether the log has all events from this place on.
    pub(super) fn has(&self, place: Place) -> bool {
        place.0 >= self.first()
    }

    /// Returns the next event of a reader, and moves its place behind it.
    pub(super) fn read(&self, place: &mut Place, filter: &Filter) -> Read {
        let first = self.first();
        if !self.has(*place) {
            return Read::Lost;
        }
        let passed = usize::try_from(place.0 - first).unwrap_or(usize::MAX).min(self.entries.len());
        for entry in self.entries.range(passed..) {
            place.0 += 1;
            if filter.admits(&entry.instrument) {
                return entry.text.clone().map_or(Read::Lost, Read::Event);
            }
        }
        Read::End
    }

    fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.entries.len() > self.limits.events || self.bytes > self.limits.bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instrument(number: usize) -> Instrument {
        Instrument::new(["bitcoin", "ethereum", "solana"][number % 3], "usd").expect("an instrument")
    }

    fn text_of(read: Read) -> Option<String> {
        match read {
            Read::Event(text) => Some(String::from_utf8(text.to_vec()).expect("text")),
            Read::End | Read::Lost => None,
        }
    }

    #[test]
    fn an_event_has_the_sequences_up_to_it_and_a_number() {
        let mut log = EventLog::new(100);
        let mut place = log.end();
        assert_eq!(log.id(), "0-0-0-99");
        log.advance(Stream::Market, 7);
        log.append(&instrument(0), "price", "{}");
        log.advance(Stream::Forecast, 3);
        log.append(&instrument(0), "score", "[]");
        assert_eq!(
            text_of(log.read(&mut place, &Filter::All)).as_deref(),
            Some("id: 7-0-0-100\nevent: price\ndata: {}\n\n")
        );
        assert_eq!(
            text_of(log.read(&mut place, &Filter::All)).as_deref(),
            Some("id: 7-0-3-101\nevent: score\ndata: []\n\n")
        );
        assert_eq!(log.read(&mut place, &Filter::All), Read::End);
    }

    #[test]
    fn an_id_that_the_log_never_gave_has_no_place() {
        let mut log = EventLog::new(100);
        log.append(&instrument(0), "price", "{}");
        for none in ["", "x", "7-0-0", "0-0-0-98", "0-0-0-101", "0-0-0-18446744073709551615"] {
            assert_eq!(log.place_after(none), None, "{none}");
        }
        assert_eq!(log.place_after("0-0-0-100"), Some(log.end()));
        log.restart();
        assert_eq!(log.place_after("0-0-0-100"), None);
        assert_eq!(log.place_after(&log.id()), Some(log.end()));
    }

    #[test]
    fn the_log_is_bounded_by_bytes_too() {
        let mut log = EventLog::with_limits(1, Limits { events: 1_000, bytes: 10 * (OVERHEAD + 200) });
        (0..100).for_each(|_| log.append(&instrument(0), "candle", &"x".repeat(150)));
        assert!((9..=11).contains(&log.entries.len()), "{}", log.entries.len());
        log.append(&instrument(0), "candle", &"x".repeat(1 << 20));
        assert!(log.entries.is_empty() && log.bytes == 0);
    }

    /// A step of the world around a log.
    #[derive(Debug, Clone)]
    enum Step {
        Append {
            stream: Stream,
            of: usize,
        },
        Skip {
            of: usize,
        },
        Restart,
        /// A client reads this many events at most.
        Read {
            client: usize,
            count: usize,
        },
        /// A client loses its connection and comes back with its last id.
        Return {
            client: usize,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let stream = prop_oneof![Just(Stream::Market), Just(Stream::Stats), Just(Stream::Forecast)];
        prop_oneof![
            8 => (stream, 0..3_usize).prop_map(|(stream, of)| Step::Append { stream, of }),
            1 => (0..3_usize).prop_map(|of| Step::Skip { of }),
            1 => Just(Step::Restart),
            6 => (0..4_usize, 0..6_usize).prop_map(|(client, count)| Step::Read { client, count }),
            3 => (0..4_usize).prop_map(|client| Step::Return { client }),
        ]
    }

    /// A client, with the number of events that it has or that its snapshot contains.
    struct Client {
        filter: Filter,
        place: Place,
        covered: usize,
        /// The same up to its last id.
        last: (String, usize),
    }

    impl Client {
        fn new(filter: Filter, log: &EventLog) -> Self {
            Self { filter, place: log.end(), covered: 0, last: (log.id(), 0) }
        }

        fn take_snapshot(&mut self, log: &EventLog, world: &World) {
            (self.place, self.covered) = (log.end(), world.events.len());
            self.last = (log.id(), self.covered);
        }

        /// Reads one event. Returns whether there was one.
        fn read(&mut self, log: &EventLog, world: &World) -> Result<bool, TestCaseError> {
            let expected = (self.covered..world.events.len()).find(|&idx| self.filter.admits(&world.events[idx].0));
            let has_fallen_out = self.place.0 < log.first();
            match log.read(&mut self.place, &self.filter) {
                Read::Event(text) => {
                    let text = String::from_utf8(text.to_vec()).expect("text");
                    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
                    let number: usize = field("data: ").parse().expect("a number");
                    prop_assert_eq!(Some(number), expected, "exactly once, in order");
                    self.covered = number + 1;
                    self.last = (field("id: ").to_owned(), self.covered);
                    Ok(true)
                }
                Read::End => {
                    prop_assert_eq!(expected, None, "no event is held back");
                    Ok(false)
                }
                Read::Lost => {
                    let is_skipped = expected.is_some_and(|idx| world.events[idx].1);
                    prop_assert!(has_fallen_out || is_skipped, "an event is lost that the log still has");
                    self.take_snapshot(log, world);
                    Ok(true)
                }
            }
        }
    }

    /// All events since the beginning: the instrument, and whether it was skipped.
    #[derive(Default)]
    struct World {
        events: Vec<(Instrument, bool)>,
        sequences: [u64; 3],
    }

    impl World {
        fn append(&mut self, log: &mut EventLog, stream: Stream, of: usize) {
            let idx = [Stream::Market, Stream::Stats, Stream::Forecast].iter().position(|one| *one == stream);
            let seq = &mut self.sequences[idx.expect("a stream that is read")];
            *seq += 1;
            log.advance(stream, *seq);
            log.append(&instrument(of), "price", &self.events.len().to_string());
            self.events.push((instrument(of), false));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn each_client_has_each_event_once_or_a_snapshot(steps in prop::collection::vec(step(), 0..400)) {
            let mut log = EventLog::with_limits(1, Limits { events: 12, bytes: 10 * (OVERHEAD + 60) });
            let mut world = World::default();
            let filters = [Filter::All, Filter::One(instrument(0)), Filter::One(instrument(1)), Filter::All];
            let mut clients = filters.map(|filter| Client::new(filter, &log));
            for step in steps {
                match step {
                    Step::Append { stream, of } => world.append(&mut log, stream, of),
                    Step::Skip { of } => {
                        log.skip(&instrument(of));
                        world.events.push((instrument(of), true));
                    }
                    Step::Restart => {
                        log.restart();
                        // It takes the number of an event without a text.
                        world.events.push((instrument(0), true));
                    }
                    Step::Read { client, count } => {
                        for _ in 0..count {
                            if !clients[client].read(&log, &world)? {
                                break;
                            }
                        }
                    }
                    Step::Return { client } => {
                        let client = &mut clients[client];
                        match log.place_after(&client.last.0) {
                            Some(place) => (client.place, client.covered) = (place, client.last.1),
                            None => client.take_snapshot(&log, &world),
                        }
                    }
                }
                prop_assert!(log.entries.len() <= log.limits.events && log.bytes <= log.limits.bytes);
                prop_assert_eq!(log.bytes, log.entries.iter().map(Entry::bytes).sum::<usize>());
            }
            for client in &mut clients {
                while client.read(&log, &world)? {}
            }
        }
    }
}
