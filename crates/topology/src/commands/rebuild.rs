//! `topology rebuild`.

use anyhow::{anyhow, bail};
use bus::Connection;
use bus::stream::{Step, Stream};
use bus::topology::stream_info;
use service::{Code, WithCode};

use super::checkpointed_stream::CheckpointedStream;
use super::output;
use crate::rebuild::{RunningInstance, affected, rebuild as carry_out, running};

/// Flags of `topology rebuild`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RebuildArgs {
    /// The stream to rebuild, with all streams derived from it
    stream: CheckpointedStream,
    /// Really do it; without this flag the command only prints what it would do, with exit code 2
    #[arg(long)]
    yes: bool,
}

/// Empties the stream and those derived from it, unless a step is running.
pub(crate) async fn rebuild(connection: &Connection, args: &RebuildArgs) -> anyhow::Result<()> {
    let stream = Stream::from(args.stream);
    let steps = affected(stream);
    refuse_while_running(connection, &steps).await?;
    for step in &steps {
        let held = stream_info(connection, step.output.name()).await?.state.messages;
        let (service, input) = (step.service, step.input);
        output::line(&format!("{}: deletes {held} messages; the {service} recreates them from {input}", step.output));
    }
    if let Some(step) = steps.first() {
        let info = stream_info(connection, step.input.name()).await?;
        if info.begins() > info.origin() {
            let (input, begins) = (step.input, info.begins());
            output::line(&format!("{input} starts at sequence {begins}: results of older input are lost for good"));
        }
    }
    if stream == Stream::Market {
        output::line(
            "The trainer cannot continue its archive. Move its files away, or name another folder with --archive: the \
             new archive gets every tick that FEED still holds.",
        );
    }
    if !args.yes {
        return Err(anyhow!("nothing was changed: pass --yes to rebuild")).exit_code(Code::BadConfig);
    }
    carry_out(connection, &steps).await?;
    // An instance that started in between has read removed messages.
    refuse_while_running(connection, &steps).await?;
    if stream == Stream::Forecast {
        output::line(
            "models stay in ARTIFACTS; the trainer trains them again, and the same ticks give the same models",
        );
    }
    let services: Vec<_> = steps.iter().map(|step| step.service).collect();
    output::line(&format!("done: restart {}", services.join(" and ")));
    Ok(())
}

async fn refuse_while_running(connection: &Connection, steps: &[Step]) -> anyhow::Result<()> {
    let running = running(connection, steps).await?;
    if running.is_empty() {
        return Ok(());
    }
    let name = |running: &RunningInstance| format!("{} ({})", running.service, running.instance.place);
    let names: Vec<_> = running.iter().map(name).collect();
    bail!("still running: {}; stop them, then rebuild", names.join(", "));
}
