//! Detection of file types that are not CSV, by content. The file's name does not matter.

/// Bytes of the file's beginning that are examined.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;
/// Position of the magic number of a tar archive.
const TAR_MARK: std::ops::Range<usize> = 257..262;

/// A file type that cannot be a recording, with advice. In the advice, `FILE` is replaced by the file's name.
struct Known {
    magic: &'static [u8],
    what: &'static str,
    remedy: &'static str,
}

const fn known(magic: &'static [u8], what: &'static str, remedy: &'static str) -> Known {
    Known { magic, what, remedy }
}

const EXPORT: &str = "export it as CSV, in UTF-8";

/// Known types. A longer magic number comes before a shorter one that is its prefix.
const KNOWN: [Known; 32] = [
    known(b"\x28\xb5\x2f\xfd", "a zstd file", "decompress it first: zstd -dc FILE > FILE.csv"),
    known(b"\xfd7zXZ\x00", "an xz file", "decompress it first: xz -dc FILE > FILE.csv"),
    known(b"BZh", "a bzip2 file", "decompress it first: bzip2 -dc FILE > FILE.csv"),
    known(b"7z\xbc\xaf\x27\x1c", "a 7z archive", "decompress it first: 7z x -so FILE > FILE.csv"),
    known(b"Rar!\x1a\x07", "a RAR archive", "decompress it first: unrar p -inul FILE > FILE.csv"),
    known(b"\x04\x22\x4d\x18", "an lz4 file", "decompress it first: lz4 -dc FILE > FILE.csv"),
    known(b"LZIP", "an lzip file", "decompress it first: lzip -dc FILE > FILE.csv"),
    known(b"\x5d\x00\x00", "an lzma file", "decompress it first: xz --format=lzma -dc FILE > FILE.csv"),
    known(b"\x1f\x9d", "a compress (.Z) file", "decompress it first: gzip -dc FILE > FILE.csv"),
    known(b"\x1f\x8b", "gzip within gzip", "decompress it once: gzip -dc FILE > FILE.csv.gz"),
    known(b"\xff\xfe\x00\x00", "UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8 FILE > FILE.csv"),
    known(b"\x00\x00\xfe\xff", "UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8 FILE > FILE.csv"),
    known(b"\xff\xfe", "UTF-16 text (little-endian)", "convert it: iconv -f UTF-16 -t UTF-8 FILE > FILE.csv"),
    known(b"\xfe\xff", "UTF-16 text (big-endian)", "convert it: iconv -f UTF-16 -t UTF-8 FILE > FILE.csv"),
    known(b"%PDF", "a PDF", "take the prices from where the PDF was made, as CSV"),
    known(b"PAR1", "a Parquet file", "export it as CSV: duckdb -c \"COPY 'FILE' TO 'FILE.csv' (HEADER)\""),
    known(
        b"SQLite format 3\x00",
        "an SQLite database",
        "export the table: sqlite3 -header -csv FILE 'SELECT …' > FILE.csv",
    ),
    known(b"\xd0\xcf\x11\xe0", "an old Office document, such as .xls", EXPORT),
    known(b"ARROW1", "an Arrow file", EXPORT),
    known(b"FEA1", "a Feather file", EXPORT),
    known(b"\x89HDF", "an HDF5 file", EXPORT),
    known(b"Obj\x01", "an Avro file", EXPORT),
    known(b"ORC", "an ORC file", EXPORT),
    known(b"\x93NUMPY", "a NumPy file", EXPORT),
    known(b"\x89PNG", "a picture", "take the prices from where it was drawn, as CSV"),
    known(b"\xff\xd8\xff", "a picture", "take the prices from where it was drawn, as CSV"),
    known(b"\x7fELF", "a program", "name a CSV file"),
    known(b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file: git lfs pull"),
    known(b"{\\rtf", "a rich-text document", "save it as plain text"),
    known(b"<", "HTML or XML, perhaps a web page about the download", "download the file itself, as CSV"),
    known(b"{", "JSON", "convert it to CSV with a header"),
    known(b"[", "JSON", "convert it to CSV with a header"),
];

/// Returns the type of a text that begins with these bytes and advice, if it is not UTF-8 text with line feeds.
pub(crate) fn foreign(head: &[u8]) -> Option<String> {
    let say = |what: &str, remedy: &str| Some(format!("this is {what}; {remedy}"));
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        let has = |name: &[u8]| head.windows(name.len()).any(|part| part == name);
        return match has(b"[Content_Types].xml") || has(b"xl/") {
            true => say("an Excel workbook (.xlsx)", "save the sheet as CSV (UTF-8)"),
            false => say("a zip archive", "decompress it first: unzip -p FILE > FILE.csv"),
        };
    }
    if head.get(TAR_MARK) == Some(b"ustar") {
        return say("a tar archive", "unpack it first: tar -xOf FILE > FILE.csv");
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let is =
        |known: &&Known| head.starts_with(known.magic) || (known.magic.len() == 1 && text.starts_with(known.magic));
    if let Some(Known { what, remedy, .. }) = KNOWN.iter().find(is) {
        return say(what, remedy);
    }
    let zeros = |odd: usize| head.iter().take(256).skip(odd).step_by(2).filter(|&&byte| byte == 0).count();
    match (zeros(0), zeros(1)) {
        (0, 0) => {}
        (0, _) => return say("UTF-16 text (little-endian)", "convert it: iconv -f UTF-16LE -t UTF-8 FILE > FILE.csv"),
        (_, 0) => return say("UTF-16 text (big-endian)", "convert it: iconv -f UTF-16BE -t UTF-8 FILE > FILE.csv"),
        _ => return say("no text", "name a CSV file"),
    }
    let is_cr_only = head.contains(&b'\r') && !head.contains(&b'\n');
    // The last line may end in CR LF beyond the examined bytes.
    if is_cr_only && head.trim_ascii_end().contains(&b'\r') {
        return say("text whose lines end in CR only", "convert it: tr '\\r' '\\n' < FILE > FILE.csv");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        let check = |head: &[u8], expected: &str| {
            let said = foreign(head).unwrap_or_else(|| "nothing".to_owned());
            assert!(said.contains(expected), "{head:?}: {said}");
        };
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let mut tar = vec![b'x'; 512];
        tar[TAR_MARK].copy_from_slice(b"ustar");
        check(b"PK\x03\x04\x14\0rows.csv", "zip archive; decompress it first: unzip -p FILE");
        check(b"PK\x03\x04\x14\0[Content_Types].xml", "Excel workbook");
        check(b"PK\x03\x04\x14\0docProps/app.xmlxl/workbook.xml", "Excel workbook");
        check(b"\x28\xb5\x2f\xfd\x04", "zstd");
        check(b"\xfd7zXZ\x00\x00", "xz");
        check(b"BZh91AY", "bzip2");
        check(b"7z\xbc\xaf\x27\x1c\0", "7z");
        check(&[b"\xff\xfe".as_slice(), &utf16("timestamp_ms,open")].concat(), "UTF-16 text (little");
        check(b"\xfe\xff\0t\0i", "UTF-16 text (big");
        check(&utf16("timestamp_ms,open"), "UTF-16 text (little");
        check(b"\0t\0i\0m\0e", "UTF-16 text (big");
        check(b"timestamp_ms,close\r1704067200000,1\r", "CR only");
        check(b"%PDF-1.7", "PDF");
        check(b"\n <!DOCTYPE html>", "HTML");
        check(b"\xef\xbb\xbf{\"a\": 1}", "JSON");
        check(b"[[1,2]]", "JSON");
        check(b"PAR1\x15", "Parquet");
        check(b"SQLite format 3\0", "SQLite");
        check(b"\xd0\xcf\x11\xe0\xa1", "xls");
        check(&tar, "tar archive");
        check(b"\x01\x02\x00\x00\x03\x00", "no text");
    }

    #[test]
    fn text_with_any_usual_line_end_is_accepted() {
        for head in [
            "",
            "timestamp_ms,close",
            "timestamp_ms,close\r\n1,2\r\n",
            "a\n",
            "timestamp_ms,close\r",
            "\u{feff}timestamp_ms\n",
        ] {
            assert_eq!(foreign(head.as_bytes()), None, "{head:?}");
        }
    }
}
