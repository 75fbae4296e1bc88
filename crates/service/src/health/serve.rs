//! Serving health: flags, HTTP listener and systemd notifications.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;

use super::{Health, http, systemd};
use crate::exit::{Code, WithCode};
use crate::http::{ConnectionLimits, Hosts, serve};
use crate::shutdown::Shutdown;

/// Flags of every service for its health server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Health")]
pub struct HealthArgs {
    /// Serve /healthz, /readyz, /fresh and /metrics at this address, such as 127.0.0.1:9101; port 0 picks a free one and
    /// logs it
    #[arg(long, env = "CANDLEWIRE_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,

    /// /fresh answers 503 when the newest data is older than this, by event time
    #[arg(long, env = "CANDLEWIRE_FRESH_WITHIN", default_value = "10m", value_name = "SPAN",
        value_parser = humantime::parse_duration)]
    pub fresh_within: Duration,

    /// Comma-separated host names under which health and page also answer; addresses, localhost and names without a dot
    /// always work
    #[arg(long, env = "CANDLEWIRE_ALLOWED_HOSTS", value_name = "NAMES", default_value_t, hide_default_value = true)]
    pub allowed_hosts: Hosts,
}

/// Supervisors and collectors need few connections, and a step needs its file descriptors for its work.
const LIMITS: ConnectionLimits = ConnectionLimits::of_connections(64);

impl Health {
    /// Serves health at the address of `--http`, if given, until shutdown, and reports to systemd if it started this
    /// process. Returns once the port is bound.
    ///
    /// # Errors
    /// The address cannot be bound; the exit code is that of a bad configuration.
    pub async fn serve(&self, args: &HealthArgs, shutdown: Shutdown) -> anyhow::Result<()> {
        if systemd::is_listening() {
            tokio::spawn(systemd::report(self.clone(), shutdown.clone()));
        }
        let Some(addr) = args.http else { return Ok(()) };
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("cannot listen on {addr} for health; choose another address with --http"))
            .exit_code(Code::BadConfig)?;
        tracing::info!(addr = %listener.local_addr()?, "health is served");
        let routes = http::routes(self.clone(), args.fresh_within);
        tokio::spawn(serve(listener, routes, args.allowed_hosts.clone(), LIMITS, shutdown));
        Ok(())
    }
}
