//! `topology trim`.

use std::time::Duration;

use anyhow::bail;
use bus::Connection;
use bus::external_consumers::forget;
use bus::stream::Stream;

use super::checkpointed_stream::CheckpointedStream;
use super::output;
use crate::trim::{Trimming, plan, trim as carry_out};

/// Flags of `topology trim`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Trimming is held back by steps that have not committed a message yet, and by an archive that the trainer has \
                  not brought up to date. A partition without input updates its position only once an hour. Checkpoints are \
                  never trimmed. The limits of FEED trim it."
)]
pub(crate) struct TrimArgs {
    /// Only this stream; by default every one that holds checkpoints
    stream: Option<CheckpointedStream>,
    /// Trim messages stored longer ago than this, such as 90d
    #[arg(long, env = "CANDLEWIRE_KEEP", default_value = "90d", value_name = "SPAN", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Only print what would be trimmed
    #[arg(long)]
    dry_run: bool,
    /// First forget an archive that will not come back, by the id that is printed in parentheses
    #[arg(long, value_name = "ID")]
    forget: Option<String>,
}

/// Trims, and prints the removed messages and the readers that hold back the rest.
pub(crate) async fn trim(connection: &Connection, args: &TrimArgs) -> anyhow::Result<()> {
    let streams = args.stream.map_or(CheckpointedStream::ALL.to_vec(), |stream| vec![stream]);
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
    let verb = if args.dry_run { "would be removed" } else { "removed" };
    output::line(&format!("{stream}: {gone} messages {verb}, older than {age} and before sequence {}", planned.to));
    if let Some(hold) = &planned.held_by {
        let (kept, who, through) = (planned.held_back, &hold.who, hold.through);
        output::line(&format!(
            "{stream}: {kept} messages of that age are kept: {who} still needs everything after sequence {through}"
        ));
    }
}
