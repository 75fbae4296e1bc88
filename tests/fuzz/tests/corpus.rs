//! Replays the corpus of each fuzz target.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

#[test]
fn no_input_of_the_corpus_makes_its_target_fail() {
    for target in TARGETS {
        for folder in folders(target.name) {
            let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let mut replayed = 0;
            for file in files {
                let path = file.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
                assert!(outcome.is_ok(), "{} makes the target {} fail", path.display(), target.name);
                replayed += 1;
            }
            assert!(replayed > 0, "{} is empty", folder.display());
        }
    }
}

/// Returns the folders of a target's corpus, as `scripts/fuzz` has them.
fn folders(target: &str) -> Vec<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![package.join("corpus").join(target)];
    if target == "recording" {
        // Files in the formats of other programs.
        folders.push(package.join("../data/formats"));
    }
    folders
}
