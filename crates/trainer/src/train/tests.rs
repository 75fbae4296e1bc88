use std::io::Write;
use std::path::Path;

use clap::Parser;
use market::{EventTime, Span, Tick};
use store::archive::ArchiveWriter;
use store::archive::catalog::SeqRange;
use store::model_card::{FileDigest, ModelCard};
use store::paths::{MODEL_CARD, MODEL_FILES};
use store::ticks::TickRows;

use super::*;
use crate::cli::{Args, Command};

const HEADER: &str = "timestamp_ms,open,high,low,close,volume\n";
/// 2020-01-01T00:00Z.
const START: i64 = 1_577_836_800_000;

/// Writes an archive of minutes of each coin.
fn archive(folder: &Path, minutes: i64, coins: &[&str]) {
    let mut rows = TickRows::default();
    for (coin, idx) in coins.iter().flat_map(|coin| (0..minutes).map(move |idx| (coin, idx))) {
        let close = 100.0 + (idx as f64 / 9.0).sin() + (idx as f64 / 2.3).cos();
        let event = EventTime(START + idx * Span::MINUTE.ms());
        let tick = Tick::bar(event, Span::MINUTE, [close, close + 0.1, close - 0.1, close]);
        rows.push(&Instrument::new(coin, "usd").expect("valid"), &tick, 7);
    }
    let mut writer = ArchiveWriter::open(folder, "MARKET").expect("writable");
    writer.append(SeqRange { first: 1, last: 9 }, &rows.into_batch()).expect("written");
}

/// Trains with the given flags into the folder `out`. The error is the exit code and the message.
fn train_with(folder: &Path, flags: &[&str]) -> Result<(), (Option<Code>, String)> {
    let out = folder.join("out").display().to_string();
    let fixed = ["trainer", "train", "--threads", "1", "--out", &out];
    let args = Args::try_parse_from([&fixed, flags].concat()).expect("valid flags");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let done = runtime.block_on(crate::run(args, service::Shutdown::new()));
    done.map_err(|error| (crate::error::code_of(&error), format!("{error:#}")))
}

/// Trains from the archive with the given flags. The error is the exit code.
fn run(folder: &Path, flags: &[&str]) -> Result<(), Option<Code>> {
    let archive = folder.join("archive").display().to_string();
    let flags = [&["--offline", "--archive", &archive], flags].concat();
    train_with(folder, &flags).map_err(|(code, _)| code)
}

/// Trains from a recording with these bytes and the given flags.
fn run_input(folder: &Path, file: &str, bytes: &[u8], flags: &[&str]) -> Result<(), (Option<Code>, String)> {
    let file = folder.join(file);
    std::fs::write(&file, bytes).expect("written");
    let input = file.display().to_string();
    train_with(folder, &[&["--input", &input, "--coin", "bitcoin", "--quote", "usd"], flags].concat())
}

/// Returns a recording of these minutes.
fn minutes(minutes: impl IntoIterator<Item = i64>) -> String {
    let row = |minute: i64| {
        let close = 100.0 + (minute as f64 / 9.0).sin() + (minute as f64 / 2.3).cos();
        format!("{},{close},{},{},{close},1.5\n", START + minute * 60_000, close + 0.1, close - 0.1)
    };
    [HEADER.to_owned()].into_iter().chain(minutes.into_iter().map(row)).collect()
}

fn read_out(folder: &Path) -> [Vec<u8>; MODEL_FILES.len()] {
    MODEL_FILES.map(|file| std::fs::read(folder.join("out").join(file)).expect("a file"))
}

fn card(folder: &Path) -> ModelCard {
    ModelCard::read(&folder.join("out").join(MODEL_CARD)).expect("a card")
}

#[test]
fn a_repeated_training_leaves_the_same_files() {
    let folder = tempfile::tempdir().expect("a folder");
    archive(&folder.path().join("archive"), 400, &["bitcoin"]);
    run(folder.path(), &[]).expect("trained");
    let before = read_out(folder.path());
    assert_eq!(std::fs::read_dir(folder.path().join("out")).expect("a folder").count(), MODEL_FILES.len());
    run(folder.path(), &[]).expect("trained");
    let card = MODEL_FILES.len() - 1;
    assert_eq!(read_out(folder.path())[..card], before[..card]);
}

#[test]
fn a_training_without_a_model_leaves_no_file() {
    type Case = (&'static str, i64, &'static [&'static str], &'static [&'static str], Code);
    let cases: [Case; 6] = [
        ("no archive", 0, &[], &[], Code::NotEnoughData),
        ("too few rows", 60, &["bitcoin"], &[], Code::NotEnoughData),
        ("another coin", 400, &["bitcoin"], &["--coin", "dogecoin", "--quote", "usd"], Code::NotEnoughData),
        ("which of two", 400, &["bitcoin", "ethereum"], &[], Code::BadConfig),
        ("no coin's name", 400, &["bitcoin"], &["--coin", "a.b", "--quote", "usd"], Code::BadConfig),
        ("contradiction", 400, &["bitcoin"], &["--recipe", "calendar", "--interval", "1h"], Code::BadConfig),
    ];
    for (name, minutes, coins, flags, code) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        if minutes > 0 {
            archive(&folder.path().join("archive"), minutes, coins);
        }
        assert_eq!(run(folder.path(), flags), Err(Some(code)), "{name}");
        let files = std::fs::read_dir(folder.path().join("out")).map_or(0, Iterator::count);
        assert_eq!(files, 0, "{name}");
    }
}

#[test]
fn an_archive_and_its_recording_teach_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    archive(&folder.path().join("archive"), 400, &["bitcoin"]);
    run(folder.path(), &[]).expect("trained");
    let of_archive = read_out(folder.path());
    // The archive of these tests has no volume.
    let recording = minutes(0..400).replace(",1.5\n", ",\n");
    run_input(folder.path(), "minutes.csv", recording.as_bytes(), &[]).expect("trained");
    let of_recording = read_out(folder.path());
    let card = MODEL_FILES.len() - 1;
    assert_eq!(of_archive[..card], of_recording[..card]);
}

#[test]
fn the_card_tells_the_digests_of_the_files_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    run_input(folder.path(), "minutes.csv", minutes(0..400).as_bytes(), &[]).expect("trained");
    let expected = MODEL_FILES.into_iter().zip(read_out(folder.path())).filter(|(file, _)| *file != MODEL_CARD);
    let expected = expected.map(|(file, content)| (file.to_owned(), FileDigest::of(&content))).collect();
    assert_eq!(card(folder.path()).files, expected);
}

#[test]
fn a_lone_row_counts_when_max_step_reaches_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, minutes((0..5).chain([40 * 24 * 60]))).expect("written");
    let input = file.display().to_string();
    let note = |flags: &[&str]| {
        let fixed = ["trainer", "train", "--input", &input, "--coin", "bitcoin", "--quote", "usd"];
        let args = Args::try_parse_from([&fixed, flags].concat()).expect("valid flags");
        let Command::Train(train) = args.command else { panic!("train was asked for") };
        train.data.read(&ProgressDisplay::start()).expect("a recording").note.expect("a note")
    };
    let layout = format!("{input}: read as candlewire CSV: timestamp_ms in ms, 6 columns; 6 rows");
    let refused = "5 ticks, read as candles of 1m; left out of 6 rows: 1 jump (a jump is a lone row further than --max-step from \
                   the others)";
    assert_eq!(note(&[]), format!("{layout}\n{refused}"));
    let accepted = "6 ticks, read as candles of 1m; left out of 6 rows: none";
    assert_eq!(note(&["--max-step", "60d"]), format!("{layout}\n{accepted}"));
}

#[test]
fn unusable_data_are_refused_with_advice_and_leave_no_file() {
    let still = |row: i64| format!("{},5,5,5,5,1\n", START + row * 60_000);
    let torn = (0..2_000).filter(|minute| minute % 25 != 0);
    let cases: [(&str, String, &[&str], Code, &str); 9] = [
        ("ten rows", minutes(0..10), &[], Code::NotEnoughData, "not enough data to train on bitcoin/usd: 0 rows of 1m"),
        ("one row", minutes(0..1), &["--grain", "1m"], Code::NotEnoughData, "not enough data"),
        ("one candle", minutes(0..60), &["--interval", "1h"], Code::NotEnoughData, "0 rows of 1h"),
        (
            "constant",
            HEADER.to_owned() + &(0..500).map(still).collect::<String>(),
            &[],
            Code::NotEnoughData,
            "does not move",
        ),
        (
            "a hole every 25 minutes",
            minutes(torn),
            &["--interval", "1m"],
            Code::NotEnoughData,
            "0 rows of 1m, at least 100 are needed; the data are 1920 bars of 1m; the candles of 1m are 80 stretches of at most \
             24 in a row, fewer than the 25 that the features look back on; 79 holes have no candle of 1m, the first from \
             2020-01-01T00:25:00Z to 2020-01-01T00:26:00Z; what works is --interval 15m (108 rows) or --interval 5m (375 rows)",
        ),
        (
            "only junk",
            format!("{HEADER}junk\n{START},NaN,1,1,1,1\n"),
            &[],
            Code::NotEnoughData,
            "1 foreign, 1 incomplete-price",
        ),
        (
            "no header",
            minutes(0..500).replace(HEADER, "").replace('\n', ",7,8\n"),
            &[],
            Code::BadConfig,
            "this is a row of 8 columns, not a header",
        ),
        ("nothing", String::new(), &[], Code::BadConfig, "the file is empty"),
        ("too coarse", minutes((0..500).map(|hour| hour * 60)), &["--interval", "1m"], Code::BadConfig, "--interval"),
    ];
    for (name, text, flags, code, message) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let (found, said) = run_input(folder.path(), "rows.csv", text.as_bytes(), flags).expect_err(name);
        assert_eq!(found, Some(code), "{name}: {said}");
        assert!(said.contains(message), "{name}: {said}");
        let files = std::fs::read_dir(folder.path().join("out")).map_or(0, Iterator::count);
        assert_eq!(files, 0, "{name}");
    }
}

#[test]
fn a_file_that_is_not_there_or_breaks_off_is_bad_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(minutes(0..20_000).as_bytes()).expect("packed");
    let mut packed = packed.finish().expect("packed");
    packed.truncate(packed.len() / 2);
    let (code, said) = run_input(folder.path(), "rows.csv.gz", &packed, &[]).expect_err("it is cut short");
    assert!(said.contains("the file breaks off here"), "{said}");
    assert_eq!(code, Some(Code::BadConfig));
    let missing = ["--input", "nowhere.csv", "--coin", "bitcoin", "--quote", "usd"];
    let (code, said) = train_with(folder.path(), &missing).expect_err("it is not there");
    assert_eq!((code, said.contains("nowhere.csv: cannot open it")), (Some(Code::BadConfig), true), "{said}");
}

#[test]
fn junk_holes_and_repeats_cost_only_their_own_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let clean = minutes((0..600).filter(|minute| !(300..310).contains(minute)));
    run_input(folder.path(), "clean.csv", clean.as_bytes(), &[]).expect("trained");
    let of_clean = read_out(folder.path());
    let skipped = card(folder.path()).rows.skipped;
    assert_eq!((skipped.trailing_window, skipped.horizon), (2 * 24, 2), "both sides of the hole begin anew");
    let mut lines: Vec<&str> = clean.lines().collect();
    lines.splice(
        50..50,
        ["junk", "1,2,3", "1577854860000,5,5,5,-5,5", "1577854920000,5,NaN,5,5,5", "1577854980000,5,4,6,5,5"],
    );
    lines.push(lines[20]);
    let dirty = lines.join("\n");
    run_input(folder.path(), "dirty.csv", dirty.as_bytes(), &[]).expect("trained");
    let model_files = MODEL_FILES.len() - 1;
    assert_eq!(read_out(folder.path())[..model_files], of_clean[..model_files]);
}

#[test]
fn a_training_that_fails_leaves_the_last_model_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    run_input(folder.path(), "good.csv", minutes(0..400).as_bytes(), &[]).expect("trained");
    let before = read_out(folder.path());
    run_input(folder.path(), "bad.csv", minutes(0..10).as_bytes(), &[]).expect_err("too few rows");
    assert_eq!(read_out(folder.path()), before);
    assert_eq!(std::fs::read_dir(folder.path().join("out")).expect("a folder").count(), MODEL_FILES.len());
}
