//! `aggregator show`: tables of candles and of the hour-of-day profile.

use bus::{Connection, newest};
use market::table::{CANDLE_COLUMNS, HOUR_OF_DAY_COLUMNS, candle_row, hour_of_day_row, moving_average_note};
use market::{Instrument, Window};
use serde::Serialize;
use service::{Code, WithCode};

use crate::output;

/// Default number of rows per instrument in a printed table.
const ROWS: usize = 24;

/// Flags of `show`.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    /// Which table
    pub table: TableName,
    /// Only this coin; needs --quote
    #[arg(long, requires = "quote")]
    pub coin: Option<String>,
    /// Only this quote currency; needs --coin
    #[arg(long, requires = "coin")]
    pub quote: Option<String>,
    /// Only the newest N rows of each instrument; 24 when printed as a table, all otherwise
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub last: Option<usize>,
    /// All rows
    #[arg(long)]
    pub all: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    pub format: TableFormat,
}

/// The printable tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TableName {
    /// 1-minute candles
    #[value(name = "candles-1m")]
    Candles1m,
    /// Calendar hours
    Hourly,
    /// UTC days
    Daily,
    /// One hour every 30 minutes
    MovingAverage,
    /// Each UTC hour over all days
    HourOfDay,
}

/// Output format of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TableFormat {
    /// For people
    Table,
    /// Comma-separated values with a heading line
    Csv,
    /// One JSON object per line, as stored
    Json,
}

/// Prints a table.
pub(crate) async fn show(connection: &Connection, args: &ShowArgs) -> anyhow::Result<()> {
    let instrument = match (&args.coin, &args.quote) {
        (Some(coin), Some(quote)) => Some(Instrument::new(coin, quote).exit_code(Code::BadConfig)?),
        _ => None,
    };
    let last = match (args.last, args.format) {
        (Some(last), _) => last,
        (None, TableFormat::Table) if !args.all => ROWS,
        (None, _) => usize::MAX,
    };
    let window = match args.table {
        TableName::Candles1m => Window::Minute,
        TableName::Hourly => Window::Hour,
        TableName::Daily => Window::Day,
        TableName::MovingAverage => Window::HourEveryHalf,
        TableName::HourOfDay => {
            let rows = newest::profile(connection, instrument.as_ref()).await?;
            return print(args.format, &HOUR_OF_DAY_COLUMNS, 2, &rows, |row| hour_of_day_row(row).to_vec());
        }
    };
    let candles = newest::candles(connection, window, instrument.as_ref()).await?;
    let candles = newest_of_each(candles, last, |candle| (candle.coin.clone(), candle.quote.clone()));
    print(args.format, &CANDLE_COLUMNS, 5, &candles, |candle| candle_row(candle).to_vec())?;
    let is_for_people = args.format == TableFormat::Table && window == Window::HourEveryHalf;
    moving_average_note(&candles).filter(|_| is_for_people).map_or(Ok(()), |note| output::line(&note))
}

/// Keeps the last rows of each group of consecutive rows with one key.
fn newest_of_each<T, K: PartialEq>(rows: Vec<T>, last: usize, key_of: impl Fn(&T) -> K) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    let mut group: Vec<T> = Vec::new();
    for row in rows {
        if group.first().is_some_and(|first| key_of(first) != key_of(&row)) {
            let skipped = group.len().saturating_sub(last);
            kept.extend(group.drain(..).skip(skipped));
        }
        group.push(row);
    }
    let skipped = group.len().saturating_sub(last);
    kept.extend(group.into_iter().skip(skipped));
    kept
}

fn print<T: Serialize>(
    format: TableFormat,
    columns: &[&str],
    texts: usize,
    rows: &[T],
    cells: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    match format {
        TableFormat::Table if rows.is_empty() => output::line("no rows yet"),
        TableFormat::Table => output::table(columns, texts, rows.iter().map(cells)),
        TableFormat::Csv => output::csv(columns, rows.iter().map(cells)),
        TableFormat::Json => output::json_lines(rows),
    }
}

#[cfg(test)]
mod tests {
    use super::newest_of_each;

    #[test]
    fn the_newest_rows_of_each_instrument_are_kept() {
        let rows = vec![("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1), ("c", 2), ("c", 3)];
        let kept = newest_of_each(rows, 2, |row| row.0);
        assert_eq!(kept, [("a", 2), ("a", 3), ("b", 1), ("c", 2), ("c", 3)]);
    }
}
