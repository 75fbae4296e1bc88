//! A cluster of three servers in the model: elections, lag, power cuts.

use std::collections::BTreeMap;

use simulation::jetstream::{Refusal, StreamConfig, Survivors, Sync, Ticket};
use simulation::{Answer, JetStream, Message, Random, Reply, Request, Seed};

const MARKET: &str = "MARKET";
const ALL: usize = usize::MAX;

fn cluster() -> JetStream {
    let mut model = JetStream::cluster(Sync::Always);
    model.create(StreamConfig::market(1 << 30));
    model
}

fn position(expected: u64, text: &str) -> Request {
    let message = Message::new("checkpoint.market.3.position", text.to_owned()).rollup().expecting(expected);
    Request::Commit(vec![message.numbered(text, 1, true)])
}

fn read() -> Request {
    Request::Last { stream: MARKET.to_owned(), filter: "checkpoint.market.3.position".into() }
}

fn picture() -> Request {
    Request::LastPerSubject { stream: MARKET.to_owned(), filter: "checkpoint.>".into(), up_to: 0 }
}

fn info() -> Request {
    Request::Info { stream: MARKET.to_owned() }
}

fn propose(model: &mut JetStream, request: Request) -> Ticket {
    match model.ask(0, request) {
        Reply::Later(ticket) => ticket,
        Reply::Now(answer) => panic!("{answer}"),
    }
}

fn now(reply: Reply) -> String {
    match reply {
        Reply::Now(answer) => answer.to_string(),
        Reply::Later(ticket) => format!("{ticket:?}"),
    }
}

/// Commits, and lets every server apply it.
fn commit(model: &mut JetStream, request: Request) {
    propose(model, request);
    assert_eq!(model.decide(MARKET, ALL).len(), 1);
    catch_up_all(model);
}

fn catch_up_all(model: &mut JetStream) {
    for server in 0..3 {
        model.catch_up(MARKET, server, ALL);
    }
}

#[test]
fn a_commit_is_answered_when_most_servers_have_it() {
    let mut model = cluster();
    let ticket = propose(&mut model, position(0, "a"));
    assert_eq!(now(model.ask(0, read())), "nothing", "it is not stored before");
    model.freeze(1);
    model.freeze(2);
    assert_eq!(model.decide(MARKET, ALL), [], "one of three is not most of them");
    model.wake(2);
    assert_eq!(model.decide(MARKET, ALL), [(ticket, Answer::Committed { seq: 1, count: 1 })]);
    assert_eq!(now(model.ask(0, read())), "1 checkpoint.market.3.position a");
}

#[test]
fn a_subject_with_a_commit_in_flight_cannot_be_expected() {
    let mut model = cluster();
    propose(&mut model, position(0, "a"));
    assert_eq!(model.ask(0, position(0, "b")), Reply::Now(Answer::Refused(Refusal::WRONG_LAST_UNKNOWN)));
    model.decide(MARKET, ALL);
    assert_eq!(model.ask(0, position(0, "b")), Reply::Now(Answer::Refused(Refusal::wrong_last(1))));
    propose(&mut model, position(1, "b"));
}

#[test]
fn a_duplicate_of_a_message_in_flight_is_refused() {
    let mut model = cluster();
    model.create(StreamConfig::feed(16, 1 << 30, u64::MAX / 2));
    let tick = || Request::Publish(Message::new("feed.tick.bitcoin.usd", "t").id("one"));
    let ticket = propose(&mut model, tick());
    assert_eq!(model.ask(0, tick()), Reply::Now(Answer::Refused(Refusal::DUPLICATE_UNKNOWN)));
    assert_eq!(model.decide("FEED", ALL), [(ticket, Answer::Stored { seq: 1, is_duplicate: false })]);
    assert_eq!(model.ask(0, tick()), Reply::Now(Answer::Stored { seq: 1, is_duplicate: true }));
}

#[test]
fn a_follower_shows_an_older_picture_until_it_catches_up() {
    let mut model = cluster();
    for seq in 0..3 {
        propose(&mut model, position(seq, &format!("p{seq}")));
        model.decide(MARKET, ALL);
    }
    assert_eq!(model.lag(MARKET, 1), 3);
    assert_eq!(now(model.ask_server(1, 0, picture())), "nothing");
    assert_eq!(model.catch_up(MARKET, 1, 2), 2);
    assert_eq!(now(model.ask_server(1, 0, picture())), "2 checkpoint.market.3.position p1");
    assert_eq!(now(model.ask_server(0, 0, picture())), "3 checkpoint.market.3.position p2");
    assert_eq!(now(model.ask_server(1, 0, read())), "silence", "only a leader answers");
    model.catch_up(MARKET, 1, ALL);
    assert_eq!(model.stored(MARKET, 1), model.stored(MARKET, 0));
}

#[test]
fn a_leader_that_hung_still_answers_as_the_leader() {
    let mut model = cluster();
    commit(&mut model, position(0, "a"));
    model.freeze(0);
    assert_eq!(now(model.ask(0, read())), "silence");
    assert!(model.elect(MARKET, 1, 0));
    propose(&mut model, position(1, "b"));
    model.decide(MARKET, ALL);
    model.wake(0);
    assert_eq!(now(model.ask_server(0, 0, read())), "1 checkpoint.market.3.position a");
    assert!(now(model.ask_server(0, 0, info())).starts_with("1 messages from 1 to 1"));
    assert_eq!(now(model.ask_server(0, 0, position(1, "c"))), "silence", "it gets no majority");
    assert_eq!(now(model.ask(0, read())), "2 checkpoint.market.3.position b");
    model.catch_up(MARKET, 0, ALL);
    assert_eq!(now(model.ask_server(0, 0, read())), "silence", "it knows better now");
    assert_eq!(model.stored(MARKET, 0), model.stored(MARKET, 1));
}

#[test]
fn a_dead_leaders_proposals_are_stored_or_lost_unanswered() {
    for (kept, expected) in [(0, "1 checkpoint.market.3.position a"), (1, "2 checkpoint.market.3.position b")] {
        let mut model = cluster();
        commit(&mut model, position(0, "a"));
        propose(&mut model, position(1, "b"));
        model.kill(0);
        assert_eq!(model.ask(0, read()), Reply::Now(Answer::Refused(Refusal::NO_LEADER)));
        assert!(model.elect(MARKET, 2, kept));
        assert_eq!(model.decide(MARKET, ALL), []);
        model.catch_up(MARKET, 2, ALL);
        assert_eq!(now(model.ask(0, read())), expected);
        // The outcome determines the next expectation.
        propose(&mut model, position(1 + kept as u64, "c"));
    }
}

#[test]
fn a_new_leader_stores_nothing_before_it_has_caught_up() {
    let mut model = cluster();
    commit(&mut model, position(0, "a"));
    propose(&mut model, position(1, "b"));
    model.decide(MARKET, ALL);
    model.kill(0);
    assert!(model.elect(MARKET, 1, 0));
    assert!(now(model.ask(0, info())).starts_with("1 messages from 1 to 1"));
    assert_eq!(model.ask(0, position(1, "c")), Reply::Now(Answer::Refused(Refusal::NO_LEADER)));
    model.catch_up(MARKET, 1, ALL);
    assert!(now(model.ask(0, info())).starts_with("1 messages from 2 to 2"));
    assert_eq!(model.ask(0, position(1, "c")), Reply::Now(Answer::Refused(Refusal::wrong_last(2))));
}

#[test]
fn a_server_that_lacks_acknowledged_messages_cannot_lead() {
    let mut model = cluster();
    model.freeze(2);
    propose(&mut model, position(0, "a"));
    assert_eq!(model.decide(MARKET, ALL).len(), 1);
    model.wake(2);
    model.kill(0);
    assert!(!model.elect(MARKET, 2, 0), "it was not there");
    assert!(!model.elect(MARKET, 0, 0), "it is dead");
    assert!(model.elect(MARKET, 1, 0));
}

#[test]
fn open_batches_and_consumers_end_with_their_server() {
    let mut model = cluster();
    commit(&mut model, position(0, "a"));
    let part =
        |number, commits| Request::Publish(Message::new("market.3.price.x.usd", "r").numbered("b", number, commits));
    assert_eq!(now(model.ask(0, part(1, false))), "staged");
    let consume = Request::Consume { stream: MARKET.to_owned(), filters: vec![">".into()], from: 1 };
    let pull = || Request::Pull { stream: MARKET.to_owned(), consumer: 1, max: 9 };
    assert_eq!(now(model.ask_server(1, 0, consume)), "1 pending");
    let first = now(model.ask_server(1, 0, pull()));
    assert_eq!(now(model.ask_server(1, 0, pull())), "nothing");
    model.kill(1);
    assert_eq!(now(model.ask_server(1, 0, pull())), "silence");
    model.restart(1, 0);
    assert_eq!(now(model.ask_server(1, 0, pull())), first, "from its start again");
    assert_eq!(now(model.ask_server(2, 0, pull())), "refused 503/0", "each server has its own consumers");
    assert!(model.elect(MARKET, 2, 0));
    assert_eq!(model.ask(0, part(2, true)), Reply::Now(Answer::Refused(Refusal::INCOMPLETE)));
}

#[test]
fn only_a_power_cut_of_all_servers_loses_acknowledged_data() {
    let mut model = JetStream::cluster(Sync::Later);
    model.create(StreamConfig::market(1 << 30));
    commit(&mut model, position(0, "a"));
    (0..3).for_each(|server| model.sync(server));
    commit(&mut model, position(1, "b"));
    model.cut_power(1, Survivors::NONE);
    model.restart(1, 0);
    assert_eq!((model.lag(MARKET, 1), model.catch_up(MARKET, 1, ALL)), (1, 1), "the others send it again");
    for server in 0..3 {
        model.cut_power(server, Survivors::NONE);
        model.restart(server, 0);
    }
    assert!(model.elect(MARKET, 0, 0));
    assert_eq!(now(model.ask(0, read())), "1 checkpoint.market.3.position a");
    commit(&mut model, position(1, "c"));
    assert_eq!(model.stored(MARKET, 1), model.stored(MARKET, 2));
}

/// Two writers commit positions, each with the sequence that it knows, while servers hang, die and lead in turn.
#[test]
fn nothing_acknowledged_is_lost_and_positions_are_ordered() {
    let (mut acknowledged, mut elections) = (0, 0);
    for seed in 0..200 {
        let (mut model, mut random) = (cluster(), Seed(seed).random("faults"));
        let (mut open, mut stored) = (BTreeMap::new(), Vec::new());
        for step in 0..300 {
            match random.below(8) {
                0 => elections += u64::from(disturb(&mut model, &mut random)),
                1 | 2 => {
                    model.catch_up(MARKET, random.index(3), 1 + random.index(3));
                }
                3 | 4 => {
                    for (ticket, answer) in model.decide(MARKET, 1) {
                        let Answer::Committed { seq, .. } = answer else { panic!("{answer}") };
                        stored.push((open[&ticket], seq));
                    }
                }
                _ => open.extend(write(&mut model, &mut random, step)),
            }
        }
        (0..3).for_each(|server| recover(&mut model, server));
        assert!((0..3).any(|server| model.elect(MARKET, server, 0)), "seed {seed}");
        catch_up_all(&mut model);
        let last = model.stored(MARKET, 0).last().map_or(0, |last| last.seq);
        assert!((1..3).all(|server| model.stored(MARKET, server) == model.stored(MARKET, 0)), "seed {seed}");
        // Each commit was stored right after the one that it expected.
        assert!(stored.iter().all(|&(expected, seq)| seq == expected + 1 && seq <= last), "seed {seed}: {stored:?}");
        assert!(stored.is_sorted_by(|before, after| before.1 < after.1), "seed {seed}: {stored:?}");
        acknowledged += stored.len();
    }
    assert!(acknowledged > 2_000 && elections > 500, "{acknowledged} commits, {elections} elections");
}

/// Reads the position from a server and commits the next one to another server, or does both at the leader; returns the
/// ticket with the expected sequence.
fn write(model: &mut JetStream, random: &mut Random, step: u64) -> Option<(Ticket, u64)> {
    let leader = model.leader(MARKET).filter(|_| random.chance(700));
    let mut server = || leader.unwrap_or_else(|| random.index(3));
    let Reply::Now(Answer::Message(last)) = model.ask_server(server(), 0, read()) else { return None };
    let expected = last.map_or(0, |last| last.seq);
    match model.ask_server(server(), 0, position(expected, &step.to_string())) {
        Reply::Later(ticket) => Some((ticket, expected)),
        Reply::Now(_) => None,
    }
}

fn recover(model: &mut JetStream, server: usize) {
    model.wake(server);
    model.restart(server, 0);
}

/// Disrupts a server; returns whether it leads now.
fn disturb(model: &mut JetStream, random: &mut Random) -> bool {
    let server = random.index(3);
    match random.below(12) {
        0 => model.kill(server),
        1 => model.cut_power(server, Survivors::NONE),
        2 => model.freeze(server),
        3..=7 => recover(model, server),
        _ => return model.elect(MARKET, server, random.index(2)),
    }
    false
}
