//! A single server in the model: restarts, power cuts, time limits, full storage.

use simulation::jetstream::{Allowed, Refusal, StreamConfig, Survivors, Sync};
use simulation::{Answer, JetStream, Message, Reply, Request};

const AMPLE: u64 = 1 << 30;
const SECOND_US: u64 = 1_000_000;

fn market(sync: Sync) -> JetStream {
    let mut model = JetStream::single(sync);
    model.create(StreamConfig::market(AMPLE));
    model
}

fn ask(model: &mut JetStream, request: Request) -> Answer {
    ask_at(model, 0, request)
}

fn ask_at(model: &mut JetStream, now_us: u64, request: Request) -> Answer {
    match model.ask(now_us, request) {
        Reply::Now(answer) => answer,
        Reply::Later(ticket) => panic!("a single server answers at once: {ticket:?}"),
    }
}

fn result(text: &'static str) -> Message {
    Message::new("market.3.price.bitcoin.usd", text)
}

/// A result, a state and a position.
fn commit(id: &str, expected: u64, text: &'static str) -> Request {
    let messages = [
        result(text),
        Message::new("checkpoint.market.3.state.bitcoin.usd", text).rollup(),
        Message::new("checkpoint.market.3.position", text).rollup().expecting(expected),
    ];
    let numbered = messages.into_iter().zip(1..).map(|(message, number)| message.numbered(id, number, number == 3));
    Request::Commit(numbered.collect())
}

fn tick(id: &str) -> Request {
    Request::Publish(Message::new("feed.tick.bitcoin.usd", "t").id(id))
}

/// Everything stored, as sequence and text.
fn stored(model: &JetStream) -> String {
    let line = |stored: &simulation::jetstream::LogEntry| {
        let last = stored.message.subject.rsplit('.').next().unwrap_or_default().to_owned();
        format!("{} {last} {}", stored.seq, String::from_utf8_lossy(&stored.message.payload))
    };
    model.stored("MARKET", 0).iter().map(line).collect::<Vec<_>>().join(", ")
}

fn info(model: &mut JetStream, stream: &str) -> Answer {
    ask(model, Request::Info { stream: stream.to_owned() })
}

#[test]
fn a_killed_server_loses_only_open_batches_and_consumers() {
    for sync in [Sync::Always, Sync::Later] {
        let mut model = market(sync);
        assert_eq!(ask(&mut model, commit("a", 0, "1")), Answer::Committed { seq: 3, count: 3 });
        let staged = ask(&mut model, Request::Publish(result("2").numbered("b", 1, false)));
        let filters = vec!["market.>".into()];
        let created = ask(&mut model, Request::Consume { stream: "MARKET".to_owned(), filters, from: 1 });
        assert_eq!((staged, created), (Answer::Staged, Answer::Consumer { id: 1, pending: 1 }));
        let before = (stored(&model), info(&mut model, "MARKET"));
        model.kill(0);
        assert_eq!(info(&mut model, "MARKET"), Answer::Silence);
        model.restart(0, 0);
        assert_eq!((stored(&model), info(&mut model, "MARKET")), before, "{sync:?}");
        let late = ask(&mut model, Request::Publish(result("2").numbered("b", 2, true)));
        assert_eq!(late, Answer::Refused(Refusal::INCOMPLETE));
        let pulled = ask(&mut model, Request::Pull { stream: "MARKET".to_owned(), consumer: 1, max: 9 });
        assert_eq!(pulled, Answer::Refused(Refusal::NO_RESPONDERS));
        assert_eq!(model.drain_live("MARKET"), [], "unread live messages are never published again");
    }
}

#[test]
fn a_server_that_always_syncs_survives_a_power_cut() {
    let mut model = market(Sync::Always);
    ask(&mut model, commit("a", 0, "1"));
    ask(&mut model, commit("b", 3, "2"));
    let before = stored(&model);
    model.cut_power(0, Survivors::NONE);
    model.restart(0, 0);
    assert_eq!(stored(&model), before);
}

#[test]
fn a_power_cut_without_sync_keeps_a_prefix() {
    let cases: [(Survivors, &str); 6] = [
        (Survivors::NONE, "1 usd 1, 2 usd 1, 3 position 1"),
        // Orphan outputs.
        (Survivors { commits: 0, messages: 1 }, "1 usd 1, 2 usd 1, 3 position 1, 4 usd 2"),
        // A state that is newer than the position.
        (Survivors { commits: 0, messages: 2 }, "1 usd 1, 3 position 1, 4 usd 2, 5 usd 2"),
        (Survivors { commits: 1, messages: 0 }, "1 usd 1, 4 usd 2, 5 usd 2, 6 position 2"),
        (Survivors { commits: 1, messages: 2 }, "1 usd 1, 4 usd 2, 6 position 2, 7 usd 3, 8 usd 3"),
        (Survivors { commits: 9, messages: 9 }, "1 usd 1, 4 usd 2, 7 usd 3, 8 usd 3, 9 position 3"),
    ];
    for (survivors, expected) in cases {
        let mut model = market(Sync::Later);
        ask(&mut model, commit("a", 0, "1"));
        model.sync(0);
        ask(&mut model, commit("b", 3, "2"));
        ask(&mut model, commit("c", 6, "3"));
        model.cut_power(0, survivors);
        model.restart(0, 0);
        assert_eq!(stored(&model), expected, "{survivors:?}");
        // The log continues after the surviving messages.
        let last = model.stored("MARKET", 0).last().map_or(0, |stored| stored.seq);
        assert_eq!(
            ask(&mut model, Request::Publish(result("4"))),
            Answer::Stored { seq: last + 1, is_duplicate: false }
        );
        model.sync(0);
        model.cut_power(0, Survivors::NONE);
        model.restart(0, 0);
        assert_eq!(stored(&model), format!("{expected}, {} usd 4", last + 1));
    }
}

#[test]
fn message_ids_of_stored_messages_survive_a_restart() {
    let mut model = JetStream::single(Sync::Always);
    model.create(StreamConfig::feed(16, AMPLE, u64::MAX / 2));
    ask(&mut model, tick("purged"));
    ask(&mut model, Request::Purge { stream: "FEED".to_owned(), filter: ">".into(), before: 0 });
    ask(&mut model, tick("stored"));
    assert_eq!(ask(&mut model, tick("purged")), Answer::Stored { seq: 1, is_duplicate: true });
    model.kill(0);
    model.restart(0, 0);
    assert_eq!(ask(&mut model, tick("stored")), Answer::Stored { seq: 2, is_duplicate: true });
    assert_eq!(ask(&mut model, tick("purged")), Answer::Stored { seq: 3, is_duplicate: false });
}

#[test]
fn message_ids_messages_and_open_batches_expire() {
    let mut model = market(Sync::Always);
    let config = StreamConfig { duplicates_us: 10 * SECOND_US, ..StreamConfig::feed(16, AMPLE, 60 * SECOND_US) };
    model.create(config);
    model.create(StreamConfig::leases(AMPLE));
    model.allow(Allowed { open: 1, silence_us: 3 * SECOND_US });
    let first = |second: u64, message: Message, model: &mut JetStream| {
        ask_at(model, second * SECOND_US, Request::Publish(message))
    };
    // Ids: counted from the first message.
    assert_eq!(ask_at(&mut model, 0, tick("a")), Answer::Stored { seq: 1, is_duplicate: false });
    assert_eq!(ask_at(&mut model, 9 * SECOND_US, tick("a")), Answer::Stored { seq: 1, is_duplicate: true });
    assert_eq!(ask_at(&mut model, 10 * SECOND_US, tick("a")), Answer::Stored { seq: 2, is_duplicate: false });
    // Messages: those of FEED by its age limit, those of the bucket by their own TTL.
    let key = Message::new("$KV.LEASES.aggregator.member.a", "").ending(60);
    assert_eq!(first(0, key, &mut model), Answer::Stored { seq: 1, is_duplicate: false });
    let mut at = |second: u64, stream: &str| {
        ask_at(&mut model, second * SECOND_US, Request::Info { stream: stream.to_owned() }).to_string()
    };
    assert!(at(59, "FEED").starts_with("2 messages from 1 to 2"));
    assert!(at(60, "FEED").starts_with("1 messages from 2 to 2"));
    assert_eq!(at(70, "FEED"), "0 messages from 3 to 2, 0 bytes");
    assert!(at(59, "KV_LEASES").starts_with("1 messages"));
    assert_eq!(at(60, "KV_LEASES"), "0 messages from 2 to 1, 0 bytes");
    // Batches: every message restarts the timeout.
    let part = |id, number| result("r").numbered(id, number, false);
    assert_eq!(first(100, part("a", 1), &mut model), Answer::Staged);
    assert_eq!(first(102, part("a", 2), &mut model), Answer::Staged);
    assert_eq!(first(104, part("b", 1), &mut model), Answer::Refused(Refusal::TOO_MANY_OPEN));
    assert_eq!(first(105, part("b", 1), &mut model), Answer::Staged);
    assert_eq!(first(105, part("a", 3), &mut model), Answer::Refused(Refusal::INCOMPLETE));
}

#[test]
fn a_full_stream_refuses_until_there_is_room() {
    let mut model = market(Sync::Always);
    ask(&mut model, commit("a", 0, "1"));
    let before = stored(&model);
    model.set_room(Some(500));
    assert_eq!(ask(&mut model, commit("b", 3, "2")), Answer::Refused(Refusal::NO_ROOM));
    model.set_room(None);
    model.set_max_bytes("MARKET", Some(500));
    assert_eq!(ask(&mut model, commit("c", 3, "2")), Answer::Refused(Refusal::FULL));
    assert_eq!(stored(&model), before);
    model.set_max_bytes("MARKET", Some(AMPLE));
    assert_eq!(ask(&mut model, commit("d", 3, "2")), Answer::Committed { seq: 6, count: 3 });
}

#[test]
fn only_consumers_see_a_part_of_a_batch() {
    let mut model = market(Sync::Always);
    let results = || vec!["market.*.*.*.*".into()];
    ask(&mut model, Request::Consume { stream: "MARKET".to_owned(), filters: results(), from: 1 });
    let numbered = ["1", "2", "3"].into_iter().zip(1..);
    let batch = numbered.map(|(text, number)| result(text).numbered("a", number, number == 3)).collect();
    ask(&mut model, Request::Commit(batch));
    let pull = |model: &mut JetStream| {
        ask(model, Request::Pull { stream: "MARKET".to_owned(), consumer: 1, max: 9 }).to_string()
    };
    model.show_only("MARKET", 0, 2);
    let expected =
        "1 market.3.price.bitcoin.usd 1 (number 1, 1 pending), 2 market.3.price.bitcoin.usd 2 (number 2, 0 pending)";
    assert_eq!(pull(&mut model), expected);
    assert_eq!(pull(&mut model), "nothing");
    let last = ask(&mut model, Request::Last { stream: "MARKET".to_owned(), filter: "market.>".into() });
    assert_eq!(last.to_string(), "3 market.3.price.bitcoin.usd 3");
    model.show_all("MARKET", 0);
    assert_eq!(pull(&mut model), "3 market.3.price.bitcoin.usd 3 (number 3, 0 pending)");
}

#[test]
fn a_recreated_stream_is_another_log() {
    let mut model = market(Sync::Always);
    let created = |model: &mut JetStream| match info(model, "MARKET") {
        Answer::Info(info) => info.created,
        answer => panic!("{answer}"),
    };
    let first = created(&mut model);
    model.kill(0);
    model.restart(0, 0);
    assert_eq!(created(&mut model), first);
    model.create(StreamConfig::market(AMPLE));
    assert_ne!(created(&mut model), first);
}
