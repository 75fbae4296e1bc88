//! `topology plan` and `topology apply`: planned streams against existing ones.

use anyhow::bail;
use bus::topology::{
    Limits, SettingDifference, StreamInfo, check_room, create, definitions, differences, stream_info, update,
};
use bus::{Connection, Error};
use serde_json::Value;

use super::advice::advice;
use super::limits::LimitArgs;
use super::output;
use super::retry::until_answered;

/// The change that one stream needs.
enum Change {
    Create,
    Nothing,
    Raise(StreamInfo, Vec<SettingDifference>),
    Refuse(Vec<SettingDifference>),
}

/// The changes of all streams, and the resulting limits.
struct Plan {
    limits: Limits,
    changes: Vec<(Value, Change)>,
}

impl Plan {
    async fn make(connection: &Connection, limits: &LimitArgs) -> anyhow::Result<Self> {
        until_answered(connection).await?;
        let mut streams = Vec::new();
        for definition in definitions(&Limits::default()) {
            match stream_info(connection, name(&definition)).await {
                Ok(info) => streams.push(info),
                Err(Error::StreamMissing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let limits = limits.resolve(&streams);
        let change = |definition: &Value| {
            let info = streams.iter().find(|info| info.config["name"] == definition["name"]);
            info.map_or(Change::Create, |info| change_of(info, definition))
        };
        let changes = definitions(&limits).into_iter().map(|definition| (change(&definition), definition));
        Ok(Self { limits, changes: changes.map(|(change, definition)| (definition, change)).collect() })
    }

    /// The reason for refusing the plan: every stream that cannot be changed as planned.
    fn refusal(&self) -> Option<Error> {
        let refused = self.changes.iter().filter_map(|(definition, change)| match change {
            Change::Refuse(differences) => Some((name(definition), reasons(name(definition), differences))),
            Change::Create | Change::Nothing | Change::Raise(..) => None,
        });
        let refused: Vec<_> = refused.collect();
        let (first, _) = refused.first()?;
        let others = refused[1..].iter().map(|(stream, reasons)| format!("{stream}: {}", reasons.join("; ")));
        let difference = [refused[0].1.join("; ")].into_iter().chain(others).collect::<Vec<_>>().join("; ");
        Some(Error::StreamDiffers { stream: (*first).to_owned(), difference })
    }
}

/// Prints the changes that `apply` would make.
pub(crate) async fn plan(connection: &Connection, limits: &LimitArgs) -> anyhow::Result<()> {
    let plan = Plan::make(connection, limits).await?;
    let (mut open, mut refused) = (0, 0);
    for (definition, change) in &plan.changes {
        open += usize::from(!matches!(change, Change::Nothing));
        refused += usize::from(matches!(change, Change::Refuse(_)));
        print(definition, change, false);
    }
    match (open, refused) {
        (0, _) => Ok(()),
        (_, 0) => bail!(
            "{open} streams differ from the plan: run `topology apply`, which makes only changes that lose no data"
        ),
        _ => bail!("{refused} streams cannot be changed as planned, so `topology apply` would change none: see above"),
    }
}

/// Creates missing streams and raises limits. Changes nothing when one change is refused or does not fit: streams of
/// two different plans would not work together.
pub(crate) async fn apply(connection: &Connection, limits: &LimitArgs) -> anyhow::Result<()> {
    let plan = Plan::make(connection, limits).await?;
    if let Some(refusal) = plan.refusal() {
        return Err(refusal.into());
    }
    let wanted: u64 = plan.changes.iter().map(|(definition, change)| more_bytes(definition, change)).sum();
    if plan.changes.iter().any(|(_, change)| !matches!(change, Change::Nothing)) {
        check_room(connection, wanted, plan.limits.replicas).await?;
    }
    for (definition, change) in &plan.changes {
        match change {
            Change::Create => create(connection, definition).await?,
            Change::Raise(info, differences) => update(connection, info, differences).await?,
            Change::Nothing | Change::Refuse(_) => {}
        }
        print(definition, change, true);
    }
    Ok(())
}

fn change_of(info: &StreamInfo, definition: &Value) -> Change {
    let differences = differences(definition, &info.config);
    if differences.is_empty() {
        Change::Nothing
    } else if differences.iter().all(|difference| difference.is_safe) {
        Change::Raise(info.clone(), differences)
    } else {
        Change::Refuse(differences)
    }
}

/// The refused differences of a stream, each with advice.
fn reasons(stream: &str, differences: &[SettingDifference]) -> Vec<String> {
    let refused = differences.iter().filter(|difference| !difference.is_safe);
    refused.map(|difference| format!("{difference}: {}", advice(stream, difference))).collect()
}

/// Bytes that the server must reserve for a change.
fn more_bytes(definition: &Value, change: &Change) -> u64 {
    let wanted = definition["max_bytes"].as_u64().unwrap_or_default();
    match change {
        Change::Create => wanted,
        Change::Raise(info, _) => wanted.saturating_sub(info.max_bytes().unwrap_or_default()),
        Change::Nothing | Change::Refuse(_) => 0,
    }
}

fn name(definition: &Value) -> &str {
    definition["name"].as_str().unwrap_or_default()
}

fn print(definition: &Value, change: &Change, done: bool) {
    let name = name(definition);
    let lines: Vec<String> = match change {
        Change::Create if done => vec!["created".to_owned()],
        Change::Create => vec!["create".to_owned()],
        Change::Nothing => vec!["as planned".to_owned()],
        Change::Raise(_, differences) => {
            let verb = if done { "raised" } else { "raise" };
            differences
                .iter()
                .map(|SettingDifference { key, actual, wanted, .. }| format!("{verb}: {key} {actual} -> {wanted}"))
                .collect()
        }
        Change::Refuse(differences) => {
            reasons(name, differences).iter().map(|reason| format!("refused: {reason}")).collect()
        }
    };
    for line in lines {
        output::line(&format!("{name:<14} {line}"));
    }
}
