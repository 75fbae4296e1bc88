//! Model files. XGBoost trusts their content, so the trainer reads only files with the digest of a model that it has
//! stored. Here that is the sample; other bytes reach the check that comes before XGBoost.

use learn::booster::Model;

const SAMPLE: &[u8] = include_bytes!("../../corpus/model/two-trees.ubj");
/// Features of the sample.
const FEATURES: usize = 2;

/// The sample predicts. A file that is not whole is refused, and no part of a whole one is whole.
pub(super) fn run(bytes: &[u8]) {
    if bytes == SAMPLE {
        let model = Model::from_bytes(bytes, 1).expect("the sample is a model");
        model.predict(&[0.5; FEATURES], 1).expect("a prediction");
    } else if Model::is_whole_file(bytes) {
        for cut in [bytes.len() / 2, bytes.len() - 1] {
            assert!(!Model::is_whole_file(&bytes[..cut]), "whole, and whole at {cut} too");
        }
        assert!(!Model::is_whole_file(&[bytes, b"}"].concat()), "whole, and whole with more");
    } else {
        assert!(Model::from_bytes(bytes, 1).is_err());
    }
}
