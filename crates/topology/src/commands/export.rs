//! `topology export`: stream definitions for other tools.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use bus::topology::definitions;
use serde_json::Value;
use service::{Code, WithCode};

use super::limits::LimitArgs;
use super::output;

/// Flags of `topology export`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExportArgs {
    /// Write one file per stream into this folder, as `nats stream add --config` takes it; without it, print one JSON
    /// array
    folder: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Prints or writes the definitions that `topology apply` with these limits would create. Needs no server.
pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let definitions = definitions(&args.limits.resolve(&[]));
    let Some(folder) = &args.folder else {
        output::line(&serde_json::to_string_pretty(&definitions)?);
        return Ok(());
    };
    let create = || fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()));
    create().exit_code(Code::BadConfig)?;
    for definition in &definitions {
        let path = folder.join(format!("{}.json", name(definition)));
        let text = serde_json::to_string_pretty(definition)? + "\n";
        fs::write(&path, text)
            .with_context(|| format!("cannot write {}", path.display()))
            .exit_code(Code::BadConfig)?;
        output::line(&path.display().to_string());
    }
    Ok(())
}

fn name(definition: &Value) -> &str {
    definition["name"].as_str().unwrap_or_default()
}
