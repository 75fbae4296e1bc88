//! Times, contents and outcomes of commits.

use super::*;

#[test]
fn a_live_result_is_committed_at_once_and_its_state_later() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    let first = rig.committing();
    assert_eq!((results(&first), states(&first)), (vec![("price".into(), "1".into())], 0));
    let Position { position, settled, applied, states: stored, states_applied, .. } = first.position.clone();
    assert_eq!((position, settled, applied, stored, states_applied), (1, 0, 1, 0, 0));
    rig.answer("a", Ok(2));
    assert!(matches!(rig.effects[..], [Effect::Report(PartitionReport::Committed { .. })]), "{:?}", rig.effects);
    rig.wait(Duration::from_millis(200));
    let second = rig.committing();
    assert_eq!((second.fence, results(&second), states(&second)), (2, vec![], 1));
    assert_eq!((second.position.settled, second.position.states, second.position.states_applied), (1, 1, 1));
}

#[test]
fn states_are_stored_in_their_slot_while_input_continues() {
    let mut rig = Rig::owning(1);
    let (mut seq, mut fence, begin) = (0, 0, rig.now);
    let part = loop {
        seq += 1;
        rig.input(seq, "bitcoin", "tick");
        let part = rig.committing();
        if states(&part) > 0 {
            break part;
        }
        fence += 2;
        rig.answer("a", Ok(fence));
        rig.now += Duration::from_millis(50);
        assert!(rig.now < begin + Duration::from_secs(5), "a slot comes every four seconds");
    };
    assert_eq!((part.position.settled, part.position.position), (seq, seq));
}

#[test]
fn results_wait_for_arrived_and_pending_input() {
    let mut rig = Rig::owning(100);
    rig.message(1, "bitcoin", "tick", true, 99);
    rig.message(2, "ethereum", "tick", false, 98);
    assert!(rig.is_quiet(), "98 messages are pending");
    rig.wait(Duration::from_millis(200));
    assert_eq!(rig.committing().position.position, 2);
}

#[test]
fn input_is_applied_to_the_next_draft_during_a_commit() {
    let mut rig = Rig::owning(3);
    rig.input(1, "bitcoin", "tick");
    rig.input(2, "bitcoin", "tick");
    rig.input(3, "bitcoin", "tick");
    assert!(rig.is_quiet());
    rig.answer("a", Ok(2));
    let second = rig.committing();
    assert_eq!((second.fence, results(&second)), (2, vec![("price".into(), "2 3".into())]));
}

#[test]
fn a_full_draft_is_committed_and_accepts_no_input() {
    let mut rig = Rig::owning(10_000);
    rig.input(1, "bitcoin", "tick");
    let mut seq = 1;
    while rig.partition.takes_input() {
        seq += 1;
        rig.message(seq, &format!("coin-{seq}"), "tick", true, 9_000);
    }
    assert!(rig.is_quiet() && seq > 200, "{seq}");
    rig.answer("a", Ok(2));
    let part = rig.committing();
    assert!(part.messages.len() < MESSAGES_MAX && results(&part).len() as u64 == seq - 1);
    assert!(rig.partition.takes_input());
}

#[test]
fn a_commit_of_another_owner_fences() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.answer("mine", Err(refused()));
    assert!(matches!(rig.effects[..], [Effect::ReadPosition]), "{:?}", rig.effects);
    rig.position_is(8, "theirs");
    assert_eq!(rig.ended(), Some(Ended::Fenced));
    rig.input(2, "bitcoin", "tick");
    assert!(rig.is_quiet(), "a partition that has ended ignores events");
}

#[test]
fn an_unconfirmed_commit_is_found_by_its_batch_id() {
    let mut rig = Rig::owning(2);
    rig.input(1, "bitcoin", "tick");
    rig.answer("first", Err(unanswered()));
    rig.position_is(2, "first");
    rig.input(2, "bitcoin", "tick");
    assert_eq!(rig.committing().fence, 2);
}

#[test]
fn an_unconfirmed_commit_is_sent_again_and_found_later() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    let part = rig.committing();
    rig.answer("first", Err(unanswered()));
    rig.on(Event::PositionRead(None));
    assert!(rig.is_quiet());
    rig.wait(Duration::from_millis(20));
    assert!(Arc::ptr_eq(&part, &rig.committing()), "the same part");
    // The first attempt was only late: it is stored, and the server refuses the second.
    rig.answer("second", Err(refused()));
    rig.position_is(2, "first");
    assert_eq!(rig.ended(), None);
    assert!(matches!(rig.effects[..], [Effect::Report(PartitionReport::Committed { .. })]), "{:?}", rig.effects);
}

#[test]
fn full_storage_is_retried_slowly() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.answer("first", Err(full()));
    rig.on(Event::PositionRead(None));
    rig.wait(Duration::from_millis(900));
    assert!(rig.is_quiet());
    rig.wait(Duration::from_millis(100));
    assert!(results(&rig.committing()).len() == 1);
}

#[test]
fn a_message_beyond_the_server_limit_stops_the_partition() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.answer("first", Err(Error::TooLarge { subject: "here".to_owned(), bytes: 9, limit: 8 }));
    assert!(rig.error().contains("the NATS server takes 8"));
}

#[test]
fn both_messages_of_one_subject_are_stored() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "twice");
    let prices = ["price", "gap", "price"].map(|kind| (kind.to_owned(), "1".to_owned()));
    assert_eq!(results(&rig.committing()), prices);
}

#[test]
fn redelivered_input_is_dropped_and_counted() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.input(1, "bitcoin", "tick");
    assert_eq!((rig.partition.dropped(), rig.is_quiet()), (1, true));
}
