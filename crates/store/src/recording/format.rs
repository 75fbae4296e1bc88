//! Known formats of files: how each is recognized, and what it implies.

use std::borrow::Cow;
use std::str::FromStr;

use super::header::normalized;
use super::rules::Grain;
use super::slots::Slot;
use super::time::Unit;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// candlewire's own CSV.
    Candlewire,
    /// Klines of Binance's public archive, with or without header.
    Binance,
    /// Candles of the Coinbase Exchange API, in its order: time, low, high, open, close, volume.
    Coinbase,
    /// Candles as ccxt gives them: time, open, high, low, close, volume.
    Ccxt,
    /// Kraken's downloadable OHLCVT candles.
    Kraken,
    /// Kraken's downloadable trades: time, price, volume.
    KrakenTrades,
    /// Files of CryptoDataDownload, which begin with its address.
    CryptoDataDownload,
    /// Bitstamp's minutes as they are published on Kaggle. A minute without trades is a row of NaN.
    Bitstamp,
    /// Exports of Yahoo Finance and of the yfinance library.
    Yahoo,
    /// CoinGecko's own history: a price a day.
    CoinGecko,
    /// Exports of a TradingView chart.
    TradingView,
    /// History of the PySpark program that candlewire replaces: JSON lines with `Datetime`.
    PySpark,
    /// Other JSON lines.
    Json,
    /// Parquet: candlewire's archive, or any file with such columns.
    Parquet,
    /// Any other CSV with a header.
    Csv,
}

/// Facts about a format.
struct Facts {
    format: FileFormat,
    /// Name in `--format`.
    name: &'static str,
    /// Words for people.
    words: &'static str,
    /// Column names of the header, all of which are there, as [`normalized`].
    header: &'static [&'static str],
    /// Columns of a file without header.
    columns: &'static [Option<Slot>],
    /// Units of its times, where they change within a file.
    units: &'static [Unit],
}

const T: Option<Slot> = Some(Slot::Time);
const O: Option<Slot> = Some(Slot::Open);
const H: Option<Slot> = Some(Slot::High);
const L: Option<Slot> = Some(Slot::Low);
const C: Option<Slot> = Some(Slot::Close);
const V: Option<Slot> = Some(Slot::Volume);
const Q: Option<Slot> = Some(Slot::QuoteVolume);
const X: Option<Slot> = None;

const fn facts(format: FileFormat, name: &'static str, words: &'static str) -> Facts {
    Facts { format, name, words, header: &[], columns: &[], units: &[] }
}

/// All formats. Of two whose headers fit, the earlier one counts.
const FORMATS: [Facts; 15] = [
    Facts { header: &["timestampms"], ..facts(FileFormat::Candlewire, "candlewire", "candlewire CSV") },
    Facts {
        header: &["opentime", "closetime", "open", "high", "low", "close", "volume"],
        columns: &[T, O, H, L, C, V, X, Q, X, X, X, X],
        units: &[Unit::Milliseconds, Unit::Microseconds],
        ..facts(FileFormat::Binance, "binance", "Binance klines")
    },
    Facts { columns: &[T, L, H, O, C, V], ..facts(FileFormat::Coinbase, "coinbase", "Coinbase candles") },
    Facts { columns: &[T, O, H, L, C, V], ..facts(FileFormat::Ccxt, "ccxt", "ccxt candles") },
    Facts { columns: &[T, O, H, L, C, V, X], ..facts(FileFormat::Kraken, "kraken", "Kraken OHLCVT") },
    Facts { columns: &[T, C, V], ..facts(FileFormat::KrakenTrades, "kraken-trades", "Kraken trades") },
    Facts {
        header: &["unix", "date", "symbol", "open", "high", "low", "close"],
        units: &[Unit::Milliseconds, Unit::Seconds],
        ..facts(FileFormat::CryptoDataDownload, "cryptodatadownload", "CryptoDataDownload")
    },
    Facts {
        header: &["timestamp", "volumecurrency", "weightedprice"],
        ..facts(FileFormat::Bitstamp, "bitstamp", "Bitstamp minutes")
    },
    Facts { header: &["adjclose", "close"], ..facts(FileFormat::Yahoo, "yahoo", "Yahoo Finance") },
    Facts { header: &["snappedat", "price"], ..facts(FileFormat::CoinGecko, "coingecko", "CoinGecko history") },
    facts(FileFormat::TradingView, "tradingview", "TradingView export"),
    Facts {
        header: &["datetime", "open", "high", "low", "close"],
        ..facts(FileFormat::PySpark, "pyspark", "history of the PySpark program")
    },
    facts(FileFormat::Json, "json", "JSON lines"),
    facts(FileFormat::Parquet, "parquet", "Parquet"),
    facts(FileFormat::Csv, "csv", "CSV"),
];

/// Kind of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Lines of fields.
    Csv,
    /// One JSON object a line.
    Json,
    /// Columns of a Parquet file.
    Parquet,
}

impl FromStr for FileFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = FORMATS.iter().find(|facts| facts.name == text).map(|facts| facts.format);
        named.ok_or_else(|| format!("write one of {}", Self::names().join(", ")))
    }
}

impl FileFormat {
    /// Returns the names of all formats, as `--format` takes them.
    pub fn names() -> Vec<&'static str> {
        FORMATS.iter().map(|facts| facts.name).collect()
    }

    fn facts(self) -> &'static Facts {
        &FORMATS[self as usize]
    }

    /// Returns the name of the format, as `--format` takes it.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Returns the words for the format, such as `Binance klines`.
    pub fn words(self) -> &'static str {
        self.facts().words
    }

    /// Returns the columns of a file of this format without header; empty when there are no such files.
    pub(crate) fn columns(self) -> &'static [Option<Slot>] {
        self.facts().columns
    }

    /// Returns the name of the time column in a file without header.
    pub(crate) fn time_title(self) -> &'static str {
        if self == Self::Binance { "open_time" } else { "time" }
    }

    /// Returns the units of the times, where a file may change from one to another; else nothing.
    pub(crate) fn units(self) -> &'static [Unit] {
        self.facts().units
    }

    /// Returns the formats that have files of this many columns without header.
    pub(crate) fn without_header(columns: usize) -> impl Iterator<Item = Self> {
        FORMATS.iter().filter(move |facts| facts.columns.len() == columns).map(|facts| facts.format)
    }

    /// Returns the format of a file whose columns have these names.
    pub(crate) fn of_header(names: &[Cow<'_, str>], content: Content) -> Self {
        let keys: Vec<String> = names.iter().map(|name| normalized(name)).collect();
        let has_all = |facts: &&Facts| {
            !facts.header.is_empty() && facts.header.iter().all(|name| keys.iter().any(|key| key == name))
        };
        let named = FORMATS.iter().find(has_all).map(|facts| facts.format);
        match (content, named) {
            (Content::Parquet, _) => Self::Parquet,
            (Content::Json, Some(Self::PySpark)) => Self::PySpark,
            (Content::Json, _) => Self::Json,
            (Content::Csv, Some(format)) if format != Self::PySpark => format,
            (Content::Csv, _) if is_tradingview(names) => Self::TradingView,
            (Content::Csv, _) if keys == ["time", "low", "high", "open", "close", "volume"] => Self::Coinbase,
            (Content::Csv, _) => Self::Csv,
        }
    }

    /// Returns the content of files of this format.
    pub(crate) fn content(self) -> Content {
        match self {
            Self::PySpark | Self::Json => Content::Json,
            Self::Parquet => Content::Parquet,
            _ => Content::Csv,
        }
    }

    /// Returns the kind of rows, where the columns do not tell it.
    pub(crate) fn grain(self) -> Option<Grain> {
        (self == Self::KrakenTrades).then_some(Grain::Trades)
    }

    /// Whether a column `Volume` holds the value traded in the quote currency.
    pub(crate) fn has_volume_in_quote(self) -> bool {
        self == Self::Yahoo
    }

    /// Returns a remark about the values of the format that the columns do not tell.
    pub(crate) fn remark(self) -> Option<&'static str> {
        match self {
            Self::Yahoo => Some(
                "Volume is read as a value in the quote currency, as Yahoo gives it for coins: --columns volume=Volume \
                 reads it as an amount",
            ),
            Self::CoinGecko => Some("total_volume is of 24 hours, and is not read"),
            _ => None,
        }
    }
}

/// Whether a header is that of a TradingView export: these four names in lower case, then `Volume` and indicators.
fn is_tradingview(names: &[Cow<'_, str>]) -> bool {
    let begins = names.iter().take(5).map(std::ops::Deref::deref).eq(["time", "open", "high", "low", "close"]);
    begins && names.get(5).is_none_or(|name| name.starts_with(|char: char| char.is_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_its_place_in_the_table() {
        for facts in &FORMATS {
            assert_eq!(facts.format.name(), facts.name);
            assert_eq!(facts.name.parse(), Ok(facts.format));
        }
        assert!(
            "excel".parse::<FileFormat>().is_err_and(|said| said.starts_with("write one of candlewire, binance, "))
        );
    }

    #[test]
    fn a_header_shows_its_format() {
        let check = |header: &str, content: Content, expected: FileFormat| {
            let names: Vec<Cow<'_, str>> = header.split(',').map(Cow::Borrowed).collect();
            assert_eq!(FileFormat::of_header(&names, content), expected, "{header}");
        };
        check("timestamp_ms,close", Content::Csv, FileFormat::Candlewire);
        check("open_time,open,high,low,close,volume,close_time,quote_volume", Content::Csv, FileFormat::Binance);
        check("time,low,high,open,close,volume", Content::Csv, FileFormat::Coinbase);
        check("time,open,high,low,close,Volume,MA", Content::Csv, FileFormat::TradingView);
        check("time,open,high,low,close,volume", Content::Csv, FileFormat::Csv);
        check(
            "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
            Content::Csv,
            FileFormat::CryptoDataDownload,
        );
        check("Date,Open,High,Low,Close,Adj Close,Volume", Content::Csv, FileFormat::Yahoo);
        check("snapped_at,price,market_cap,total_volume", Content::Csv, FileFormat::CoinGecko);
        check("Datetime,Open,High,Low,Close,Volume", Content::Csv, FileFormat::Csv);
        check("Datetime,Open,High,Low,Close,Volume", Content::Json, FileFormat::PySpark);
        check("t,o,h,l,c,v", Content::Json, FileFormat::Json);
        check("Date,Open,High,Low,Close,Adj Close", Content::Parquet, FileFormat::Parquet);
    }
}
