//! How a process of ours lives: `.env` and flags, logs, health, metrics, systemd, signals, the drain, the exit code.
//!
//! This crate knows nothing of NATS, prices or models. Start reading at [`main`].

#![warn(missing_docs)]

mod allocator;
mod exit;
mod health;
mod http;
mod metrics;
pub mod output;
mod process;
mod settings;
mod shutdown;
mod telemetry;

pub use exit::{Code, Coded, WithCode};
pub use health::{AskArgs, BEAT, Data, Health, HealthArgs, Pulse};
pub use http::{Bounds, Hosts, serve};
pub use metrics::Metrics;
pub use process::{Program, main};
pub use settings::Settings;
pub use shutdown::Shutdown;
pub use telemetry::{LogFormat, ProcessArgs};
