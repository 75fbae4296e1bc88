//! Waits for the steps.

use std::time::Duration;

use anyhow::bail;
use bus::Connection;
use bus::topology::STEPS;
use service::Shutdown;
use tokio::time::Instant;

use crate::output;
use crate::show::{Standing, standings};

/// How often the positions are read.
const LOOK: Duration = Duration::from_millis(50);

/// Flags of `topology wait`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WaitArgs {
    /// Give up after this many seconds without any progress; 0 waits for ever
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    stalled: u64,
}

/// Returns when every step has committed all input that its stream holds.
pub(crate) async fn wait(connection: &Connection, args: &WaitArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    for step in STEPS {
        let mut progress = (0, Instant::now());
        loop {
            let standings = standings(connection, step).await?;
            if standings.iter().all(Standing::is_done) {
                break;
            }
            let sum =
                standings.iter().filter_map(|one| one.position.as_ref()).map(|position| position.position).sum::<u64>();
            if sum != progress.0 {
                progress = (sum, Instant::now());
            }
            if args.stalled > 0 && progress.1.elapsed() > Duration::from_secs(args.stalled) {
                bail!("{} made no progress for {} s: is it running? see `topology show`", step.service, args.stalled);
            }
            tokio::select! {
                () = shutdown.requested() => bail!("interrupted while {} was behind", step.service),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
    output::line("every step has committed all of its input");
    Ok(())
}
