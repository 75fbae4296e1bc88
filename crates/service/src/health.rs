//! `/healthz` (the process lives) and `/readyz` (it is useful) for supervisors.

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

/// What a service says of itself. Clones share it.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<Result<(), String>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Err("starting".to_owned()))))
    }
}

impl Health {
    /// Not ready yet, for the reason "starting".
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the service is useful from now on.
    pub fn ready(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Ok(());
    }

    /// Says why the service is not useful at the moment.
    pub fn not_ready(&self, reason: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Err(reason.into());
    }

    /// Ready, or the reason why not.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
