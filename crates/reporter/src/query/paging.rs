//! Pages of stored rows, newest first. It asks a source for messages and has no other I/O.
//!
//! A stream holds rows of one subject in messages of one to hundreds of lines, between messages of other subjects. Time
//! rises with the sequence, except that a revision, a late row or an early close puts a row behind later ones: by the
//! *slack* at most. So the end of a page is found by bisecting sequences, and from there the messages are read backward,
//! until no unread message can hold a row of the page. The newest stored revision of a row is read first, and counts.

use std::collections::BTreeMap;

use bus::Error;
use bus::codec::{self, Decoder};
use bus::query::{Run, StoredMessage};

use super::cursor::Key;

/// Messages of one request, at most.
const RUN_MAX: usize = 256;
/// Messages of the first request: enough for a page of packed rows.
const RUN_FIRST: usize = 8;
/// Growth of the number of messages from one request to the next.
const RUN_GROWTH: usize = 4;
/// Bytes of lines that are read for one page, at most, once it has a row. Such a page is shorter than its limit.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// The messages of one subject of a stream.
pub(super) trait Source: Sync {
    /// Returns the last sequence that may be read. Later messages are not looked at, so that a page is of one moment.
    fn last_seq(&self) -> u64;
    /// Reads the first message at or after a sequence.
    fn first_from(&self, seq: u64) -> impl Future<Output = Result<Option<StoredMessage>, Error>> + Send;
    /// Reads the last message before a sequence.
    fn last_before(&self, seq: u64) -> impl Future<Output = Result<Option<StoredMessage>, Error>> + Send;
    /// Reads at most `count` messages at or after a sequence, as stored, at least one if there is one.
    fn run_from(&self, seq: u64, count: usize) -> impl Future<Output = Result<Run, Error>> + Send;
}

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By time. A row is stored after rows of at most `slack_ms` later.
    Time { slack_ms: i64 },
    /// As stored: the time of a key is the sequence of its message.
    Stored,
}

/// The place of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Sequence of its message.
    pub(super) seq: u64,
    /// Index within the message.
    pub(super) line: u32,
}

impl Place {
    /// Returns the key of a row in stored order.
    pub(super) fn key(self) -> Key {
        Key { time: i64::try_from(self.seq).unwrap_or(i64::MAX), tie: [self.line.into(), 0] }
    }
}

/// Parses a line into a row and its key; `None` for a row that is not asked for.
pub(super) type ReadLine<'a, R> = &'a (dyn Fn(&[u8], Place) -> serde_json::Result<Option<(Key, R)>> + Sync);

/// The rows of a page: the newest `limit` of those from a time on and before a key.
pub(super) struct PageRequest<'a, R> {
    pub(super) order: Order,
    pub(super) from: i64,
    pub(super) before: Key,
    pub(super) limit: usize,
    pub(super) read: ReadLine<'a, R>,
}

/// A page of rows, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page<R> {
    pub(super) rows: Vec<R>,
    /// The key of the oldest row, if there are older ones.
    pub(super) next: Option<Key>,
}

impl<R> Default for Page<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), next: None }
    }
}

/// Reads a page.
///
/// # Errors
/// An error of the source.
pub(super) async fn page<S: Source, R: Send>(source: &S, request: &PageRequest<'_, R>) -> Result<Page<R>, Error> {
    let mut messages = Backward::new(source, end_of(source, request).await?);
    let mut found = Found::new(request);
    while !found.is_complete() {
        match messages.next().await? {
            Some(message) => found.take(message),
            None => found.unread = None,
        }
    }
    Ok(found.into_page())
}

/// Returns a sequence from which on no message holds a row before the end of the page.
async fn end_of<S: Source, R>(source: &S, request: &PageRequest<'_, R>) -> Result<u64, Error> {
    let PageRequest { order, before, .. } = *request;
    let mut end = source.last_seq().saturating_add(1);
    let slack_ms = match order {
        Order::Stored => return Ok(u64::try_from(before.time).unwrap_or_default().saturating_add(1).min(end)),
        Order::Time { slack_ms } => slack_ms,
    };
    // After a row that is later by more than the slack, all rows are at or after the end.
    let beyond = before.time.saturating_add(slack_ms);
    let is_beyond = |message: &StoredMessage| last_time(message, request.read).is_some_and(|time| time > beyond);
    if before == Key::END || source.first_from(source.last_seq()).await?.is_none_or(|newest| !is_beyond(&newest)) {
        return Ok(end);
    }
    let (mut low, mut high) = (1, end);
    while low < high {
        let middle = low + (high - low) / 2;
        match source.first_from(middle).await?.filter(|message| message.seq < high) {
            Some(message) if is_beyond(&message) => (end, high) = (message.seq + 1, middle),
            Some(message) => low = message.seq + 1,
            None => high = middle,
        }
    }
    Ok(end)
}

/// Returns the time of the last row of a message.
fn last_time<R>(message: &StoredMessage, read: ReadLine<'_, R>) -> Option<i64> {
    let lines: Vec<_> = codec::lines(&message.payload).collect();
    let time = |&(line, bytes): &(u32, &[u8])| Some(read(bytes, Place { seq: message.seq, line }).ok()??.0.time);
    lines.iter().rev().find_map(time)
}

/// The messages before a sequence, newest first. It requests runs of them, of which it guesses the length in sequences
/// by the density of the run before.
struct Backward<'a, S> {
    source: &'a S,
    /// Messages from here on were requested.
    before: u64,
    /// Sequences of the next run.
    width: u64,
    /// Messages of the next run, at most.
    count: usize,
    /// Requested messages, oldest first.
    run: Vec<StoredMessage>,
}

impl<'a, S: Source> Backward<'a, S> {
    fn new(source: &'a S, before: u64) -> Self {
        Self { source, before, width: 1, count: RUN_FIRST, run: Vec::new() }
    }

    /// Returns the next older message, as stored.
    async fn next(&mut self) -> Result<Option<StoredMessage>, Error> {
        while self.run.is_empty() && self.before > 1 {
            self.request().await?;
        }
        Ok(self.run.pop())
    }

    async fn request(&mut self) -> Result<(), Error> {
        let from = self.before.saturating_sub(self.width).max(1);
        let Run { messages, is_end } = self.source.run_from(from, self.count).await?;
        let reached = messages.last().map_or(0, |last| last.seq);
        if !is_end && reached + 1 < self.before {
            // Denser than guessed. `width` falls with each try, and a run from the sequence before always reaches it.
            self.width = ((reached + 1).saturating_sub(from) / 2).clamp(1, (self.width / 2).max(1));
            self.count = (self.count * RUN_GROWTH).min(RUN_MAX);
            return Ok(());
        }
        self.run = messages.into_iter().filter(|message| message.seq < self.before).collect();
        if self.run.is_empty() {
            return self.jump(from).await;
        }
        self.grow(self.before - from, self.run.len() as u64);
        self.before = from;
        Ok(())
    }

    /// Skips sequences without a message, up to `from`.
    async fn jump(&mut self, from: u64) -> Result<(), Error> {
        self.run.extend(self.source.last_before(from).await?);
        let found = self.run.first().map_or(0, |message| message.seq);
        self.grow(self.before.saturating_sub(found), 1);
        self.before = found;
        Ok(())
    }

    /// Guesses the width of the next run, after `messages` in `sequences`.
    fn grow(&mut self, sequences: u64, messages: u64) {
        self.count = (self.count * RUN_GROWTH).min(RUN_MAX);
        // Half of what a request may have: a run that is a little denser is still whole.
        let wanted = self.count as u64 / 2;
        self.width = sequences.saturating_mul(wanted).div_ceil(messages).max(1);
    }
}

/// The rows that were found for a page.
struct Found<'a, 'r, R> {
    request: &'a PageRequest<'r, R>,
    /// The newest rows, one more than the page has at most.
    rows: BTreeMap<Key, R>,
    /// Largest time that a row of an unread message can have; `None` if every message was read.
    unread: Option<i64>,
    /// Bytes of lines that were read.
    bytes: usize,
    decoder: Decoder,
}

impl<'a, 'r, R> Found<'a, 'r, R> {
    fn new(request: &'a PageRequest<'r, R>) -> Self {
        Self { request, rows: BTreeMap::new(), unread: Some(i64::MAX), bytes: 0, decoder: Decoder::default() }
    }

    /// Whether an unread message may hold a row of this time or a later one.
    fn may_miss(&self, time: i64) -> bool {
        self.unread.is_some_and(|unread| unread >= time)
    }

    /// Whether no unread message can change the page.
    fn is_complete(&self) -> bool {
        let is_whole = |row: Option<(&Key, &R)>| row.is_some_and(|(key, _)| !self.may_miss(key.time));
        let is_full = self.rows.len() > self.request.limit;
        let is_long = self.bytes > PAGE_BYTES_MAX;
        !self.may_miss(self.request.from)
            || is_full && is_whole(self.rows.first_key_value())
            || is_long && is_whole(self.rows.last_key_value())
    }

    /// Takes the rows of a message, whose newer messages were all taken.
    fn take(&mut self, message: StoredMessage) {
        let PageRequest { order, from, before, limit, read } = *self.request;
        let StoredMessage { seq, subject, headers, payload, .. } = message;
        let (_, payload) = self.decoder.decode(Some(headers), payload);
        let lines: Vec<_> = codec::lines(&payload).collect();
        for &(line, bytes) in lines.iter().rev() {
            let (key, row) = match read(bytes, Place { seq, line }) {
                Ok(Some(read)) => read,
                Ok(None) => continue,
                Err(error) => {
                    // The others can still be shown.
                    tracing::warn!(subject, seq, line, %error, "ignored an unreadable record");
                    continue;
                }
            };
            if let Order::Time { slack_ms } = order {
                self.unread = self.unread.min(Some(key.time.saturating_add(slack_ms)));
            }
            if from <= key.time && key < before {
                self.rows.entry(key).or_insert(row);
            }
        }
        if order == Order::Stored {
            self.unread = Some(Place { seq, line: 0 }.key().time - 1);
        }
        self.bytes += payload.len();
        while self.rows.len() > limit.saturating_add(1) {
            self.rows.pop_first();
        }
    }

    fn into_page(mut self) -> Page<R> {
        let has_more = self.rows.len() > self.request.limit || self.may_miss(self.request.from);
        if let Some(unread) = self.unread {
            self.rows = self.rows.split_off(&Key::at(unread.saturating_add(1)));
        }
        while self.rows.len() > self.request.limit {
            self.rows.pop_first();
        }
        let next = self.rows.first_key_value().map(|(key, _)| *key).filter(|_| has_more);
        Page { rows: self.rows.into_values().collect(), next }
    }
}

#[cfg(test)]
mod tests;
