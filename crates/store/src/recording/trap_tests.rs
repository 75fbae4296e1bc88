//! One test for each trap in files that people have: what is read, or the exact words of the refusal.

use market::{EventTime, Instrument, Span};

use super::*;

/// 2024-01-01T00:00Z.
const START: i64 = 1_704_067_200_000;

struct Read {
    rows: Vec<RecordingRow>,
    counts: RowCounts,
    shape: RowShape,
    words: String,
}

fn rules() -> Rules {
    Rules { reorder_rows: 7, ..Rules::at(EventTime(START + 400 * Span::DAY.ms())) }
}

fn file(text: &str) -> RecordingFile {
    RecordingFile::of_bytes("a.csv", text.as_bytes().to_vec())
}

fn read_file(input: RecordingFile, rules: Rules) -> Result<Read, String> {
    let instrument = Instrument::new("bitcoin", "usd").unwrap();
    let mut track = InstrumentRows::open(vec![input], &instrument, rules).map_err(|error| error.to_string())?;
    let (mut counts, mut rejects, mut rows) = (RowCounts::default(), Rejects::nowhere(), Vec::new());
    while let Some(row) = track.next(&mut counts, &mut rejects) {
        rows.push(row);
    }
    if let Some(cut) = track.cut() {
        return Err(cut.to_string());
    }
    let words = track.layouts().map(|(_, words)| words.to_string()).collect();
    let accounted = rows.len() as u64
        + counts.duplicates
        + counts.rejected_count()
        + counts.unfinished
        + counts.without_price
        + counts.foreign
        + counts.headers;
    assert_eq!(counts.rows, accounted, "{counts:?}");
    Ok(Read { rows, counts, shape: track.shape(), words })
}

fn read(text: &str) -> Read {
    read_file(file(text), rules()).unwrap()
}

fn read_as(text: &str, options: LayoutOptions) -> Read {
    read_file(file(text).with_layout(options), rules()).unwrap()
}

/// Checks that a file is refused with exactly these words.
fn refused(text: &str, expected: &str) {
    let said = read_file(file(text), rules()).map(|read| read.words).expect_err("refused");
    assert_eq!(said, expected);
}

/// Returns the minutes since the start of each row.
fn minutes(read: &Read) -> Vec<i64> {
    read.rows.iter().map(|row| (row.event.ms() - START) / 60_000).collect()
}

/// Returns rows of minutes, each with its time as `time` writes the minute.
fn lines(minutes: impl IntoIterator<Item = i64>, time: impl Fn(i64) -> String) -> String {
    minutes.into_iter().map(|minute| format!("{},2,3,1,2,5\n", time(minute))).collect()
}

fn seconds(minute: i64) -> String {
    (START / 1_000 + minute * 60).to_string()
}

fn ms(minute: i64) -> String {
    (START + minute * 60_000).to_string()
}

#[test]
fn seconds_in_a_column_of_milliseconds() {
    refused(
        &format!("timestamp_ms,open,high,low,close,volume\n{}", lines(0..3, seconds)),
        "a.csv line 2: 1704067200 reads as 1970-01-20 in milliseconds; as seconds it is 2024-01-01: convert the column to \
         milliseconds, or give it a name without a unit, such as time",
    );
    let read = read(&format!("time,open,high,low,close,volume\n{}", lines(0..3, seconds)));
    assert_eq!((minutes(&read), read.words.as_str()), (vec![0, 1, 2], "CSV: time in s, 6 columns"));
}

#[test]
fn two_units_in_one_column() {
    refused(
        &format!("time,open,high,low,close,volume\n{}{}", lines(0..3, seconds), lines(3..5, ms)),
        "a.csv line 5: 1704067380000 is a time in milliseconds, and line 2 has one in seconds: convert the whole column to seconds",
    );
}

#[test]
fn binance_goes_on_in_microseconds() {
    let line = |time: String| format!("{time},2,3,1,2,5,{time},10.5,7,2,4,0\n");
    let text: String =
        (0..3).map(|minute| line(ms(minute))).chain((3..6).map(|minute| line(ms(minute) + "000"))).collect();
    let read = read(&text);
    assert_eq!(minutes(&read), [0, 1, 2, 3, 4, 5]);
    assert!(read.rows.iter().all(|row| row.quote_volume == Some(10.5)));
    assert_eq!(read.words, "Binance klines: open_time in ms and µs, no header, 12 columns");
}

#[test]
fn times_before_2009() {
    refused(
        "time,open,high,low,close,volume\n946684800,2,3,1,2,5\n946684860,2,3,1,2,5\n",
        "a.csv line 2: 946684800 reads as 2000-01-01 in seconds, and 2 of 2 rows have a time that is fractional, before 2009 or \
         after tomorrow: write whole milliseconds since 1970 (UTC)",
    );
}

#[test]
fn times_cut_by_a_spreadsheet() {
    refused(
        "time,close\n1.70407E+12,5\n1.70407E+12,6\n",
        "a.csv line 2: 1.70407E+12 has lost its last digits, as spreadsheets cut them: give the column a number format without \
         decimals and export it again",
    );
}

#[test]
fn dates_with_the_year_at_their_end() {
    refused(
        "Date,Close\n01/02/2024,5\n01/03/2024,6\n",
        "a.csv line 2: Date has dates such as 01/02/2024, whose day and month can be read in two ways: write the year first, such \
         as 2024-01-31",
    );
}

#[test]
fn rows_without_header_that_fit_two_orders() {
    let flat = |minute: i64| format!("{},5,5,5,5,1\n", seconds(minute));
    let text: String = (0..3).map(flat).collect();
    refused(
        &text,
        "a.csv line 1: this row can be read in 2 ways: pass --format coinbase (Coinbase candles) or --format ccxt (ccxt candles)",
    );
    let said = LayoutOptions { format: Some(FileFormat::Ccxt), ..LayoutOptions::default() };
    assert_eq!(minutes(&read_as(&text, said)), [0, 1, 2]);
}

#[test]
fn low_and_high_tell_coinbase_from_ccxt() {
    let text =
        |prices: &str| (0..3).rev().map(|minute| format!("{},{prices},5\n", seconds(minute))).collect::<String>();
    for (prices, words) in [("1,3,2,2.5", "Coinbase candles"), ("2,3,1,2.5", "ccxt candles")] {
        let read = read(&text(prices));
        let row = read.rows[0];
        assert_eq!((row.open, row.high, row.low, row.close), (2.0, 3.0, 1.0, 2.5));
        assert!(read.words.starts_with(words), "{}", read.words);
    }
}

#[test]
fn numbers_with_two_readings() {
    let text = "time;close\n1704067200;8,523\n1704067260;8,524\n";
    refused(
        text,
        "a.csv line 2: 8,523 can be 8523 or 8.523, and no number of the file decides: pass --decimal point or --decimal comma",
    );
    for (decimal, close) in [(Decimal::Point, 8_523.0), (Decimal::Comma, 8.523)] {
        let said = LayoutOptions { decimal: Some(decimal), ..LayoutOptions::default() };
        assert_eq!(read_as(text, said).rows[0].close, close);
    }
    let point = "time;close\n1704067200;8.523\n1704067260;8.524\n";
    refused(
        point,
        "a.csv line 2: 8.523 can be 8523 or 8.523, and no number of the file decides: pass --decimal point or --decimal comma",
    );
    assert_eq!(read(&point.replace(';', ",")).rows[0].close, 8.523);
}

#[test]
fn the_last_row_decides_the_decimal_mark() {
    let text = |last: &str| {
        let first: String = (0..1_500).map(|minute| format!("{};8,523\n", seconds(minute))).collect();
        format!("time;close\n{first}{};{last}\n", seconds(1_500))
    };
    assert_eq!(read(&text("8523,6")).rows[0].close, 8.523);
    assert_eq!(read(&text("8,523.6")).rows[0].close, 8_523.0);
}

#[test]
fn numbers_that_contradict_each_other() {
    refused(
        "time,close\n1704067200,\"8,523.50\"\n1704067260,\"8523,6\"\n",
        "a.csv line 3: 8523,6 has another decimal mark than 8,523.50 of line 2: write all numbers of the file in one way, or pass \
         --decimal point or --decimal comma, which refuses the other rows",
    );
}

#[test]
fn local_times_that_a_clock_change_makes_unclear() {
    let text = "time,price\n2024-03-31 01:30,5\n2024-03-31 02:30,5\n2024-03-31 03:30,5\n2024-10-27 02:30,5\n2024-10-27 03:30,5\n";
    let said = LayoutOptions { time_zone: Some(chrono_tz::Europe::Berlin), ..LayoutOptions::default() };
    let rules = Rules { step_max: Span(365 * Span::DAY.ms()), ..rules() };
    let read = read_file(file(text).with_layout(said), rules).unwrap();
    let reasons: Vec<_> = read.counts.rejected.into_iter().collect();
    assert_eq!(reasons, [("ambiguous-time", 1), ("nonexistent-time", 1)]);
    assert_eq!(read.words, "CSV: time as text, without offset in Europe/Berlin (--time-zone), 2 columns");
    let times: Vec<_> = read.rows.iter().map(|row| row.event.to_rfc3339()).collect();
    assert_eq!(times, ["2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z", "2024-10-27T02:30:00Z"]);
}

#[test]
fn a_second_header_with_other_columns() {
    let text = "time,open,high,low,close\n1704067200,2,3,1,2.5\nclose,low,high,open,time\n2.5,1,3,2,1704067260\n";
    let read = read(text);
    let values: Vec<_> = read.rows.iter().map(|row| (row.open, row.high, row.low, row.close)).collect();
    assert_eq!((values, read.counts.headers), (vec![(2.0, 3.0, 1.0, 2.5); 2], 1));
    refused(
        "time,open,high,low,close\n1704067200,2,3,1,2.5\n1704067260,2,3,1,2.5\nopen,high,low\n1,2,3\n",
        "a.csv line 4: the file has a second header here, and the rows after it may have other columns: split the file at this line",
    );
}

#[test]
fn the_newest_row_first() {
    let text = format!("time,open,high,low,close,volume\n{}", lines((0..12_000).rev(), seconds));
    let read = read(&text);
    assert_eq!(minutes(&read), (0..12_000).collect::<Vec<_>>());
    assert_eq!(read.shape, RowShape::Candles(Span::MINUTE));
}

#[test]
fn the_last_candle_of_an_export_has_not_ended() {
    let text = format!("time,open,high,low,close,volume\n{}", lines(0..10, seconds));
    let check = |written_ms: i64, count: usize| {
        let read = read_file(file(&text).written_at(EventTime(START + written_ms)), rules()).unwrap();
        assert_eq!((read.rows.len(), read.counts.unfinished), (count, 10 - count as u64), "{written_ms}");
    };
    check(9 * 60_000 + 30_000, 9);
    check(10 * 60_000, 10);
    // A file that was unpacked has a time of its own.
    check(-365 * Span::DAY.ms(), 10);
    check(5 * 60_000, 10);
}

#[test]
fn candles_stamped_at_their_end() {
    let text = format!("time,open,high,low,close,volume\n{}", lines(1..4, seconds));
    let said = LayoutOptions { stamp: Some(StampedAt::Close), ..LayoutOptions::default() };
    assert_eq!(minutes(&read_as(&text, said)), [0, 1, 2]);
    // The name of the column says it; Binance's close is the last millisecond.
    let last_ms = |minute: i64| (START + minute * 60_000 - 1).to_string();
    let text = format!("close_time,open,high,low,close,volume\n{}", lines(1..4, last_ms));
    let read = read(&text);
    assert_eq!(minutes(&read), [0, 1, 2]);
    assert_eq!(read.words, "CSV: close_time in ms, 6 columns, times are the ends of candles");
}

#[test]
fn columns_that_are_not_the_volume_of_a_row() {
    let text =
        "snapped_at,price,market_cap,total_volume\n2024-01-01 00:00:00 UTC,5,100,7\n2024-01-02 00:00:00 UTC,6,100,8\n";
    let read = read(text);
    assert!(read.rows.iter().all(|row| row.volume.is_none() && row.is_point));
    assert_eq!(read.words, "CoinGecko history: snapped_at as text, 4 columns");
}

#[test]
fn minutes_and_days_without_trades_are_gaps() {
    let bitstamp = "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price\n\
        1704067200,2,3,1,2,5,10,2\n1704067260,NaN,NaN,NaN,NaN,NaN,NaN,NaN\n1704067320,2,3,1,2,5,10,2\n1704067380,2,3,1,2,5,10,2\n";
    let yahoo = "Date,Open,High,Low,Close,Adj Close,Volume\n\
        2024-01-01,2,3,1,2,2,5\n2024-01-02,null,null,null,null,null,null\n2024-01-03,2,3,1,2,2,5\n2024-01-04,2,3,1,2,2,5\n";
    for (text, words) in [(bitstamp, "Bitstamp minutes"), (yahoo, "Yahoo Finance")] {
        let read = read(text);
        assert_eq!((read.rows.len(), read.counts.without_price, read.counts.rejected_count()), (3, 1, 0));
        assert!(read.words.starts_with(words), "{}", read.words);
    }
}

/// Others call the amount of a coin `Volume`.
#[test]
fn the_volume_of_yahoo_is_a_value_in_the_quote_currency() {
    let export = "Date,Open,High,Low,Close,Adj Close,Volume\n\
        2024-01-01,2,3,1,2,2,5\n2024-01-02,2,3,1,2,2,5\n2024-01-03,2,3,1,2,2,5\n";
    let yfinance = "Price,Close,High,Low,Open,Volume\nTicker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\nDate,,,,,\n\
        2024-01-01,2,3,1,2,5\n2024-01-02,2,3,1,2,5\n2024-01-03,2,3,1,2,5\n";
    let again = format!("{export}Date,Close,Adj Close,Volume,Open,High,Low\n2024-01-04,2,2,5,2,3,1\n");
    let volumes = |read: &Read| -> Vec<_> { read.rows.iter().map(|row| (row.volume, row.quote_volume)).collect() };
    for (text, rows) in [(export, 3), (yfinance, 3), (again.as_str(), 4)] {
        assert_eq!(volumes(&read(text)), vec![(None, Some(5.0)); rows], "{text}");
        let columns = vec!["volume=Volume".parse().unwrap()];
        let said = LayoutOptions { columns, ..LayoutOptions::default() };
        assert_eq!(volumes(&read_as(text, said)), vec![(Some(5.0), None); rows], "{text}");
    }
}

#[test]
fn headers_of_several_lines() {
    let yfinance = "Price,Close,High,Low,Open,Volume\nTicker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\nDate,,,,,\n\
        2024-01-01,2,3,1,2,5\n2024-01-02,2,3,1,2,5\n2024-01-03,2,3,1,2,5\n";
    let read_yfinance = read(yfinance);
    assert_eq!(
        (read_yfinance.rows.len(), read_yfinance.counts.foreign, read_yfinance.counts.rejected_count()),
        (3, 2, 0)
    );
    assert_eq!(read_yfinance.words, "Yahoo Finance: Date as text, 6 columns");
    let excel = read("sep=;\nDate;Close\n2024-01-01;1,5\n2024-01-02;1,6\n");
    assert_eq!((excel.rows[0].close, excel.counts.foreign), (1.5, 1));
}

#[test]
fn a_date_alone_is_that_utc_day() {
    let text = "Date,Open,High,Low,Close\n2024-01-01,2,3,1,2\n2024-01-02,2,3,1,2\n2024-01-03,2,3,1,2\n";
    let said = LayoutOptions { time_zone: Some(chrono_tz::Asia::Tokyo), ..LayoutOptions::default() };
    for read in [read(text), read_as(text, said)] {
        assert_eq!((read.rows[0].event, read.shape), (EventTime(START), RowShape::Candles(Span::DAY)));
    }
}

#[test]
fn json_lines_with_foreign_lines_and_a_header_as_data() {
    let text = "{\"Datetime\": \"2024-01-01T00:01:00+00:00\", \"Open\": 2, \"High\": 3, \"Low\": 1, \"Close\": 2, \"Volume\": \"5\"}\n\
        {\"Volume\": 5, \"Close\": 2, \"Low\": 1, \"High\": 3, \"Open\": 2, \"Datetime\": \"2024-01-01 00:00:00.000000\"}\n\
        {\"Datetime\": \"Datetime\", \"Open\": \"Open\", \"High\": \"High\", \"Low\": \"Low\", \"Close\": \"Close\", \"Volume\": \"Volume\"}\n\
        {\"status\": \"ok\"}\nnull\n\
        {\"Datetime\": \"2024-01-01T02:02:00+02:00\", \"Open\": 2, \"High\": 3, \"Low\": 1, \"Close\": 2, \"Volume\": null}\n\
        {\"Datetime\": \"2024-01-01T00:03:00\", \"Open\": 2, \"High\":\n";
    let read = read(text);
    let volumes: Vec<_> = read.rows.iter().map(|row| row.volume).collect();
    assert_eq!((minutes(&read), volumes), (vec![0, 1, 2], vec![Some(5.0), Some(5.0), None]));
    assert_eq!((read.counts.headers, read.counts.foreign, read.counts.rejected["unparsable"]), (1, 2, 1));
    assert_eq!(
        read.words,
        "history of the PySpark program: Datetime as text, without offset in UTC (--time-zone), 7 columns"
    );
}
