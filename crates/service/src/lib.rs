//! How a process of ours lives: `.env` and flags, logs, health, signals, the drain, the exit code.
//!
//! This crate knows nothing of NATS, prices or models. Start reading at [`main`].

#![warn(missing_docs)]

mod exit;
mod health;
mod process;
mod shutdown;
mod telemetry;

pub use exit::{Code, Coded, WithCode};
pub use health::{Health, HealthArgs};
pub use process::{Program, main};
pub use shutdown::Shutdown;
pub use telemetry::{LogFormat, TelemetryArgs};
