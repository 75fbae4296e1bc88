//! Removes old history.

use std::time::Duration;

use anyhow::bail;
use bus::Connection;
use bus::external_consumers::forget;
use bus::stream::Stream;

use super::output;
use crate::args::Checkpointed;
use crate::trim::{Trimming, plan, trim as carry_out};

/// Flags of `topology trim`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "What holds trimming back: a step that has not committed a message yet, and an archive that the trainer has \
                        not brought up to date. A partition without input says only once an hour how far it is. Checkpoints are never trimmed, and FEED trims itself."
)]
pub(crate) struct TrimArgs {
    /// Only this stream; by default every one that holds checkpoints
    stream: Option<Checkpointed>,
    /// Trim what was stored longer ago than this, such as 90d
    #[arg(long, env = "CANDLEWIRE_KEEP", default_value = "90d", value_name = "SPAN", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Only say what would be trimmed
    #[arg(long)]
    dry_run: bool,
    /// Before that, forget an archive that will not come back, by the id that is printed in parentheses
    #[arg(long, value_name = "ID")]
    forget: Option<String>,
}

/// Trims, and says what went and who holds the rest.
pub(crate) async fn trim(connection: &Connection, args: &TrimArgs) -> anyhow::Result<()> {
    let streams = args.stream.map_or(Checkpointed::ALL.to_vec(), |stream| vec![stream]);
    if let Some(id) = &args.forget {
        forget_reader(connection, id).await?;
    }
    for stream in streams {
        let planned = plan(connection, stream.into(), args.older_than).await?;
        let gone = if args.dry_run { planned.messages } else { carry_out(connection, &planned).await? };
        print(&planned, gone, args);
    }
    Ok(())
}

async fn forget_reader(connection: &Connection, id: &str) -> anyhow::Result<()> {
    let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_hexdigit());
    for stream in Stream::ALL {
        if is_id && forget(connection, stream, id).await? {
            output::line(&format!("{stream}: reader {id} is forgotten"));
            return Ok(());
        }
    }
    bail!("there is no reader {id:?}: --forget takes the id that `topology trim --dry-run` prints in parentheses")
}

fn print(planned: &Trimming, gone: u64, args: &TrimArgs) {
    let (stream, age) = (planned.stream, humantime::format_duration(args.older_than));
    let verb = if args.dry_run { "would go" } else { "are gone" };
    output::line(&format!("{stream}: {gone} messages {verb}, older than {age} and before sequence {}", planned.to));
    if let Some(hold) = &planned.held_by {
        let (kept, who, through) = (planned.held_back, &hold.who, hold.through);
        output::line(&format!(
            "{stream}: {kept} messages of that age stay, because {who} needs what is behind sequence {through}"
        ));
    }
}
