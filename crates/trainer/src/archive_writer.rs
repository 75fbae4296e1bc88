//! MARKET → archive: every accepted tick as Parquet, exactly once.
//!
//! The last sequence in the archive is the position: reading continues after it, and a file appears whole or not at
//! all.

use anyhow::{Context, anyhow};
use bus::RecordKind;
use bus::external_consumers::{self, REGISTRATION_VERSION, Registration};
use bus::protocol::LogId;
use bus::reader::{Delivery, Selection};
use bus::stream::Stream;
use bus::subject;
use bus::topology::StreamInfo;
use bus::{Connection, codec, leader};
use market::Instrument;
use service::{Code, WithCode};
use store::archive::catalog::SeqRange;
use store::archive::{Archive, ArchiveError, ArchiveWriter};
use store::ticks::{Batch, TickRows};

use crate::error::can_wait;
use crate::prices::tick_of;

/// Maximum number of rows in memory before they become a file: about 12 MB.
pub const FILE_ROWS_MAX: usize = 100_000;

/// Turns messages of MARKET into archive files.
pub struct Archiver {
    connection: Connection,
    /// `None` while a blocking thread writes a file with it.
    writer: Option<ArchiveWriter>,
    /// The name of the archive in the register of external consumers.
    name: String,
    /// Its id there.
    id: String,
    rows: TickRows,
    /// The rows of the next file, until it is written.
    sealed: Option<(SeqRange, Batch)>,
    /// Lines that could not be read.
    left_out: u64,
    /// The identity of the MARKET log.
    source: LogId,
    /// First MARKET sequence after the range of the files.
    next: u64,
    /// Ticks since the start.
    ticks: u64,
}

impl Archiver {
    /// Opens the archive for writing, and registers it so that trimming keeps the ticks that are not archived yet.
    ///
    /// # Errors
    /// Another process writes the archive, it is damaged or of another stream, or MARKET no longer holds the next
    /// ticks.
    pub async fn open(connection: &Connection, archive: &Archive, market: &StreamInfo) -> anyhow::Result<Self> {
        let source = market.log()?;
        let (of_thread, of_market) = (archive.clone(), source.clone());
        let writer = tokio::task::spawn_blocking(move || open(&of_thread, &of_market)).await??;
        let next = writer.last_seq().map_or(market.begins().max(1), |last| last + 1);
        let name = format!("the archive {}", archive.full_name());
        let archiver = Self {
            connection: connection.clone(),
            id: writer.id().to_owned(),
            writer: Some(writer),
            name,
            rows: TickRows::default(),
            sealed: None,
            left_out: 0,
            source,
            next,
            ticks: 0,
        };
        let reached = leader::info_reaching(connection, Stream::Market, Some(&archiver.source), next - 1).await?;
        archiver.check(&reached).with_context(|| archiver.name.clone())?;
        archiver.register().await;
        Ok(archiver)
    }

    /// Registers how far the archive reaches. An error does not stop archiving: the next file registers again.
    async fn register(&self) {
        let (name, log, through) = (self.name.clone(), self.source.clone(), self.next - 1);
        let registration = Registration { version: REGISTRATION_VERSION, name, log, through };
        if let Err(error) =
            external_consumers::register(&self.connection, Stream::Market, &self.id, &registration).await
        {
            tracing::warn!(%error, "trimming does not know how far the archive is");
        }
    }

    /// Checks that MARKET is the log that is being archived, and still holds the next ticks.
    ///
    /// # Errors
    /// MARKET is another log (exit code 3), or begins after the end of the archive.
    pub fn check(&self, market: &StreamInfo) -> anyhow::Result<()> {
        let archived = self.next - 1;
        let (first, last) = (market.begins(), market.state.last_seq);
        let log = market.log()?;
        if log != self.source && log.continues_from(&self.source, 0) {
            return Err(bus::Error::Restored { input: Stream::Market.name().to_owned() }.into());
        }
        if log != self.source || archived > last {
            let error = anyhow!(
                "it reaches sequence {archived} of the MARKET stream of {}, but there is one of {log} that ends at {last}: \
                 restore MARKET, or archive into another place with --archive",
                self.source
            );
            return Err(error).exit_code(Code::Server);
        }
        anyhow::ensure!(
            first <= self.next,
            "it ends at MARKET sequence {archived}, but MARKET now begins at {first}: the ticks between are gone; archive \
             into another place with --archive and keep this one as it is"
        );
        Ok(())
    }

    /// Returns the messages to read: all accepted ticks that are not archived yet.
    pub fn selection(&self) -> Selection {
        Selection {
            stream: Stream::Market,
            filters: vec![subject::of_kind(Stream::Market, RecordKind::Price, None)],
            from: self.next,
        }
    }

    /// Returns the number of rows that are not in a file yet.
    pub fn waiting(&self) -> usize {
        self.rows.len()
    }

    /// Takes the ticks of a message. A line that is not a tick is counted and left out, as by the forecasting step.
    ///
    /// # Errors
    /// The subject is not one of MARKET.
    pub fn absorb(&mut self, delivery: &Delivery) -> anyhow::Result<()> {
        let subject = subject::SubjectParts::parse(&delivery.subject);
        let subject = subject.with_context(|| format!("{} is not a subject of MARKET", delivery.subject))?;
        let instrument = Instrument::new(subject.coin, subject.quote)?;
        let is_known = codec::is_known_schema(delivery.headers.as_ref(), RecordKind::Price);
        let mut reader = codec::LineReader::default();
        for (line, bytes) in codec::lines(&delivery.payload) {
            match tick_of(&mut reader, bytes, &instrument).filter(|_| is_known) {
                Some(tick) => {
                    self.rows.push(&instrument, &tick, delivery.seq);
                    self.ticks += 1;
                }
                None => self.leave_out(delivery.seq, line),
            }
        }
        Ok(())
    }

    /// Counts a line that is not a tick, and warns about the first.
    fn leave_out(&mut self, seq: u64, line: u32) {
        self.left_out += 1;
        if self.left_out == 1 {
            tracing::warn!(
                seq,
                line,
                "a line of MARKET cannot be read and is not archived; further ones are only counted"
            );
        }
    }

    /// Writes the rows taken so far to a file that covers MARKET up to sequence `through`. The file is durable when
    /// this returns. Does nothing when a file already reaches as far.
    ///
    /// # Errors
    /// The file cannot be written. No row is lost: the next call writes it.
    pub async fn write(&mut self, through: u64) -> anyhow::Result<()> {
        self.write_sealed().await?;
        if through >= self.next {
            let range = SeqRange { first: self.next, last: through };
            self.sealed = Some((range, std::mem::take(&mut self.rows).into_batch()));
            self.next = through + 1;
            self.write_sealed().await?;
        }
        Ok(())
    }

    async fn write_sealed(&mut self) -> anyhow::Result<()> {
        let Some((range, batch)) = self.sealed.clone() else { return Ok(()) };
        self.with_writer(move |writer| writer.append(range, &batch)).await?;
        self.sealed = None;
        tracing::debug!(first = range.first, last = range.last, "archive file written");
        self.register().await;
        Ok(())
    }

    /// Joins the newest files where that pays. The archive stays complete when this fails.
    ///
    /// # Errors
    /// An error that waiting does not resolve. The next call joins the rest.
    pub async fn join(&mut self) -> anyhow::Result<()> {
        match self.with_writer(|writer| writer.join().map(drop)).await {
            Err(error) if can_wait(&error) => {
                tracing::debug!("files are joined later: {error:#}");
                Ok(())
            }
            joined => joined,
        }
    }

    /// Runs a job with the writer on a blocking thread.
    async fn with_writer(
        &mut self,
        job: impl FnOnce(&mut ArchiveWriter) -> Result<(), ArchiveError> + Send + 'static,
    ) -> anyhow::Result<()> {
        let mut writer = self.writer.take().context("the archive is being written already")?;
        let done = tokio::task::spawn_blocking(move || {
            let done = job(&mut writer);
            (writer, done)
        });
        let (writer, done) = done.await?;
        self.writer = Some(writer);
        Ok(done?)
    }

    /// Returns the number of ticks taken since the start.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Returns the MARKET sequence that the files reach; `None` before the first file.
    pub fn last_seq(&self) -> Option<u64> {
        self.writer.as_ref().and_then(ArchiveWriter::last_seq)
    }
}

/// Opens an archive of the log `market`. A log that was restored from a backup continues its archive, if the backup
/// reaches as far.
fn open(archive: &Archive, market: &LogId) -> Result<ArchiveWriter, ArchiveError> {
    let continues = |theirs: &str, last| LogId::from_json(theirs).is_ok_and(|log| market.continues_from(&log, last));
    match (archive.source()?, archive.last_seq()?) {
        (Some(theirs), Some(last)) if continues(&theirs, last) => {
            let mut writer = ArchiveWriter::open(archive.clone(), &theirs)?;
            writer.continue_as(&market.to_json());
            Ok(writer)
        }
        _ => ArchiveWriter::open(archive.clone(), &market.to_json()).map_err(in_words),
    }
}

/// Shows the logs of an error as people read them.
fn in_words(error: ArchiveError) -> ArchiveError {
    let words = |source: String| match LogId::from_json(&source) {
        Ok(log) => log.to_string(),
        Err(_) => format!("{source:?}, noted by another version of candlewire"),
    };
    match error {
        ArchiveError::OtherSource { place, theirs, ours } => {
            ArchiveError::OtherSource { place, theirs: words(theirs), ours: words(ours) }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_continues_only_with_its_own_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Archive::new(folder.path());
        let write = |writer: &mut ArchiveWriter, seq| {
            let written = writer.append(SeqRange { first: seq, last: seq }, &TickRows::default().into_batch());
            written.expect("written");
        };
        let log = LogId::new("monday");
        write(&mut open(&archive, &log).expect("a new one"), 1);
        let restored = log.clone().restored(1, "tuesday");
        write(&mut open(&archive, &restored).expect("the backup reaches as far"), 2);
        assert_eq!(archive.source().expect("readable"), Some(restored.to_json()));
        for other in [log, restored.clone().rebuilt(9), restored.clone().restored(1, "wednesday")] {
            let error = open(&archive, &other).expect_err("another log").to_string();
            let words = format!("another MARKET stream ({restored}, not {other})");
            assert!(error.contains(&words) && error.contains("--archive"), "{error}");
        }
    }

    #[test]
    fn an_archive_of_another_version_is_refused_with_advice() {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Archive::new(folder.path());
        let mut writer = ArchiveWriter::open(archive.clone(), "monday").expect("writable");
        writer.append(SeqRange { first: 1, last: 1 }, &TickRows::default().into_batch()).expect("written");
        drop(writer);
        let error = open(&archive, &LogId::new("monday")).expect_err("not known to be the same log");
        assert!(matches!(error, ArchiveError::OtherSource { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("noted by another version of candlewire") && error.contains("--archive"), "{error}");
    }
}
