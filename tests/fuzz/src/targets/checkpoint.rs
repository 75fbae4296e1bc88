//! Stored states of the steps. The first byte chooses the step.

use std::fmt::Debug;

use aggregator::Aggregation;
use step::Operator;
use step::checkpoint::{decode_state, encode_state};
use stream_processor::Processing;

/// A state that can be decoded survives being stored again.
pub(super) fn run(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, stored)) => check::<<Processing as Operator>::State>(stored),
        Some((_, stored)) => check::<<Aggregation as Operator>::State>(stored),
        None => {}
    }
}

fn check<S: serde::Serialize + serde::de::DeserializeOwned + Debug>(stored: &[u8]) {
    let Ok((applied, last_seq, state)) = decode_state::<S>(stored) else { return };
    let again = encode_state(applied, last_seq, &state);
    let (applied_again, last_seq_again, state_again) =
        decode_state::<S>(&again).expect("a state that was just encoded");
    assert_eq!((applied, last_seq), (applied_again, last_seq_again));
    // Not compared as values: a state may hold NaN.
    assert_eq!(again, encode_state(applied_again, last_seq_again, &state_again));
}
