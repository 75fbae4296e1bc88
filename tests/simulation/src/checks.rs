//! Checks of a run that has ended.

mod audit;
mod log;
mod plain;
mod records;
mod windows;

use bus::Error;
use bus::stream::Stream;

use crate::world::Remains;

pub(crate) use records::Recorded;

/// A violated invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The check that found it.
    pub check: &'static str,
    /// The details.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, detail: detail.into() }
    }
}

type Checked = Result<(), Failure>;

/// Returns the first violated invariant.
pub(crate) fn check(remains: &Remains) -> Checked {
    check_ends(remains)?;
    if let Some(stall) = &remains.stall {
        return Err(Failure::new("everything comes to its end", stall.clone()));
    }
    let recorded = Recorded::of(remains)?;
    check_losses(remains, &recorded)?;
    log::check(remains, &recorded)?;
    plain::check(remains, &recorded)?;
    windows::check(remains, &recorded)?;
    audit::check(remains, &recorded)
}

/// No partition and no process may stop by itself, unless an injected disruption allows it.
fn check_ends(remains: &Remains) -> Checked {
    let plan = &remains.plan;
    for stop in &remains.stops {
        let is_hole = matches!(stop.error, Error::Hole { .. }) && stop.output == Stream::Market;
        let is_torn = matches!(stop.error, Error::CheckpointLost { .. });
        let is_allowed = (is_hole && plan.loses_feed() && !plan.accept_loss) || (is_torn && plan.tears());
        if !is_allowed && !is_downstream_of_a_cut(remains, stop.output) {
            let detail = format!("{} {}: {}", stop.output, stop.partition, stop.error);
            return Err(Failure::new("no partition stops without a reason", detail));
        }
    }
    if let Some(error) = remains.exits.iter().find(|_| !plan.loses_market()) {
        return Err(Failure::new("no process ends by itself", error.to_string()));
    }
    Ok(())
}

/// No position counts a loss that did not happen.
fn check_losses(remains: &Remains, recorded: &Recorded) -> Checked {
    let plan = &remains.plan;
    for (&(output, partition), positions) in &recorded.positions {
        let is_allowed = output == Stream::Market && plan.loses_feed() && plan.accept_loss;
        let lost = positions.last().map_or(0, |(_, position)| position.lost);
        if lost > 0 && !is_allowed && !is_downstream_of_a_cut(remains, output) {
            return Err(Failure::new("nothing is lost", format!("{lost} inputs of {output} {partition}")));
        }
    }
    Ok(())
}

/// Whether STATS cannot continue because MARKET went back.
pub(crate) fn is_downstream_of_a_cut(remains: &Remains, output: Stream) -> bool {
    output == Stream::Stats && remains.plan.loses_market()
}
