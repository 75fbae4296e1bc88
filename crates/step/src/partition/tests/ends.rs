//! How a partition ends, and what it does with a message that waits.

use super::*;

#[test]
fn a_stop_stores_all_that_was_applied_with_its_states() {
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
fn a_stop_waits_for_no_answer_for_ever() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.on(Event::Stop);
    let wakes_at = rig.partition.wakes_at(rig.now).expect("a deadline");
    rig.now = wakes_at;
    rig.on(Event::Tick);
    assert!(matches!(rig.effects[..], [Effect::Report(Report::Unconfirmed), Effect::End(Ended::Drained)]));
}

#[test]
fn a_stop_during_recovery_ends_at_once() {
    let (mut partition, _) =
        Partition::new(Arc::new(Counting::default()), setup(false), CommitSchedule::new(MARKET_STEP, 16), Time::ZERO);
    let effects = partition.on(Event::Stop, Time::ZERO);
    assert!(matches!(effects[..], [Effect::End(Ended::Drained)]));
}

#[test]
fn a_lease_that_is_lost_fences_at_once() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick");
    rig.on(Event::LeaseLost);
    assert_eq!(rig.ended(), Some(Ended::Fenced));
    rig.answer("a", Ok(2));
    assert!(rig.is_quiet());
}

#[test]
fn half_a_message_is_in_no_commit_and_a_stop_gives_it_up() {
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
    // The next owner applies all of it, first what the states lack of the one before.
    let mut next = Rig::recovering(&[first], false);
    next.attach(input_info(1, 2), 2);
    next.operator.has_model.store(true, Ordering::Relaxed);
    next.message(1, "bitcoin", "tick", true, 1);
    next.input(2, "bitcoin", "tick\nmodel\ntick");
    assert_eq!(results(&next.committing()), [("price".into(), "2 3 4".into())]);
}

#[test]
fn a_message_that_waits_goes_on_from_its_line() {
    let mut rig = Rig::owning(1);
    rig.input(1, "bitcoin", "tick\nmodel");
    rig.operator.has_model.store(true, Ordering::Relaxed);
    rig.on(Event::Ready);
    assert_eq!(results(&rig.committing()), [("price".into(), "1 2".into())]);
}

#[test]
fn a_message_that_waits_while_it_is_applied_again_shows_nothing_either() {
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
    assert!(matches!(rig.effects[..], [Effect::Report(Report::InPlace)]), "{:?}", rig.effects);
    rig.input(2, "bitcoin", "tick");
    assert_eq!(results(&rig.committing()), [("price".into(), "3".into())]);
}
