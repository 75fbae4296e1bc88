//! Flags: address of NATS, user, credentials and TLS.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// NATS flags of every binary.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsArgs {
    /// Address of the NATS server; for a cluster, all addresses separated by commas. tls:// requires TLS
    #[arg(long, env = "NATS_URL", default_value = "nats://127.0.0.1:4222", global = true)]
    pub nats_url: String,

    /// User name; the service's own by default
    #[arg(long, env = "NATS_USER", global = true)]
    pub nats_user: Option<String>,

    /// Password; by default `CANDLEWIRE_PASSWORD_<USER>` from the environment or .env
    #[arg(long, env = "NATS_PASSWORD", hide_env_values = true, global = true)]
    pub nats_password: Option<Password>,

    /// File that contains only the password
    #[arg(long, env = "NATS_PASSWORD_FILE", value_name = "PATH", global = true)]
    pub nats_password_file: Option<PathBuf>,

    /// Credentials file of a user (JWT and key), instead of a password
    #[arg(long, env = "NATS_CREDS", value_name = "PATH", global = true)]
    pub creds: Option<PathBuf>,

    /// CA certificates (PEM) to verify the server with; requires TLS. Default: the CAs of this machine
    #[arg(long, env = "NATS_TLS_CA", value_name = "PATH", global = true)]
    pub tls_ca: Option<PathBuf>,

    /// Client certificate (PEM), for a server that asks for one; requires TLS
    #[arg(long, env = "NATS_TLS_CERT", value_name = "PATH", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the client certificate (PEM)
    #[arg(long, env = "NATS_TLS_KEY", value_name = "PATH", global = true)]
    pub tls_key: Option<PathBuf>,

    /// How many seconds a command waits for the server and its streams; services wait without a limit
    #[arg(long, env = "NATS_CONNECT_TIMEOUT", default_value = "5", value_name = "SECONDS", global = true)]
    pub connect_timeout: u64,
}

impl NatsArgs {
    /// Flags with an address and defaults otherwise.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            nats_url: url.into(),
            nats_user: None,
            nats_password: None,
            nats_password_file: None,
            creds: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            connect_timeout: 5,
        }
    }

    /// How long a one-shot command waits for the server.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.connect_timeout)
    }
}

/// A password. Its debug form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(hidden)")
    }
}
