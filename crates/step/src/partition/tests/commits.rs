//! What a partition commits when, and what becomes of it.

use super::*;

#[test]
fn a_live_result_goes_with_its_position_at_once_and_its_state_when_it_is_quiet() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    let first = rig.committing();
    assert_eq!((results(&first), states(&first)), (vec![("price".into(), "1".into())], 0));
    let Position { position, settled, applied, states: stored, states_applied, .. } = first.position.clone();
    assert_eq!((position, settled, applied, stored, states_applied), (1, 0, 1, 0, 0));
    rig.answer("a", Ok(2));
    assert!(matches!(rig.effects[..], [Effect::Report(Report::Committed { .. })]), "{:?}", rig.effects);
    rig.wait(Duration::from_millis(200));
    let second = rig.committing();
    assert_eq!((second.fence, results(&second), states(&second)), (2, vec![], 1));
    assert_eq!((second.position.settled, second.position.states, second.position.states_applied), (1, 1, 1));
}

#[test]
fn a_state_is_stored_when_its_turn_comes_however_much_more_there_is() {
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
        assert!(rig.now < begin + Duration::from_secs(5), "a turn comes every four seconds");
    };
    assert_eq!((part.position.settled, part.position.position), (seq, seq));
}

#[test]
fn results_wait_for_input_that_is_at_hand_and_for_some_that_is_to_come() {
    let mut rig = Rig::owning(100);
    rig.message(1, "bitcoin", "tick", true, 99);
    rig.message(2, "ethereum", "tick", false, 98);
    assert!(rig.is_quiet(), "98 messages are on their way");
    rig.wait(Duration::from_millis(200));
    assert_eq!(rig.committing().position.position, 2);
}

#[test]
fn while_a_commit_is_under_way_input_is_applied_to_the_next() {
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
fn a_draft_that_is_full_is_committed_and_takes_no_more() {
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
    assert!(rig.is_quiet(), "nothing matters any more");
}

#[test]
fn an_unknown_commit_that_was_stored_is_found_by_its_batch() {
    let mut rig = Rig::owning(2);
    rig.input(1, "bitcoin", "tick");
    rig.answer("first", Err(unanswered()));
    rig.position_is(2, "first");
    rig.input(2, "bitcoin", "tick");
    assert_eq!(rig.committing().fence, 2);
}

#[test]
fn an_unknown_commit_that_was_not_stored_is_sent_again_and_found_when_both_arrive() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    let part = rig.committing();
    rig.answer("first", Err(unanswered()));
    rig.on(Event::PositionRead(None));
    assert!(rig.is_quiet());
    rig.wait(Duration::from_millis(20));
    assert!(Arc::ptr_eq(&part, &rig.committing()), "the very same part");
    // The first attempt was only late: it is stored, and the second refused.
    rig.answer("second", Err(refused()));
    rig.position_is(2, "first");
    assert_eq!(rig.ended(), None);
    assert!(matches!(rig.effects[..], [Effect::Report(Report::Committed { .. })]), "{:?}", rig.effects);
}

#[test]
fn full_storage_is_tried_again_slowly() {
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
fn what_the_server_never_takes_stops_the_partition() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.answer("first", Err(Error::TooLarge { subject: "here".to_owned(), bytes: 9, limit: 8 }));
    assert!(rig.error().contains("the NATS server takes 8"));
}

#[test]
fn an_input_with_two_messages_on_one_subject_is_stored_with_both() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "twice");
    let prices = ["price", "gap", "price"].map(|kind| (kind.to_owned(), "1".to_owned()));
    assert_eq!(results(&rig.committing()), prices);
}

#[test]
fn input_that_comes_again_is_dropped_and_counted() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.input(1, "bitcoin", "tick");
    assert_eq!((rig.partition.dropped(), rig.is_quiet()), (1, true));
}
