//! Recovery from the checkpoint of another owner.

use super::*;

#[test]
fn a_takeover_replays_missing_input_without_results() {
    let mut before = Rig::owning(4);
    let mut parts = Vec::new();
    before.input(1, "bitcoin", "tick");
    parts.push(before.committing());
    before.answer("a", Ok(2));
    before.wait(Duration::from_millis(200));
    parts.push(before.committing());
    before.answer("b", Ok(4));
    for (seq, coin) in [(2, "bitcoin"), (3, "ethereum"), (4, "bitcoin")] {
        before.input(seq, coin, "tick");
        parts.push(before.committing());
        before.answer("c", Ok(2 * seq + 2));
    }
    assert_eq!(parts[4].position.settled, 1);
    // Killed here. The next owner reads on after the input that all states contain.
    let mut rig = Rig::recovering(&parts, false);
    assert!(matches!(rig.effects[..], [Effect::Read { from: 2, reaches: 4 }]), "{:?}", rig.effects);
    rig.attach(input_info(1, 5), 4);
    for (seq, coin) in [(2, "bitcoin"), (3, "ethereum")] {
        rig.message(seq, coin, "tick", true, 5 - seq);
        assert!(rig.is_quiet(), "{:?}", rig.effects);
    }
    rig.message(4, "bitcoin", "tick", false, 0);
    assert!(matches!(rig.effects[..], [Effect::Report(PartitionReport::Attached)]), "{:?}", rig.effects);
    rig.input(5, "bitcoin", "tick");
    let part = rig.committing();
    assert_eq!(results(&part), [("price".into(), "4".into())]);
    assert_eq!((part.position.counts.clone(), part.position.applied), (Value::from(5), 5));
}

#[test]
fn a_replay_with_missing_input_stops_the_partition() {
    let mut before = Rig::owning(2);
    before.input(1, "bitcoin", "tick");
    let mut parts = vec![before.committing()];
    before.answer("a", Ok(2));
    before.input(2, "bitcoin", "tick");
    parts.push(before.committing());
    let mut rig = Rig::recovering(&parts, false);
    rig.attach(input_info(1, 2), 1);
    // The first message is missing, which no check of the input has noticed.
    rig.message(2, "bitcoin", "tick", false, 0);
    assert!(rig.error().contains("its states come to 1 inputs, the position says 2"), "{}", rig.error());
}

#[test]
fn a_torn_batch_is_no_checkpoint() {
    let mut before = Rig::owning(1);
    before.input(1, "bitcoin", "tick");
    let parts = [before.committing()];
    before.answer("a", Ok(2));
    before.wait(Duration::from_millis(200));
    let torn = before.committing();
    // The state of the second batch reached the disk, its position did not.
    let position = Outgoing {
        subject: subject::position(bus::Stream::Market, PARTITION),
        payload: serde_json::to_vec(&parts[0].position).expect("plain data").into(),
        role: Role::State,
    };
    let stored = |seq, Outgoing { subject, payload, .. }: Outgoing| StoredMessage {
        seq,
        subject,
        payload,
        headers: Default::default(),
        server_ms: 0,
    };
    let found = [stored(2, position), stored(3, torn.messages[0].clone())];
    let assembled = assemble::<u64, u64>(MARKET_STEP, PARTITION, &found).expect("readable");
    assert!(assembled.is_err_and(|torn| torn.fence == 2));
}

#[test]
fn deleted_input_stops_the_partition_or_leaves_a_gap() {
    let mut before = Rig::owning(1);
    before.input(1, "bitcoin", "tick");
    let mut parts = vec![before.committing()];
    before.answer("a", Ok(2));
    before.wait(Duration::from_millis(200));
    parts.push(before.committing());
    let mut strict = Rig::recovering(&parts, false);
    strict.attach(input_info(8, 9), 2);
    let error = strict.error();
    assert!(error.contains("up to sequence 1,") && error.contains("begins at 8"), "{error}");

    let mut rig = Rig::recovering(&parts, true);
    rig.attach(input_info(8, 9), 2);
    assert!(
        rig.effects
            .iter()
            .any(|effect| matches!(effect, Effect::Report(PartitionReport::LossAccepted { from: 2, to: 7 }))),
        "{:?}",
        rig.effects
    );
    let part = rig.committing();
    assert_eq!((part.position.lost, part.position.lost_to, part.position.position), (6, 7, 1));
    rig.answer("b", Ok(9));
    rig.input(8, "bitcoin", "tick");
    assert_eq!(results(&rig.committing()), [("gap".into(), "\"lost\"".into()), ("price".into(), "2".into())]);
}

#[test]
fn deleted_input_that_the_states_lack_is_a_hole() {
    let mut before = Rig::owning(1);
    before.input(1, "bitcoin", "tick");
    let parts = [before.committing()];
    let mut strict = Rig::recovering(&parts, false);
    strict.attach(input_info(2, 2), 1);
    assert!(strict.error().contains("up to sequence 0, but the stream now begins at 2"), "{}", strict.error());
    let mut rig = Rig::recovering(&parts, true);
    rig.attach(input_info(2, 2), 1);
    assert_eq!(rig.committing().position.lost, 1);
    assert_eq!(rig.committing().position.applied, 0, "lost input of the states no longer counts");
}

#[test]
fn another_log_or_a_shorter_log_is_refused() {
    let mut before = Rig::owning(1);
    before.input(1, "bitcoin", "tick");
    let parts = [before.committing()];
    let mut rig = Rig::recovering(&parts, false);
    rig.attach(InputInfo { log: LogId::new("tuesday"), ..input_info(1, 1) }, 1);
    assert!(rig.error().contains("it was recreated at tuesday"), "{}", rig.error());
    let mut rig = Rig::recovering(&parts, false);
    rig.attach(input_info(1, 0), 0);
    assert!(rig.error().contains("it ends at sequence 0, the position is 1"), "{}", rig.error());
}
