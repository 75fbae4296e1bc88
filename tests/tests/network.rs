//! The transaction over a faulty network: a commit is stored once, even if a part of it or of its answer gets lost, and
//! no owner is mistaken for another. Also batches of ticks to FEED.

use std::time::Duration;

use bus::publish::{publish, publish_all};
use bus::reader::{Selection, read_to_end};
use bus::stream::MARKET_STEP;
use bus::topology::{Limits, stream_info};
use bus::{Connection, RecordKind, Stream, subject};
use futures::{FutureExt, StreamExt};
use market::tick::TickLine;
use pipeline_tests::counting::Counting;
use pipeline_tests::programs::Running;
use pipeline_tests::proxy::{Frame, Proxy, Treatment};
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::{bitcoin, packed, publish_tick, tick};
use pipeline_tests::transactions::{Outcome, TestTransactions};
use serde_json::Value;
use step::checkpoint::recover;
use step::part::Part;

/// Wrong last sequence.
const REFUSED: u32 = 10_071;
const PARTITION: u32 = 3;

/// An owner behind a proxy, with one commit.
struct Case {
    server: Server,
    proxy: Proxy,
    owner: Counting,
    transactions: TestTransactions,
}

impl Case {
    async fn new() -> Self {
        let server = Server::with_streams().await;
        let proxy = Proxy::start(&server).await;
        let connection = proxy.connect(&server, "stream-processor").await;
        let transactions = TestTransactions::new(&connection, Stream::Market);
        let mut owner = Counting::recover(&connection, PARTITION).await;
        assert!(matches!(owner.commit(&transactions, 5).await, Ok(Outcome::Stored(_))));
        Self { server, proxy, owner, transactions }
    }

    /// Commits until the treatment has hit a commit, and twice more; all must be stored once.
    async fn check(mut self) {
        for _ in 0..3 {
            let outcome = self.owner.commit(&self.transactions, 50).await.unwrap();
            assert!(matches!(outcome, Outcome::Stored(_)), "there is no other owner");
        }
        let direct = self.server.connect("admin").await;
        assert_eq!(Counting::check(&direct, PARTITION).await, 155);
    }
}

/// Applies the treatment to the next matching message; the owner must continue.
async fn survives(is_meant: impl FnMut(&Frame) -> bool + Send + 'static, treatment: Treatment) {
    let case = Case::new().await;
    case.proxy.once(is_meant, treatment);
    case.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_cut_off_is_stored_once() {
    survives(Frame::is_commit, Treatment::CutAfter).await;
    survives(Frame::is_stored_answer, Treatment::CutBefore).await;
    survives(Frame::is_stored_answer, Treatment::CutInside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_cut_off_is_stored_once() {
    survives(Frame::is_commit, Treatment::CutBefore).await;
    survives(Frame::is_commit, Treatment::CutInside).await;
    survives(Frame::begins_batch, Treatment::CutInside).await;
    survives(Frame::begins_batch, Treatment::CutAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_loses_a_message_is_sent_again() {
    let is_tenth = |frame: &Frame| frame.to_server && frame.headers.contains("\r\nNats-Batch-Sequence: 10\r\n");
    survives(is_tenth, Treatment::Drop).await;
    survives(Frame::begins_batch, Treatment::Drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_a_late_or_lost_answer_is_stored_once() {
    let never = survives(Frame::is_stored_answer, Treatment::Drop);
    let late = survives(Frame::is_stored_answer, Treatment::Late(Duration::from_millis(5_500)));
    tokio::join!(never, late);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_arrives_after_its_repetition_is_refused() {
    let mut case = Case::new().await;
    case.proxy.once(Frame::is_commit, Treatment::Strand);
    let outcome = case.owner.commit(&case.transactions, 50).await.unwrap();
    let direct = case.server.connect("admin").await;
    assert_eq!(outcome, Outcome::Stored(last_seq(&direct).await), "the first is still in transit");
    case.proxy.release();
    for inputs in [55, 45] {
        assert!(matches!(case.owner.commit(&case.transactions, inputs).await, Ok(Outcome::Stored(_))));
    }
    assert_eq!(Counting::check(&direct, PARTITION).await, 155);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_arrives_before_its_repetition_is_the_one() {
    let mut case = Case::new().await;
    let mut commits = 0;
    case.proxy.rule(move |frame| {
        commits += usize::from(frame.is_commit());
        match commits {
            1 if frame.is_commit() => Treatment::Strand,
            2 if frame.is_commit() => Treatment::Hold,
            _ => Treatment::Pass,
        }
    });
    let direct = case.server.connect("admin").await;
    let before = last_seq(&direct).await;
    let both_arrive = async {
        case.proxy.held(2).await;
        case.proxy.release();
        while last_seq(&direct).await == before {}
        case.proxy.release();
    };
    let (outcome, ()) = tokio::join!(case.owner.commit(&case.transactions, 50), both_arrive);
    assert_eq!(outcome.unwrap(), Outcome::Stored(last_seq(&direct).await));
    assert_eq!(case.proxy.refusals(REFUSED), 1, "the repetition is refused, but not as another owner");
    assert_eq!(Counting::check(&direct, PARTITION).await, 55);
}

/// A commit of several partitions was stored, but one of them has another owner when the answer is looked up.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_commit_counts_after_a_partition_changed_hands() {
    let case = Case::new().await;
    let direct = case.server.connect("stream-processor").await;
    let behind = case.proxy.connect(&case.server, "stream-processor").await;
    let mut others = Counting::recover(&behind, PARTITION + 1).await;
    // The answer is lost, and before the positions can be read another owner has committed to one of them.
    let mut is_cut = false;
    case.proxy.rule(move |frame| {
        let treatment = match frame {
            commit if commit.is_commit() && !is_cut => Treatment::CutAfter,
            question if is_cut && question.subject.starts_with("$JS.API.STREAM.MSG.GET.") => Treatment::Hold,
            _ => Treatment::Pass,
        };
        is_cut |= treatment == Treatment::CutAfter;
        treatment
    });
    let parts = [case.owner.part(7), others.part(7)];
    let takeover = async {
        case.proxy.held(1).await;
        let mut other = Counting::recover(&direct, PARTITION).await;
        let outcome = other.commit(&TestTransactions::new(&direct, Stream::Market), 3).await.unwrap();
        case.proxy.rule(|_| Treatment::Pass);
        case.proxy.release();
        outcome
    };
    let (outcomes, taken) = tokio::join!(case.transactions.commit(&parts), takeover);
    let outcomes = outcomes.unwrap();
    assert!(matches!(taken, Outcome::Stored(_)) && outcomes[0] == Outcome::Fenced, "{taken:?} {outcomes:?}");
    others.settle(&parts[1], outcomes[1]);
    assert!(matches!(others.commit(&case.transactions, 1).await, Ok(Outcome::Stored(_))));
    let admin = case.server.connect("admin").await;
    let found = [PARTITION, PARTITION + 1].map(async |partition| Counting::check(&admin, partition).await);
    assert_eq!(futures::future::join_all(found).await, [5 + 7 + 3, 7 + 1]);
}

/// An owner that was stopped between apply and send, and overtaken meanwhile, stores and publishes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_stopped_between_apply_and_send_stores_nothing() {
    let pipeline = TestPipeline::with_limits(&Limits { partitions: 1, ..Limits::default() }).await;
    let proxy = Proxy::start(&pipeline.server).await;
    let (producer, direct) =
        tokio::join!(pipeline.server.connect("producer"), pipeline.server.connect("stream-processor"));
    let _processor = Running::start(pipeline.program("stream-processor").arg("run").env("NATS_URL", proxy.url()));
    publish_tick(&producer, 1_600_000_000_000).await;
    pipeline.wait_for_market();
    let mut provisional =
        pipeline.server.connect("reporter").await.client().subscribe("live.provisional.>").await.unwrap();

    // It has applied the next ticks and is stopped before the first byte of its batch; meanwhile another owner commits.
    proxy.rule(|frame| if frame.begins_batch() { Treatment::Hold } else { Treatment::Pass });
    publish(&producer, &packed(&bitcoin(), (1_600_000_001_000..1_600_000_101_000).step_by(1_000))).await.unwrap();
    proxy.held(1).await;
    let found = recover::<(), Value>(&direct, MARKET_STEP, 0).await.unwrap();
    let part = Part { partition: 0, fence: found.fence, messages: Vec::new(), position: found.position.unwrap() };
    let outcomes = TestTransactions::new(&direct, Stream::Market).commit(&[part]).await.unwrap();
    let taken = stream_info(&direct, "MARKET").await.unwrap().state;
    assert_eq!(outcomes, [Outcome::Stored(taken.last_seq)]);

    // It is resumed: refused once, it recovers, applies the tick again, and is stopped again before it sends.
    proxy.release();
    proxy.held(1).await;
    let after = stream_info(&direct, "MARKET").await.unwrap().state;
    assert_eq!((after.last_seq, after.messages), (taken.last_seq, taken.messages), "none of its results is stored");
    assert_eq!(proxy.refusals(REFUSED), 1);
    assert!(provisional.next().now_or_never().is_none(), "none of its results is published");

    // Then it continues normally.
    proxy.rule(|_| Treatment::Pass);
    proxy.release();
    pipeline.wait_for_market();
    assert_eq!((pipeline.count("accepted"), pipeline.count("duplicate")), (101, 0));
    assert_eq!(proxy.refusals(REFUSED), 1);
    assert!(provisional.next().await.is_some(), "committed results are published");
}

async fn last_seq(connection: &Connection) -> u64 {
    stream_info(connection, "MARKET").await.unwrap().state.last_seq
}

/// Publishes ticks in batches and applies the treatment to the next matching message: FEED must have each tick once, in
/// order.
async fn feed_survives(is_meant: impl FnMut(&Frame) -> bool + Send + 'static, treatment: Treatment) {
    let server = Server::with_streams().await;
    let proxy = Proxy::start(&server).await;
    let connection = proxy.connect(&server, "producer").await;
    let ticks = |from: i64| (from..from + 20).map(|event| tick(&bitcoin(), event)).collect::<Vec<_>>();
    publish_all(&connection, &ticks(0)).await.unwrap();
    proxy.once(is_meant, treatment);
    for from in [20, 40] {
        let receipts = publish_all(&connection, &ticks(from)).await.unwrap();
        let expected: Vec<u64> = (from as u64 + 1..=from as u64 + 20).collect();
        assert_eq!(receipts.iter().map(|receipt| receipt.seq).collect::<Vec<_>>(), expected);
    }
    assert_eq!(events(&server).await, (0..60).collect::<Vec<_>>());
}

/// The event times of bitcoin's ticks, in FEED's order.
async fn events(server: &Server) -> Vec<i64> {
    let reader = server.connect("stream-processor").await;
    let filters = vec![subject::of_kind(Stream::Feed, RecordKind::Tick, Some(&bitcoin()))];
    let mut events = Vec::new();
    read_to_end(&reader, Selection { stream: Stream::Feed, filters, from: 1 }, |delivery| {
        let tick: TickLine<'_> = serde_json::from_slice(&delivery.payload).unwrap();
        events.push(tick.event_ms);
        Ok::<_, bus::Error>(())
    })
    .await
    .unwrap();
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_whose_batch_or_answer_is_cut_off_are_stored_once() {
    feed_survives(Frame::is_commit, Treatment::CutAfter).await;
    feed_survives(Frame::is_commit, Treatment::CutBefore).await;
    feed_survives(Frame::begins_batch, Treatment::CutInside).await;
    feed_survives(Frame::is_stored_answer, Treatment::CutBefore).await;
}

/// A batch of ticks loses a message on its way, or its answer comes late: every tick is stored once.
#[tokio::test(flavor = "multi_thread")]
async fn ticks_of_a_broken_batch_or_late_answer_are_stored_once() {
    let lost = feed_survives(Frame::begins_batch, Treatment::Drop);
    let never = feed_survives(Frame::is_stored_answer, Treatment::Drop);
    let late = feed_survives(Frame::is_stored_answer, Treatment::Late(Duration::from_millis(5_500)));
    tokio::join!(lost, never, late);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_that_feed_has_in_part_only_the_rest_is_stored() {
    let server = Server::with_streams().await;
    let connection = server.connect("producer").await;
    let ticks = |events: &[i64]| events.iter().map(|&event| tick(&bitcoin(), event)).collect::<Vec<_>>();
    publish_all(&connection, &ticks(&[1, 2, 3])).await.unwrap();
    let receipts = publish_all(&connection, &ticks(&[2, 3, 4, 5])).await.unwrap();
    let found: Vec<_> = receipts.iter().map(|receipt| (receipt.seq, receipt.duplicate)).collect();
    assert_eq!(found, [(2, true), (3, true), (4, false), (5, false)]);
    assert_eq!(events(&server).await, [1, 2, 3, 4, 5]);
}
