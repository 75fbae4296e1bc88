//! `topology wait`: waits until the steps have committed their input.

use std::time::Duration;

use anyhow::bail;
use bus::error::Disposition;
use bus::progress::{StepProgress, standings};
use bus::reminder::Reminder;
use bus::stream::{STEPS, Step, Stream};
use bus::{Connection, Error};
use service::Shutdown;
use tokio::time::Instant;

use super::checkpointed_stream::CheckpointedStream;
use super::output;

/// How often the positions are read.
const LOOK: Duration = Duration::from_millis(50);

/// Flags of `topology wait`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WaitArgs {
    /// Streams that must be up to date; by default MARKET and STATS, which every pipeline has
    streams: Vec<CheckpointedStream>,
    /// Give up after this many seconds without progress; 0 waits forever
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    stalled: u64,
}

/// Returns when every step that writes one of the streams has committed all input that existed when its turn came. A
/// live source never stops sending, so later input is not waited for.
pub(crate) async fn wait(connection: &Connection, args: &WaitArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    let named: Vec<Stream> = args.streams.iter().copied().map(Stream::from).collect();
    let is_meant = |step: &Step| if named.is_empty() { !step.is_optional } else { named.contains(&step.output) };
    for step in STEPS.into_iter().filter(is_meant) {
        let mut asked = None;
        let mut progress = (0, Instant::now());
        let mut reminder = Reminder::default();
        loop {
            let sum = match look(connection, step, &mut asked).await {
                Ok(None) => break,
                Ok(Some(sum)) => sum,
                Err(error) if error.disposition() == Disposition::Stop => return Err(error.into()),
                // An unreachable server, or three that elect a leader, count as no progress.
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
    if named.is_empty() {
        output::line("every step has committed all of its input");
    } else {
        let names: Vec<_> = named.iter().map(Stream::to_string).collect();
        output::line(&format!("all input of {} is committed", names.join(" and ")));
    }
    Ok(())
}

/// The sum of a step's positions, which grows while there is progress; `None` once the input of the first call is
/// committed.
async fn look(
    connection: &Connection,
    step: Step,
    asked: &mut Option<Vec<StepProgress>>,
) -> Result<Option<u64>, Error> {
    let standings = standings(connection, step).await?;
    let asked = asked.get_or_insert_with(|| standings.clone());
    let is_done = asked.iter().zip(&standings).all(|(asked, now)| asked.input_last <= now.committed());
    Ok((!is_done).then(|| standings.iter().map(StepProgress::committed).sum()))
}
