//! Ownership of results: results, states and position of a partition are in one batch, and each position follows the
//! one before.

use std::collections::BTreeMap;

use bus::stream::Stream;

use crate::checks::failure::{Checked, Failure};
use crate::checks::records::StreamContents;
use crate::checks::records::partition_of;
use crate::jetstream::LogEntry;
use crate::world::RunResult;

const NAME: &str = "no output without owner";

pub(crate) fn check(result: &RunResult, recorded: &StreamContents) -> Checked {
    let [_, market, stats] = &result.histories;
    for (stream, history) in [(Stream::Market, market), (Stream::Stats, stats)] {
        check_owners(result, stream, history)?;
    }
    for (&(stream, partition), positions) in &recorded.positions {
        let mut before = None;
        for (seq, position) in positions {
            let now = (position.position, position.applied);
            // After an accepted loss the states contain fewer inputs than before.
            let has_gone_back = |before: (u64, u64)| now.0 < before.0 || (position.lost == 0 && now.1 < before.1);
            if before.is_some_and(has_gone_back) || position.settled > position.position {
                let detail = format!("{stream} {partition}: {now:?} at {seq} after {before:?}");
                return Err(Failure::new("positions go forward", detail));
            }
            before = Some(now);
        }
    }
    Ok(())
}

/// Each result must belong to the batch of the next position of its partition.
fn check_owners(result: &RunResult, stream: Stream, history: &[LogEntry]) -> Checked {
    let mut open: BTreeMap<u32, Vec<(u64, String)>> = BTreeMap::new();
    for stored in history {
        let subject = &stored.message.subject;
        let batch = stored.message.headers.batch.as_ref().map_or(String::new(), |place| place.id.to_string());
        if subject.ends_with(".position") {
            let partition = partition_of(subject, 2);
            let strange = open.remove(&partition).unwrap_or_default().into_iter().find(|(_, of)| *of != batch);
            if let Some((seq, of)) = strange {
                let detail =
                    format!("{stream} {partition}: result {seq} of batch {of:?} before position {}", stored.seq);
                return Err(Failure::new(NAME, detail));
            }
        } else if !subject.starts_with("checkpoint.") {
            open.entry(partition_of(subject, 1)).or_default().push((stored.seq, batch));
        }
    }
    let is_stopped = |partition: u32| {
        let mut stops = result.stops.iter();
        stops.any(|stop| (stop.output, stop.partition) == (stream, partition)) && result.plan.tears()
    };
    match open.into_iter().find(|(partition, _)| !is_stopped(*partition)) {
        Some((partition, results)) if !result.follows_a_cut(stream) => {
            Err(Failure::new(NAME, format!("{stream} {partition}: results behind the last position: {results:?}")))
        }
        _ => Ok(()),
    }
}
