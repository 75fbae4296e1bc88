//! What may be asked of JetStream, and what it may answer.

use std::fmt;

use crate::jetstream::message::{Message, Stored, Subject};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Publishes a message, by itself or as the next one of a batch. [`Answer::Stored`], [`Answer::Staged`] inside a batch,
    /// [`Answer::Committed`] at its end, [`Answer::Refused`].
    Publish(Message),
    /// Publishes all messages of a batch one after the other; the answer is that to the last one. What got lost on the way is
    /// left out here.
    Commit(Vec<Message>),
    /// The last message on a filter, as the leader has it. [`Answer::Message`].
    Last {
        /// Of which stream.
        stream: String,
        /// Subject or filter.
        filter: Subject,
    },
    /// The first message on a filter at or after a sequence, as the leader has it. [`Answer::Message`].
    Next {
        /// Of which stream.
        stream: String,
        /// Subject or filter.
        filter: Subject,
        /// From here on.
        from: u64,
    },
    /// The last message on each subject of a filter, as one picture, from any server. [`Answer::Messages`], in order; refused
    /// with 413 beyond 1,024 of them.
    LastPerSubject {
        /// Of which stream.
        stream: String,
        /// Subject or filter.
        filter: Subject,
        /// Nothing beyond this sequence; 0 for no bound. With a bound that is beyond the copy's end nothing is found at all.
        up_to: u64,
    },
    /// What the leader says of the stream. [`Answer::Info`].
    Info {
        /// Which stream.
        stream: String,
    },
    /// Creates a consumer that reads on from a sequence, on any server. [`Answer::Consumer`].
    Consume {
        /// Of which stream.
        stream: String,
        /// Filters, which must not overlap.
        filters: Vec<Subject>,
        /// From here on.
        from: u64,
    },
    /// Takes the next messages of a consumer, from the server that has it. [`Answer::Deliveries`]; [`Refusal::NO_RESPONDERS`] when
    /// it is gone.
    Pull {
        /// Of which stream.
        stream: String,
        /// Which consumer.
        consumer: u64,
        /// At most so many.
        max: usize,
    },
    /// Removes the messages on a filter before a sequence. [`Answer::Purged`].
    Purge {
        /// Of which stream.
        stream: String,
        /// Subject or filter.
        filter: Subject,
        /// Messages before it go; 0 for all.
        before: u64,
    },
    /// Removes one message, without erasing it. [`Answer::Deleted`].
    Delete {
        /// Of which stream.
        stream: String,
        /// Which message.
        seq: u64,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The message is stored.
    Stored {
        /// Its sequence, or that of the first copy.
        seq: u64,
        /// It was there already.
        is_duplicate: bool,
    },
    /// The message waits for the rest of its batch.
    Staged,
    /// The batch is stored.
    Committed {
        /// Sequence of its last message.
        seq: u64,
        /// How many messages.
        count: u64,
    },
    /// A message, if there is one.
    Message(Option<Stored>),
    /// Messages, in order.
    Messages(Vec<Stored>),
    /// What a stream is.
    Info(Info),
    /// A consumer was created.
    Consumer {
        /// Its name.
        id: u64,
        /// Messages that wait for it.
        pending: u64,
    },
    /// The next messages of a consumer.
    Deliveries(Vec<Delivery>),
    /// So many messages went.
    Purged(u64),
    /// The message went.
    Deleted,
    /// Nothing was done.
    Refused(Refusal),
    /// Nobody answers. The request may be carried out all the same.
    Silence,
}

/// What a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// When it was created: the identity of the log.
    pub created: String,
    /// The server that leads it; `None` where there is only one.
    pub leader: Option<usize>,
    /// First sequence that exists; when empty, the next one.
    pub first_seq: u64,
    /// Last sequence given out.
    pub last_seq: u64,
    /// How many messages there are.
    pub messages: u64,
    /// How many bytes they take.
    pub bytes: u64,
}

/// A message as a consumer has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message.
    pub stored: Stored,
    /// Its number among what this consumer has delivered, from 1.
    pub consumer_seq: u64,
    /// Messages that still wait behind it.
    pub pending: u64,
}

/// Why nothing was done, in the server's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Its class, in the numbers of HTTP.
    pub code: u16,
    /// Its exact reason; 0 where the server gives a status alone.
    pub err_code: u32,
    /// The true last sequence on the subject, where the expectation was wrong and the server tells.
    pub last_seq: Option<u64>,
}

impl Refusal {
    /// Another sequence was last on the subject, and which one cannot be said: it is written right now.
    pub const WRONG_LAST_UNKNOWN: Self = Self::new(400, 10_164);
    /// A roll-up on a subject that the batch wrote before, or on a stream that takes none.
    pub const ROLLUP: Self = Self::new(500, 10_111);
    /// More messages in a batch than the server takes.
    pub const TOO_LARGE: Self = Self::new(400, 10_199);
    /// A message of the batch is missing, or the batch is not known any more.
    pub const INCOMPLETE: Self = Self::new(400, 10_176);
    /// More open batches than the server takes. Only a message that asks for an answer learns it.
    pub const TOO_MANY_OPEN: Self = Self::new(429, 10_210);
    /// The stream takes no batches.
    pub const NO_BATCHES: Self = Self::new(400, 10_174);
    /// The id of a batch is longer than 64 characters.
    pub const BATCH_ID: Self = Self::new(400, 10_179);
    /// A message id that was seen before, inside a batch.
    pub const DUPLICATE: Self = Self::new(400, 10_201);
    /// A message id that is being stored right now.
    pub const DUPLICATE_UNKNOWN: Self = Self::new(409, 10_158);
    /// The stream gives messages no age of their own.
    pub const NO_TTL: Self = Self::new(400, 10_166);
    /// The stream is full.
    pub const FULL: Self = Self::new(503, 10_077);
    /// The server is full.
    pub const NO_ROOM: Self = Self::new(503, 10_023);
    /// No leader.
    pub const NO_LEADER: Self = Self::new(503, 10_008);
    /// No such stream.
    pub const NO_STREAM: Self = Self::new(404, 10_059);
    /// The message that is to be deleted is gone, and there are some before it.
    pub const GONE: Self = Self::new(400, 10_043);
    /// The message that is to be deleted would be before the first one or behind the last.
    pub const OUTSIDE: Self = Self::new(500, 10_057);
    /// More subjects than one picture holds.
    pub const TOO_MANY: Self = Self::new(413, 0);
    /// Nobody listens there: a consumer that is gone, a subject that no stream takes.
    pub const NO_RESPONDERS: Self = Self::new(503, 0);

    /// A refusal without a number.
    pub const fn new(code: u16, err_code: u32) -> Self {
        Self { code, err_code, last_seq: None }
    }

    /// Another sequence was last on the subject: this one.
    pub const fn wrong_last(seq: u64) -> Self {
        Self { code: 400, err_code: 10_071, last_seq: Some(seq) }
    }
}

impl From<Result<Answer, Refusal>> for Answer {
    fn from(result: Result<Answer, Refusal>) -> Self {
        result.unwrap_or_else(Self::Refused)
    }
}

/// In one line, as cases write it: everything but times and identities.
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
            Self::Messages(all) => list(f, &all.iter().map(Stored::to_string).collect::<Vec<_>>()),
            Self::Info(info) => info.fmt(f),
            Self::Consumer { pending, .. } => write!(f, "{pending} pending"),
            Self::Deliveries(all) => list(f, &all.iter().map(Delivery::to_string).collect::<Vec<_>>()),
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

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.message.payload);
        write!(f, "{} {} {text:.20}", self.seq, self.message.subject)
    }
}

impl fmt::Display for Delivery {
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
