//! The transaction against the real server: all or nothing, and one owner.

use bus::Stream;
use bus::checkpoint::{Position, recover};
use bus::topology::{MARKET_STEP, stream_info};
use bus::transaction::{MESSAGES_MAX, Outcome, Outgoing, Part, Role, Transactions};
use bytes::Bytes;
use pipeline_tests::server::Server;
use serde_json::{Value, json};

fn output(partition: u32, text: &str) -> Outgoing {
    Outgoing {
        subject: format!("market.{partition}.price.bitcoin.usd"),
        payload: Bytes::from(text.to_owned()),
        role: Role::Output("price/1"),
    }
}

fn part(partition: u32, fence: u64, messages: Vec<Outgoing>) -> Part {
    let position = Position {
        position: 1,
        frontier: 1,
        batch: String::new(),
        input_created: "then".to_owned(),
        partitions: 16,
        config: "settings".to_owned(),
        states: 0,
        applied: 0,
        lost: 0,
        lost_to: 0,
        counts: json!({}),
    };
    Part { partition, fence, messages, position }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_expected_position_is_replaced_and_a_refusal_stores_nothing() {
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let transactions = Transactions::new(&connection, Stream::Market);
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
async fn several_partitions_commit_together_and_each_learns_its_own_fence() {
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let transactions = Transactions::new(&connection, Stream::Market);
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
    // Another owner takes partition 1: the batch is refused, and the others are stored without it.
    transactions.commit(&[part(1, fences[1], vec![])]).await.unwrap();
    let outcomes = transactions.commit(&parts(fences)).await.unwrap();
    let last_seq = stream_info(&connection, "MARKET").await.unwrap().state.last_seq;
    assert_eq!(outcomes, [Outcome::Stored(last_seq - 6), Outcome::Fenced, Outcome::Stored(last_seq)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_batch_is_accepted() {
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let transactions = Transactions::new(&connection, Stream::Market);
    let outcome = transactions.commit(&[part(3, 0, vec![output(3, "{}"); MESSAGES_MAX - 1])]).await.unwrap();
    assert_eq!(outcome, [Outcome::Stored(MESSAGES_MAX as u64)]);
}
