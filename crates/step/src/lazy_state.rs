//! Storage of an instrument's state between inputs: the encoded form, which takes a fraction of the memory of the
//! decoded state. It is decoded for the next input exactly as in a recovery.

use serde::de::DeserializeOwned;

use crate::checkpoint::decode_state;

/// A state that is decoded while it changes, and encoded otherwise.
pub(crate) struct LazyState<S> {
    at_hand: Option<Box<S>>,
    /// The last encoded form; empty before the first encoding.
    encoded: Box<[u8]>,
}

impl<S: Default> Default for LazyState<S> {
    fn default() -> Self {
        Self { at_hand: Some(Box::default()), encoded: Box::default() }
    }
}

impl<S: DeserializeOwned> LazyState<S> {
    /// The decoded state, to be changed.
    pub(crate) fn at_hand(&mut self) -> &mut S {
        self.at_hand.get_or_insert_with(|| decoded(&self.encoded))
    }

    /// Keeps only the encoded form until the next change.
    pub(crate) fn rest(&mut self, encoded: &[u8]) {
        *self = Self { at_hand: None, encoded: encoded.into() };
    }

    /// Reads the state without keeping it decoded.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        match &self.at_hand {
            Some(state) => look(state),
            None => look(&decoded(&self.encoded)),
        }
    }

    /// The decoded state, if it may have changed since it was last encoded.
    pub(crate) fn changing(&self) -> Option<&S> {
        self.at_hand.as_deref()
    }
}

fn decoded<S: DeserializeOwned>(encoded: &[u8]) -> Box<S> {
    let (_, _, state) = decode_state(encoded).expect("a state at rest was encoded or decoded by this process");
    Box::new(state)
}
