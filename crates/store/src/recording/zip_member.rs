//! The only file in a zip archive.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::container::{ReadSeek, Unopened};

/// Folder that macOS adds to archives.
const MAC_FOLDER: &str = "__MACOSX/";
/// Names of members that an error lists, at most.
const LISTED_MAX: usize = 3;

/// A member of an archive, as its directory describes it.
struct Member {
    start: u64,
    compressed_bytes: u64,
    bytes: u64,
    crc: u32,
    method: CompressionMethod,
}

/// Opens the only file in an archive.
///
/// # Errors
/// The archive is damaged, holds no file or several, or its file is encrypted or compressed in another way.
pub(crate) fn open(mut file: BufReader<Box<dyn ReadSeek>>) -> Result<Box<dyn Read + Send>, Unopened> {
    let member = find(&mut file).map_err(Unopened::Foreign)?;
    file.seek(SeekFrom::Start(member.start)).map_err(Unopened::Io)?;
    let content = file.take(member.compressed_bytes);
    let reader: Box<dyn Read + Send> = match member.method {
        CompressionMethod::Stored => Box::new(content),
        CompressionMethod::Deflated => Box::new(DeflateDecoder::new(content)),
        method => {
            let problem =
                format!("this is a zip archive whose file is compressed as {method}; unpack it first: unzip FILE");
            return Err(Unopened::Foreign(problem));
        }
    };
    Ok(Box::new(Checked { reader: CrcReader::new(reader), left: member.bytes, crc: member.crc }))
}

fn find(file: &mut BufReader<Box<dyn ReadSeek>>) -> Result<Member, String> {
    let damaged = |error: &dyn std::fmt::Display| format!("this is a damaged zip archive ({error}); fetch it again");
    let mut archive = ZipArchive::new(file).map_err(|error| damaged(&error))?;
    let mut files: Vec<(usize, String)> = Vec::new();
    for idx in 0..archive.len() {
        let member = archive.by_index_raw(idx).map_err(|error| damaged(&error))?;
        let name = String::from_utf8_lossy(member.name_raw()).into_owned();
        if !member.is_dir() && !name.starts_with(MAC_FOLDER) {
            files.push((idx, name));
        }
    }
    let [(idx, _)] = files.as_slice() else { return Err(several(&files)) };
    let member = archive.by_index_raw(*idx).map_err(|error| damaged(&error))?;
    if member.encrypted() {
        return Err("this is a zip archive with a password; unpack it first: unzip FILE".to_owned());
    }
    Ok(Member {
        start: member.data_start().ok_or_else(|| damaged(&"its file has no beginning"))?,
        compressed_bytes: member.compressed_size(),
        bytes: member.size(),
        crc: member.crc32(),
        method: member.compression(),
    })
}

fn several(files: &[(usize, String)]) -> String {
    let names: Vec<&str> = files.iter().take(LISTED_MAX).map(|(_, name)| name.as_str()).collect();
    let more = if files.len() > LISTED_MAX { ", …" } else { "" };
    match names.as_slice() {
        [] => "this is a zip archive without a file; name another one".to_owned(),
        names => format!(
            "this is a zip archive of {} files ({}{more}); unpack it and name one of them: unzip FILE",
            files.len(),
            names.join(", ")
        ),
    }
}

/// Reader that compares the checksum at the end.
struct Checked<R> {
    reader: CrcReader<R>,
    /// Bytes that are still to come.
    left: u64,
    crc: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| damaged("longer than the archive says"))?;
        if count == 0 && !buffer.is_empty() {
            if self.left > 0 {
                return Err(damaged("shorter than the archive says"));
            }
            if self.reader.crc().sum() != self.crc {
                return Err(damaged("its checksum differs from that of the archive"));
            }
        }
        Ok(count)
    }
}

fn damaged(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}
