//! Process life cycle of every binary: settings, logs, health, metrics, systemd, signals, draining and exit codes.
//!
//! This crate knows nothing of NATS, prices or models, and names no setting of another crate: [`main`] is given the list.
//! `settings` reads `.env`, the environment and flags; `health` and `http` answer probes; `process` handles signals and
//! chooses the exit code. Start reading at [`main`].

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
mod status;
mod telemetry;

pub use exit::{Code, Coded, WithCode};
pub use health::serve::HealthArgs;
pub use health::{AskArgs, BEAT, Freshness, Health, Pulse};
pub use http::{ConnectionLimits, Endless, Hosts, serve};
pub use metrics::Metrics;
pub use process::{Program, main};
pub use settings::Settings;
pub use shutdown::Shutdown;
pub use status::StatusLine;
pub use telemetry::{LogFormat, ProcessArgs};
