//! `topology show`: the progress of every step.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bus::lease::{self, SlotOwner};
use bus::progress::{Backlog, StepProgress, backlog, is_in_use, standings};
use bus::stream::{LEASES, STEPS, Step, Stream};
use bus::topology::{StreamInfo, stream_info};
use bus::{Connection, Error};
use serde_json::{Map, Value, json};

use super::output;
use super::retry::retried;

/// Flags of `topology show`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ShowArgs {
    /// Output format; partitions without input and position are left out
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON object, for machines
    Json,
}

/// State of all streams and steps at one moment.
struct Snapshot {
    streams: Vec<(Stream, StreamInfo)>,
    steps: Vec<(Step, Vec<Row>)>,
    taken_at: SystemTime,
}

/// A partition of a step that has, or had, input.
struct Row {
    standing: StepProgress,
    owner: Option<SlotOwner>,
    backlog: Option<Backlog>,
}

/// Prints streams, owners, positions and counts.
pub(crate) async fn show(connection: &Connection, args: &ShowArgs) -> anyhow::Result<()> {
    let picture = retried(async || Snapshot::take(connection).await).await?;
    match args.format {
        Format::Json => output::line(&picture.to_json().to_string()),
        Format::Table => picture.print(),
    }
    Ok(())
}

impl Snapshot {
    async fn take(connection: &Connection) -> Result<Self, Error> {
        let mut streams = Vec::new();
        for stream in Stream::ALL {
            streams.push((stream, stream_info(connection, stream.name()).await?));
        }
        stream_info(connection, &format!("KV_{LEASES}")).await?;
        let mut steps = Vec::new();
        for step in STEPS {
            steps.push((step, rows(connection, step).await?));
        }
        Ok(Self { streams, steps, taken_at: SystemTime::now() })
    }

    fn print(&self) {
        let streams = self.streams.iter().map(|(stream, info)| {
            let state = info.state;
            let numbers = [state.messages, state.bytes, state.first_seq, state.last_seq];
            std::iter::once(stream.to_string()).chain(numbers.map(|number| number.to_string())).collect()
        });
        output::table(&["stream", "messages", "bytes", "first", "last"], 1, streams);
        let rows = self.steps.iter().flat_map(|(step, rows)| rows.iter().map(move |row| (step, row)));
        let rows = rows.map(|(step, row)| {
            let position = row.standing.position.as_ref();
            vec![
                step.service.to_owned(),
                row.standing.partition.to_string(),
                row.owner.as_ref().map_or("none", |owner| &owner.place).to_owned(),
                row.standing.committed().to_string(),
                row.standing.input_last.to_string(),
                position.map_or(0, |position| position.states).to_string(),
                self.lag(row),
            ]
        });
        output::table(&["step", "partition", "owner", "position", "input", "instruments", "lag"], 3, rows);
        output::line(
            "position: last committed input · input: last existing input · lag: waiting messages and their age",
        );
        for (step, rows) in &self.steps {
            output::line(&format!("{}: {}", step.service, total_counts(rows)));
        }
    }

    fn lag(&self, row: &Row) -> String {
        row.backlog.map_or("none".to_owned(), |backlog| {
            let age = Duration::from_secs(self.age(backlog).as_secs());
            format!("{} messages, {}", backlog.messages, humantime::format_duration(age))
        })
    }

    /// Age of the oldest waiting message. Clocks of two machines may differ: at least zero.
    fn age(&self, backlog: Backlog) -> Duration {
        self.taken_at.duration_since(backlog.since).unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        let streams: Map<String, Value> = self.streams.iter().map(|(stream, info)| {
            let state = info.state;
            let value = json!({"messages": state.messages, "bytes": state.bytes, "first_seq": state.first_seq, "last_seq": state.last_seq});
            (stream.name().to_owned(), value)
        }).collect();
        let steps: Map<String, Value> = self
            .steps
            .iter()
            .map(|(step, rows)| {
                let partitions: Vec<Value> = rows.iter().map(|row| self.row_json(row)).collect();
                let is_done = rows.iter().all(|row| row.standing.is_done());
                let value = json!({ "done": is_done, "counts": total_counts(rows), "partitions": partitions });
                (step.service.to_owned(), value)
            })
            .collect();
        json!({ "streams": streams, "steps": steps })
    }

    fn row_json(&self, row: &Row) -> Value {
        let backlog = row.backlog;
        json!({
            "partition": row.standing.partition,
            "owner": row.owner.as_ref().map(|owner| json!({ "id": owner.id, "place": owner.place })),
            "input_last": row.standing.input_last,
            "position": row.standing.committed(),
            "states": row.standing.position.as_ref().map_or(0, |position| position.states),
            "done": row.standing.is_done(),
            "lag": {
                "messages": backlog.map_or(0, |backlog| backlog.messages),
                "age_ms": backlog.map_or(0, |backlog| self.age(backlog).as_millis() as u64),
            },
        })
    }
}

async fn rows(connection: &Connection, step: Step) -> Result<Vec<Row>, Error> {
    let mut owners: BTreeMap<u32, SlotOwner> = lease::owners(connection, step.service).await?.into_iter().collect();
    let mut rows = Vec::new();
    let standings = standings(connection, step).await?;
    if owners.is_empty() && !is_in_use(step, &standings) {
        return Ok(rows);
    }
    for standing in standings.into_iter().filter(StepProgress::is_used) {
        let backlog = match standing.is_done() {
            true => None,
            false => backlog(connection, step, standing.partition, standing.committed()).await?,
        };
        rows.push(Row { owner: owners.remove(&standing.partition), standing, backlog });
    }
    Ok(rows)
}

/// The sum of the counts of all partitions.
fn total_counts(rows: &[Row]) -> Value {
    let mut total = Value::Null;
    for position in rows.iter().filter_map(|row| row.standing.position.as_ref()) {
        add(&mut total, &position.counts);
    }
    if total.is_null() { json!({}) } else { total }
}

/// Adds numbers of equal keys, at every depth.
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
