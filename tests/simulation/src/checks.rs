//! Checks of a run that has ended.

mod audit;
mod failure;
mod log;
mod plain;
mod records;
mod windows;

use bus::Error;
use bus::stream::Stream;

use crate::world::RunResult;

use failure::Checked;
pub(crate) use failure::Failure;
use records::StreamContents;

/// Returns the first violated invariant.
pub(crate) fn check(result: &RunResult) -> Checked {
    check_ends(result)?;
    if let Some(stall) = &result.stall {
        return Err(Failure::new("everything is processed", stall.clone()));
    }
    let recorded = StreamContents::of(result)?;
    check_losses(result, &recorded)?;
    log::check(result, &recorded)?;
    plain::check(result, &recorded)?;
    windows::check(result, &recorded)?;
    audit::check(result, &recorded)
}

/// No partition and no process may stop by itself, unless an injected disruption allows it.
fn check_ends(result: &RunResult) -> Checked {
    let plan = &result.plan;
    for stop in &result.stops {
        let is_hole = matches!(stop.error, Error::Hole { .. }) && stop.output == Stream::Market;
        let is_torn = matches!(stop.error, Error::CheckpointLost { .. });
        let is_allowed = (is_hole && plan.loses_feed() && !plan.accept_loss) || (is_torn && plan.tears());
        if !is_allowed && !result.follows_a_cut(stop.output) {
            let detail = format!("{} {}: {}", stop.output, stop.partition, stop.error);
            return Err(Failure::new("no partition stops without a reason", detail));
        }
    }
    if let Some(error) = result.exits.iter().find(|_| !plan.loses_market()) {
        return Err(Failure::new("no process stops by itself", error.to_string()));
    }
    Ok(())
}

/// No position counts a loss that did not happen.
fn check_losses(result: &RunResult, recorded: &StreamContents) -> Checked {
    let plan = &result.plan;
    for (&(output, partition), positions) in &recorded.positions {
        let is_allowed = output == Stream::Market && plan.loses_feed() && plan.accept_loss;
        let lost = positions.last().map_or(0, |(_, position)| position.lost);
        if lost > 0 && !is_allowed && !result.follows_a_cut(output) {
            return Err(Failure::new("nothing is lost", format!("{lost} inputs of {output} {partition}")));
        }
    }
    Ok(())
}
