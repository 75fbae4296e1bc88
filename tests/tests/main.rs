//! Integration tests: a real nats-server each, the programs as their users start them.
#![allow(clippy::unwrap_used)]

mod fence;
mod kills;
mod recovery;
mod tables;
