//! Replays the corpus of each fuzz target.

use std::path::Path;

use fuzz::TARGETS;

#[test]
fn no_input_of_the_corpus_makes_its_target_fail() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut replayed = 0;
        for file in files {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(outcome.is_ok(), "{} makes the target {} fail", path.display(), target.name);
            replayed += 1;
        }
        assert!(replayed > 0, "{} is empty", folder.display());
    }
}
