//! Messages, as published and as stored.

use std::sync::Arc;

use bytes::Bytes;

/// A subject, or a filter with `*` for a token and `>` for all further tokens.
pub type Subject = Arc<str>;

/// A message as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its subject.
    pub subject: Subject,
    /// Its payload.
    pub payload: Bytes,
    /// Its headers.
    pub headers: Headers,
}

/// The headers that the model interprets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `Candlewire-Schema`: record and version.
    pub schema: Option<Arc<str>>,
    /// `Nats-Msg-Id`: a second message with the same id is not stored.
    pub message_id: Option<Arc<str>>,
    /// `Nats-Rollup: sub`: replaces all earlier messages of the subject.
    pub rollup: bool,
    /// `Nats-Expected-Last-Subject-Sequence`: the required last sequence of the subject; 0 for none.
    pub expected: Option<u64>,
    /// `Nats-Batch-*`: its place in an atomic batch.
    pub batch: Option<BatchPlace>,
    /// `KV-Operation: DEL`: marks the key as deleted.
    pub is_deletion: bool,
    /// `Nats-TTL`, in whole seconds.
    pub ttl_s: Option<u64>,
}

/// The place of a message in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlace {
    /// The id of the batch.
    pub id: Arc<str>,
    /// Its number in the batch, from 1.
    pub number: u64,
    /// Whether it commits the batch.
    pub commits: bool,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its sequence in the stream.
    pub seq: u64,
    /// Time of storing.
    pub stored_us: u64,
    /// The message.
    pub message: Arc<Message>,
}

impl Message {
    /// A message without headers.
    pub fn new(subject: &str, payload: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), payload: payload.into(), headers: Headers::default() }
    }

    /// Sets the schema.
    #[must_use]
    pub fn schema(mut self, schema: &str) -> Self {
        self.headers.schema = Some(schema.into());
        self
    }

    /// Sets the message id.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.headers.message_id = Some(id.into());
        self
    }

    /// Makes it a roll-up, which replaces all earlier messages of its subject.
    #[must_use]
    pub fn rollup(mut self) -> Self {
        self.headers.rollup = true;
        self
    }

    /// Sets the expected last sequence of its subject.
    #[must_use]
    pub fn expecting(mut self, seq: u64) -> Self {
        self.headers.expected = Some(seq);
        self
    }

    /// Removes roll-up and expected sequence.
    #[must_use]
    pub fn plain(self) -> Self {
        let mut plain = self.without_rollup();
        plain.headers.expected = None;
        plain
    }

    /// Removes the roll-up.
    #[must_use]
    pub fn without_rollup(mut self) -> Self {
        self.headers.rollup = false;
        self
    }

    /// Sets a TTL in seconds.
    #[must_use]
    pub fn ending(mut self, seconds: u64) -> Self {
        self.headers.ttl_s = Some(seconds);
        self
    }

    /// Makes it the deletion marker of a key.
    #[must_use]
    pub fn deletion(mut self) -> Self {
        self.headers.is_deletion = true;
        self
    }

    /// Puts it into a batch.
    #[must_use]
    pub fn numbered(mut self, id: &str, number: u64, commits: bool) -> Self {
        self.headers.batch = Some(BatchPlace { id: id.into(), number, commits });
        self
    }

    /// Its bytes in the stream's file, which count for size limits.
    pub fn size(&self) -> u64 {
        /// Length, sequence, time and length of the subject.
        const RECORD: usize = 22;
        const CHECKSUM: usize = 8;
        const HEADERS_LENGTH: usize = 4;
        let headers = match self.headers.lines_bytes() {
            0 => 0,
            lines => HEADERS_LENGTH + "NATS/1.0\r\n".len() + lines + "\r\n".len(),
        };
        (RECORD + self.subject.len() + headers + self.payload.len() + CHECKSUM) as u64
    }
}

impl Headers {
    /// Name and value of each header, as sent.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let batch = self.batch.as_ref();
        add(SCHEMA, text(&self.schema));
        add(MESSAGE_ID, text(&self.message_id));
        add(ROLLUP, self.rollup.then(|| "sub".to_owned()));
        add(EXPECTED, self.expected.map(|seq| seq.to_string()));
        add(BATCH_ID, batch.map(|place| place.id.as_ref().to_owned()));
        add(BATCH_SEQUENCE, batch.map(|place| place.number.to_string()));
        add(BATCH_COMMIT, batch.filter(|place| place.commits).map(|_| "1".to_owned()));
        add(OPERATION, self.is_deletion.then(|| "DEL".to_owned()));
        add(TTL, self.ttl_s.map(|seconds| format!("{seconds}s")));
        lines
    }

    /// The bytes of these lines, without building them.
    fn lines_bytes(&self) -> usize {
        let line = |name: &str, value: Option<usize>| value.map_or(0, |value| name.len() + ": \r\n".len() + value);
        let text = |text: &Option<Arc<str>>| text.as_ref().map(|text| text.len());
        let batch = self.batch.as_ref();
        line(SCHEMA, text(&self.schema))
            + line(MESSAGE_ID, text(&self.message_id))
            + line(ROLLUP, self.rollup.then_some("sub".len()))
            + line(EXPECTED, self.expected.map(digits))
            + line(BATCH_ID, batch.map(|place| place.id.len()))
            + line(BATCH_SEQUENCE, batch.map(|place| digits(place.number)))
            + line(BATCH_COMMIT, batch.filter(|place| place.commits).map(|_| 1))
            + line(OPERATION, self.is_deletion.then_some("DEL".len()))
            + line(TTL, self.ttl_s.map(|seconds| digits(seconds) + 1))
    }
}

const SCHEMA: &str = "Candlewire-Schema";
const MESSAGE_ID: &str = "Nats-Msg-Id";
const ROLLUP: &str = "Nats-Rollup";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";
const OPERATION: &str = "KV-Operation";
const TTL: &str = "Nats-TTL";

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or_default() as usize + 1
}

/// Whether a subject matches a filter.
pub fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.as_bytes(), subject.as_bytes());
    // Bytewise instead of token by token, because it is the most frequent operation.
    loop {
        match (filter, subject) {
            ([b'>'], [_, ..]) | ([], []) => return true,
            ([b'*', rest @ ..], [first, ..]) if *first != b'.' => {
                let end = subject.iter().position(|&byte| byte == b'.').unwrap_or(subject.len());
                (filter, subject) = (rest, &subject[end..]);
            }
            ([wanted, rest @ ..], [found, others @ ..]) if wanted == found => (filter, subject) = (rest, others),
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_token_by_token() {
        let cases = [
            ("market.3.price.bitcoin.usd", true),
            ("market.*.price.*.usd", true),
            ("market.3.>", true),
            (">", true),
            ("market.3", false),
            ("market.3.price.bitcoin.usd.>", false),
            ("market.3.price.bitcoin.usd.*", false),
            ("market.33.>", false),
            ("*.*.*.*", false),
        ];
        for (filter, expected) in cases {
            assert_eq!(matches(filter, "market.3.price.bitcoin.usd"), expected, "{filter}");
        }
    }

    #[test]
    fn the_length_of_headers_is_the_length_on_the_wire() {
        let message = Message::new("a.b", "xyz");
        assert_eq!(message.size(), 22 + 3 + 3 + 8);
        let message = message.schema("price/1").id("tick 1").rollup().expecting(1_230).deletion().ending(60);
        let message = message.numbered("id", 10, true);
        let lines: usize = message.headers.lines().iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        assert_eq!(message.headers.lines_bytes(), lines);
        assert_eq!(message.headers.lines().len(), 9);
    }
}
