//! The same rows in the formats of other programs.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use market::EventTime;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// A candle of a minute, with decimals that every format can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FormatRow {
    /// Begin in milliseconds.
    pub ms: i64,
    /// Open, high, low and close in hundredths.
    pub cents: [i64; 4],
    /// Volume in thousandths.
    pub volume: i64,
    /// Volume in quote currency in hundredths.
    pub quote_volume: i64,
}

/// Values in the rows of a format, and so the columns of our own CSV with the same values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Told {
    /// Candles with both volumes.
    Both,
    /// Candles with the volume in coins.
    Volume,
    /// Candles with the volume in quote currency.
    Value,
    /// Prices alone.
    Prices,
    /// Prices and sizes of trades.
    Trades,
}

/// A format: its name, what its rows tell, and how it writes them.
pub struct WrittenFormat {
    /// Name of the format, and of its file in `tests/data/formats`.
    pub name: &'static str,
    /// Ending of the file's name.
    pub ending: &'static str,
    /// Values in its rows.
    pub told: Told,
    /// Program or exchange that writes such files.
    pub origin: &'static str,
    write: fn(&[FormatRow]) -> Vec<u8>,
}

impl WrittenFormat {
    /// Writes rows, ascending by time.
    pub fn write(&self, rows: &[FormatRow]) -> Vec<u8> {
        (self.write)(rows)
    }
}

const fn format(
    name: &'static str,
    ending: &'static str,
    told: Told,
    origin: &'static str,
    write: fn(&[FormatRow]) -> Vec<u8>,
) -> WrittenFormat {
    WrittenFormat { name, ending, told, origin, write }
}

/// All formats.
pub const FORMATS: [WrittenFormat; 20] = [
    format("candlewire", "csv", Told::Volume, "candlewire's own recordings", |rows| own(rows, Told::Volume)),
    format("binance", "csv", Told::Both, "data.binance.vision, monthly klines since 2025: µs, no header", |rows| {
        binance(rows, "", 1_000)
    }),
    format("binance-header", "csv", Told::Both, "data.binance.vision, klines of futures: ms, with a header", |rows| {
        binance(rows, BINANCE_HEADER, 1)
    }),
    format(
        "coinbase",
        "csv",
        Told::Volume,
        "Coinbase Exchange API, product candles: newest first, no header",
        coinbase,
    ),
    format("ccxt", "csv", Told::Volume, "ccxt, fetch_ohlcv written as CSV: ms, no header", ccxt),
    format("kraken", "csv", Told::Volume, "Kraken, downloadable OHLCVT: seconds, no header", kraken),
    format("kraken-trades", "csv", Told::Trades, "Kraken, downloadable trades: seconds, no header", kraken_trades),
    format(
        "cryptodatadownload",
        "csv",
        Told::Both,
        "cryptodatadownload.com: its address first, newest first",
        cryptodatadownload,
    ),
    format(
        "bitstamp",
        "csv",
        Told::Both,
        "Bitstamp minutes on Kaggle: seconds, NaN where nothing was traded",
        bitstamp,
    ),
    format("yahoo", "csv", Told::Value, "Yahoo Finance and yfinance: Adj Close, null where there is no price", yahoo),
    format("coingecko", "csv", Told::Prices, "CoinGecko's historical data export: snapped_at", coingecko),
    format(
        "tradingview",
        "csv",
        Told::Volume,
        "TradingView, export chart data: indicators after the volume",
        tradingview,
    ),
    format("pyspark", "jsonl", Told::Volume, "the PySpark program that candlewire replaces: JSON lines", pyspark),
    format("json", "jsonl", Told::Volume, "JSON lines with short keys, as several APIs stream them", json),
    format("parquet", "parquet", Told::Both, "pandas: Snappy, times in µs with zone", |rows| parquet_file(rows, true)),
    format("parquet-naive", "parquet", Told::Both, "Spark and pandas: times without zone", |rows| {
        parquet_file(rows, false)
    }),
    format(
        "semicolon",
        "csv",
        Told::Volume,
        "spreadsheets of half of Europe: semicolons, decimal commas, thousands points",
        semicolon,
    ),
    format(
        "thousands",
        "csv",
        Told::Volume,
        "spreadsheets: thousands separators inside quotes, tabs, CR LF",
        thousands,
    ),
    format("offset", "csv", Told::Volume, "programs that write ISO 8601 with an offset", offset),
    format("close-time", "csv", Told::Volume, "programs that stamp a candle at its end", close_time),
];

const BINANCE_HEADER: &str = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,\
                              taker_buy_quote_volume,ignore\n";

/// Writes a number with this many decimals.
fn decimal(number: i64, decimals: u32) -> String {
    let unit = 10_i64.pow(decimals);
    format!("{}.{:0width$}", number / unit, number % unit, width = decimals as usize)
}

impl FormatRow {
    fn prices(&self) -> [String; 4] {
        self.cents.map(|cents| decimal(cents, 2))
    }

    fn volume(&self) -> String {
        decimal(self.volume, 3)
    }

    fn quote_volume(&self) -> String {
        decimal(self.quote_volume, 2)
    }

    fn iso(&self) -> String {
        EventTime(self.ms).to_utc().format("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// Writes our own CSV with the columns that tell this.
pub fn own(rows: &[FormatRow], told: Told) -> Vec<u8> {
    let header = match told {
        Told::Both => "timestamp_ms,open,high,low,close,volume,quote_volume",
        Told::Volume => "timestamp_ms,open,high,low,close,volume",
        Told::Value => "timestamp_ms,open,high,low,close,quote_volume",
        Told::Prices => "timestamp_ms,price",
        Told::Trades => "timestamp_ms,price,volume",
    };
    text(header, rows.iter(), |row| {
        let [open, high, low, close] = row.prices();
        let (volume, quote_volume) = (row.volume(), row.quote_volume());
        match told {
            Told::Both => format!("{},{open},{high},{low},{close},{volume},{quote_volume}", row.ms),
            Told::Volume => format!("{},{open},{high},{low},{close},{volume}", row.ms),
            Told::Value => format!("{},{open},{high},{low},{close},{quote_volume}", row.ms),
            Told::Prices => format!("{},{close}", row.ms),
            Told::Trades => format!("{},{close},{volume}", row.ms),
        }
    })
}

fn text<'a>(header: &str, rows: impl Iterator<Item = &'a FormatRow>, line: impl Fn(&FormatRow) -> String) -> Vec<u8> {
    let mut text = String::new();
    if !header.is_empty() {
        writeln!(text, "{header}").unwrap();
    }
    rows.for_each(|row| writeln!(text, "{}", line(row)).unwrap());
    text.into_bytes()
}

fn binance(rows: &[FormatRow], header: &str, units_per_ms: i64) -> Vec<u8> {
    text(header.trim_end(), rows.iter(), |row| {
        let [open, high, low, close] = row.cents.map(|cents| decimal(cents * 1_000_000, 8));
        let (from, to) = (row.ms * units_per_ms, (row.ms + 60_000) * units_per_ms - 1);
        let (volume, quote) = (decimal(row.volume * 100_000, 8), decimal(row.quote_volume * 1_000_000, 8));
        format!("{from},{open},{high},{low},{close},{volume},{to},{quote},7,0.50000000,4.00000000,0")
    })
}

fn coinbase(rows: &[FormatRow]) -> Vec<u8> {
    text("", rows.iter().rev(), |row| {
        let [open, high, low, close] = row.prices();
        format!("{},{low},{high},{open},{close},{}", row.ms / 1_000, row.volume())
    })
}

fn ccxt(rows: &[FormatRow]) -> Vec<u8> {
    text("", rows.iter(), |row| format!("{},{},{}", row.ms, row.prices().join(","), row.volume()))
}

fn kraken(rows: &[FormatRow]) -> Vec<u8> {
    text("", rows.iter(), |row| format!("{},{},{},12", row.ms / 1_000, row.prices().join(","), row.volume()))
}

fn kraken_trades(rows: &[FormatRow]) -> Vec<u8> {
    text("", rows.iter(), |row| format!("{},{},{}", row.ms / 1_000, row.prices()[3], row.volume()))
}

fn cryptodatadownload(rows: &[FormatRow]) -> Vec<u8> {
    let header = "https://www.CryptoDataDownload.com\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USD";
    text(header, rows.iter().rev(), |row| {
        let prices = row.prices().join(",");
        format!("{},{},BTC/USD,{prices},{},{}", row.ms / 1_000, row.iso(), row.volume(), row.quote_volume())
    })
}

fn bitstamp(rows: &[FormatRow]) -> Vec<u8> {
    let header = "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price\n";
    let mut text = header.to_owned();
    let mut next = rows.first().map_or(0, |row| row.ms);
    for row in rows {
        while next < row.ms {
            writeln!(text, "{},NaN,NaN,NaN,NaN,NaN,NaN,NaN", next / 1_000).unwrap();
            next += 60_000;
        }
        let (prices, close) = (row.prices().join(","), &row.prices()[3]);
        writeln!(text, "{},{prices},{},{},{close}", row.ms / 1_000, row.volume(), row.quote_volume()).unwrap();
        next += 60_000;
    }
    text.into_bytes()
}

fn yahoo(rows: &[FormatRow]) -> Vec<u8> {
    text("Datetime,Open,High,Low,Close,Adj Close,Volume", rows.iter(), |row| {
        let close = &row.prices()[3];
        format!("{}+00:00,{},{close},{}", row.iso(), row.prices().join(","), row.quote_volume())
    })
}

fn coingecko(rows: &[FormatRow]) -> Vec<u8> {
    text("snapped_at,price,market_cap,total_volume", rows.iter(), |row| {
        format!("{} UTC,{},123456789.0,{}", row.iso(), row.prices()[3], row.volume())
    })
}

fn tradingview(rows: &[FormatRow]) -> Vec<u8> {
    text("time,open,high,low,close,Volume,Volume MA,RSI", rows.iter(), |row| {
        format!("{},{},{},7.5,48.2", row.iso().replace(' ', "T") + "Z", row.prices().join(","), row.volume())
    })
}

/// JSON lines with the keys in two orders, volumes as text in every third row, and times with and without an offset.
fn pyspark(rows: &[FormatRow]) -> Vec<u8> {
    text("", rows.iter(), |row| {
        let [open, high, low, close] = row.prices();
        let (minute, time) = (row.ms / 60_000, row.iso());
        let time = match minute % 3 {
            0 => format!("{time}.000000"),
            1 => time.replace(' ', "T") + "+00:00",
            _ => time,
        };
        let volume = if minute % 3 == 0 { format!("\"{}\"", row.volume()) } else { row.volume() };
        let prices = format!("\"Open\": {open}, \"High\": {high}, \"Low\": {low}, \"Close\": {close}");
        match minute % 2 {
            0 => format!("{{\"Datetime\": \"{time}\", {prices}, \"Volume\": {volume}}}"),
            _ => format!("{{\"Volume\": {volume}, {prices}, \"Datetime\": \"{time}\"}}"),
        }
    })
}

fn json(rows: &[FormatRow]) -> Vec<u8> {
    text("", rows.iter(), |row| {
        let [open, high, low, close] = row.prices();
        format!("{{\"t\":{},\"o\":{open},\"h\":{high},\"l\":{low},\"c\":{close},\"v\":{}}}", row.ms, row.volume())
    })
}

fn parquet_file(rows: &[FormatRow], has_zone: bool) -> Vec<u8> {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.ms * 1_000));
    let times = if has_zone { times.with_timezone("UTC") } else { times };
    let amounts = |amount: &dyn Fn(&FormatRow) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(amount)))
    };
    let price = |idx: usize| amounts(&move |row: &FormatRow| row.cents[idx] as f64 / 100.0);
    let columns: [(&str, ArrayRef); 8] = [
        ("Date", Arc::new(times)),
        ("Open", price(0)),
        ("High", price(1)),
        ("Low", price(2)),
        ("Close", price(3)),
        ("Volume", amounts(&|row| row.volume as f64 / 1_000.0)),
        ("quote_volume", amounts(&|row| row.quote_volume as f64 / 100.0)),
        ("__index_level_0__", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// Writes a number with this separator of thousands and this decimal mark.
fn grouped(number: i64, decimals: u32, thousands: char, mark: char) -> String {
    let (whole, fraction) = (number / 10_i64.pow(decimals), number % 10_i64.pow(decimals));
    let digits = whole.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx) % 3 == 0 {
            text.push(thousands);
        }
        text.push(digit);
    }
    format!("{text}{mark}{fraction:0width$}", width = decimals as usize)
}

fn semicolon(rows: &[FormatRow]) -> Vec<u8> {
    text("Date;Open;High;Low;Last;Vol.", rows.iter(), |row| {
        let prices = row.cents.map(|cents| grouped(cents, 2, '.', ',')).join(";");
        format!("{};{prices};{}", row.iso(), grouped(row.volume, 3, '.', ','))
    })
}

fn thousands(rows: &[FormatRow]) -> Vec<u8> {
    let text = text("\"Unix Timestamp\"\t\"Open\"\t\"High\"\t\"Low\"\t\"Close\"\t\"Volume\"", rows.iter(), |row| {
        let prices = row.cents.map(|cents| format!("\"{}\"", grouped(cents, 2, ',', '.'))).join("\t");
        format!("{}\t{prices}\t\"{}\"", row.ms / 1_000, grouped(row.volume, 3, ',', '.'))
    });
    String::from_utf8(text).unwrap().replace('\n', "\r\n").into_bytes()
}

fn offset(rows: &[FormatRow]) -> Vec<u8> {
    text("datetime,high,low,open,close,volume", rows.iter(), |row| {
        let [open, high, low, close] = row.prices();
        let local = FormatRow { ms: row.ms + 19_800_000, ..*row }.iso();
        format!("{local}+05:30,{high},{low},{open},{close},{}", row.volume())
    })
}

fn close_time(rows: &[FormatRow]) -> Vec<u8> {
    text("close_time,open,high,low,close,volume", rows.iter(), |row| {
        format!("{},{},{}", row.ms + 60_000, row.prices().join(","), row.volume())
    })
}

/// Returns minutes of a price that walks, with holes.
pub fn walk(start_ms: i64, count: i64) -> Vec<FormatRow> {
    let mut close = 6_212_345;
    let row = |minute: i64| {
        let open = close;
        close += (minute * 7_919) % 2_003 - 1_001;
        let (high, low) = (open.max(close) + minute % 97, open.min(close) - minute % 89);
        let volume = (minute * 104_729) % 90_001 + 1;
        FormatRow {
            ms: start_ms + minute * 60_000,
            cents: [open, high, low, close],
            volume,
            quote_volume: volume * close / 1_000,
        }
    };
    (0..).filter(|minute| minute % 83 != 60).take(count as usize).map(row).collect()
}
