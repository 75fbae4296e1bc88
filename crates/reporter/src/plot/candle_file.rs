//! Reads candles from CSV, as `aggregator show` prints them.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use chrono::DateTime;
use csv::StringRecord;
use market::table::CANDLE_COLUMNS;
use market::{Candle, EventTime, Span};

/// Reads the candles of a file, in its order. Their FEED sequences are not in the file.
///
/// # Errors
/// The file is missing, or is not a table of candles; the error names line and column.
pub(crate) fn read_candles(path: &Path) -> anyhow::Result<Vec<Candle>> {
    let read = || -> anyhow::Result<Vec<Candle>> {
        let mut reader = csv::Reader::from_path(path)?;
        let columns = Columns::of(reader.headers()?)?;
        let mut candles = Vec::new();
        for row in reader.records() {
            let row = row?;
            let line = row.position().map_or(0, csv::Position::line);
            candles.push(columns.candle(&row).with_context(|| format!("line {line}"))?);
        }
        Ok(candles)
    };
    read().with_context(|| {
        format!("cannot read candles from {}; `aggregator show hourly --all --format csv` prints them", path.display())
    })
}

/// Positions of the columns by name.
struct Columns(BTreeMap<&'static str, usize>);

impl Columns {
    fn of(header: &StringRecord) -> anyhow::Result<Self> {
        let place = |name: &'static str| {
            let place = header.iter().position(|column| column == name);
            Ok((name, place.with_context(|| format!("no column {name}"))?))
        };
        CANDLE_COLUMNS.into_iter().map(place).collect::<anyhow::Result<_>>().map(Self)
    }

    fn candle(&self, row: &StringRecord) -> anyhow::Result<Candle> {
        let name = |column| Ok::<_, anyhow::Error>(Arc::from(self.cell(row, column)?));
        Ok(Candle {
            coin: name("coin")?,
            quote: name("quote")?,
            window: self.parsed(row, "window")?,
            start: self.time(row, "start")?,
            end: self.time(row, "end")?,
            open: self.parsed(row, "open")?,
            high: self.parsed(row, "high")?,
            low: self.parsed(row, "low")?,
            close: self.parsed(row, "close")?,
            average: self.parsed(row, "average")?,
            volume: self.known(row, "volume")?,
            volume_count: self.known(row, "volume_count")?,
            quote_volume: self.known(row, "quote_volume")?,
            count: self.parsed(row, "count")?,
            filled: self.known(row, "filled")?.unwrap_or_default(),
            coverage: self.parsed(row, "coverage")?,
            grain: self.known(row, "grain_ms")?.map(Span),
            revision: self.parsed(row, "revision")?,
            is_final: self.parsed(row, "final")?,
            first_seq: 0,
            last_seq: 0,
        })
    }

    fn cell<'a>(&self, row: &'a StringRecord, column: &str) -> anyhow::Result<&'a str> {
        let place = self.0.get(column).with_context(|| format!("no column {column}"))?;
        row.get(*place).with_context(|| format!("no cell in column {column}"))
    }

    fn parsed<T: FromStr>(&self, row: &StringRecord, column: &str) -> anyhow::Result<T> {
        let cell = self.cell(row, column)?;
        cell.parse().map_err(|_| anyhow!("column {column}: {cell:?}"))
    }

    /// Returns a value that may be unknown; `None` for an empty cell.
    fn known<T: FromStr>(&self, row: &StringRecord, column: &str) -> anyhow::Result<Option<T>> {
        if self.cell(row, column)?.is_empty() { Ok(None) } else { self.parsed(row, column).map(Some) }
    }

    fn time(&self, row: &StringRecord, column: &str) -> anyhow::Result<EventTime> {
        let cell = self.cell(row, column)?;
        let time = DateTime::parse_from_rfc3339(cell).with_context(|| format!("column {column}: {cell:?}"))?;
        Ok(EventTime(time.timestamp_millis()))
    }
}

#[cfg(test)]
mod tests {
    use market::Window;
    use market::table::candle_row;

    use super::super::samples;
    use super::*;

    fn candle() -> Candle {
        samples::candle(Window::Hour, 1_583_020_800_000, 8_540.2)
    }

    #[test]
    fn candles_come_back_from_the_table_of_the_aggregator() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hourly.csv");
        let points = Candle { volume: None, grain: None, filled: 3, ..candle() };
        let mut table = csv::Writer::from_path(&path).expect("a file");
        table.write_record(CANDLE_COLUMNS).expect("written");
        for candle in [candle(), points.clone()] {
            table.write_record(candle_row(&candle)).expect("written");
        }
        table.flush().expect("written");
        assert_eq!(read_candles(&path).expect("candles"), [candle(), points]);
    }

    #[test]
    fn another_table_is_refused_with_column_and_advice() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hours.csv");
        std::fs::write(&path, "coin,quote,hour,average,min,max,count\n").expect("written");
        let error = format!("{:#}", read_candles(&path).expect_err("no candles"));
        assert!(error.contains("no column window") && error.contains("aggregator show"), "{error}");
    }
}
