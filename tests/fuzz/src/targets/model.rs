//! Model files, which XGBoost reads.

use learn::booster::Model;

/// Features of the samples in the corpus.
const FEATURES: usize = 2;

/// A file is refused, or it is a model that predicts.
pub(super) fn run(bytes: &[u8]) {
    if let Ok(model) = Model::from_bytes(bytes, 1) {
        drop(model.predict(&[0.5; FEATURES], 1));
    }
}
