//! Rebuild: empties a stream with its checkpoints and all streams derived from it, so that the steps recreate them.

use bus::Error;
use bus::connect::{Connection, nothing};
use bus::lease::{self, SlotOwner};
use bus::stream::{STEPS, Step, Stream};
use bus::topology::{StreamNote, mark, purge, stream_info};

/// The step that writes a stream and all steps downstream of it, upstream first.
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
pub struct RunningInstance {
    /// Its service.
    pub service: &'static str,
    /// The instance.
    pub instance: SlotOwner,
}

/// Returns the running instances of these steps. Takes up to one lease time to live when an instance died on another
/// machine.
///
/// # Errors
/// Every error of reading the leases.
pub async fn running(connection: &Connection, steps: &[Step]) -> Result<Vec<RunningInstance>, Error> {
    let mut running = Vec::new();
    for step in steps {
        // A trainer also reads MARKET for its archive, and a standby trainer may take over at any moment.
        let living = lease::living(connection, step.lease_group()).await?;
        running.extend(living.into_iter().map(|instance| RunningInstance { service: step.service, instance }));
    }
    Ok(running)
}

/// Empties the output of these steps. An interrupted rebuild can be repeated; until then a step whose input was rebuilt
/// refuses to continue with its old state.
///
/// # Errors
/// Every error of a request.
pub async fn rebuild(connection: &Connection, steps: &[Step]) -> Result<(), Error> {
    for stream in steps.iter().map(|step| step.output) {
        let end = stream_info(connection, stream.name()).await?.state.last_seq;
        mark(connection, stream, StreamNote::Rebuilt, end).await?;
    }
    // Downstream first: a derived stream must never coexist with a source that it was not made from.
    for stream in steps.iter().rev().map(|step| step.output) {
        purge(connection, stream.name(), &nothing()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_streams_are_rebuilt_with_their_source() {
        let services = |stream| affected(stream).iter().map(|step| step.service).collect::<Vec<_>>();
        assert_eq!(services(Stream::Market), ["stream-processor", "aggregator", "trainer"]);
        assert_eq!(services(Stream::Stats), ["aggregator"]);
        assert_eq!(services(Stream::Forecast), ["trainer"]);
        assert!(affected(Stream::Feed).is_empty());
    }
}
