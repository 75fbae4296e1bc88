//! What the streams should be, against what they are.

use anyhow::bail;
use bus::topology::{Difference, Limits, StreamInfo, create, definitions, differences, stream_info, update};
use bus::{Connection, Error};
use serde_json::Value;

use crate::output;

/// What has to be done to one stream.
enum Change {
    Create,
    Nothing,
    Raise(StreamInfo, Vec<Difference>),
    Refuse(Vec<Difference>),
}

/// Shows what `apply` would do.
pub(crate) async fn plan(connection: &Connection, limits: &Limits) -> anyhow::Result<()> {
    let mut open = 0;
    for definition in definitions(limits) {
        let change = change_of(connection, &definition).await?;
        open += usize::from(!matches!(change, Change::Nothing));
        print(&definition, &change, false);
    }
    if open > 0 {
        bail!("{open} streams are not as planned: `topology apply` does what loses nothing");
    }
    Ok(())
}

/// Creates what is missing and raises limits. Nothing is changed when anything must be refused.
pub(crate) async fn apply(connection: &Connection, limits: &Limits) -> anyhow::Result<()> {
    let mut changes = Vec::new();
    for definition in definitions(limits) {
        let change = change_of(connection, &definition).await?;
        if let Change::Refuse(differences) = &change {
            let refused = differences.iter().filter(|difference| !difference.is_safe).map(ToString::to_string);
            let difference = refused.collect::<Vec<_>>().join("; ");
            return Err(Error::StreamDiffers { stream: name(&definition).to_owned(), difference }.into());
        }
        changes.push((definition, change));
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

fn name(definition: &Value) -> &str {
    definition["name"].as_str().unwrap_or_default()
}

fn print(definition: &Value, change: &Change, done: bool) {
    let name = name(definition);
    let lines: Vec<String> = match change {
        Change::Create if done => vec!["created".to_owned()],
        Change::Create => vec!["create".to_owned()],
        Change::Nothing => vec!["as it should be".to_owned()],
        Change::Raise(_, differences) => differences.iter().map(|d| format!("raise: {d}")).collect(),
        Change::Refuse(differences) => differences.iter().map(|d| format!("refused: {d}")).collect(),
    };
    for line in lines {
        output::line(&format!("{name:<14} {line}"));
    }
}
