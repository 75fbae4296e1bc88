//! Integration tests: a real nats-server each, the programs as their users start them.
#![allow(clippy::unwrap_used)]

mod archive;
mod audit;
mod backup;
mod bounds;
mod broker;
mod chaos;
mod cluster;
mod compose;
mod docker;
mod event_time;
mod fence;
mod forecast;
mod health;
mod identity;
mod idle;
mod inputs;
mod install;
mod kills;
mod leases;
mod network;
mod permissions;
mod poison;
mod producer;
mod reader;
mod recovery;
mod run;
mod s3;
mod same_candles;
mod setup;
mod storage;
mod tables;
mod topology;
mod training;
mod units;
