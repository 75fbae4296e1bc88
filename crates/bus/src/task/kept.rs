//! How the state of an instrument is kept between its inputs: as it is stored, which takes a fraction of the memory that it
//! takes while it changes. It is decoded for its next input as a recovery decodes it, so that both always agree.

use serde::de::DeserializeOwned;

use crate::checkpoint::decode_state;

pub(super) enum Kept<S> {
    /// It has changed, or may.
    AtHand(Box<S>),
    /// As the last commit stored it.
    AtRest(Box<[u8]>),
}

const OWN: &str = "a state at rest was encoded or decoded by this process";

impl<S: Default> Default for Kept<S> {
    fn default() -> Self {
        Self::AtHand(Box::default())
    }
}

impl<S: DeserializeOwned> Kept<S> {
    /// The state, to be changed.
    pub(super) fn at_hand(&mut self) -> &mut S {
        if let Self::AtRest(encoded) = self {
            *self = Self::AtHand(Box::new(decoded(encoded)));
        }
        match self {
            Self::AtHand(state) => state,
            Self::AtRest(_) => unreachable!("it was decoded just now"),
        }
    }

    /// A look at the state, which stays as it is kept.
    pub(super) fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        match self {
            Self::AtHand(state) => look(state),
            Self::AtRest(encoded) => look(&decoded(encoded)),
        }
    }
}

fn decoded<S: DeserializeOwned>(encoded: &[u8]) -> S {
    let (_, _, state) = decode_state(encoded).expect(OWN);
    state
}
