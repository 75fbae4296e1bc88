//! Random rows, written in random notations, are read back equal; or the reader refuses with the flag that decides.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use chrono::TimeZone;
use market::{EventTime, Instrument};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use store::recording::{InstrumentRows, LayoutOptions, RecordingFile, RecordingRow, Rejects, RowCounts, Rules};

/// 2024-01-09T00:00Z: no clock changes within three days.
const START: i64 = 1_704_758_400_000;
const MINUTE: i64 = 60_000;
/// Recordings per run.
const RECORDINGS: u32 = 2_000;
/// Recordings of which at least this share must be read.
const READ_PERCENT: u32 = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// Seconds with three decimals.
    DecimalSeconds,
    Utc,
    /// With an offset in minutes.
    Offset(i32),
    /// Local times of a zone.
    Local(chrono_tz::Tz),
}

/// Notation of numbers: decimal mark, and separator of thousands.
type Numbers = (char, Option<char>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
    Shuffled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Zip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Bom,
    Utf16Le,
    Utf16Be,
}

#[derive(Debug, Clone)]
struct Notation {
    separator: char,
    times: Times,
    numbers: Numbers,
    is_quoted: bool,
    is_json: bool,
    order: Order,
    line_end: &'static str,
    names: [&'static str; 6],
    columns: [usize; 6],
    container: Container,
    encoding: Encoding,
}

/// A candle: minute, prices in units of the last decimal, volume in thousandths.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    minute: i64,
    prices: [i64; 4],
    volume: i64,
}

const NAMES: [[&str; 6]; 4] = [
    ["time", "open", "high", "low", "close", "volume"],
    ["Date", "Open", "High", "Low", "Last", "Vol."],
    ["Open Time", "Open Price", "High Price", "Low Price", "Close Price", "Volume BTC"],
    ["t", "o", "h", "l", "c", "v"],
];

fn notation() -> impl Strategy<Value = Notation> {
    let times = prop_oneof![
        select(vec![
            Times::Seconds,
            Times::Milliseconds,
            Times::Microseconds,
            Times::Nanoseconds,
            Times::DecimalSeconds,
            Times::Utc,
        ]),
        (-11_i32..=13).prop_map(|quarter| Times::Offset(quarter * 45)),
        select(vec![chrono_tz::Europe::Berlin, chrono_tz::America::New_York, chrono_tz::Asia::Kolkata])
            .prop_map(Times::Local),
    ];
    let numbers: Vec<Numbers> = vec![
        ('.', None),
        (',', None),
        ('.', Some(',')),
        (',', Some('.')),
        ('.', Some(' ')),
        (',', Some(' ')),
        ('.', Some('\'')),
    ];
    let text = (select(vec![',', ';', '\t']), times, select(numbers), any::<bool>(), prop::bool::weighted(0.2));
    let file = (
        select(vec![Order::Ascending, Order::Descending, Order::Shuffled]),
        select(vec!["\n", "\r\n", "\r"]),
        select(NAMES.to_vec()),
        Just([0, 1, 2, 3, 4, 5]).prop_shuffle(),
        select(vec![
            Container::Plain,
            Container::Gzip,
            Container::Zstd,
            Container::Xz,
            Container::Bzip2,
            Container::Zip,
        ]),
        select(vec![Encoding::Utf8, Encoding::Bom, Encoding::Utf16Le, Encoding::Utf16Be]),
    );
    (text, file).prop_map(
        |((separator, times, numbers, is_quoted, is_json), (order, line_end, names, columns, container, encoding))| {
            // A comma separates fields unless the fields are quoted.
            let is_quoted = is_quoted || separator == ',' && (numbers.0 == ',' || numbers.1 == Some(','));
            Notation {
                separator,
                times,
                numbers,
                is_quoted,
                is_json,
                order,
                line_end,
                names,
                columns,
                container,
                encoding,
            }
        },
    )
}

/// Decimals of the prices, and the rows.
fn rows() -> impl Strategy<Value = (u32, Vec<Row>)> {
    let step = (1_i64..4, prop::array::uniform4(0_i64..2_000), 0_i64..5_000_000);
    (0_u32..5, 1_i64..3_000_000_000, prop::collection::vec(step, 12..60)).prop_map(|(decimals, level, steps)| {
        let mut minute = 0;
        let row = |(idx, (places, moves, volume)): (usize, &(i64, [i64; 4], i64))| {
            minute += if idx % 3 == 0 { *places } else { 1 };
            let [open, close, up, down] = moves.map(|price| level + price);
            let (high, low) = (open.max(close).max(up), open.min(close).min(down));
            Row { minute, prices: [open, high, low, close], volume: *volume }
        };
        (decimals, steps.iter().enumerate().map(row).collect())
    })
}

fn time(times: Times, minute: i64) -> String {
    let ms = START + minute * MINUTE;
    let utc = EventTime(ms).to_utc();
    match times {
        Times::Seconds => (ms / 1_000).to_string(),
        Times::Milliseconds => ms.to_string(),
        Times::Microseconds => format!("{ms}000"),
        Times::Nanoseconds => format!("{ms}000000"),
        Times::DecimalSeconds => format!("{}.000", ms / 1_000),
        Times::Utc => utc.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Times::Offset(minutes) => {
            let zone = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
            zone.from_utc_datetime(&utc.naive_utc()).format("%Y-%m-%d %H:%M:%S%:z").to_string()
        }
        Times::Local(zone) => zone.from_utc_datetime(&utc.naive_utc()).format("%Y-%m-%d %H:%M:%S").to_string(),
    }
}

fn number(units: i64, decimals: u32, (mark, thousands): Numbers) -> String {
    let (whole, fraction) = (units / 10_i64.pow(decimals), units % 10_i64.pow(decimals));
    let digits = whole.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if let Some(thousands) = thousands.filter(|_| idx > 0 && (digits.len() - idx) % 3 == 0) {
            text.push(thousands);
        }
        text.push(digit);
    }
    if decimals > 0 {
        write!(text, "{mark}{fraction:0width$}", width = decimals as usize).unwrap();
    }
    text
}

fn line(notation: &Notation, row: &Row, decimals: u32) -> String {
    let [open, high, low, close] = row.prices.map(|price| number(price, decimals, notation.numbers));
    let volume = number(row.volume, 3, notation.numbers);
    let fields = [time(notation.times, row.minute), open, high, low, close, volume];
    let field = |column: &usize| {
        let field = &fields[*column];
        match (notation.is_json, notation.is_quoted) {
            (true, _) => format!("\"{}\":\"{field}\"", notation.names[*column]),
            (false, true) => format!("\"{field}\""),
            (false, false) => field.clone(),
        }
    };
    let joined: Vec<String> = notation.columns.iter().map(field).collect();
    if notation.is_json { format!("{{{}}}", joined.join(",")) } else { joined.join(&notation.separator.to_string()) }
}

fn file(notation: &Notation, rows: &[Row], decimals: u32) -> Vec<u8> {
    let mut rows = rows.to_vec();
    match notation.order {
        Order::Ascending => {}
        Order::Descending => rows.reverse(),
        Order::Shuffled => rows.sort_by_key(|row| row.minute.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed())),
    }
    let mut text = String::new();
    if !notation.is_json {
        let names: Vec<&str> = notation.columns.iter().map(|column| notation.names[*column]).collect();
        text += &(names.join(&notation.separator.to_string()) + notation.line_end);
    }
    rows.iter().for_each(|row| text += &(line(notation, row, decimals) + notation.line_end));
    packed(notation.container, encoded(notation.encoding, &text))
}

fn encoded(encoding: Encoding, text: &str) -> Vec<u8> {
    let utf16 = |bytes: fn(u16) -> [u8; 2]| format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect();
    match encoding {
        Encoding::Utf8 => text.as_bytes().to_vec(),
        Encoding::Bom => format!("\u{feff}{text}").into_bytes(),
        Encoding::Utf16Le => utf16(u16::to_le_bytes),
        Encoding::Utf16Be => utf16(u16::to_be_bytes),
    }
}

fn packed(container: Container, bytes: Vec<u8>) -> Vec<u8> {
    match container {
        Container::Plain => bytes,
        Container::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        }
        Container::Zstd => zstd::encode_all(bytes.as_slice(), 1).unwrap(),
        Container::Xz => {
            let options = lzma_rust2::XzOptions::with_preset(0);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        }
        Container::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        }
        Container::Zip => {
            let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
            writer.start_file("rows.csv", zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(&bytes).unwrap();
            writer.finish().unwrap().into_inner()
        }
    }
}

/// Reads a file; the error is the refusal.
fn read(notation: &Notation, bytes: Vec<u8>) -> Result<Vec<RecordingRow>, String> {
    let time_zone = match notation.times {
        Times::Local(zone) => Some(zone),
        _ => None,
    };
    let options = LayoutOptions { time_zone, ..LayoutOptions::default() };
    let input = RecordingFile::of_bytes("rows", bytes).with_layout(options);
    let instrument = Instrument::new("bitcoin", "usd").unwrap();
    let rules = Rules { reorder_rows: 10, ..Rules::at(EventTime(START + 10_000 * MINUTE)) };
    let mut track = InstrumentRows::open(vec![input], &instrument, rules).map_err(|error| error.to_string())?;
    let (mut counts, mut rejects, mut rows) = (RowCounts::default(), Rejects::nowhere(), Vec::new());
    while let Some(row) = track.next(&mut counts, &mut rejects) {
        rows.push(row);
    }
    assert_eq!(counts.rejected_count() + counts.foreign + counts.without_price, 0, "{counts:?}");
    assert!(track.cut().is_none(), "{:?}", track.cut());
    Ok(rows)
}

/// Returns the values of a row as text with a decimal point gives them.
fn values(row: &Row, decimals: u32) -> (i64, [f64; 4], Option<f64>) {
    let plain = |units: i64, decimals: u32| number(units, decimals, ('.', None)).parse().unwrap();
    (START + row.minute * MINUTE, row.prices.map(|price| plain(price, decimals)), Some(plain(row.volume, 3)))
}

#[test]
fn rows_in_any_notation_are_read_back_or_refused() {
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[23; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let mut read_count = 0;
    for _ in 0..RECORDINGS {
        let (notation, (decimals, rows)) = (notation(), rows()).new_tree(&mut runner).unwrap().current();
        let bytes = file(&notation, &rows, decimals);
        match read(&notation, bytes) {
            Ok(found) => {
                read_count += 1;
                let found: Vec<_> = found
                    .iter()
                    .map(|row| (row.event.ms(), [row.open, row.high, row.low, row.close], row.volume))
                    .collect();
                let expected: Vec<_> = rows.iter().map(|row| values(row, decimals)).collect();
                assert_eq!(found, expected, "{notation:?}, {decimals} decimals");
            }
            Err(said) => assert!(said.contains("--decimal point or --decimal comma"), "{said}: {notation:?}"),
        }
    }
    assert!(read_count * 100 >= RECORDINGS * READ_PERCENT, "{read_count} of {RECORDINGS} were read");
}
