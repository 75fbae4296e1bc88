//! Detection of file types that cannot be a recording, by content. The file's name does not matter.

use super::container::Container;

/// Beginning of a Parquet file.
pub(crate) const PARQUET: &[u8] = b"PAR1";
/// Position of the magic number of a tar archive.
const TAR_MARK: std::ops::Range<usize> = 257..262;
/// Bytes whose zeros show that a file is no text.
const SHOWING_BYTES: usize = 256;

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
const KNOWN: [Known; 24] = [
    known(b"7z\xbc\xaf\x27\x1c", "a 7z archive", "decompress it first: 7z x -so FILE > FILE.csv"),
    known(b"Rar!\x1a\x07", "a RAR archive", "decompress it first: unrar p -inul FILE > FILE.csv"),
    known(b"\x04\x22\x4d\x18", "an lz4 file", "decompress it first: lz4 -dc FILE > FILE.csv"),
    known(b"LZIP", "an lzip file", "decompress it first: lzip -dc FILE > FILE.csv"),
    known(b"\x5d\x00\x00", "an lzma file", "decompress it first: xz --format=lzma -dc FILE > FILE.csv"),
    known(b"\x1f\x9d", "a compress (.Z) file", "decompress it first: gzip -dc FILE > FILE.csv"),
    known(b"\xff\xfe\x00\x00", "UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8 FILE > FILE.csv"),
    known(b"\x00\x00\xfe\xff", "UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8 FILE > FILE.csv"),
    known(b"%PDF", "a PDF", "take the prices from where the PDF was made, as CSV"),
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
    known(b"[", "a JSON array", "write one object per line: jq -c '.[]' FILE > FILE.jsonl"),
];

/// Whether a zip archive that begins with these bytes is an office document.
pub(crate) fn is_excel(head: &[u8]) -> bool {
    office(head).is_some()
}

fn office(head: &[u8]) -> Option<&'static str> {
    let has = |name: &[u8]| memchr::memmem::find(head, name).is_some();
    let is_zip = Container::of(head) == Some(Container::Zip);
    match is_zip {
        true if has(b"[Content_Types].xml") || has(b"xl/") => Some("an Excel workbook (.xlsx)"),
        true if has(b"opendocument.spreadsheet") => Some("an OpenDocument spreadsheet (.ods)"),
        _ => None,
    }
}

/// Returns the type of a content that begins with these bytes and advice, if it is no text. `container` is the one that it
/// was in; a second one is not opened.
pub(crate) fn foreign(head: &[u8], container: Option<Container>) -> Option<String> {
    let say = |what: &str, remedy: &str| Some(format!("this is {what}; {remedy}"));
    if let Some(document) = office(head) {
        return say(document, "save the sheet as CSV (UTF-8)");
    }
    if let (Some(outer), Some(inner)) = (container, Container::of(head)) {
        return say(&format!("{} within {}", inner.name(), outer.name()), "unpack it once, and name what it holds");
    }
    if head.starts_with(PARQUET) {
        return say("a Parquet file within an archive", "unpack it, and name what it holds");
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
    let has_zeros = head.iter().take(SHOWING_BYTES).any(|byte| *byte == 0);
    if has_zeros { say("no text", "name a CSV file") } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        let check = |head: &[u8], expected: &str| {
            let said = foreign(head, None).unwrap_or_else(|| "nothing".to_owned());
            assert!(said.contains(expected), "{head:?}: {said}");
        };
        let mut tar = vec![b'x'; 512];
        tar[TAR_MARK].copy_from_slice(b"ustar");
        check(b"PK\x03\x04\x14\0[Content_Types].xml", "Excel workbook (.xlsx); save the sheet as CSV");
        check(b"PK\x03\x04\x14\0docProps/app.xmlxl/workbook.xml", "Excel workbook");
        check(b"PK\x03\x04\x14\0mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "OpenDocument");
        check(b"7z\xbc\xaf\x27\x1c\0", "7z archive; decompress it first: 7z x -so FILE");
        check(b"\xff\xfe\0\0t\0\0\0", "UTF-32");
        check(b"%PDF-1.7", "this is a PDF; take the prices");
        check(b"\n <!DOCTYPE html>", "HTML");
        check(b"[[1,2]]", "a JSON array; write one object per line");
        check(b"SQLite format 3\0", "SQLite");
        check(b"\xd0\xcf\x11\xe0\xa1", "xls");
        check(&tar, "tar archive");
        check(b"\x01\x02\x00\x00\x03\x00", "no text");
    }

    #[test]
    fn a_container_within_another_is_named() {
        let said = |head: &[u8]| foreign(head, Some(Container::Zip)).unwrap();
        assert_eq!(said(b"\x1f\x8b\x08"), "this is gzip within zip; unpack it once, and name what it holds");
        assert_eq!(said(b"PAR1"), "this is a Parquet file within an archive; unpack it, and name what it holds");
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
            "{\"Datetime\": 1}",
        ] {
            assert_eq!(foreign(head.as_bytes(), None), None, "{head:?}");
        }
    }
}
