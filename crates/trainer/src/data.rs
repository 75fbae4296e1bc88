//! Where the ticks come from that a model learns from: the archive, or a recording.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};
use market::{EventTime, Instrument, Span, Tick};
use service::{Code, WithCode};
use store::archive::catalog::SeqRange;
use store::archive::{Archive, Through};
use store::recording::{Conflict, Grain, Outside, Rules};

use crate::archive_writer::choose_instrument;
use crate::args::{ArchiveArgs, InstrumentArgs, parse_span};
use crate::input;
use crate::progress::Progress;

/// Flags that say where the ticks are, and whose.
#[derive(Debug, Clone)]
pub struct DataArgs {
    /// Where the ticks are.
    pub source: Source,
    /// Whose ticks.
    pub instrument: InstrumentArgs,
}

/// Where ticks are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In the archive.
    Archive {
        /// Where it is.
        archive: ArchiveArgs,
        /// It is used as it stands, without asking a server.
        offline: bool,
    },
    /// In files of a recording.
    Recording {
        /// All of one instrument.
        files: Vec<PathBuf>,
        /// What each row is; None where the rows tell.
        grain: Option<Grain>,
        /// Which of two rows counts that have the same time and say different things.
        conflict: Option<Conflict>,
        /// What happens to open and close outside low and high.
        outside: Outside,
        /// A lone row further than this from its neighbours is refused; None for the usual span.
        max_step: Option<Span>,
    },
}

/// What was typed.
#[derive(clap::Args)]
struct Typed {
    #[command(flatten)]
    archive: ArchiveArgs,

    /// Use the archive as it stands, without asking a server
    #[arg(long)]
    offline: bool,

    /// Learn from a recording instead of the archive, without a server: a CSV file, plain or gzip, with a header that names
    /// timestamp_ms and close (or price), and open, high, low, volume and id where there are any, of the instrument that
    /// --coin and --quote name; repeat it for more files
    #[arg(long, value_name = "FILE", conflicts_with = "offline")]
    input: Vec<PathBuf>,

    /// What a row of --input is: a candle of this length from its timestamp on, such as 1m, or trades, of which all of one
    /// instant count [default: candles as long as rows are most often apart; trades where there is a column id]
    #[arg(long, value_name = "SPAN|trades", requires = "input")]
    grain: Option<Grain>,

    /// Which of two rows of --input counts that have the same time and say different things: last (the later line, or the
    /// file named later), first, or refuse (neither: the files are not read) [default: last, unless a quarter of the rows is
    /// concerned]
    #[arg(long, value_name = "last|first|refuse")]
    conflict: Option<Conflict>,

    /// What happens to a row of --input whose open or close lies outside its low and high: widen (its low and high are
    /// widened) or reject
    #[arg(long, default_value = "widen", value_name = "widen|reject")]
    outside: Outside,

    /// A lone row of --input further than this from its neighbours is rejected (jump); at least two grains [default: 30d]
    #[arg(long, value_name = "SPAN", requires = "input", value_parser = parse_span)]
    max_step: Option<Span>,

    #[command(flatten)]
    instrument: InstrumentArgs,
}

impl clap::Args for DataArgs {
    fn augment_args(command: Command) -> Command {
        Typed::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Typed::augment_args_for_update(command)
    }
}

impl FromArgMatches for DataArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Typed { archive, offline, input, grain, conflict, outside, max_step, instrument } =
            Typed::from_arg_matches(matches)?;
        if input.is_empty() {
            return Ok(Self { source: Source::Archive { archive, offline }, instrument });
        }
        // Only what was typed contradicts: an archive from the environment is there for other commands.
        if matches.value_source("archive") == Some(ValueSource::CommandLine) {
            let message = "ticks come from --input or from --archive: leave one of them out";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        if instrument.coin.is_none() {
            let file = input[0].display();
            let message = format!("whose prices does {file} hold? Say --coin and --quote");
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message));
        }
        Ok(Self { source: Source::Recording { files: input, grain, conflict, outside, max_step }, instrument })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Ticks to learn from.
pub struct Data {
    /// Whose ticks.
    pub instrument: Instrument,
    /// Ascending by (event time, id).
    pub ticks: Vec<Tick>,
    /// MARKET sequences of which they were taken, when they are of a stream.
    pub range: Option<SeqRange>,
    /// For people: what was found in a recording, and what was left out.
    pub note: Option<String>,
}

impl DataArgs {
    /// The archive that a server could bring up to date; None when no server is to be asked.
    pub fn archive_to_update(&self) -> Option<&ArchiveArgs> {
        match &self.source {
            Source::Archive { archive, offline: false } => Some(archive),
            Source::Archive { .. } | Source::Recording { .. } => None,
        }
    }

    /// Reads the ticks.
    ///
    /// # Errors
    /// With exit code 4 when there are none, 2 for a file or an archive that cannot be used, or that holds several
    /// instruments when none is named.
    pub fn read(&self, progress: &Progress) -> anyhow::Result<Data> {
        let named = self.instrument.instrument().exit_code(Code::BadConfig)?;
        match &self.source {
            Source::Archive { archive, .. } => {
                progress.step("reading the archive");
                let archive = archive.open()?;
                read_archive(&archive, &choose_instrument(&archive, named)?, Through::ALL)
            }
            Source::Recording { files, grain, conflict, outside, max_step } => {
                let instrument =
                    named.context("a recording has no instrument of its own").exit_code(Code::BadConfig)?;
                // A size that is not known now is said to be so when the file is opened.
                let sizes = files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len());
                let bar = progress.reading(sizes.sum());
                let on_read: store::recording::OnRead = Arc::new(move |bytes| bar.inc(bytes));
                let mut rules = Rules { grain: *grain, conflict: *conflict, outside: *outside, ..Rules::at(now()) };
                rules.step_max = max_step.unwrap_or(rules.step_max);
                let recorded = input::read(files, &instrument, rules, &on_read)?;
                let note = Some(recorded.to_string());
                Ok(Data { instrument, ticks: recorded.ticks, range: None, note })
            }
        }
    }
}

/// Reads what an archive holds of an instrument up to a place in MARKET.
///
/// # Errors
/// With exit code 4 when it holds nothing; whatever reading it can meet.
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

/// The wall clock. A clock before 1970 counts as 1970: every row is then of the future, and the reader says so.
fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
