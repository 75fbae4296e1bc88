//! Pages of random histories against the whole history in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::query::cursor::Cursor;

const SLACK_MS: i64 = 10;

/// A stream in memory: some of its sequences hold a message of the subject.
#[derive(Debug, Default)]
struct Memory {
    messages: BTreeMap<u64, String>,
    /// Messages that were handed out.
    read: AtomicUsize,
}

impl Memory {
    fn stored(&self, (&seq, text): (&u64, &String)) -> StoredMessage {
        self.read.fetch_add(1, Ordering::Relaxed);
        let (subject, headers) = ("stats.0.1h.bitcoin.usd".to_owned(), HeaderMap::new());
        StoredMessage { seq, subject, payload: text.clone().into(), headers, server_ms: 0 }
    }
}

impl Source for Memory {
    fn last_seq(&self) -> u64 {
        self.messages.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    async fn first_from(&self, seq: u64) -> Result<Option<StoredMessage>, Error> {
        Ok(self.messages.range(seq..).next().map(|message| self.stored(message)))
    }

    async fn last_before(&self, seq: u64) -> Result<Option<StoredMessage>, Error> {
        Ok(self.messages.range(..seq).next_back().map(|message| self.stored(message)))
    }

    async fn run_from(&self, seq: u64, count: usize) -> Result<Run, Error> {
        let messages = self.messages.range(seq..).take(count).map(|message| self.stored(message)).collect();
        Ok(Run { messages, is_end: self.messages.range(seq..).nth(count).is_none() })
    }
}

/// A row: its time, and the number of the write that stored it.
type Row = (i64, usize);

fn by_time(line: &[u8], _: Place) -> serde_json::Result<Option<(Key, Row)>> {
    let row: Row = serde_json::from_slice(line)?;
    Ok(Some((Key::at(row.0), row)))
}

fn as_stored(line: &[u8], place: Place) -> serde_json::Result<Option<(Key, Row)>> {
    Ok(Some((place.key(), serde_json::from_slice(line)?)))
}

/// A history: messages with their rows. Time rises, with gaps; a row may be written again while later rows are at most
/// the slack ahead.
#[derive(Debug, Clone)]
struct History(Vec<(u64, Vec<Row>)>);

impl History {
    fn memory(&self) -> Memory {
        let text =
            |rows: &Vec<Row>| rows.iter().map(|row| format!("[{},{}]", row.0, row.1)).collect::<Vec<_>>().join("\n");
        Memory { messages: self.0.iter().map(|(seq, rows)| (*seq, text(rows))).collect(), read: AtomicUsize::new(0) }
    }

    /// The newest revision of each row.
    fn newest(&self) -> BTreeMap<i64, Row> {
        self.0.iter().flat_map(|(_, rows)| rows).map(|row| (row.0, *row)).collect()
    }
}

/// How a row follows the one before: a step of time, or another revision of a row so far back.
fn histories() -> impl Strategy<Value = History> {
    let step = prop_oneof![
        8 => Just(1_i64),
        1 => 2..50_i64,
        1 => 10_000..1_000_000_i64,
        3 => -SLACK_MS..=0,
    ];
    let skipped = prop_oneof![6 => Just(1_u64), 3 => 1..40_u64, 1 => 1_000..100_000_u64];
    let message = (skipped, prop::collection::vec(step, 1..12));
    prop::collection::vec(message, 1..120).prop_map(|messages| {
        let (mut seq, mut newest, mut count) = (0, 1_000_i64, 0);
        let mut history = Vec::new();
        for (skipped, steps) in messages {
            seq += skipped;
            let row = |step: i64| {
                count += 1;
                if step > 0 {
                    newest += step;
                }
                ((newest + step.min(0)).max(0), count)
            };
            history.push((seq, steps.into_iter().map(row).collect()));
        }
        History(history)
    })
}

async fn read_page(memory: &Memory, order: Order, from: i64, before: Key, limit: usize) -> Page<Row> {
    let read: ReadLine<'_, Row> = if order == Order::Stored { &as_stored } else { &by_time };
    page(memory, &PageRequest { order, from, before, limit, read }).await.expect("memory never fails")
}

/// All rows, page by page, as a client with cursors reads them.
async fn read_all(memory: &Memory, order: Order, from: i64, mut before: Key, limit: usize) -> Vec<Row> {
    let mut all = Vec::new();
    loop {
        let Page { rows, next } = read_page(memory, order, from, before, limit).await;
        assert!(rows.len() <= limit && (next.is_none() || !rows.is_empty()), "{next:?} after {} rows", rows.len());
        all.splice(0..0, rows);
        match next {
            Some(key) => {
                let text = Cursor { of: "rows", key }.to_string();
                before = Cursor::parse(&text, "rows").expect("its own cursor").key;
            }
            None => return all,
        }
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn pages_together_are_the_newest_revision_of_each_row(
        history in histories(),
        limit in prop_oneof![1..4_usize, 5..400_usize],
        span in (0.0..1.0_f64, 0.0..1.2_f64),
    ) {
        let newest = history.newest();
        let (first, last) = (*newest.keys().next().expect("a row"), *newest.keys().next_back().expect("a row"));
        let at = |share: f64| first + ((last - first) as f64 * share) as i64;
        let (from, to) = (at(span.0.min(span.1)), at(span.0.max(span.1)));
        let order = Order::Time { slack_ms: SLACK_MS };
        let memory = history.memory();
        let part = run(read_all(&memory, order, from, Key::at(to), limit));
        prop_assert_eq!(part, newest.range(from..to).map(|(_, row)| *row).collect::<Vec<_>>());
        let all = run(read_all(&memory, order, i64::MIN, Key::END, limit));
        prop_assert_eq!(all, newest.into_values().collect::<Vec<_>>());
    }

    #[test]
    fn pages_in_stored_order_are_all_rows(history in histories(), limit in 1..40_usize) {
        let all = run(read_all(&history.memory(), Order::Stored, i64::MIN, Key::END, limit));
        prop_assert_eq!(all, history.0.into_iter().flat_map(|(_, rows)| rows).collect::<Vec<_>>());
    }

    #[test]
    fn a_trimmed_history_is_read_from_its_new_beginning(history in histories(), trimmed in 0..60_usize) {
        let history = History(history.0.into_iter().skip(trimmed).collect());
        let all = run(read_all(&history.memory(), Order::Time { slack_ms: SLACK_MS }, i64::MIN, Key::END, 7));
        prop_assert_eq!(all, history.newest().into_values().collect::<Vec<_>>());
    }
}

/// Most of a year of minutes, one row a message, between messages of other subjects.
fn long() -> Memory {
    let messages = (0..400_000_u64).map(|minute| (1 + minute * 7, format!("[{},1]", minute * 60_000)));
    Memory { messages: messages.collect(), read: AtomicUsize::new(0) }
}

#[test]
fn a_page_of_a_long_history_reads_little_of_it() {
    let memory = long();
    let order = Order::Time { slack_ms: 600_000 };
    for (to, limit) in [(i64::MAX, 500), (12_000_000_000, 500), (12_000_000_000, 5_000), (60_000, 500)] {
        memory.read.store(0, Ordering::Relaxed);
        let before = if to == i64::MAX { Key::END } else { Key::at(to) };
        let page = run(read_page(&memory, order, i64::MIN, before, limit));
        let read = memory.read.load(Ordering::Relaxed);
        assert!(read < 3 * limit + 500, "{read} messages for {} rows", page.rows.len());
        let newest = page.rows.last().expect("a row").0;
        assert_eq!(newest, (to.min(24_000_000_000) - 60_000) / 60_000 * 60_000);
    }
}

#[test]
fn a_subject_that_rests_for_long_is_found_at_once() {
    let far = |seq: u64, time: i64| (seq, format!("[{time},1]"));
    let messages =
        [far(5, 1_000), far(6, 2_000), far(1 << 40, 9_000), far((1 << 40) + 1, 10_000)].into_iter().collect();
    let memory = Memory { messages, read: AtomicUsize::new(0) };
    let page = run(read_page(&memory, Order::Time { slack_ms: SLACK_MS }, 0, Key::at(10_000), 10));
    assert_eq!(page.rows.iter().map(|row| row.0).collect::<Vec<_>>(), [1_000, 2_000, 9_000]);
    assert!(memory.read.load(Ordering::Relaxed) < 80);
}

#[test]
fn an_unreadable_line_hides_no_other_one() {
    let messages = [(3, "[1,1]\nnonsense\n[2,2]".to_owned())].into_iter().collect();
    let memory = Memory { messages, read: AtomicUsize::new(0) };
    let page = run(read_page(&memory, Order::Time { slack_ms: SLACK_MS }, 0, Key::END, 10));
    assert_eq!(page, Page { rows: vec![(1, 1), (2, 2)], next: None });
}
