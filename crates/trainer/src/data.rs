//! The ticks that a model learns from: from the archive, or from a recording.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, Command, FromArgMatches};
use market::{EventTime, Instrument, Tick};
use service::{Code, WithCode};
use store::archive::catalog::SeqRange;
use store::archive::{Archive, Through};
use store::recording::ReadingArgs;

use crate::args::{ArchiveArgs, InstrumentArgs};
use crate::input;
use crate::progress::ProgressDisplay;

/// Flags that select the ticks.
#[derive(Debug, Clone)]
pub struct DataArgs {
    /// The archive or the files.
    pub source: TickSource,
    /// The instrument.
    pub instrument: InstrumentArgs,
}

/// The place of the ticks.
#[derive(Debug, Clone)]
pub enum TickSource {
    /// An archive.
    Archive {
        /// The archive.
        archive: ArchiveArgs,
        /// Use the archive as it is, without a server.
        offline: bool,
    },
    /// Files of a recording.
    Recording {
        /// The files, all of one instrument.
        files: Vec<PathBuf>,
        /// How they are read.
        reading: ReadingArgs,
    },
}

/// The flags as clap parses them.
#[derive(clap::Args)]
struct Typed {
    #[command(flatten)]
    archive: ArchiveArgs,

    /// Use the archive as it is, without asking a server
    #[arg(long)]
    offline: bool,

    /// Learn from a recording instead of the archive, without a server: CSV of many formats, JSON lines or Parquet, also
    /// compressed (producer inspect FILE says how it is read), of the instrument that --coin and --quote name; repeat it
    /// for more files
    #[arg(long, value_name = "FILE", conflicts_with = "offline")]
    input: Vec<PathBuf>,

    #[command(flatten)]
    reading: ReadingArgs,

    #[command(flatten)]
    instrument: InstrumentArgs,
}

impl clap::Args for DataArgs {
    fn augment_args(command: Command) -> Command {
        with_input_format(Typed::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        with_input_format(Typed::augment_args_for_update(command))
    }
}

impl FromArgMatches for DataArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Typed { archive, offline, input, reading, instrument } = Typed::from_arg_matches(matches)?;
        if input.is_empty() {
            refuse_reading_flags(matches)?;
            return Ok(Self { source: TickSource::Archive { archive, offline }, instrument });
        }
        // An archive in the environment is for other commands and does not contradict --input.
        if matches.value_source("archive") == Some(ValueSource::CommandLine) {
            let message = "ticks come from --input or from --archive: leave one of them out";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        if instrument.coin.is_none() {
            let file = input[0].display();
            let message = format!("whose prices does {file} hold? Say --coin and --quote");
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message));
        }
        Ok(Self { source: TickSource::Recording { files: input, reading }, instrument })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Calls the format of the files `--input-format`: `--format` is that of the output.
fn with_input_format(command: Command) -> Command {
    command.mut_arg("file_format", |flag| flag.long(input::FORMAT_FLAG))
}

/// Refuses flags for reading files on the command line when no file is read. In the environment they are for other
/// commands.
fn refuse_reading_flags(matches: &ArgMatches) -> Result<(), clap::Error> {
    let reading = with_input_format(ReadingArgs::augment_args(Command::new("reading")));
    let is_typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    match reading.get_arguments().find(|flag| is_typed(flag.get_id().as_str())) {
        None => Ok(()),
        Some(flag) => {
            let name = flag.get_long().unwrap_or_default();
            let message =
                format!("--{name} says how a file is read: pass the file with --input, or leave --{name} out");
            Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message))
        }
    }
}

/// Ticks to learn from.
pub struct Data {
    /// The instrument.
    pub instrument: Instrument,
    /// Ascending by (event time, id).
    pub ticks: Vec<Tick>,
    /// Range of MARKET sequences that the ticks come from; `None` for a recording.
    pub range: Option<SeqRange>,
    /// A summary of a recording, for people.
    pub note: Option<String>,
}

impl DataArgs {
    /// Returns the archive to bring up to date; `None` when no server is to be asked.
    pub fn archive_to_update(&self) -> Option<&ArchiveArgs> {
        match &self.source {
            TickSource::Archive { archive, offline: false } => Some(archive),
            TickSource::Archive { .. } | TickSource::Recording { .. } => None,
        }
    }

    /// Reads the ticks.
    ///
    /// # Errors
    /// Exit code 4: there are no ticks. 2: a file or an archive cannot be used, or it holds several instruments and
    /// none is named.
    pub fn read(&self, progress: &ProgressDisplay) -> anyhow::Result<Data> {
        let named = self.instrument.instrument().exit_code(Code::BadConfig)?;
        match &self.source {
            TickSource::Archive { archive, .. } => {
                progress.step("reading the archive");
                let archive = archive.open()?;
                read_archive(&archive, &choose_instrument(&archive, named)?, Through::ALL)
            }
            TickSource::Recording { files, reading } => {
                let instrument =
                    named.context("a recording has no instrument of its own").exit_code(Code::BadConfig)?;
                // An error here comes again, with its message, when the file is opened.
                let sizes = files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len());
                let bar = progress.reading(sizes.sum());
                let on_read: store::recording::OnRead = Arc::new(move |bytes| bar.inc(bytes));
                let recorded = input::read(files, &instrument, &reading.options(now()), &on_read)?;
                let note = Some(recorded.layout_lines() + &recorded.to_string());
                Ok(Data { instrument, ticks: recorded.ticks, range: None, note })
            }
        }
    }
}

/// Reads the ticks of an instrument from an archive, up to a line of MARKET.
///
/// # Errors
/// Exit code 4: there are no ticks. Others: the archive cannot be read.
pub fn read_archive(archive: &Archive, instrument: &Instrument, through: Through) -> anyhow::Result<Data> {
    let series = archive.series(instrument, through)?;
    if series.ticks.is_empty() {
        let held: Vec<_> = archive.holdings()?.keys().map(ToString::to_string).collect();
        let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
        let error = anyhow!("not enough data to train on {instrument}: the archive {archive} holds {held}");
        return Err(error).exit_code(Code::NotEnoughData);
    }
    Ok(Data { instrument: instrument.clone(), ticks: series.ticks, range: series.range, note: None })
}

/// Returns the named instrument, or the only one of the archive.
///
/// # Errors
/// The archive holds several or none, or cannot be read.
fn choose_instrument(archive: &Archive, named: Option<Instrument>) -> anyhow::Result<Instrument> {
    if let Some(named) = named {
        return Ok(named);
    }
    let held = archive.holdings()?;
    let names: Vec<_> = held.keys().map(ToString::to_string).collect();
    match held.into_keys().next() {
        None => Err(anyhow!(
            "there are no ticks in the archive {archive}: name another one with --archive, or fill it with `trainer archive`"
        )).exit_code(Code::NotEnoughData),
        Some(only) if names.len() == 1 => Ok(only),
        Some(_) => {
            let error = anyhow!("the archive holds {}: choose one with --coin and --quote", names.join(", "));
            Err(error).exit_code(Code::BadConfig)
        }
    }
}

/// Returns the wall-clock time. A clock before 1970 counts as 1970; the reader then rejects every row as future.
fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
