//! Requests to JetStream, and their answers.

use std::fmt;

use crate::jetstream::message::{LogEntry, Message, Subject};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Publishes a message, by itself or as the next one of a batch. [`Answer::Stored`]; in a batch [`Answer::Staged`],
    /// and [`Answer::Committed`] at its end; [`Answer::Refused`].
    Publish(Message),
    /// Publishes all messages of a batch in order; the answer is that to the last one. Messages that were lost on the
    /// way are omitted.
    Commit(Vec<Message>),
    /// The last message on a filter, from the leader. [`Answer::Message`].
    Last {
        /// The stream.
        stream: String,
        /// Subject or filter.
        filter: Subject,
    },
    /// The first message on a filter at or after a sequence, from the leader. [`Answer::Message`].
    Next {
        /// The stream.
        stream: String,
        /// Subject or filter.
        filter: Subject,
        /// First sequence.
        from: u64,
    },
    /// The last message on each subject of a filter, as one consistent read, from any server. [`Answer::Messages`], in
    /// order; refused with 413 beyond 1,024 of them.
    LastPerSubject {
        /// The stream.
        stream: String,
        /// Subject or filter.
        filter: Subject,
        /// Last sequence; 0 for no bound. A bound beyond the end of the replica finds nothing.
        up_to: u64,
    },
    /// The description of the stream, from the leader. [`Answer::Info`].
    Info {
        /// The stream.
        stream: String,
    },
    /// Creates a consumer that reads from a sequence, on any server. [`Answer::Consumer`].
    Consume {
        /// The stream.
        stream: String,
        /// Filters, which must not overlap.
        filters: Vec<Subject>,
        /// First sequence.
        from: u64,
    },
    /// Returns the next messages of a consumer, from its server. [`Answer::Deliveries`]; [`Refusal::NO_RESPONDERS`]
    /// when the consumer does not exist.
    Pull {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: u64,
        /// Maximum number of messages.
        max: usize,
    },
    /// Deletes the messages on a filter before a sequence. [`Answer::Purged`].
    Purge {
        /// The stream.
        stream: String,
        /// Subject or filter.
        filter: Subject,
        /// Messages before it are deleted; 0 for all.
        before: u64,
    },
    /// Deletes one message, without erasing it. [`Answer::Deleted`].
    Delete {
        /// The stream.
        stream: String,
        /// Its sequence.
        seq: u64,
    },
}

/// The addressee of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestTarget<'a> {
    /// To a stream by its name.
    Stream(&'a str),
    /// To the stream that stores a subject.
    Subject(&'a str),
}

impl Request {
    /// The stream that the request is for; `None` for an empty batch.
    pub fn target(&self) -> Option<RequestTarget<'_>> {
        match self {
            Self::Publish(message) => Some(RequestTarget::Subject(&message.subject)),
            Self::Commit(messages) => messages.last().map(|message| RequestTarget::Subject(&message.subject)),
            Self::Last { stream, .. }
            | Self::Next { stream, .. }
            | Self::LastPerSubject { stream, .. }
            | Self::Info { stream }
            | Self::Consume { stream, .. }
            | Self::Pull { stream, .. }
            | Self::Purge { stream, .. }
            | Self::Delete { stream, .. } => Some(RequestTarget::Stream(stream)),
        }
    }
}

/// Identifies an answer that is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The answer.
    Now(Answer),
    /// Not yet: a majority must have the change first ([`crate::JetStream::decide`]). If the leader changes before, no answer
    /// comes.
    Later(Ticket),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The message is stored.
    Stored {
        /// Its sequence, or that of the first copy.
        seq: u64,
        /// Whether it was stored before.
        is_duplicate: bool,
    },
    /// The message waits for the rest of its batch.
    Staged,
    /// The batch is stored.
    Committed {
        /// Sequence of its last message.
        seq: u64,
        /// Number of messages.
        count: u64,
    },
    /// A message, if there is one.
    Message(Option<LogEntry>),
    /// Messages, in order.
    Messages(Vec<LogEntry>),
    /// The description of a stream.
    Info(Info),
    /// A consumer was created.
    Consumer {
        /// Its id.
        id: u64,
        /// Number of pending messages.
        pending: u64,
    },
    /// The next messages of a consumer.
    Deliveries(Vec<ConsumerDelivery>),
    /// Number of deleted messages.
    Purged(u64),
    /// The message was deleted.
    Deleted,
    /// Nothing was done.
    Refused(Refusal),
    /// No answer. The request may be executed all the same.
    Silence,
}

/// The description of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Creation time, the base of the log's identity.
    pub created: String,
    /// The server that leads it; `None` on a single server.
    pub leader: Option<usize>,
    /// First existing sequence; the next sequence when the stream is empty.
    pub first_seq: u64,
    /// Last assigned sequence.
    pub last_seq: u64,
    /// Number of messages.
    pub messages: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// A message as a consumer delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerDelivery {
    /// The message.
    pub stored: LogEntry,
    /// Its number among the deliveries of this consumer, from 1.
    pub consumer_seq: u64,
    /// Messages that are pending after it.
    pub pending: u64,
}

/// The reason for a refusal, in the server's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP-like status class.
    pub code: u16,
    /// JetStream error code; 0 where the server gives only a status.
    pub err_code: u32,
    /// The actual last sequence of the subject, where the expected one was wrong and the server reports it.
    pub last_seq: Option<u64>,
}

impl Refusal {
    /// The expected last sequence is wrong, and the actual one is unknown because a write is in flight.
    pub const WRONG_LAST_UNKNOWN: Self = Self::new(400, 10_164);
    /// A roll-up of a subject that the batch wrote before, or on a stream without roll-ups.
    pub const ROLLUP: Self = Self::new(500, 10_111);
    /// More messages in a batch than the server accepts.
    pub const TOO_LARGE: Self = Self::new(400, 10_199);
    /// A message of the batch is missing, or the batch is unknown.
    pub const INCOMPLETE: Self = Self::new(400, 10_176);
    /// More open batches than the server accepts. Only a message with a reply subject gets this answer.
    pub const TOO_MANY_OPEN: Self = Self::new(429, 10_210);
    /// The stream does not accept batches.
    pub const NO_BATCHES: Self = Self::new(400, 10_174);
    /// A batch id longer than 64 characters.
    pub const BATCH_ID: Self = Self::new(400, 10_179);
    /// A message id that was seen before, in a batch.
    pub const DUPLICATE: Self = Self::new(400, 10_201);
    /// A message id that is being stored.
    pub const DUPLICATE_UNKNOWN: Self = Self::new(409, 10_158);
    /// The stream does not allow a TTL.
    pub const NO_TTL: Self = Self::new(400, 10_166);
    /// The stream is full.
    pub const FULL: Self = Self::new(503, 10_077);
    /// The server is full.
    pub const NO_ROOM: Self = Self::new(503, 10_023);
    /// The stream has no leader.
    pub const NO_LEADER: Self = Self::new(503, 10_008);
    /// The stream does not exist.
    pub const NO_STREAM: Self = Self::new(404, 10_059);
    /// The message to be deleted does not exist, although earlier ones do.
    pub const GONE: Self = Self::new(400, 10_043);
    /// The message to be deleted is before the first or after the last one.
    pub const OUTSIDE: Self = Self::new(500, 10_057);
    /// More subjects than a consistent read returns.
    pub const TOO_MANY: Self = Self::new(413, 0);
    /// No responder: a deleted consumer, or a subject without a stream.
    pub const NO_RESPONDERS: Self = Self::new(503, 0);

    /// A refusal without a sequence.
    pub const fn new(code: u16, err_code: u32) -> Self {
        Self { code, err_code, last_seq: None }
    }

    /// The expected last sequence is wrong; this is the actual one.
    pub const fn wrong_last(seq: u64) -> Self {
        Self { code: 400, err_code: 10_071, last_seq: Some(seq) }
    }
}

impl From<Result<Answer, Refusal>> for Answer {
    fn from(result: Result<Answer, Refusal>) -> Self {
        result.unwrap_or_else(Self::Refused)
    }
}

/// One line, as in the cases: everything except times and identities.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, lines: &[String]| match lines {
            [] => f.write_str("nothing"),
            lines => f.write_str(&lines.join(", ")),
        };
        match self {
            Self::Stored { seq, is_duplicate: false } => write!(f, "stored {seq}"),
            Self::Stored { seq, is_duplicate: true } => write!(f, "stored {seq} before"),
            Self::Staged => f.write_str("staged"),
            Self::Committed { seq, count } => write!(f, "committed {count} to {seq}"),
            Self::Message(None) => f.write_str("nothing"),
            Self::Message(Some(stored)) => stored.fmt(f),
            Self::Messages(all) => list(f, &all.iter().map(LogEntry::to_string).collect::<Vec<_>>()),
            Self::Info(info) => info.fmt(f),
            Self::Consumer { pending, .. } => write!(f, "{pending} pending"),
            Self::Deliveries(all) => list(f, &all.iter().map(ConsumerDelivery::to_string).collect::<Vec<_>>()),
            Self::Purged(count) => write!(f, "purged {count}"),
            Self::Deleted => f.write_str("deleted"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Silence => f.write_str("silence"),
        }
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first_seq, last_seq, messages, bytes, .. } = self;
        write!(f, "{messages} messages from {first_seq} to {last_seq}, {bytes} bytes")
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.message.payload);
        write!(f, "{} {} {text:.20}", self.seq, self.message.subject)
    }
}

impl fmt::Display for ConsumerDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (number {}, {} pending)", self.stored, self.consumer_seq, self.pending)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused {}/{}", self.code, self.err_code)?;
        self.last_seq.map_or(Ok(()), |seq| write!(f, ", last is {seq}"))
    }
}
