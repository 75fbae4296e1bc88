//! The producer: it publishes recordings and CoinGecko's prices into FEED as ticks, heartbeats and gap records.
//!
//! It has no validation rules of its own: it checks live prices by the stream-processor's rules before it publishes
//! them. It never computes a candle, and it stores nothing on disk: at every start it asks FEED where to continue.
//!
//! Start reading at [`recording`] and [`coingecko`], the two sources. Both query FEED through `feed` and publish
//! through `batch_publisher`.

mod args;
mod batch_publisher;
mod clock;
pub mod coingecko;
mod feed;
#[cfg(test)]
mod memory;
mod message;
mod metrics;
pub mod recording;

use service::{Code, Health, LogFormat, Shutdown, StatusLine, WithCode};

pub use args::{Args, Command, FileArg, InspectArgs, RecordingArgs, RunArgs, Source, Switch};
pub use coingecko::{ApiArgs, BackfillArgs, BudgetArgs, FetchArgs, LimitArgs, PollingArgs};

/// Runs the program. Its code is compiled here, and not once more with main.rs.
pub fn main() -> std::process::ExitCode {
    service::main(run, bus::exit_code, include_str!("../../../deploy/settings.txt"))
}

/// Runs a command until it is done or shutdown is requested.
///
/// # Errors
/// Bad flags, unusable files, or a failure of NATS or CoinGecko that retrying does not solve.
async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    match args.command {
        Command::Run(run) => {
            args.nats.check(Some("producer"))?;
            let health = Health::new();
            match run.source {
                Source::Recording => {
                    let config = run.to_recording().exit_code(Code::BadConfig)?;
                    health.serve(&run.health, shutdown.clone()).await?;
                    recording::run(config, &args.nats, &health, &shutdown).await
                }
                Source::Coingecko => {
                    let config = run.to_coingecko().exit_code(Code::BadConfig)?;
                    health.serve(&run.health, shutdown.clone()).await?;
                    let is_text = args.process.log_format == LogFormat::Text;
                    let status = is_text.then(StatusLine::on_terminal).flatten();
                    coingecko::run(config, &args.nats, status, &health, &shutdown).await
                }
            }
        }
        Command::Inspect(inspect) => {
            let (files, reading, allow_rejects) = (inspect.files.clone(), inspect.reading(), inspect.allow_rejects);
            tokio::task::spawn_blocking(move || recording::inspect::run(&files, &reading, allow_rejects)).await?
        }
        Command::Fetch(fetch) => {
            let (api, instrument) = fetch.to_request().exit_code(Code::BadConfig)?;
            coingecko::fetch(&api, &instrument, &args.nats, &shutdown).await
        }
        Command::Budget(budget) => {
            args.nats.check(Some("producer"))?;
            coingecko::budget(&budget, &args.nats).await
        }
        Command::Backfill(backfill) => {
            args.nats.check(Some("producer"))?;
            coingecko::backfill(&backfill, &args.nats, &shutdown).await
        }
        Command::Health(ask) => ask.ask().await,
    }
}
