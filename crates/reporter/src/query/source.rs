//! Messages of one subject, from NATS.

use bus::query::{self, Run, StoredMessage};
use bus::subject::{self, SubjectParts};
use bus::{Connection, Error, RecordKind, Stream, protocol};
use market::windowing::EventTimePolicy;
use market::{Instrument, Span, Window};

use super::paging::Source;

/// JetStream error code: the stream does not exist.
const STREAM_NOT_FOUND: u32 = 10059;

/// The stored messages of one kind and instrument.
#[derive(Debug, Clone)]
pub(super) struct StoredSeries<'a> {
    connection: &'a Connection,
    stream: Stream,
    /// The exact subject, which the server finds faster than one with a wildcard.
    subject: String,
    last_seq: u64,
}

impl<'a> StoredSeries<'a> {
    /// Looks up the newest message; `None` if there is none, or no such stream.
    ///
    /// # Errors
    /// No answer, or a missing permission.
    pub(super) async fn open(
        connection: &'a Connection,
        (stream, kind): (Stream, RecordKind),
        instrument: &Instrument,
    ) -> Result<Option<Self>, Error> {
        let last = match query::last(connection, stream, &subject::of_kind(stream, kind, Some(instrument))).await {
            Err(Error::Api { err_code: STREAM_NOT_FOUND, .. }) => None,
            last => last?,
        };
        Ok(last.map(|last| Self { connection, stream, subject: last.subject, last_seq: last.seq }))
    }

    /// Returns how far behind later rows a row may be stored, if its windows have this length. A late tick reissues a window
    /// until the allowed lateness after the end of its minute, and a flush issues windows before their end.
    ///
    /// # Errors
    /// No answer, or a position that this build cannot read.
    pub(super) async fn slack(&self, size: Span) -> Result<Span, Error> {
        let partition = SubjectParts::parse(&self.subject).map_or(0, |parts| parts.partition);
        let settings = protocol::settings_of(self.connection, self.stream, partition).await?;
        let EventTimePolicy { disorder, lateness } = settings.map_or_else(EventTimePolicy::default, |settings| {
            EventTimePolicy { disorder: Span(settings.disorder_ms), lateness: Span(settings.lateness_ms) }
        });
        Ok(Span(size.ms() + Window::Minute.size().ms() + disorder.ms() + lateness.ms()))
    }

    fn lagging(&self) -> Error {
        Error::Unanswered { what: format!("messages on {} up to {}", self.subject, self.last_seq) }
    }
}

impl Source for StoredSeries<'_> {
    fn last_seq(&self) -> u64 {
        self.last_seq
    }

    async fn first_from(&self, seq: u64) -> Result<Option<StoredMessage>, Error> {
        query::one_from(self.connection, self.stream, &self.subject, seq).await
    }

    async fn last_before(&self, seq: u64) -> Result<Option<StoredMessage>, Error> {
        query::last_before(self.connection, self.stream, &self.subject, seq).await
    }

    async fn run_from(&self, seq: u64, count: usize) -> Result<Run, Error> {
        let run = query::run_from(self.connection, self.stream, &self.subject, seq, count).await?;
        // On a cluster a replica answers that may lag behind the leader.
        let reached = run.messages.last().map_or(0, |last| last.seq);
        if run.is_end && reached < self.last_seq && seq <= self.last_seq {
            return Err(self.lagging());
        }
        Ok(run)
    }
}
