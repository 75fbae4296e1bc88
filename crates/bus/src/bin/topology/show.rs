//! Where every step stands.

use std::collections::BTreeMap;

use bus::checkpoint::{Position, positions};
use bus::topology::{STEPS, Step, Stream, stream_info};
use bus::{Connection, Error, history, subject};
use futures::future::try_join_all;
use serde_json::{Map, Value, json};

use crate::output;

/// Flags of `topology show`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ShowArgs {
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people; partitions without input are left out
    Table,
    /// One JSON object, for machines
    Json,
}

/// A partition of a step.
pub(crate) struct Standing {
    pub(crate) partition: u32,
    /// Last sequence of the input that concerns it; 0 for none.
    pub(crate) input_last: u64,
    pub(crate) position: Option<Position<Value>>,
}

impl Standing {
    /// Whether all of its input is committed.
    pub(crate) fn is_done(&self) -> bool {
        self.input_last <= self.position.as_ref().map_or(0, |position| position.position)
    }
}

/// Every partition of a step.
pub(crate) async fn standings(connection: &Connection, step: Step) -> Result<Vec<Standing>, Error> {
    let partitions = stream_info(connection, step.input.name()).await?.partitions().unwrap_or_default();
    // Inputs first: what a position covers is then at least what was seen.
    let input_last = try_join_all((0..partitions).map(|partition| last_input(connection, step, partition))).await?;
    let mut positions: BTreeMap<u32, Position<Value>> = positions(connection, step.output).await?.into_iter().collect();
    let standings = (0..partitions).zip(input_last);
    Ok(standings
        .map(|(partition, input_last)| Standing { partition, input_last, position: positions.remove(&partition) })
        .collect())
}

async fn last_input(connection: &Connection, step: Step, partition: u32) -> Result<u64, Error> {
    let subjects = step.kinds.iter().map(|&kind| subject::of_partition(step.input, partition, kind));
    let subjects: Vec<String> = subjects.collect();
    let last = try_join_all(subjects.iter().map(|subject| history::last(connection, step.input, subject))).await?;
    Ok(last.into_iter().flatten().map(|message| message.seq).max().unwrap_or(0))
}

/// Prints streams, positions and counts.
pub(crate) async fn show(connection: &Connection, args: &ShowArgs) -> anyhow::Result<()> {
    let mut streams = Vec::new();
    for stream in Stream::ALL {
        streams.push((stream, stream_info(connection, stream.name()).await?));
    }
    let mut steps = Vec::new();
    for step in STEPS {
        steps.push((step, standings(connection, step).await?));
    }
    if args.format == Format::Json {
        let streams: Map<String, Value> = streams
            .iter()
            .map(|(stream, info)| {
                let state = info.state;
                let value = json!({"messages": state.messages, "bytes": state.bytes, "first_seq": state.first_seq, "last_seq": state.last_seq});
                (stream.name().to_owned(), value)
            })
            .collect();
        let steps: Map<String, Value> =
            steps.iter().map(|(step, standings)| (step.service.to_owned(), step_json(standings))).collect();
        output::line(&json!({ "streams": streams, "steps": steps }).to_string());
        return Ok(());
    }
    let rows = streams.iter().map(|(stream, info)| {
        let state = info.state;
        vec![
            stream.to_string(),
            state.messages.to_string(),
            state.bytes.to_string(),
            state.first_seq.to_string(),
            state.last_seq.to_string(),
        ]
    });
    output::table(&["stream", "messages", "bytes", "first", "last"], 1, rows);
    let standings = steps.iter().flat_map(|(step, standings)| standings.iter().map(move |standing| (step, standing)));
    let busy = standings.filter(|(_, standing)| standing.input_last > 0 || standing.position.is_some());
    let rows = busy.map(|(step, standing)| {
        let position = standing.position.as_ref().map_or(0, |position| position.position);
        let states = standing.position.as_ref().map_or(0, |position| position.states);
        let behind =
            if standing.is_done() { "none".to_owned() } else { format!("{position} of {}", standing.input_last) };
        vec![step.service.to_owned(), standing.partition.to_string(), position.to_string(), states.to_string(), behind]
    });
    output::table(&["step", "partition", "position", "instruments", "lag"], 1, rows);
    for (step, standings) in &steps {
        output::line(&format!("{}: {}", step.service, total_counts(standings)));
    }
    Ok(())
}

fn step_json(standings: &[Standing]) -> Value {
    let partitions: Vec<Value> = standings
        .iter()
        .filter(|standing| standing.input_last > 0 || standing.position.is_some())
        .map(|standing| {
            let position = standing.position.as_ref();
            json!({
                "partition": standing.partition,
                "input_last": standing.input_last,
                "position": position.map_or(0, |position| position.position),
                "states": position.map_or(0, |position| position.states),
                "done": standing.is_done(),
            })
        })
        .collect();
    json!({ "done": standings.iter().all(Standing::is_done), "counts": total_counts(standings), "partitions": partitions })
}

/// The counts of all partitions together.
fn total_counts(standings: &[Standing]) -> Value {
    let mut total = Value::Null;
    for position in standings.iter().filter_map(|standing| standing.position.as_ref()) {
        add(&mut total, &position.counts);
    }
    if total.is_null() { json!({}) } else { total }
}

/// Adds numbers of the same place, however deep.
fn add(total: &mut Value, more: &Value) {
    match (total, more) {
        (Value::Object(total), Value::Object(more)) => {
            for (key, value) in more {
                add(total.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (total @ Value::Null, more) => *total = more.clone(),
        (total, more) => {
            if let (Some(left), Some(right)) = (total.as_u64(), more.as_u64()) {
                *total = json!(left + right);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_partitions_add_up_by_name() {
        let mut total = Value::Null;
        add(&mut total, &json!({"accepted": 1, "rejected": {"future": 2}}));
        add(&mut total, &json!({"accepted": 3, "rejected": {"future": 1, "unparsable": 4}}));
        assert_eq!(total, json!({"accepted": 4, "rejected": {"future": 3, "unparsable": 4}}));
    }
}
