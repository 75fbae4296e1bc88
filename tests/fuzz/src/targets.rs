//! The targets, one file each.

mod checkpoint;
mod coingecko;
mod line;
mod model;
mod recording;
mod subject;

use crate::Target;

/// All targets.
pub const TARGETS: [Target; 6] = [
    Target { name: "checkpoint", run: checkpoint::run },
    Target { name: "coingecko", run: coingecko::run },
    Target { name: "line", run: line::run },
    Target { name: "model", run: model::run },
    Target { name: "recording", run: recording::run },
    Target { name: "subject", run: subject::run },
];
