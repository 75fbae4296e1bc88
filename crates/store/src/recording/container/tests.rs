//! Files in every container, whole and damaged.

use std::io::Write;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const TEXT: &str = "timestamp_ms,close\n1704067200000,1\n";
/// `xz` of [`TEXT`].
const TEXT_XZ: &[u8] = b"\
    \xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\x01\
    \x00\x22\x74\x69\x6d\x65\x73\x74\x61\x6d\x70\x5f\x6d\x73\x2c\x63\x6c\x6f\x73\x65\x0a\x31\x37\x30\x34\
    \x30\x36\x37\x32\x30\x30\x30\x30\x30\x2c\x31\x0a\x00\x00\xf3\xaf\x30\xa5\xff\x8d\x10\x20\x00\x01\x3b\
    \x23\x61\x2b\x53\xbe\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a";

fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn bzipped(text: &str) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

/// Reads a content to its end.
fn read(bytes: Vec<u8>) -> Result<String, String> {
    let source = FileSource::Memory(Bytes::from(bytes));
    let file = source.open().unwrap();
    let mut text = open(&source, file, false).map_err(|problem| match problem {
        Unopened::Io(error) | Unopened::Broken(error) => format!("broken: {error}"),
        Unopened::Foreign(problem) => problem,
    })?;
    let mut found = String::new();
    text.reader.read_to_string(&mut found).map_err(|error| format!("broken: {error}"))?;
    Ok(found)
}

#[test]
fn the_text_of_every_container_is_the_same() {
    let containers =
        [gzipped(TEXT), bzipped(TEXT), zstd_of(TEXT), TEXT_XZ.to_vec(), zipped(&[("a.csv", TEXT)]), TEXT.into()];
    for bytes in containers {
        assert_eq!(read(bytes).as_deref(), Ok(TEXT));
    }
    let twice = [gzipped(TEXT), gzipped(TEXT)].concat();
    assert_eq!(read(twice).unwrap(), TEXT.repeat(2));
    let twice = [bzipped(TEXT), bzipped(TEXT)].concat();
    assert_eq!(read(twice).unwrap(), TEXT.repeat(2));
    let twice = [zstd_of(TEXT), zstd_of(TEXT)].concat();
    assert_eq!(read(twice).unwrap(), TEXT.repeat(2));
    assert_eq!(
        read(zipped(&[("__MACOSX/._a.csv", "x"), ("folder/", ""), ("folder/a.csv", TEXT)])).as_deref(),
        Ok(TEXT)
    );
}

#[test]
fn a_damaged_container_is_an_error() {
    let long: String = (0..5_000_u64).map(|row| format!("{},{}\n", row * 60_000, row * row % 9_973)).collect();
    for bytes in [gzipped(&long), bzipped(&long), zstd_of(&long), TEXT_XZ.to_vec()] {
        let half = bytes[..bytes.len() / 2].to_vec();
        assert!(read(half).is_err(), "{:?}", &bytes[..4]);
    }
    let mut changed = zipped(&[("a.csv", &long)]);
    let middle = changed.len() / 2;
    changed[middle] ^= 0x55;
    assert!(read(changed).is_err());
    assert!(
        read(zipped(&[("a.csv", &long)])[..2_000].to_vec()).is_err_and(|said| said.contains("a damaged zip archive"))
    );
}

#[test]
fn an_archive_of_several_files_is_refused_with_their_names() {
    let said = read(zipped(&[("a.csv", TEXT), ("b.csv", TEXT)])).unwrap_err();
    assert_eq!(said, "this is a zip archive of 2 files (a.csv, b.csv); unpack it and name one of them: unzip FILE");
    assert_eq!(read(zipped(&[])).unwrap_err(), "this is a zip archive without a file; name another one");
    let said = read(zipped(&[("[Content_Types].xml", "x"), ("xl/workbook.xml", "x")])).unwrap_err();
    assert_eq!(said, "this is an Excel workbook (.xlsx); save the sheet as CSV (UTF-8)");
}
