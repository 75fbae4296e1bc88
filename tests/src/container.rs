//! Images and containers without an engine: the Dockerfile is performed in folders, and what the compose file asks for is
//! started in namespaces of its own, as process 1 of a network, a root and a user. Needs root.
//!
//! What is not there is the two bases and the compiler: in their place stand this machine's Debian and the programs that
//! this build has made.

mod compose;
mod dockerfile;
mod image;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use compose::{Container, Project};
pub use dockerfile::{Stage, Step, parse};
pub use image::{BASE_PACKAGES, Image, Images, is_in_context};

use crate::server::checkout;

/// The Dockerfile of the checkout.
pub fn dockerfile() -> Vec<Stage> {
    parse(&std::fs::read_to_string(checkout().join("deploy/docker/Dockerfile")).unwrap())
}

/// How a command is run in a root of its own.
fn run() -> Command {
    Command::new(checkout().join("tests/src/container/run"))
}

/// A path of an image, below the folder that holds it.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
