//! What the streams should be, against what they are.

use anyhow::bail;
use bus::topology::{
    Difference, Limits, StreamInfo, check_room, create, definitions, differences, stream_info, update,
};
use bus::{Connection, Error};
use serde_json::Value;

use crate::advice::advice;
use crate::output;
use crate::patience::until_answered;

/// What has to be done to one stream.
enum Change {
    Create,
    Nothing,
    Raise(StreamInfo, Vec<Difference>),
    Refuse(Vec<Difference>),
}

/// Shows what `apply` would do.
pub(crate) async fn plan(connection: &Connection, limits: &Limits) -> anyhow::Result<()> {
    until_answered(connection).await?;
    let (mut open, mut refused) = (0, 0);
    for definition in definitions(limits) {
        let change = change_of(connection, &definition).await?;
        open += usize::from(!matches!(change, Change::Nothing));
        refused += usize::from(matches!(change, Change::Refuse(_)));
        print(&definition, &change, false);
    }
    match (open, refused) {
        (0, _) => Ok(()),
        (_, 0) => bail!("{open} streams are not as planned: `topology apply` does what loses nothing"),
        _ => bail!("{refused} streams cannot be changed as planned, and `topology apply` will change none: see above"),
    }
}

/// Creates what is missing and raises limits. Nothing is changed when anything must be refused, or does not fit.
pub(crate) async fn apply(connection: &Connection, limits: &Limits) -> anyhow::Result<()> {
    until_answered(connection).await?;
    let mut changes = Vec::new();
    for definition in definitions(limits) {
        let change = change_of(connection, &definition).await?;
        if let Change::Refuse(differences) = &change {
            let stream = name(&definition);
            let refused = differences.iter().filter(|difference| !difference.is_safe);
            let refused = refused.map(|difference| format!("{difference}: {}", advice(stream, difference)));
            let difference = refused.collect::<Vec<_>>().join("; ");
            return Err(Error::StreamDiffers { stream: stream.to_owned(), difference }.into());
        }
        changes.push((definition, change));
    }
    let wanted: u64 = changes.iter().map(|(definition, change)| more_bytes(definition, change)).sum();
    if changes.iter().any(|(_, change)| !matches!(change, Change::Nothing)) {
        check_room(connection, wanted, limits.replicas).await?;
    }
    for (definition, change) in changes {
        match &change {
            Change::Create => create(connection, &definition).await?,
            Change::Raise(info, differences) => update(connection, info, differences).await?,
            Change::Nothing | Change::Refuse(_) => {}
        }
        print(&definition, &change, true);
    }
    Ok(())
}

async fn change_of(connection: &Connection, definition: &Value) -> anyhow::Result<Change> {
    let info = match stream_info(connection, name(definition)).await {
        Ok(info) => info,
        Err(Error::StreamMissing { .. }) => return Ok(Change::Create),
        Err(error) => return Err(error.into()),
    };
    let differences = differences(definition, &info.config);
    Ok(if differences.is_empty() {
        Change::Nothing
    } else if differences.iter().all(|difference| difference.is_safe) {
        Change::Raise(info, differences)
    } else {
        Change::Refuse(differences)
    })
}

/// Bytes that the server must set aside for a change.
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
        Change::Nothing => vec!["as it should be".to_owned()],
        Change::Raise(_, differences) => {
            let verb = if done { "raised" } else { "raise" };
            differences
                .iter()
                .map(|Difference { key, actual, wanted, .. }| format!("{verb}: {key} {actual} -> {wanted}"))
                .collect()
        }
        Change::Refuse(differences) => {
            let refused = differences.iter().filter(|difference| !difference.is_safe);
            refused.map(|difference| format!("refused: {difference}: {}", advice(name, difference))).collect()
        }
    };
    for line in lines {
        output::line(&format!("{name:<14} {line}"));
    }
}
