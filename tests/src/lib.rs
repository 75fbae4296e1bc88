//! Test support: real nats-servers, one or three; the programs as processes; the steps without either; fault injection;
//! and an independent computation of every table.

// A test may panic when its environment is unsuitable.
#![allow(clippy::unwrap_used)]

pub mod attacker;
pub mod browser;
pub mod cluster;
pub mod coingecko;
pub mod container;
pub mod counting;
pub mod disk;
pub mod docs;
pub mod event_stream;
pub mod faulty;
pub mod formats;
pub mod harness;
pub mod health;
pub mod host;
pub mod installed;
pub mod instance;
pub mod interrupt;
pub mod mirror;
pub mod oracle;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod readers;
pub mod s3;
pub mod served_page;
pub mod server;
pub mod test_pipeline;
pub mod ticks;
pub mod transactions;
pub mod units;
pub mod users;
pub mod variant;
