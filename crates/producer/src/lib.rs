//! From the world into FEED: recordings and CoinGecko become ticks, heartbeats and gaps.
//!
//! The producer judges no price by rules of its own (live ones by the stream-processor's, before they go out), never computes a
//! candle, and keeps nothing on disk: at every start FEED itself says where to go on. Start reading at [`recording`] and [`coingecko`], the two
//! sources; `feed` is what both see of FEED, `lanes` how both publish into it.

mod args;
mod batch_publisher;
mod clock;
pub mod coingecko;
mod feed;
#[cfg(test)]
mod memory;
mod message;
mod metrics;
mod output;
pub mod recording;

use service::{Code, Health, Shutdown, WithCode};

pub use args::{ApiArgs, Args, Command, FetchArgs, FileArg, PollingArgs, RecordingArgs, RunArgs, Source, Switch};

/// Does what the command line says, until done or told to stop.
///
/// # Errors
/// Bad flags, unusable files, and what waiting for NATS or CoinGecko cannot mend.
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
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
                    coingecko::run(config, &args.nats, &health, &shutdown).await
                }
            }
        }
        Command::Fetch(fetch) => {
            let (api, instrument) = fetch.to_request().exit_code(Code::BadConfig)?;
            coingecko::fetch(&api, &instrument, &shutdown).await
        }
        Command::Health(ask) => ask.ask().await,
    }
}
