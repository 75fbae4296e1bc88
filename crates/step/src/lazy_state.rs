//! Storage of an instrument's state between inputs: the encoded form, which takes a fraction of the memory of the
//! decoded state. It is decoded for the next input exactly as in a recovery.

use serde::de::DeserializeOwned;

use crate::checkpoint::decode_state;

/// A state that is decoded while it changes, and encoded otherwise.
pub(crate) struct LazyState<S> {
    decoded: Option<Box<S>>,
    /// The last encoded form; empty before the first encoding.
    encoded: Box<[u8]>,
}

impl<S: Default> Default for LazyState<S> {
    fn default() -> Self {
        Self { decoded: Some(Box::default()), encoded: Box::default() }
    }
}

impl<S: DeserializeOwned> LazyState<S> {
    /// The decoded state, to be changed.
    pub(crate) fn decoded_mut(&mut self) -> &mut S {
        self.decoded.get_or_insert_with(|| decode(&self.encoded))
    }

    /// Keeps only the encoded form until the next change.
    pub(crate) fn keep_encoded(&mut self, encoded: &[u8]) {
        *self = Self { decoded: None, encoded: encoded.into() };
    }

    /// Reads the state without keeping it decoded.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        match &self.decoded {
            Some(state) => look(state),
            None => look(&decode(&self.encoded)),
        }
    }

    /// The decoded state, if it may have changed since it was last encoded.
    pub(crate) fn if_decoded(&self) -> Option<&S> {
        self.decoded.as_deref()
    }
}

fn decode<S: DeserializeOwned>(encoded: &[u8]) -> Box<S> {
    let (_, _, state) = decode_state(encoded).expect("the encoded state was encoded or decoded by this process");
    Box::new(state)
}
