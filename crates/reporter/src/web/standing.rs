//! How far the steps are and what they have counted.

use bus::topology::{MARKET_STEP, STATS_STEP, Step, stream_info};
use bus::{Connection, Error, Stream, checkpoint, history, subject};
use serde::Serialize;
use serde_json::Value;

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
    /// Messages between the newest input and the newest position of any partition.
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
        // Inputs first: what a position covers is then at least what was seen.
        let feed_last = stream_info(connection, Stream::Feed.name()).await?.state.last_seq;
        let market_last = last_input(connection, STATS_STEP).await?;
        let steps = vec![
            standing(connection, MARKET_STEP, feed_last).await?,
            standing(connection, STATS_STEP, market_last).await?,
        ];
        Ok(Self { is_connected: true, steps, counts: MarketCounts::read(connection).await? })
    }
}

async fn standing(connection: &Connection, step: Step, input_last: u64) -> Result<StepStanding, Error> {
    let positions = checkpoint::positions::<Value>(connection, step.output).await?;
    let newest = positions.iter().map(|(_, position)| position.position.max(position.frontier)).max();
    let behind = input_last.saturating_sub(newest.unwrap_or(0));
    Ok(StepStanding { service: step.service, behind, has_begun: newest.is_some() })
}

/// The last sequence of a step's input that concerns it: the input stream also holds what it does not read.
async fn last_input(connection: &Connection, step: Step) -> Result<u64, Error> {
    let mut last = 0;
    for &kind in step.kinds {
        let message = history::last(connection, step.input, &subject::of_kind(step.input, kind, None)).await?;
        last = last.max(message.map_or(0, |message| message.seq));
    }
    Ok(last)
}
