//! How the state of an instrument is kept between its inputs: as it is stored, which takes a fraction of the memory that it
//! takes while it changes. It is decoded for its next input as a recovery decodes it, so that both go on from the same.

use serde::de::DeserializeOwned;

use crate::checkpoint::decode_state;

/// A state, at hand while it changes and at rest after that.
pub(crate) struct LazyState<S> {
    at_hand: Option<Box<S>>,
    /// As it was last encoded; nothing before that.
    encoded: Box<[u8]>,
}

impl<S: Default> Default for LazyState<S> {
    fn default() -> Self {
        Self { at_hand: Some(Box::default()), encoded: Box::default() }
    }
}

impl<S: DeserializeOwned> LazyState<S> {
    /// The state, to be changed.
    pub(crate) fn at_hand(&mut self) -> &mut S {
        self.at_hand.get_or_insert_with(|| decoded(&self.encoded))
    }

    /// Keeps it as it is encoded, until it is needed again.
    pub(crate) fn rest(&mut self, encoded: &[u8]) {
        *self = Self { at_hand: None, encoded: encoded.into() };
    }

    /// A look at the state, which stays as it is kept.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        match &self.at_hand {
            Some(state) => look(state),
            None => look(&decoded(&self.encoded)),
        }
    }

    /// The state, if it may have changed since it was last encoded.
    pub(crate) fn changing(&self) -> Option<&S> {
        self.at_hand.as_deref()
    }
}

fn decoded<S: DeserializeOwned>(encoded: &[u8]) -> Box<S> {
    let (_, _, state) = decode_state(encoded).expect("a state at rest was encoded or decoded by this process");
    Box::new(state)
}
