//! The transaction against a real server: all or nothing, and a single owner.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use bus::error::{Disposition, disposition_of};
use bus::protocol::{LogId, POSITION_VERSION, Position, StepConfig};
use bus::stream::MARKET_STEP;
use bus::topology::stream_info;
use bus::{Connection, Stream};
use bytes::Bytes;
use market::windowing::EventTimePolicy;
use pipeline_tests::counting::Counting;
use pipeline_tests::programs::NEVER;
use pipeline_tests::proxy::Proxy;
use pipeline_tests::server::Server;
use pipeline_tests::ticks::noise;
use pipeline_tests::transactions::{Outcome, TestTransactions};
use serde_json::{Value, json};
use step::checkpoint::recover;
use step::part::{Outgoing, Part, Role};
use step::transaction::MESSAGES_MAX;

fn output(partition: u32, text: &str) -> Outgoing {
    Outgoing {
        subject: format!("market.{partition}.price.bitcoin.usd"),
        payload: Bytes::from(text.to_owned()),
        role: Role::Output("price/1"),
    }
}

fn part(partition: u32, fence: u64, messages: Vec<Outgoing>) -> Part {
    let position = Position {
        version: POSITION_VERSION,
        position: 1,
        frontier: 1,
        verified: 1,
        batch: String::new(),
        log: LogId::new("then"),
        partitions: 16,
        config: StepConfig::new(EventTimePolicy::default(), "settings"),
        settled: 0,
        states: 0,
        states_applied: 0,
        applied: 0,
        lost: 0,
        lost_to: 0,
        counts: json!({}),
    };
    Part { partition, fence, messages, position }
}

/// A commit replaces only the position that it expects; a refused commit stores nothing.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_expected_position_is_replaced() {
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let transactions = TestTransactions::new(&connection, Stream::Market);
    let commit = async |fence| transactions.commit(&[part(3, fence, vec![output(3, "{}")])]).await.unwrap()[0];

    let Outcome::Stored(first) = commit(0).await else { panic!("the first commit expects nothing") };
    let Outcome::Stored(second) = commit(first).await else { panic!("the second follows the first") };
    let before = stream_info(&connection, "MARKET").await.unwrap().state;
    for stale in [0, first, second + 7] {
        assert_eq!(commit(stale).await, Outcome::Fenced, "fence {stale}");
    }
    let after = stream_info(&connection, "MARKET").await.unwrap().state;
    assert_eq!((before.last_seq, before.messages), (after.last_seq, after.messages));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_one_commit_each_learn_their_own_fence() {
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let transactions = TestTransactions::new(&connection, Stream::Market);
    let parts = |fences: [u64; 3]| -> Vec<Part> {
        let counts = [2, 0, 5];
        (0..3).map(|idx| part(idx as u32, fences[idx], vec![output(idx as u32, "{}"); counts[idx]])).collect()
    };
    let outcomes = transactions.commit(&parts([0; 3])).await.unwrap();
    let mut fences = [0; 3];
    for (partition, &outcome) in outcomes.iter().enumerate() {
        let found = recover::<Value, Value>(&connection, MARKET_STEP, partition as u32).await.unwrap();
        assert_eq!(outcome, Outcome::Stored(found.fence), "partition {partition}");
        fences[partition] = found.fence;
    }
    // Another owner takes partition 1: the batch is refused, and the other parts are stored without it.
    transactions.commit(&[part(1, fences[1], vec![])]).await.unwrap();
    let outcomes = transactions.commit(&parts(fences)).await.unwrap();
    let last_seq = stream_info(&connection, "MARKET").await.unwrap().state.last_seq;
    assert_eq!(outcomes, [Outcome::Stored(last_seq - 6), Outcome::Fenced, Outcome::Stored(last_seq)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_batch_is_accepted() {
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let transactions = TestTransactions::new(&connection, Stream::Market);
    let outcome = transactions.commit(&[part(3, 0, vec![output(3, "{}"); MESSAGES_MAX - 1])]).await.unwrap();
    assert_eq!(outcome, [Outcome::Stored(MESSAGES_MAX as u64)]);
}

/// Sends a batch message by message with its own headers, and returns the error code of the last answer.
async fn refusal(connection: &Connection, messages: &[(String, HeaderMap)]) -> u32 {
    let (last, others) = messages.split_last().unwrap();
    for (subject, headers) in others {
        connection.client().publish_with_headers(subject.clone(), headers.clone(), "{}".into()).await.unwrap();
    }
    let answer = connection.request(last.0.clone(), Some(last.1.clone()), "{}".into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    answer["error"]["err_code"].as_u64().unwrap_or_default() as u32
}

/// Headers of a batch message; later ones replace earlier ones, and an empty value removes a header.
fn headers(id: &str, number: usize, more: &[(&str, &str)]) -> HeaderMap {
    let number = number.to_string();
    let mut all = BTreeMap::from([("Nats-Batch-Id", id), ("Nats-Batch-Sequence", &number)]);
    all.extend(more.iter().copied());
    let mut headers = HeaderMap::new();
    all.into_iter().filter(|(_, value)| !value.is_empty()).for_each(|(name, value)| headers.insert(name, value));
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_error_gets_its_class_and_stores_nothing() {
    const OUTPUT: &str = "market.3.price.bitcoin.usd";
    const POSITION: &str = "checkpoint.market.3.position";
    const COMMIT: (&str, &str) = ("Nats-Batch-Commit", "1");
    const ROLLUP: (&str, &str) = ("Nats-Rollup", "sub");
    const EXPECT: &str = "Nats-Expected-Last-Subject-Sequence";
    type Message<'a> = (&'a str, &'a [(&'a str, &'a str)]);
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let transactions = TestTransactions::new(&connection, Stream::Market);
    transactions.commit(&[part(3, 0, vec![output(3, "{}")])]).await.unwrap();
    let before = stream_info(&connection, "MARKET").await.unwrap().state.last_seq;
    let long = "x".repeat(65);
    let too_many: [Message<'_>; MESSAGES_MAX + 1] = [(OUTPUT, &[]); MESSAGES_MAX + 1];
    let cases: &[(u32, Disposition, &[Message<'_>])] = &[
        (10071, Disposition::Retry, &[(POSITION, &[ROLLUP, (EXPECT, "0"), COMMIT])]),
        (10164, Disposition::Retry, &[(POSITION, &[]), (POSITION, &[(EXPECT, "2"), COMMIT])]),
        (10176, Disposition::Retry, &[(OUTPUT, &[]), (OUTPUT, &[("Nats-Batch-Sequence", "3"), COMMIT])]),
        (10176, Disposition::Retry, &[(OUTPUT, &[("Nats-Batch-Sequence", "2"), COMMIT])]),
        (10111, Disposition::Stop, &[(OUTPUT, &[ROLLUP]), (OUTPUT, &[ROLLUP, COMMIT])]),
        (10175, Disposition::Stop, &[(OUTPUT, &[("Nats-Batch-Sequence", ""), COMMIT])]),
        (10179, Disposition::Stop, &[(OUTPUT, &[("Nats-Batch-Id", &long), COMMIT])]),
        (10200, Disposition::Stop, &[(OUTPUT, &[("Nats-Batch-Commit", "perhaps")])]),
        (10201, Disposition::Stop, &[(OUTPUT, &[("Nats-Msg-Id", "a")]), (OUTPUT, &[("Nats-Msg-Id", "a"), COMMIT])]),
        (10177, Disposition::Stop, &[(OUTPUT, &[("Nats-Expected-Last-Msg-Id", "a"), COMMIT])]),
        (10166, Disposition::Stop, &[(OUTPUT, &[("Nats-TTL", "1h"), COMMIT])]),
        (10060, Disposition::Stop, &[(OUTPUT, &[("Nats-Expected-Stream", "STATS"), COMMIT])]),
        (10199, Disposition::Stop, &too_many),
    ];
    for (idx, (code, class, messages)) in cases.iter().enumerate() {
        let id = format!("case-{idx}");
        let numbered = messages.iter().enumerate().map(|(number, (subject, more))| {
            let is_last = number == messages.len() - 1;
            let mut headers = headers(&id, number + 1, more);
            if is_last && headers.get("Nats-Batch-Commit").is_none() {
                headers.insert("Nats-Batch-Commit", "1");
            }
            ((*subject).to_owned(), headers)
        });
        let answered = refusal(&connection, &numbered.collect::<Vec<_>>()).await;
        assert_eq!((answered, disposition_of(answered)), (*code, *class), "{messages:?}");
    }
    assert_eq!(stream_info(&connection, "MARKET").await.unwrap().state.last_seq, before);
}

/// A message that the server cannot take is named in the error, and no message of its batch is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_the_server_cannot_take_stops_its_whole_batch() {
    let server = Server::with_streams().await;
    let proxy = Proxy::start(&server).await;
    let connection = proxy.connect(&server, "stream-processor").await;
    let transactions = TestTransactions::new(&connection, Stream::Market);
    // The payload alone fits, but not with its headers.
    let large = Outgoing { payload: noise((1 << 20) - 20).into(), ..output(3, "") };
    let refused = transactions.commit(&[part(3, 0, vec![output(3, "{}"), large])]).await;
    let text = refused.unwrap_err().to_string();
    let parts = ["market.3.price.bitcoin.usd has 1048", "takes 1048576", "max_payload"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(proxy.batches(), 0);
    let next = transactions.commit(&[part(3, 0, vec![output(3, "{}")])]).await.unwrap();
    assert_eq!(next, [Outcome::Stored(2)], "the connection still works");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_that_fight_store_everything_once() {
    /// Each of them must win, and lose, this often.
    const ROUNDS: u64 = 8;
    let server = Server::with_streams().await;
    let lasting = AtomicUsize::new(2);
    let fight = async |seed: u64| {
        let connection = server.connect("stream-processor").await;
        let transactions = TestTransactions::new(&connection, Stream::Market);
        let mut owner = Counting::recover(&connection, 3).await;
        let (mut stored, mut fenced) = (0, 0);
        while lasting.load(Ordering::Relaxed) > 0 {
            let part = owner.part(1 + (stored + seed) % 30);
            if (stored + fenced) % 10 == seed {
                // Frozen between apply and send, like a stopped process, and woken when all has changed. Not again
                // before nine attempts without a freeze, or one of the two would never win on a busy machine.
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            let outcome = transactions.commit(std::slice::from_ref(&part)).await.unwrap()[0];
            owner.settle(&part, outcome);
            let had_enough = stored >= ROUNDS && fenced >= ROUNDS;
            if outcome == Outcome::Fenced {
                fenced += 1;
                owner.recover_again().await;
            } else {
                stored += 1;
            }
            let has_enough = stored >= ROUNDS && fenced >= ROUNDS;
            lasting.fetch_sub(usize::from(has_enough && !had_enough), Ordering::Relaxed);
        }
    };
    let fights = async { tokio::join!(fight(0), fight(7)) };
    tokio::time::timeout(NEVER, fights).await.expect("each wins and loses now and then");
    Counting::check(&server.connect("admin").await, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_beside_a_busy_owner_reads_a_single_commit() {
    const PASSES: usize = 400;
    const AT_ONCE: usize = 10;
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let done = AtomicBool::new(false);
    let busy = async {
        let transactions = TestTransactions::new(&connection, Stream::Market);
        let mut owner = Counting::recover(&connection, 3).await;
        while !done.load(Ordering::Relaxed) {
            let inputs = 1 + owner.count % 3;
            assert!(matches!(owner.commit(&transactions, inputs).await, Ok(Outcome::Stored(_))));
        }
        owner.count
    };
    let recoveries = async {
        let pass = async || {
            let connection = server.connect("stream-processor").await;
            let mut last = 0;
            for _ in 0..PASSES / AT_ONCE {
                // Recovery checks every sum against the turns of each instrument at that count.
                let found = Counting::recover(&connection, 3).await;
                assert!(found.count >= last, "the position went back");
                last = found.count;
            }
        };
        futures::future::join_all((0..AT_ONCE).map(|_| pass())).await;
        done.store(true, Ordering::Relaxed);
    };
    let (count, ()) = tokio::join!(busy, recoveries);
    assert!(count > 100, "the owner was busy: {count}");
    assert_eq!(Counting::check(&server.connect("admin").await, 3).await, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_batches_of_a_dead_client_block_others_only_briefly() {
    let server = Server::with_streams().await;
    // More than the server has room for, each with only its first message.
    let dead = server.connect("stream-processor").await;
    for idx in 0..70 {
        let first = headers(&format!("dead-{idx}"), 1, &[]);
        dead.client().publish_with_headers("market.3.price.bitcoin.usd", first, "{}".into()).await.unwrap();
    }
    dead.client().flush().await.unwrap();
    drop(dead);
    let proxy = Proxy::start(&server).await;
    let connection = proxy.connect(&server, "stream-processor").await;
    let mut owner = Counting::recover(&connection, 3).await;
    let outcome = owner.commit(&TestTransactions::new(&connection, Stream::Market), 10).await.unwrap();
    assert!(matches!(outcome, Outcome::Stored(_)));
    assert!(proxy.refusals(10_176) > 0, "there was no room at first");
    assert_eq!(Counting::check(&server.connect("admin").await, 3).await, 10);
}
