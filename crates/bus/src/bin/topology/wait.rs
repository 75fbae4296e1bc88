//! Waits for the steps.

use std::time::Duration;

use anyhow::bail;
use bus::connect::Reminder;
use bus::error::Disposition;
use bus::standing::{Standing, standings};
use bus::topology::{STEPS, Step};
use bus::{Connection, Error};
use service::Shutdown;
use tokio::time::Instant;

use crate::output;

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
        let mut reminder = Reminder::default();
        loop {
            let sum = match look(connection, step).await {
                Ok(None) => break,
                Ok(Some(sum)) => sum,
                Err(error) if error.disposition() == Disposition::Stop => return Err(error.into()),
                // A server that is away, or three that choose a leader, are no progress, and nothing worse.
                Err(error) => {
                    reminder.warn(&error);
                    progress.0
                }
            };
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

/// The sum of a step's positions, which grows as long as there is progress; `None` when it is done.
async fn look(connection: &Connection, step: Step) -> Result<Option<u64>, Error> {
    let standings = standings(connection, step).await?;
    let is_done = standings.iter().all(Standing::is_done);
    Ok((!is_done).then(|| standings.iter().map(Standing::committed).sum()))
}
