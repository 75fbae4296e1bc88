//! Brings an archive up to date with MARKET once, for the commands that end.

use bus::reader::{Form, Reader, ReaderEvent};
use bus::stream::Stream;
use bus::{Connection, NatsArgs};
use store::archive::Archive;

use crate::archive_writer::{Archiver, FILE_ROWS_MAX};
use crate::error::is_locked;

/// The result of an update of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArchiveUpdate {
    /// New ticks.
    pub ticks: u64,
    /// MARKET sequence that the archive reaches; `None` when MARKET never held a message.
    pub last_seq: Option<u64>,
}

/// Archives the ticks that MARKET holds now.
///
/// # Errors
/// As [`Archiver::open`], and errors of reading and writing.
pub(crate) async fn bring_up_to_date(connection: &Connection, archive: &Archive) -> anyhow::Result<ArchiveUpdate> {
    let market = bus::topology::require(connection, Stream::Market).await?;
    let mut archiver = Archiver::open(connection, archive, &market).await?;
    let end = market.state.last_seq;
    let mut reader = Reader::start_to_end(connection, archiver.selection(), Form::Lines);
    loop {
        let is_over = match reader.next().await? {
            ReaderEvent::Attached { info, pending } => {
                archiver.check(&info)?;
                pending == 0
            }
            ReaderEvent::Message(delivery) if delivery.seq > end => true,
            ReaderEvent::Message(delivery) => {
                archiver.absorb(&delivery)?;
                if archiver.waiting() >= FILE_ROWS_MAX {
                    archiver.write(delivery.seq).await?;
                    archiver.join().await?;
                }
                delivery.is_end_of(&market)
            }
        };
        if is_over {
            break;
        }
    }
    archiver.write(end).await?;
    archiver.join().await?;
    tracing::info!(ticks = archiver.ticks(), last_seq = end, %archive, "archive is up to date");
    Ok(ArchiveUpdate { ticks: archiver.ticks(), last_seq: archiver.last_seq() })
}

/// Brings the archive up to date with the server, if one answers. Returns `None` without a server when the archive
/// holds ticks.
pub(crate) async fn update(archive: &Archive, nats: &NatsArgs) -> anyhow::Result<Option<Connection>> {
    let at_once = NatsArgs { connect_timeout: 0, ..nats.clone() };
    let connection = match Connection::open(&at_once, Some("trainer")).await {
        Ok(connection) => connection,
        Err(error @ bus::Error::NoServer { .. }) if archive.last_seq()?.is_some() => {
            tracing::warn!("{error}; using the archive as it is");
            return Ok(None);
        }
        Err(bus::Error::NoServer { .. }) => Connection::open(nats, Some("trainer")).await?,
        Err(error) => return Err(error.into()),
    };
    match bring_up_to_date(&connection, archive).await {
        Ok(_) => Ok(Some(connection)),
        Err(error) if is_locked(&error) => {
            tracing::warn!("{error}; using the archive as it is");
            Ok(Some(connection))
        }
        Err(error) => Err(error),
    }
}
