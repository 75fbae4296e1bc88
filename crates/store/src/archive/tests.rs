use std::fs;

use market::Span;

use super::*;
use crate::ticks::TickRows;

fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usdt").expect("valid")
}

fn tick(event: i64, close: f64) -> Tick {
    let bar = Tick::bar(EventTime(event), Span::MINUTE, [close, close + 1.0, close, close]);
    Tick { volume: Some(2.0), ..bar }
}

/// Returns one row for each given (MARKET sequence, event time).
fn rows(of: &[(u64, i64)]) -> TickRows {
    let mut rows = TickRows::default();
    for &(seq, event) in of {
        rows.push(&bitcoin(), &tick(event, event as f64), seq);
    }
    rows
}

fn range(first: u64, last: u64) -> SeqRange {
    SeqRange { first, last }
}

fn events(archive: &Archive, through: Through) -> Vec<i64> {
    archive.series(&bitcoin(), through).expect("readable").ticks.iter().map(|tick| tick.event.ms()).collect()
}

#[test]
fn ticks_come_back_in_order_of_event_time_and_none_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    assert_eq!(writer.last_seq(), None);
    writer.append(range(3, 10), &rows(&[(4, 100), (9, 300)]).into_batch()).expect("written");
    // Sequences 11 to 20 hold no accepted tick. Then a late tick follows, and a repeated identity, as after a rebuild
    // of MARKET.
    writer.append(range(11, 20), &TickRows::default().into_batch()).expect("written");
    writer.append(range(21, 30), &rows(&[(22, 200), (23, 300)]).into_batch()).expect("written");
    let archive = Archive::new(folder.path());
    assert_eq!(events(&archive, Through::ALL), [100, 200, 300, 300]);
    assert_eq!(events(&archive, Through::seq(22)), [100, 200, 300]);
    assert_eq!(archive.series(&bitcoin(), Through::seq(22)).expect("readable").range, Some(range(3, 22)));
    assert_eq!(archive.last_seq().expect("readable"), Some(30));
    assert_eq!(archive.source().expect("readable").as_deref(), Some("MARKET"));
    let holding = Holding { ticks: 4, first: EventTime(100), last: EventTime(300) };
    assert_eq!(archive.holdings().expect("readable"), BTreeMap::from([(bitcoin(), holding)]));
    let dogecoin =
        archive.series(&Instrument::new("dogecoin", "usdt").expect("valid"), Through::ALL).expect("readable");
    assert_eq!(dogecoin.ticks, []);
}

#[test]
fn reading_ends_after_any_line_of_any_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    let other = Instrument::new("ethereum", "usdt").expect("valid");
    // Message 5 holds a late tick among others; a message of another coin lies between.
    let mut first = rows(&[(3, 100), (5, 300), (5, 200), (5, 400)]);
    first.push(&other, &tick(250, 1.0), 6);
    writer.append(range(1, 6), &first.into_batch()).expect("written");
    writer.append(range(7, 9), &rows(&[(7, 500), (7, 600)]).into_batch()).expect("written");
    let archive = Archive::new(folder.path());
    let cases: [(u64, usize, &[i64]); 8] = [
        (2, 9, &[]),
        (5, 0, &[100]),
        (5, 1, &[100, 300]),
        (5, 2, &[100, 200, 300]),
        (5, 9, &[100, 200, 300, 400]),
        (6, 0, &[100, 200, 300, 400]),
        (7, 1, &[100, 200, 300, 400, 500]),
        (8, 0, &[100, 200, 300, 400, 500, 600]),
    ];
    for (seq, lines, expected) in cases {
        assert_eq!(events(&archive, Through { seq, lines }), expected, "{lines} lines of message {seq}");
    }
    assert_eq!(events(&archive, Through::ALL), [100, 200, 300, 400, 500, 600]);
    assert!(Through { seq: 5, lines: 2 } < Through::seq(5) && Through::seq(5) < Through { seq: 6, lines: 0 });
}

#[test]
fn joining_changes_no_row_and_leaves_few_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    let mut joined = 0;
    for seq in 1..=40 {
        writer.append(range(seq, seq), &rows(&[(seq, seq as i64 * 10)]).into_batch()).expect("written");
        joined += writer.join().expect("joined");
    }
    assert!(joined > 0);
    let catalog = writer.archive().catalog().expect("readable");
    assert!(catalog.files.len() < 10, "{catalog:?}");
    assert_eq!(catalog.superseded, []);
    assert_eq!(events(writer.archive(), Through::ALL), (1..=40).map(|seq| seq * 10).collect::<Vec<_>>());
    assert_eq!(writer.archive().source().expect("readable").as_deref(), Some("MARKET"));
}

#[test]
fn an_interrupted_join_is_read_once_and_cleaned_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    writer.append(range(1, 5), &rows(&[(1, 100)]).into_batch()).expect("written");
    writer.append(range(6, 9), &rows(&[(7, 200)]).into_batch()).expect("written");
    // As if the writer was killed after the joined file appeared, and again while it wrote the next one.
    let whole = rows(&[(1, 100), (7, 200)]).into_batch();
    writer.write(range(1, 9), |file| Ok(file.write(&whole)?)).expect("written");
    let unfinished = folder.path().join(".ticks-10-12.parquet.tmp-1");
    fs::write(&unfinished, b"PAR1").expect("written");
    drop(writer);
    assert_eq!(events(&Archive::new(folder.path()), Through::ALL), [100, 200]);
    let writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    let Catalog { files, superseded } = writer.archive().catalog().expect("readable");
    assert_eq!(files.iter().map(|file| file.range).collect::<Vec<_>>(), [range(1, 9)]);
    assert_eq!(superseded, []);
    assert_eq!(writer.last_seq(), Some(9));
    assert!(!unfinished.exists());
}

#[test]
fn two_writers_and_another_stream_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET of May").expect("writable");
    writer.append(range(1, 1), &rows(&[(1, 1)]).into_batch()).expect("written");
    let second = ArchiveWriter::open(folder.path(), "MARKET of May").expect_err("locked");
    assert!(second.is_locked(), "{second}");
    assert_eq!(events(&Archive::new(folder.path()), Through::ALL), [1], "reading needs no lock");
    drop(writer);
    let other = ArchiveWriter::open(folder.path(), "MARKET of June").expect_err("another log");
    assert!(matches!(other, ArchiveError::OtherSource { .. }), "{other}");
}

/// Returns the files of an archive, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|of| of == "parquet")).collect();
    files.sort();
    files
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    writer.append(range(1, 9), &rows(&[(1, 1), (2, 2)]).into_batch()).expect("written");
    let path = files(folder.path()).remove(0);
    let bytes = fs::read(&path).expect("readable");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    let error = writer.archive().series(&bitcoin(), Through::ALL).expect_err("cut short");
    let name = path.file_name().expect("a file").to_string_lossy();
    assert!(
        error.to_string().contains(&*format!("{name} of the archive")) && error.to_string().contains("damaged"),
        "{error}"
    );
}

#[test]
fn every_reader_refuses_a_file_with_a_flipped_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    writer.append(range(1, 9), &rows(&[(1, 1), (2, 2)]).into_batch()).expect("written");
    drop(writer);
    let path = files(folder.path()).remove(0);
    let whole = fs::read(&path).expect("readable");
    let archive = Archive::new(folder.path());
    let check = |what: &str, bit: usize, error: Option<ArchiveError>| {
        assert!(matches!(error, Some(ArchiveError::Damaged { .. })), "{what} with bit {bit} flipped: {error:?}");
    };
    // The step of 97 covers the whole file and every bit position.
    for bit in (0..8 * whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, flipped).expect("written");
        check("ticks", bit, archive.series(&bitcoin(), Through::ALL).err());
        check("holdings", bit, archive.holdings().err());
        check("source", bit, archive.source().err());
        check("writer", bit, ArchiveWriter::open(&archive, "MARKET").err());
    }
    fs::write(&path, &whole).expect("written");
    assert_eq!(events(&archive, Through::ALL), [1, 2]);
}

#[test]
fn joining_spreads_no_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    writer.append(range(1, 5), &rows(&[(1, 100), (2, 150)]).into_batch()).expect("written");
    writer.append(range(6, 9), &rows(&[(7, 200), (8, 250)]).into_batch()).expect("written");
    let before = files(folder.path());
    let mut damaged = fs::read(&before[0]).expect("readable");
    damaged[10] ^= 1;
    fs::write(&before[0], &damaged).expect("written");
    let error = writer.join().expect_err("a damaged part");
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    assert_eq!(files(folder.path()), before, "nothing is made of it, and nothing removed");
    assert_eq!(fs::read(&before[0]).expect("readable"), damaged);
}

#[test]
fn parts_stay_when_the_joined_file_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    writer.append(range(1, 5), &rows(&[(1, 100)]).into_batch()).expect("written");
    writer.append(range(6, 9), &rows(&[(7, 200)]).into_batch()).expect("written");
    let parts = files(folder.path());
    // A third file, because the newest file is read in any case.
    writer.append(range(10, 12), &rows(&[(11, 300)]).into_batch()).expect("written");
    let whole = rows(&[(1, 100), (7, 200)]).into_batch();
    writer.write(range(1, 9), |file| Ok(file.write(&whole)?)).expect("written");
    drop(writer);
    let of_joined = |path: &PathBuf| path.to_string_lossy().contains("ticks-1-9-");
    let joined = files(folder.path()).into_iter().find(of_joined).expect("the joined file");
    let mut damaged = fs::read(&joined).expect("readable");
    damaged[10] ^= 1;
    fs::write(&joined, damaged).expect("written");
    let error = ArchiveWriter::open(folder.path(), "MARKET").expect_err("a damaged file");
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    assert!(parts.iter().all(|part| part.exists()));
    fs::remove_file(&joined).expect("removed");
    assert_eq!(events(&Archive::new(folder.path()), Through::ALL), [100, 200, 300]);
}

#[test]
fn a_file_without_a_digest_is_refused_until_it_is_renamed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = ArchiveWriter::open(folder.path(), "MARKET").expect("writable");
    writer.append(range(1, 9), &rows(&[(1, 100)]).into_batch()).expect("written");
    drop(writer);
    let named = files(folder.path()).remove(0);
    let of_before = folder.path().join("ticks-1-9.parquet");
    fs::rename(&named, &of_before).expect("renamed");
    let archive = Archive::new(folder.path());
    for error in [archive.holdings().err(), ArchiveWriter::open(&archive, "MARKET").err()] {
        let error = error.expect("refused").to_string();
        assert!(error.contains("ticks-1-9.parquet") && error.contains("first 16 digits of its SHA-256"), "{error}");
    }
    let digest = crate::model_card::FileDigest::of(&fs::read(&of_before).expect("readable")).sha256;
    fs::rename(&of_before, folder.path().join(format!("ticks-1-9-{}.parquet", &digest[..16]))).expect("renamed");
    assert_eq!(events(&archive, Through::ALL), [100]);
}

#[test]
fn an_archive_that_was_never_written_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::new(folder.path().join("none"));
    assert_eq!(archive.series(&bitcoin(), Through::ALL).expect("readable"), Series { ticks: vec![], range: None });
}
