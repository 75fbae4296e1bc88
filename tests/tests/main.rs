//! Integration tests: a real nats-server each, the programs as their users start them.
#![allow(clippy::unwrap_used)]

mod audit;
mod chaos;
mod cluster;
mod event_time;
mod fence;
mod inputs;
mod kills;
mod leases;
mod producer;
mod recovery;
mod run;
mod same_candles;
mod setup;
mod tables;
