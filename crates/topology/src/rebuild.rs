//! Rebuilding: a stream is emptied with its checkpoints and all that derives from it; its steps make it again.

use bus::Error;
use bus::connect::{Connection, nothing};
use bus::lease::{self, SlotOwner};
use bus::stream::{ARCHIVER, FORECAST_STEP, STEPS, Step, Stream};
use bus::topology::{StreamNote, mark, purge, stream_info};

/// The step that makes a stream, and those that make theirs of it, upstream first.
pub fn affected(stream: Stream) -> Vec<Step> {
    let mut affected: Vec<Step> = Vec::new();
    for step in STEPS {
        if step.output == stream || affected.iter().any(|upstream| upstream.output == step.input) {
            affected.push(step);
        }
    }
    affected
}

/// An instance that must stop before a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// What it is.
    pub service: &'static str,
    /// Which one.
    pub instance: SlotOwner,
}

/// The living instances of these steps. Takes as long as a time to live when
/// one of them has died on another machine.
///
/// # Errors
/// Whatever reading the leases can meet.
pub async fn running(connection: &Connection, steps: &[Step]) -> Result<Vec<Running>, Error> {
    let mut running = Vec::new();
    for service in steps.iter().map(|step| step.service) {
        // A trainer reads MARKET for its archive too, and one that stands by may be at work any moment.
        let group = if service == FORECAST_STEP.service { ARCHIVER } else { service };
        let living = lease::living(connection, group).await?;
        running.extend(living.into_iter().map(|instance| Running { service, instance }));
    }
    Ok(running)
}

/// Empties what these steps have made. Interrupted, it can be done again; until then a step whose input is another log
/// refuses to go on with its old state.
///
/// # Errors
/// Whatever a request can meet.
pub async fn rebuild(connection: &Connection, steps: &[Step]) -> Result<(), Error> {
    for stream in steps.iter().map(|step| step.output) {
        let end = stream_info(connection, stream.name()).await?.state.last_seq;
        mark(connection, stream, StreamNote::Rebuilt, end).await?;
    }
    // What derives goes first: it must never stand beside a source that is not its own.
    for stream in steps.iter().rev().map(|step| step.output) {
        purge(connection, stream.name(), &nothing()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_derives_from_a_stream_is_rebuilt_with_it() {
        let services = |stream| affected(stream).iter().map(|step| step.service).collect::<Vec<_>>();
        assert_eq!(services(Stream::Market), ["stream-processor", "aggregator", "trainer"]);
        assert_eq!(services(Stream::Stats), ["aggregator"]);
        assert_eq!(services(Stream::Forecast), ["trainer"]);
        assert!(affected(Stream::Feed).is_empty());
    }
}
