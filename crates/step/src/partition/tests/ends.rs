//! Ends of a partition, and held messages.

use super::*;

#[test]
fn a_stop_commits_all_applied_input_and_its_states() {
    let mut rig = Rig::owning(2);
    rig.input(1, "bitcoin", "tick");
    rig.input(2, "ethereum", "silent");
    rig.on(Event::Stop);
    assert!(rig.is_quiet() && !rig.partition.takes_input());
    rig.answer("a", Ok(2));
    let part = rig.committing();
    assert_eq!((part.position.position, part.position.settled, states(&part)), (2, 2, 2));
    rig.answer("b", Ok(5));
    assert_eq!(rig.ended(), Some(Ended::Drained));
}

#[test]
fn a_stop_waits_for_an_answer_only_up_to_a_deadline() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.on(Event::Stop);
    let wakes_at = rig.partition.wakes_at(rig.now).expect("a deadline");
    rig.now = wakes_at;
    rig.on(Event::Tick);
    assert!(matches!(rig.effects[..], [Effect::Report(PartitionReport::Unconfirmed), Effect::End(Ended::Drained)]));
}

#[test]
fn a_stop_during_recovery_ends_at_once() {
    let (mut partition, _) =
        Partition::new(Arc::new(Counting::default()), setup(false), CommitSchedule::new(MARKET_STEP, 16), Time::ZERO);
    let effects = partition.on(Event::Stop, Time::ZERO);
    assert!(matches!(effects[..], [Effect::End(Ended::Drained)]));
}

#[test]
fn a_lost_lease_fences_at_once() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.on(Event::LeaseLost);
    assert_eq!(rig.ended(), Some(Ended::Fenced));
    rig.answer("a", Ok(2));
    assert!(rig.is_quiet());
}

#[test]
fn half_a_message_is_never_committed_and_a_stop_drops_it() {
    let mut rig = Rig::owning(2);
    rig.input(1, "bitcoin", "tick");
    let first = rig.committing();
    rig.input(2, "bitcoin", "tick\nmodel\ntick");
    assert!(matches!(rig.effects[..], [Effect::Wait(_)]) && !rig.partition.takes_input(), "{:?}", rig.effects);
    rig.answer("a", Ok(2));
    rig.wait(Duration::from_secs(10));
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::Commit { .. })), "{:?}", rig.effects);
    rig.on(Event::Stop);
    assert_eq!(rig.ended(), Some(Ended::Drained));
    // The next owner first replays the input that the states lack, then applies the whole message.
    let mut next = Rig::recovering(&[first], false);
    next.attach(input_info(1, 2), 2);
    next.operator.has_model.store(true, Ordering::Relaxed);
    next.message(1, "bitcoin", "tick", true, 1);
    next.input(2, "bitcoin", "tick\nmodel\ntick");
    assert_eq!(results(&next.committing()), [("price".into(), "2 3 4".into())]);
}

#[test]
fn a_held_message_continues_at_its_line() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick\nmodel");
    rig.operator.has_model.store(true, Ordering::Relaxed);
    rig.on(Event::Ready);
    assert_eq!(results(&rig.committing()), [("price".into(), "1 2".into())]);
}

#[test]
fn a_held_message_of_a_replay_gives_no_results() {
    let mut before = Rig::owning(1);
    before.operator.has_model.store(true, Ordering::Relaxed);
    before.input(1, "bitcoin", "tick\nmodel");
    let parts = [before.committing()];
    let mut rig = Rig::recovering(&parts, false);
    rig.attach(input_info(1, 2), 2);
    rig.message(1, "bitcoin", "tick\nmodel", true, 1);
    assert!(matches!(rig.effects[..], [Effect::Wait(_)]), "{:?}", rig.effects);
    rig.operator.has_model.store(true, Ordering::Relaxed);
    rig.on(Event::Ready);
    assert!(matches!(rig.effects[..], [Effect::Report(PartitionReport::Attached)]), "{:?}", rig.effects);
    rig.input(2, "bitcoin", "tick");
    assert_eq!(results(&rig.committing()), [("price".into(), "3".into())]);
}
