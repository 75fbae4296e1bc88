//! Subcommand `health`: queries a running service, for container health checks in images without an HTTP client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::output::print_line;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Longest answer read; answers are one line.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Flags of `health`.
#[derive(Debug, Clone, clap::Args)]
pub struct AskArgs {
    /// Address of the service's health server
    #[arg(long, env = "CANDLEWIRE_HTTP", value_name = "ADDR")]
    http: SocketAddr,

    /// Ask only whether the service is alive, not whether it is ready
    #[arg(long)]
    alive: bool,
}

impl AskArgs {
    /// Queries the service and prints its answer.
    ///
    /// # Errors
    /// The service does not answer, or is not ready (not alive with `--alive`).
    pub async fn ask(&self) -> anyhow::Result<()> {
        let path = if self.alive { "/healthz" } else { "/readyz" };
        let asked = tokio::time::timeout(ANSWER_MAX, get(self.http, path)).await;
        let answer = asked
            .unwrap_or_else(|_| bail!("no answer within {} s", ANSWER_MAX.as_secs()))
            .with_context(|| format!("cannot ask {}{path}", self.http))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let body = body.trim_end();
        if head.split_whitespace().nth(1) != Some("200") {
            bail!("{body}");
        }
        // The exit code tells the result even if standard output is closed.
        drop(print_line(body));
        Ok(())
    }
}

/// HTTP/1.0: the answer ends with the connection.
async fn get(addr: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}
