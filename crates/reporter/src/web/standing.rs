//! How far the steps are and what they have counted.

use bus::standing::{is_in_use, standings};
use bus::topology::{STEPS, Step};
use bus::{Connection, Error};
use serde::Serialize;

use crate::metrics::MarketCounts;

/// What was last known of the pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Whether the server answers.
    pub(super) is_connected: bool,
    /// The steps, upstream first; empty before they were first read.
    pub(super) steps: Vec<StepStanding>,
    /// What the stream-processor has counted.
    pub(super) counts: MarketCounts,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StepStanding {
    /// The service that runs it.
    pub(super) service: &'static str,
    /// Messages between the position and the last input of the partition that is furthest behind, at most: some of them
    /// may be other partitions'.
    pub(super) behind: u64,
    /// Whether it has ever committed anything.
    pub(super) has_begun: bool,
}

impl Standing {
    /// Reads positions and the ends of their inputs.
    ///
    /// # Errors
    /// Whatever reading can meet.
    pub(super) async fn read(connection: &Connection) -> Result<Self, Error> {
        let mut steps = Vec::with_capacity(STEPS.len());
        for step in STEPS {
            steps.extend(standing(connection, step).await?);
        }
        Ok(Self { is_connected: true, steps, counts: MarketCounts::read(connection).await? })
    }
}

/// `None` for a step that this pipeline does without.
async fn standing(connection: &Connection, step: Step) -> Result<Option<StepStanding>, Error> {
    let partitions = standings(connection, step).await?;
    if !is_in_use(step, &partitions) {
        return Ok(None);
    }
    let behind = partitions.iter().map(|partition| partition.input_last.saturating_sub(partition.committed()));
    Ok(Some(StepStanding {
        service: step.service,
        behind: behind.max().unwrap_or_default(),
        has_begun: partitions.iter().any(|partition| partition.position.is_some()),
    }))
}
