//! `/healthz` (the process lives) and `/readyz` (it is useful) for supervisors.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::exit::{Code, WithCode};
use crate::shutdown::Shutdown;

/// Flags of every service that say where its health can be asked.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Health")]
pub struct HealthArgs {
    /// Serve /healthz and /readyz here, such as 127.0.0.1:9101; port 0 takes a free one and logs it
    #[arg(long, env = "CANDLEWIRE_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
}

/// What a service says of itself, or one of its parts. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    /// Why each part is not useful, if it is not.
    parts: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
    /// Which part speaks; nameless for the service itself.
    part: &'static str,
}

impl Default for Health {
    fn default() -> Self {
        Self { parts: Arc::default(), part: "" }.because("starting")
    }
}

impl Health {
    /// Not ready yet, for the reason "starting".
    pub fn new() -> Self {
        Self::default()
    }

    /// A part of the service, not ready yet. The service is ready when all its parts are.
    pub fn part(&self, part: &'static str) -> Self {
        Self { parts: Arc::clone(&self.parts), part }.because("starting")
    }

    /// Says that it is useful from now on.
    pub fn ready(&self) {
        self.say(None);
    }

    /// Says why it is not useful at the moment.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.say(Some(reason.into()));
    }

    /// Takes a part back: what it said no longer counts.
    pub fn retire(&self) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).remove(self.part);
    }

    /// Ready with all parts, or the reason why not.
    ///
    /// # Errors
    /// The reason, with the part that gives it.
    pub fn check(&self) -> Result<(), String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = parts.iter().find_map(|(part, reason)| reason.as_ref().map(|reason| (part, reason)));
        match reason {
            None => Ok(()),
            Some((&"", reason)) => Err(reason.clone()),
            Some((part, reason)) => Err(format!("{part}: {reason}")),
        }
    }

    fn say(&self, reason: Option<String>) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(self.part, reason);
    }

    fn because(self, reason: &str) -> Self {
        self.not_ready(reason);
        self
    }

    /// Answers at the address given, if any, until shutdown. Returns once the port is held.
    ///
    /// # Errors
    /// When the address cannot be bound; the exit code is that of a bad configuration.
    pub async fn serve(&self, args: &HealthArgs, shutdown: Shutdown) -> anyhow::Result<()> {
        let Some(addr) = args.http else { return Ok(()) };
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("cannot listen on {addr} for health; choose another address with --http"))
            .exit_code(Code::BadConfig)?;
        tracing::info!(addr = %listener.local_addr()?, "health is served");
        let routes = axum::Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .with_state(self.clone());
        tokio::spawn(async move {
            let served =
                axum::serve(listener, routes).with_graceful_shutdown(async move { shutdown.requested().await });
            if let Err(error) = served.await {
                tracing::error!(%error, "health is no longer served");
            }
        });
        Ok(())
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    match health.check() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_all_its_parts_are() {
        let health = Health::new();
        let archive = health.part("archive");
        health.ready();
        assert_eq!(health.check(), Err("archive: starting".to_owned()));
        archive.ready();
        assert_eq!(health.check(), Ok(()));
        archive.not_ready("12 messages behind");
        assert_eq!(health.check(), Err("archive: 12 messages behind".to_owned()));
        archive.retire();
        assert_eq!(health.check(), Ok(()));
        health.not_ready("connection lost");
        assert_eq!(health.check(), Err("connection lost".to_owned()));
    }
}
