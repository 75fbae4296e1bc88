//! Opening of a file's content: decompression and decoding, as its first bytes tell. The file's name does not matter.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::PathBuf;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::encoding::{self, Utf8Text};
use super::foreign;
use super::lines::LineEnd;
use super::parquet_text::ParquetText;
use super::zip_member;

/// Bytes of the file's beginning that are examined.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;
/// Memory of an xz decoder in KiB, at most: `xz -9` needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 128 * 1024;

/// Content of a file that can be opened any number of times.
#[derive(Debug, Clone)]
pub(crate) enum FileSource {
    /// A file on disk.
    Path(PathBuf),
    /// Bytes in memory.
    Memory(Bytes),
}

/// A file that is open.
pub(crate) trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

impl FileSource {
    /// Opens the file at its beginning.
    pub(crate) fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(match self {
            Self::Path(path) => Box::new(File::open(path)?),
            Self::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
        })
    }
}

/// Compression of a file, or archive with one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Zip,
}

impl Container {
    const ALL: [Self; 5] = [Self::Gzip, Self::Zstd, Self::Xz, Self::Bzip2, Self::Zip];

    /// Returns the container of a file that begins with these bytes.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|container| container.magic().iter().any(|magic| head.starts_with(magic)))
    }

    fn magic(self) -> &'static [&'static [u8]] {
        match self {
            Self::Gzip => &[b"\x1f\x8b"],
            Self::Zstd => &[b"\x28\xb5\x2f\xfd"],
            Self::Xz => &[b"\xfd7zXZ\x00"],
            Self::Bzip2 => &[b"BZh"],
            Self::Zip => &[b"PK\x03\x04", b"PK\x05\x06"],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Zip => "zip",
        }
    }
}

/// Why a file cannot be opened as text.
pub(crate) enum Unopened {
    /// It cannot be read.
    Io(io::Error),
    /// It breaks off before its first line.
    Broken(io::Error),
    /// It is of another kind; `FILE` is to be replaced by its name.
    Foreign(String),
}

/// Text of a file: UTF-8 without compression.
pub(crate) struct Text {
    pub(crate) reader: Box<dyn BufRead + Send>,
    pub(crate) line_end: LineEnd,
    pub(crate) is_parquet: bool,
}

/// Opens the content of `source` as text. `file` reads the same bytes.
///
/// # Errors
/// The content cannot be read, or it is of another kind.
pub(crate) fn open(source: &FileSource, file: Box<dyn ReadSeek>, is_named_gzip: bool) -> Result<Text, Unopened> {
    let mut file = BufReader::with_capacity(HEAD_BYTES, file);
    let head = file.fill_buf().map_err(Unopened::Io)?;
    if head.starts_with(foreign::PARQUET) {
        let reader =
            Box::new(BufReader::with_capacity(HEAD_BYTES, ParquetText::open(source).map_err(Unopened::Foreign)?));
        return Ok(Text { reader, line_end: LineEnd::Lf, is_parquet: true });
    }
    let container = Container::of(head).filter(|_| !foreign::is_excel(head));
    let (is_empty, mut text) = (head.is_empty(), decompressed(file, container)?);
    let head = text.fill_buf().map_err(Unopened::Broken)?;
    if let Some(encoding) = encoding::utf16(head) {
        text = Box::new(BufReader::with_capacity(HEAD_BYTES, Utf8Text::new(text, encoding)));
    }
    let head = text.fill_buf().map_err(Unopened::Broken)?;
    if let Some(problem) = foreign::foreign(head, container) {
        return Err(Unopened::Foreign(problem));
    }
    if container.is_none() && is_named_gzip && !is_empty {
        let problem = "not gzip, although its name ends in .gz; rename it if it is plain text".to_owned();
        return Err(Unopened::Foreign(problem));
    }
    let line_end = LineEnd::of(head);
    Ok(Text { reader: text, line_end, is_parquet: false })
}

fn decompressed(
    file: BufReader<Box<dyn ReadSeek>>,
    container: Option<Container>,
) -> Result<Box<dyn BufRead + Send>, Unopened> {
    let reader: Box<dyn Read + Send> = match container {
        None => return Ok(Box::new(file)),
        Some(Container::Gzip) => Box::new(MultiGzDecoder::new(file)),
        Some(Container::Zstd) => Box::new(zstd::Decoder::with_buffer(file).map_err(Unopened::Io)?),
        Some(Container::Xz) => Box::new(XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB)),
        Some(Container::Bzip2) => Box::new(bzip2::read::MultiBzDecoder::new(file)),
        Some(Container::Zip) => zip_member::open(file)?,
    };
    Ok(Box::new(BufReader::with_capacity(HEAD_BYTES, reader)))
}

#[cfg(test)]
mod tests;
