//! Has a stream made again.

use anyhow::{anyhow, bail};
use bus::Connection;
use bus::stream::{Step, Stream};
use bus::topology::stream_info;
use service::{Code, WithCode};

use super::output;
use crate::args::Checkpointed;
use crate::rebuild::{Running, affected, rebuild as carry_out, running};

/// Flags of `topology rebuild`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RebuildArgs {
    /// What to make again, with all that derives from it
    stream: Checkpointed,
    /// Really do it; without this it only says what it would do, with exit code 2
    #[arg(long)]
    yes: bool,
}

/// Empties the stream and what derives from it, when nobody is at work on them.
pub(crate) async fn rebuild(connection: &Connection, args: &RebuildArgs) -> anyhow::Result<()> {
    let stream = Stream::from(args.stream);
    let steps = affected(stream);
    refuse_while_running(connection, &steps).await?;
    for step in &steps {
        let held = stream_info(connection, step.output.name()).await?.state.messages;
        let (service, input) = (step.service, step.input);
        output::line(&format!("{}: {held} messages go, the {service} makes it again from {input}", step.output));
    }
    if let Some(step) = steps.first() {
        let info = stream_info(connection, step.input.name()).await?;
        if info.begins() > info.origin() {
            let (input, begins) = (step.input, info.begins());
            output::line(&format!("{input} begins at sequence {begins}: what came of older input is lost for good"));
        }
    }
    if stream == Stream::Market {
        output::line(
            "An archive of the trainer ends here. Move its files away, or name another folder with --archive: the new one \
             gets every tick that FEED still holds.",
        );
    }
    if !args.yes {
        return Err(anyhow!("nothing was done: --yes does it")).exit_code(Code::BadConfig);
    }
    carry_out(connection, &steps).await?;
    // Whoever came in between has read what is gone.
    refuse_while_running(connection, &steps).await?;
    if stream == Stream::Forecast {
        output::line(
            "models stay in ARTIFACTS; the trainer learns them again, and the same ticks give the same models",
        );
    }
    let services: Vec<_> = steps.iter().map(|step| step.service).collect();
    output::line(&format!("done: start {} again", services.join(" and ")));
    Ok(())
}

async fn refuse_while_running(connection: &Connection, steps: &[Step]) -> anyhow::Result<()> {
    let running = running(connection, steps).await?;
    if running.is_empty() {
        return Ok(());
    }
    let name = |running: &Running| format!("{} ({})", running.service, running.instance.place);
    let names: Vec<_> = running.iter().map(name).collect();
    bail!("still running: {}; stop them, then rebuild", names.join(", "));
}
