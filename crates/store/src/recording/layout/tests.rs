//! Rows of each layout, line by line.

use market::validate::Reason;

use super::super::file::RecordingFile;
use super::*;

const HEADER: &str = "timestamp_ms,open,high,low,close,volume";
/// 2026-01-01.
const LATEST: EventTime = EventTime(1_767_225_600_000);
/// 2024-01-01T00:00Z.
const START: &str = "1704067200000";

fn layout_of(text: &str, options: LayoutOptions) -> Result<Layout, String> {
    let text = text.replace("\nT,", &format!("\n{START},"));
    let file = RecordingFile::of_bytes("a.csv", text.into_bytes()).with_layout(options);
    file.layout().map_err(|error| error.to_string())
}

fn row(layout: &Layout, line: &str) -> Result<RecordingRow, RowRefusal> {
    layout.row(&layout.columns, line.replace('T', START).as_bytes(), Place { file: 0, line: 2, latest: LATEST })
}

fn check(line: &str, expected: Result<(f64, f64, Option<f64>), RowRefusal>) {
    let layout = layout_of(HEADER, LayoutOptions::default()).unwrap();
    let found = row(&layout, line).map(|row| (row.open, row.close, row.volume));
    assert_eq!(found, expected, "{line}");
}

#[test]
fn a_row_is_read_in_every_notation_of_its_numbers() {
    check("T,1,3,1,2,5", Ok((1.0, 2.0, Some(5.0))));
    check(" T , 1,3,1, 2 ,\r", Ok((1.0, 2.0, None)));
    check("\"T\",\"1\",\"3\",\"1\",\"2\",\"5\"", Ok((1.0, 2.0, Some(5.0))));
    check("T.0,1,3,1,2e0,5", Ok((1.0, 2.0, Some(5.0))));
    check("T,1,3,1,2,5,,", Ok((1.0, 2.0, Some(5.0))));
    check("T,,,,2,5", Ok((2.0, 2.0, Some(5.0))));
    check("T,\"1,001\",\"1,003.5\",\"1,000.5\",\"1,002\",5", Ok((1_001.0, 1_002.0, Some(5.0))));
}

#[test]
fn a_volume_that_is_not_there_is_unknown() {
    for nothing in ["", "NaN", "nan", "null", "-", "None", "N/A", "\"\""] {
        check(&format!("T,1,3,1,2,{nothing}"), Ok((1.0, 2.0, None)));
    }
    check("T,1,3,1,2,-0.5", Err(RowRefusal::NegativeVolume));
    check("T,1,3,1,2,inf", Err(Reason::NonFinite.into()));
    check("T,1,3,1,2,much", Err(RowRefusal::Unparsable));
}

#[test]
fn every_bad_row_has_its_own_name() {
    check("T,1,3,1,x,5", Err(RowRefusal::Unparsable));
    check("T,1,3", Err(RowRefusal::Unparsable));
    check("T,1,3,1,2", Err(RowRefusal::Unparsable));
    check("T,8,523.5,8,600.0,8,510.0,8,520.0,5", Err(RowRefusal::Unparsable));
    check("2024-01-01,1,3,1,2,5", Err(RowRefusal::Unparsable));
    check("T.5,1,3,1,2,5", Err(RowRefusal::FractionalTime));
    check("T,,3,1,2,5", Err(RowRefusal::IncompletePrice));
    check("T,1,3,1,,5", Err(RowRefusal::IncompletePrice));
    check("T,1,3,NaN,2,5", Err(RowRefusal::IncompletePrice));
    check("T,1,inf,1,2,5", Err(Reason::NonFinite.into()));
    check("T,1,3,1,1e999,5", Err(Reason::NonFinite.into()));
    // Rows of another layout are rows too, and count as unparsable.
    check("2024-01-01 03:20:00,1,3,1,2,2,5", Err(RowRefusal::Unparsable));
    check("2024-01-01,\"1,5\",\"3,5\",x,y", Err(RowRefusal::Unparsable));
    check("1704067200000;1;3.5;1;2;5", Err(RowRefusal::Unparsable));
    check("0,1,3,1,2,5", Err(RowRefusal::Before2009));
    check("T0,1,3,1,2,5", Err(RowRefusal::FUTURE));
}

#[test]
fn lines_without_a_price_are_told_from_bad_rows() {
    for line in ["T,,,,,", "T,NaN,NaN,NaN,NaN,0", "T,null,null,null,null,null", "T,-,-,-,-,-"] {
        check(line, Err(RowRefusal::NoPrice));
    }
    for line in [
        "garbage",
        "# made by hand",
        "https://example.com/a,b",
        ",,,,,",
        "ms,USD,USD,USD,USD,BTC",
        "\u{fffd}",
        "a,b,c,d,e,f,g",
        "exported 2024-01-01,by me",
    ] {
        check(line, Err(RowRefusal::Foreign));
    }
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let layout =
        layout_of("\u{feff}name,\"Close\",low,high,open,volume,timestamp_ms\r\n", LayoutOptions::default()).unwrap();
    let row = row(&layout, "\"a, b\",2,1,3,1.5,9,T").unwrap();
    assert_eq!((row.text().as_str(), row.line), ("1704067200000,1.5,3,1,2,9", 2));
}

#[test]
fn a_file_of_prices_needs_no_candles_and_no_volume() {
    for header in
        ["timestamp_ms,price", "close,timestamp_ms", "Timestamp_ms,Price,volume,id", "timestamp_ms,price,close"]
    {
        let layout = layout_of(header, LayoutOptions::default()).unwrap();
        let line = header.to_ascii_lowercase().replace("timestamp_ms", "T").replace("close", "7");
        let line = line.replace("price", "7").replace("volume", "2").replace("id", "12");
        let row = row(&layout, &line).unwrap();
        assert_eq!((row.open, row.close, row.is_point), (7.0, 7.0, true), "{header}");
        assert_eq!(row.id, layout.columns.has(Slot::Id).then_some(12), "{header}");
    }
}

/// Layouts in words, as a user reads them.
#[test]
fn a_layout_is_detected_and_described() {
    let check = |text: &str, expected: &str| {
        let layout = layout_of(text, LayoutOptions::default()).unwrap();
        assert_eq!(LayoutWords::of(&layout, &[Unit::Seconds], 2).to_string(), expected, "{text}");
    };
    check("timestamp_ms,close\nT,1", "candlewire CSV: timestamp_ms in s, 2 columns");
    check("1704067200,1,3,0.5,2,9,8", "Kraken OHLCVT: time in s, no header, 7 columns");
    check("1704067200,0.5,3,1,2,9", "Coinbase candles: time in s, no header, 6 columns");
    check("1704067200,1,3,0.5,2,9", "ccxt candles: time in s, no header, 6 columns");
    check("1704067200.25,1.5,2", "Kraken trades: time in s, no header, 3 columns");
    check("Date;Close\n2024-01-01;1,5", "CSV: Date as text, 2 columns, separated by semicolons, decimal comma");
    check(
        "Date\tLast\n2024-01-01 00:00\t1.5",
        "CSV: Date as text, without offset in UTC (--time-zone), 2 columns, separated by tabs",
    );
    check("close_time,close\n1704067200,1", "CSV: close_time in s, 2 columns, times are the ends of candles");
    check("{\"Datetime\": \"2024-01-01 00:00Z\", \"Close\": 1}", "JSON lines: Datetime as text, 2 columns");
}

#[test]
fn a_layout_that_is_not_certain_is_refused_with_the_flag() {
    let check = |text: &str, expected: &str| {
        let error = layout_of(text, LayoutOptions::default()).map(|layout| layout.format).expect_err("refused");
        assert!(error.contains(expected), "{text}: {error}");
    };
    check(
        "1704067200,1,1,1,1,9\n1704067260,1,1,1,1,9",
        "a.csv line 1: this row can be read in 2 ways: pass --format coinbase (Coinbase candles) or --format ccxt (ccxt candles)",
    );
    check(
        "1704067200,5,1,9,1,9",
        "its prices are in no known order: put a line before it that names its columns, or pass --format",
    );
    check(
        "1704067200,1,2,3",
        "this is a row of 4 columns, not a header, and no known format without header has so many",
    );
    check(
        "Date,Close\n01/02/2024,5",
        "a.csv line 2: Date has dates such as 01/02/2024, whose day and month can be read in two",
    );
    check(
        "Date,Close\nJan 1 2024,5",
        "a.csv line 2: Date has times such as Jan 1 2024, which cannot be read: write 2024-01-31T",
    );
    check("when,Close\n1,5", "no column \"time\" among the columns when, Close; needed are the time and the close");
}

#[test]
fn what_the_user_says_counts() {
    let flat = "1704067200,1,1,1,1,9";
    for format in [FileFormat::Coinbase, FileFormat::Ccxt] {
        let said = LayoutOptions { format: Some(format), ..LayoutOptions::default() };
        assert_eq!(layout_of(flat, said).map(|layout| layout.format), Ok(format));
    }
    let wrong = |text: &str, format: FileFormat| {
        layout_of(text, LayoutOptions { format: Some(format), ..LayoutOptions::default() }).map(|layout| layout.format)
    };
    let said = wrong(flat, FileFormat::Binance).unwrap_err();
    assert!(said.contains("this row has 6 columns, and Binance klines has 12: pass another --format"), "{said}");
    let said = wrong(flat, FileFormat::Parquet).unwrap_err();
    assert!(said.contains("a.csv: the file is not Parquet, which --format parquet says: leave --format out"), "{said}");
    let columns = ["time=Start", "close=Fix"].map(|choice| choice.parse().unwrap()).to_vec();
    let decimal = Some(Decimal::Comma);
    let said = LayoutOptions { columns, decimal, stamp: Some(StampedAt::Close), ..LayoutOptions::default() };
    let layout = layout_of("Start,Time,Fix,Close\n1704067200,x,\"8,523\",1\n", said).unwrap();
    assert_eq!(row(&layout, "1704067200,x,\"8,523\",1").unwrap().close, 8.523);
    assert_eq!(layout.stamped_at, StampedAt::Close);
}
