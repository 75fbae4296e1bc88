//! Command line of the producer, and its conversion to configurations.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{bail, ensure};
use bus::lease::LeaseArgs;
use market::{EventTime, Instrument};
use service::{AskArgs, HealthArgs, ProcessArgs};
use store::recording::{ReadingArgs, ReadingOptions};

use crate::clock::now_ms;
use crate::coingecko::{self, ApiArgs, BackfillArgs, BudgetArgs, FetchArgs, LimitArgs, PollingArgs};
use crate::recording::{self, OlderRows, Speed};

/// Brings prices into FEED, the stream that everything else is computed from
#[derive(Debug, clap::Parser)]
#[command(name = "producer", version)]
pub struct Args {
    /// Flags that every program has.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Address and credentials of the NATS server.
    #[command(flatten)]
    pub nats: bus::NatsArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl service::Program for Args {
    fn process(&self) -> &ProcessArgs {
        &self.process
    }

    fn is_service(&self) -> bool {
        matches!(&self.command, Command::Run(run) if run.source == Source::Coingecko)
    }
}

/// Commands of the producer.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Publish ticks of a source into FEED: a recording to its end, CoinGecko until stopped
    Run(Box<RunArgs>),
    /// Print how files of prices are read: format, columns, times, first and last row, and the rows by outcome; publishes
    /// nothing and needs no NATS server
    Inspect(InspectArgs),
    /// Ask CoinGecko for one tick of one coin and print it as JSON; needs no NATS server, but counts the credit of a key there
    /// if it answers
    Fetch(FetchArgs),
    /// Say how many credits at CoinGecko are spent and left this month, and how long they last
    Budget(BudgetArgs),
    /// Fetch past prices from CoinGecko into FEED: before the first price of a coin, or since the last one. Prints requests
    /// and credits first
    Backfill(BackfillArgs),
    /// Ask a running producer whether it is ready; exit code 1 if it is not
    Health(AskArgs),
}

/// Source of ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// Files of prices
    Recording,
    /// The public CoinGecko API
    Coingecko,
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Source of the ticks
    #[arg(long, env = "CANDLEWIRE_SOURCE", value_enum)]
    pub source: Source,

    /// Coin, by its CoinGecko id; several for --source coingecko (repeat it, or a,b)
    #[arg(
        long = "coin",
        visible_alias = "coins",
        env = "CANDLEWIRE_COINS",
        value_delimiter = ',',
        value_name = "COIN"
    )]
    pub coins: Vec<String>,

    /// Currency of the prices; usd by default for --source coingecko
    #[arg(long, env = "CANDLEWIRE_QUOTE")]
    pub quote: Option<String>,

    /// Flags of --source recording.
    #[command(flatten)]
    pub recording: RecordingArgs,

    /// Flags of --source coingecko.
    #[command(flatten)]
    pub polling: PollingArgs,

    /// Access to CoinGecko.
    #[command(flatten)]
    pub api: ApiArgs,

    /// Limits of the account at CoinGecko.
    #[command(flatten)]
    pub limits: LimitArgs,

    /// Time to live of this instance's lease.
    #[command(flatten)]
    pub lease: LeaseArgs,

    /// Address of the health endpoint.
    #[command(flatten)]
    pub health: HealthArgs,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// Yes
    On,
    /// No
    Off,
}

/// A file argument, `PATH` or `coin/quote=PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileArg {
    instrument: Option<Instrument>,
    path: PathBuf,
}

impl FromStr for FileArg {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').and_then(|(name, path)| Some((name.parse().ok()?, path)));
        let (instrument, path) = named.map_or((None, text), |(instrument, path)| (Some(instrument), path));
        Ok(Self { instrument, path: path.into() })
    }
}

/// Flags of `run --source recording`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Recording")]
pub struct RecordingArgs {
    /// File of prices: CSV of many formats, JSON lines or Parquet, also compressed (producer inspect FILE says how it is
    /// read). Repeat the flag for more files of the instrument that --coin and --quote name, or write coin/quote=PATH for
    /// other instruments
    #[arg(long = "file", env = "CANDLEWIRE_FILE", value_name = "[COIN/QUOTE=]PATH")]
    pub files: Vec<FileArg>,

    /// How the files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,

    /// Speed of the replay: max, or a multiple of real time such as 1x or 600x
    #[arg(long, env = "CANDLEWIRE_SPEED", default_value = "max")]
    pub speed: Speed,

    /// Publish a gap record where rows are further apart than two grains and a minute; trades have no gaps
    #[arg(long, env = "CANDLEWIRE_GAPS", value_enum, default_value = "on")]
    pub gaps: Switch,

    /// End each instrument with a flush, which closes the windows that hold its last ticks
    #[arg(long, env = "CANDLEWIRE_FLUSH", value_enum, default_value = "on", num_args = 0..=1, default_missing_value = "on")]
    pub flush: Switch,

    /// Treatment of rows that are not newer than the instrument's last tick in FEED
    #[arg(long, env = "CANDLEWIRE_OLDER", value_enum, default_value = "refuse")]
    pub older: OlderRows,

    /// File of rejected rows, one JSON object per line; created when the first row is rejected
    #[arg(long, env = "CANDLEWIRE_REJECTS", default_value = "rejects.jsonl", value_name = "FILE")]
    pub rejects: PathBuf,

    /// Exit with code 0 even if more than 1 % of the rows with a price are refused
    #[arg(long, env = "CANDLEWIRE_ALLOW_REJECTS")]
    pub allow_rejects: bool,

    /// Time to wait after the last row until the stream-processor has read the published messages, to count accepted
    /// and
    /// refused ticks; 0 does not wait
    #[arg(long, env = "CANDLEWIRE_DOWNSTREAM_WAIT", default_value = "30s", value_name = "DURATION", value_parser = parse_wait)]
    pub downstream_wait: Duration,

    /// Write the counts as JSON into this file at the end
    #[arg(long, env = "CANDLEWIRE_SUMMARY", value_name = "FILE")]
    pub summary: Option<PathBuf>,
}

/// Flags of `inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Files, each of one instrument
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// How the files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,

    /// Exit with code 0 even if more than 1 % of the rows with a price are refused
    #[arg(long, env = "CANDLEWIRE_ALLOW_REJECTS")]
    pub allow_rejects: bool,
}

impl InspectArgs {
    /// Converts the flags at the current time.
    pub(crate) fn reading(&self) -> ReadingOptions {
        self.reading.options(EventTime(now_ms(SystemTime::now())))
    }
}

/// Parses a duration; 0 needs no unit.
fn parse_wait(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text).map_err(|error| error.to_string()) }
}

impl RunArgs {
    /// Converts the flags to the configuration of a replay.
    ///
    /// # Errors
    /// Flags are missing or contradict each other.
    pub(crate) fn to_recording(&self) -> anyhow::Result<recording::ReplayConfig> {
        let args = &self.recording;
        ensure!(!args.files.is_empty(), "--source recording needs a file: --file PATH");
        let mut files: Vec<(Instrument, Vec<PathBuf>)> = Vec::new();
        for file in &args.files {
            let instrument = match &file.instrument {
                Some(instrument) => instrument.clone(),
                None => self.named_instrument(&file.path)?,
            };
            match files.iter_mut().find(|(known, _)| *known == instrument) {
                Some((_, paths)) => paths.push(file.path.clone()),
                None => files.push((instrument, vec![file.path.clone()])),
            }
        }
        Ok(recording::ReplayConfig {
            files,
            reading: args.reading.options(EventTime(now_ms(SystemTime::now()))),
            speed: args.speed,
            gaps: args.gaps == Switch::On,
            flush: args.flush == Switch::On,
            older: args.older,
            rejects: args.rejects.clone(),
            summary: args.summary.clone(),
            downstream_wait: args.downstream_wait,
            allow_rejects: args.allow_rejects,
        })
    }

    fn named_instrument(&self, path: &std::path::Path) -> anyhow::Result<Instrument> {
        match (self.coins.as_slice(), &self.quote) {
            ([coin], Some(quote)) => Ok(Instrument::new(coin, quote)?),
            _ => bail!(
                "the instrument of {0} is not known: pass one --coin and its --quote, or --file COIN/QUOTE={0}",
                path.display()
            ),
        }
    }

    /// Converts the flags to the configuration of a poller.
    ///
    /// # Errors
    /// Flags are missing or contradict each other.
    pub(crate) fn to_coingecko(&self) -> anyhow::Result<coingecko::PollingConfig> {
        let has_file = !self.recording.files.is_empty();
        ensure!(!has_file, "--file (CANDLEWIRE_FILE) belongs to --source recording: remove it, or change the source");
        let quote = self.quote.as_deref().unwrap_or("usd");
        self.polling.to_config(&self.coins, quote, &self.api, &self.limits, self.lease.lease_ttl)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn run_args(flags: &str) -> RunArgs {
        let words = ["producer", "run"].into_iter().chain(flags.split_whitespace());
        match Args::try_parse_from(words).unwrap().command {
            Command::Run(run) => *run,
            _ => panic!("run was asked for"),
        }
    }

    #[test]
    fn files_belong_to_the_named_instrument_or_to_their_own() {
        let run = run_args(
            "--source recording --coin bitcoin --quote usdt --file a.csv --file eth/usd=b.csv --file ./x/y=z.csv",
        );
        let files = run.to_recording().unwrap().files;
        let files: Vec<_> = files.iter().map(|(instrument, paths)| (instrument.to_string(), paths.clone())).collect();
        let expected = [
            ("bitcoin/usdt".to_owned(), vec![PathBuf::from("a.csv"), PathBuf::from("./x/y=z.csv")]),
            ("eth/usd".to_owned(), vec![PathBuf::from("b.csv")]),
        ];
        assert_eq!(files, expected);
    }

    #[test]
    fn an_incomplete_command_names_the_missing_flag() {
        let check = |flags: &str, expected: &str| {
            let run = run_args(flags);
            let error = match run.source {
                Source::Recording => run.to_recording().unwrap_err(),
                Source::Coingecko => run.to_coingecko().unwrap_err(),
            };
            assert!(error.to_string().contains(expected), "{flags}: {error}");
        };
        check("--source recording", "--file PATH");
        check("--source recording --file a.csv", "--file COIN/QUOTE=a.csv");
        check("--source recording --file a.csv --coin Bitcoin --quote usd", "a-z");
        check("--source coingecko", "--coin bitcoin");
        check("--source coingecko --coin bitcoin --file a.csv", "--source recording");
        check("--source coingecko --coin bitcoin --plan demo", "COINGECKO_API_KEY");
    }

    #[test]
    fn a_recording_flushes_and_marks_gaps_unless_told_otherwise() {
        let of = |flags: &str| {
            let run = run_args(&format!("--source recording --file a/b=c.csv {flags}"));
            let config = run.to_recording().unwrap();
            (config.flush, config.gaps)
        };
        assert_eq!(of(""), (true, true));
        assert_eq!(of("--flush --gaps off"), (true, false));
        assert_eq!(of("--flush off"), (false, true));
    }

    #[test]
    fn coins_are_repeated_or_listed_and_asked_once() {
        let config = run_args("--source coingecko --coins bitcoin,ethereum --coin bitcoin").to_coingecko().unwrap();
        let coins: Vec<_> = config.instruments.iter().map(ToString::to_string).collect();
        assert_eq!(coins, ["bitcoin/usd", "ethereum/usd"]);
    }

    #[test]
    fn a_key_is_never_shown() {
        let run = run_args("--source coingecko --coin bitcoin --api-key CG-secret");
        let api = run.to_coingecko().unwrap().api;
        assert!(api.key.is_some());
        assert!(!format!("{run:?} {api:?}").contains("secret"));
        let help = <Args as clap::CommandFactory>::command()
            .find_subcommand_mut("run")
            .unwrap()
            .render_long_help()
            .to_string();
        assert!(help.contains("COINGECKO_API_KEY") && !help.contains("--api-key"), "{help}");
    }
}
