//! Images and containers without a container engine. The Dockerfile is executed in folders, and the services of the
//! compose file are started in namespaces of their own, as process 1 with a network, a root and a user. Needs root.
//!
//! The two base images and the compiler are replaced by this machine's Debian and the programs of this build.

mod compose;
mod dockerfile;
mod image;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use compose::{Container, Project};
pub use dockerfile::{BuildStage, Instruction, parse};
pub use image::{BASE_PACKAGES, BuiltImage, Images, is_in_context};

use crate::server::checkout;

/// The Dockerfile of the checkout.
pub fn dockerfile() -> Vec<BuildStage> {
    parse(&std::fs::read_to_string(checkout().join("deploy/docker/Dockerfile")).unwrap())
}

/// The command that runs a program in a root of its own.
fn run() -> Command {
    Command::new(checkout().join("tests/src/container/run"))
}

/// A path of an image, below the folder of its root.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
