//! Flags for reading recordings, the same in every program.

use chrono_tz::Tz;
use market::span_text::at_least;
use market::{EventTime, Span};

use super::format::FileFormat;
use super::header::ColumnChoice;
use super::layout::{LayoutOptions, StampedAt};
use super::number::Decimal;
use super::rules::{Conflict, Grain, Outside, REORDER_ROWS, Rules};

/// Flags for reading recordings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Reading of files")]
pub struct ReadingArgs {
    /// Format of the files: candlewire, binance, coinbase, ccxt, kraken, kraken-trades, cryptodatadownload, bitstamp, yahoo,
    /// coingecko, tradingview, pyspark, json, parquet, or csv with a header [default: the content tells]
    #[arg(long = "format", env = "CANDLEWIRE_FORMAT", value_name = "NAME")]
    pub file_format: Option<FileFormat>,

    /// Columns by name, such as time=Date,close=Last; for time, open, high, low, close, volume, id and quote_volume [default:
    /// by usual names]
    #[arg(long, env = "CANDLEWIRE_COLUMNS", value_name = "WHAT=COLUMN", value_delimiter = ',')]
    pub columns: Vec<ColumnChoice>,

    /// Decimal mark of the numbers; the other mark separates thousands [default: the numbers tell]
    #[arg(long, env = "CANDLEWIRE_DECIMAL", value_name = "point|comma")]
    pub decimal: Option<Decimal>,

    /// Zone of times without offset, such as Europe/Berlin [default: UTC]
    #[arg(long, env = "CANDLEWIRE_TIME_ZONE", value_name = "ZONE", value_parser = parse_zone)]
    pub time_zone: Option<Tz>,

    /// Time of a candle: its begin (open), or its end (close) [default: open, unless the column is called close time]
    #[arg(long, env = "CANDLEWIRE_STAMP", value_name = "open|close")]
    pub stamp: Option<StampedAt>,

    /// Kind of the rows: candles of this length that begin at their timestamp, such as 1m; or trades, which all count
    /// even at the same instant [default: candles with the most frequent distance of rows; trades if there is a column id]
    #[arg(long, env = "CANDLEWIRE_GRAIN", value_name = "SPAN|trades")]
    pub grain: Option<Grain>,

    /// Rows in memory while an unsorted file is sorted by time; the others are in a temporary file
    #[arg(long, env = "CANDLEWIRE_REORDER", default_value_t = REORDER_ROWS as u32, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub reorder: u32,

    /// Choice between two rows with the same time and different values: last (the later line, or the file named later),
    /// first, or refuse (the files are not read) [default: last, unless a quarter of the rows conflicts]
    #[arg(long, env = "CANDLEWIRE_CONFLICT", value_name = "last|first|refuse")]
    pub conflict: Option<Conflict>,

    /// Treatment of a row whose open or close is outside its low and high: widen low and high, or reject the row
    #[arg(long, env = "CANDLEWIRE_OUTSIDE", default_value = "widen", value_name = "widen|reject")]
    pub outside: Outside,

    /// Distance from its neighbors beyond which a single row is rejected (jump); at least two grains
    #[arg(long, env = "CANDLEWIRE_MAX_STEP", default_value = "30d", value_name = "SPAN", value_parser = at_least(Span(1)))]
    pub max_step: Span,
}

/// How recordings are read.
#[derive(Debug, Clone)]
pub struct ReadingOptions {
    /// Rules for the rows.
    pub rules: Rules,
    /// Layout of the files, as far as the user says it.
    pub layout: LayoutOptions,
}

impl ReadingOptions {
    /// Returns the default rules at this current time, and layouts that are detected.
    pub fn at(now: EventTime) -> Self {
        Self { rules: Rules::at(now), layout: LayoutOptions::default() }
    }
}

impl ReadingArgs {
    /// Converts the flags at this current time.
    pub fn options(&self, now: EventTime) -> ReadingOptions {
        let rules = Rules {
            grain: self.grain,
            reorder_rows: self.reorder as usize,
            step_max: self.max_step,
            conflict: self.conflict,
            outside: self.outside,
            now,
        };
        let layout = LayoutOptions {
            format: self.file_format,
            columns: self.columns.clone(),
            decimal: self.decimal,
            time_zone: self.time_zone,
            stamp: self.stamp,
        };
        ReadingOptions { rules, layout }
    }
}

fn parse_zone(text: &str) -> Result<Tz, String> {
    text.parse()
        .map_err(|_| "not a zone of the IANA database: write one such as UTC, Europe/Berlin or Asia/Tokyo".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        reading: ReadingArgs,
    }

    fn options(flags: &str) -> Result<ReadingOptions, String> {
        let words = ["program"].into_iter().chain(flags.split_whitespace());
        let parsed = Program::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(parsed.reading.options(EventTime(0)))
    }

    #[test]
    fn the_flags_say_how_files_are_read() {
        let said = options(
            "--format binance --columns time=Date,close=Last --decimal comma --time-zone Europe/Berlin --stamp close --grain 1h",
        )
        .unwrap();
        let LayoutOptions { format, columns, decimal, time_zone, stamp } = said.layout;
        assert_eq!((format, columns.len(), decimal), (Some(FileFormat::Binance), 2, Some(Decimal::Comma)));
        assert_eq!((time_zone, stamp), (Some(Tz::Europe__Berlin), Some(StampedAt::Close)));
        assert_eq!(said.rules.grain, Some(Grain::Candles(Span::HOUR)));
    }

    #[test]
    fn a_wrong_value_is_refused_with_the_right_ones() {
        let check = |flags: &str, expected: &str| {
            let said = options(flags).expect_err("refused");
            assert!(said.contains(expected), "{flags}: {said}");
        };
        check("--format excel", "write one of candlewire, binance, ");
        check("--time-zone CEST", "write one such as UTC, Europe/Berlin");
        check("--columns when=Date", "when is not one of time, open");
        check("--decimal dot", "write point or comma");
        check("--stamp end", "write open or close");
        check("--max-step 0s", "at least 1ms");
        check("--max-step far", "write a span such as 250ms");
    }
}
