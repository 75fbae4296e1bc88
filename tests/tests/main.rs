//! Integration tests: a real nats-server each, the programs as their users start them.
#![allow(clippy::unwrap_used)]

mod fence;
mod inputs;
mod kills;
mod leases;
mod network;
mod producer;
mod recovery;
mod run;
mod setup;
mod tables;
