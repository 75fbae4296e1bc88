//! Logging to standard error; standard output carries only the output of commands.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::status;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// Logging flags of every binary, and `--print-config`.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Process")]
pub struct ProcessArgs {
    /// Format of log lines on standard error
    #[arg(long, env = "CANDLEWIRE_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,

    /// Log filter: error, warn, info, debug, trace, or per crate as in "info,bus=debug" [default: info for services, warn
    /// for commands]. The NATS client's own lines are duplicates and are left out unless named, as in
    /// "info,async_nats=debug"
    #[arg(long, env = "CANDLEWIRE_LOG", global = true, value_name = "FILTER")]
    pub log: Option<String>,

    /// Print every setting of this command with its value and origin, without secrets, and exit
    #[arg(long, global = true)]
    pub print_config: bool,
}

impl ProcessArgs {
    /// Starts logging for this process.
    pub(crate) fn start(&self, is_service: bool) -> anyhow::Result<()> {
        let default = if is_service { "info" } else { "warn" };
        let asked = self.log.as_deref().unwrap_or(default);
        let own = if asked.contains("async_nats") { "" } else { ",async_nats=off" };
        let filter = EnvFilter::try_new(format!("{asked}{own}"))
            .map_err(|error| anyhow::anyhow!("--log {asked:?} is not a log filter: {error}"))?;
        let lines =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(status::log_writer).with_target(false);
        match self.log_format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => lines.json().flatten_event(true).init(),
        }
        Ok(())
    }
}
