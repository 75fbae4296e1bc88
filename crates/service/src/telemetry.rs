//! Logs, on standard error, so that standard output stays what the command says it prints.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Flags of every binary that say how it logs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct TelemetryArgs {
    /// How log lines are written to standard error
    #[arg(long, env = "CANDLEWIRE_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,

    /// Which log lines are written: error, warn, info, debug, trace, or per crate as in "info,bus=debug"
    #[arg(long, env = "CANDLEWIRE_LOG", default_value = "info,async_nats=warn", global = true, value_name = "FILTER")]
    pub log: String,
}

impl TelemetryArgs {
    /// Starts logging for this process.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|error| anyhow::anyhow!("--log {:?} is not a log filter: {error}", self.log))?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        match self.log_format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => lines.json().flatten_event(true).init(),
        }
        Ok(())
    }
}
