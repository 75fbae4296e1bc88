//! File of one stream: its messages in order, compressed. Each message is two lengths, a header record and the payload.
//! The SHA-256 of the stored bytes identifies the file.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use async_nats::HeaderMap;
use bus::batch::ROLLUP_HEADER;
use bus::reader::Delivery;
use bus::stored_time::STORED_HEADER;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Larger than any message: a longer length means damage, and must not allocate memory.
const PART_BYTES_MAX: u32 = 64 << 20;
/// Prefix of headers that describe the sending of a message, not its content.
const OF_SENDING: &str = "Nats-";

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Stream sequence.
    pub(super) seq: u64,
    /// Stored subject.
    pub(super) subject: String,
    /// Whether it replaced the earlier messages of its subject.
    pub(super) replaces: bool,
    /// Time of its first storing, in milliseconds since the epoch.
    pub(super) stored_ms: i64,
    /// Its headers, without those about how or when it was stored.
    pub(super) headers: Vec<(String, String)>,
    /// The payload.
    #[serde(skip)]
    pub(super) payload: Bytes,
}

impl Record {
    /// Takes a delivered message. `replaces` applies to streams with one message per subject, whose headers do not say
    /// it.
    pub(super) fn new(delivery: &Delivery, replaces: bool) -> Self {
        let mut record = Self {
            seq: delivery.seq,
            subject: delivery.subject.to_string(),
            replaces,
            stored_ms: delivery.stored_ms,
            headers: Vec::new(),
            payload: delivery.payload.clone(),
        };
        let headers = delivery.headers.iter().flat_map(HeaderMap::iter);
        for (name, value) in headers.flat_map(|(name, values)| values.iter().map(move |value| (name, value))) {
            let name = name.to_string();
            record.replaces |= name == ROLLUP_HEADER;
            if !name.starts_with(OF_SENDING) && name != STORED_HEADER {
                record.headers.push((name, value.to_string()));
            }
        }
        record
    }
}

/// Writes messages.
pub(super) struct Writer(GzEncoder<Hashing<BufWriter<File>>>);

impl Writer {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let hashing = Hashing { inner: BufWriter::new(File::create_new(path)?), sha: Sha256::new(), bytes: 0 };
        Ok(Self(GzEncoder::new(hashing, Compression::fast())))
    }

    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        let head = postcard::to_stdvec(record).map_err(io::Error::other)?;
        for part in [&head[..], &record.payload] {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            self.0.write_all(&length.to_le_bytes())?;
        }
        self.0.write_all(&head)?;
        self.0.write_all(&record.payload)
    }

    /// Syncs the file; returns its digest and its size in bytes.
    pub(super) fn finish(self) -> io::Result<(String, u64)> {
        let mut hashing = self.0.finish()?;
        hashing.inner.flush()?;
        hashing.inner.get_ref().sync_all()?;
        Ok((hex(hashing.sha), hashing.bytes))
    }
}

/// Reads messages.
pub(super) struct Records(GzDecoder<Hashing<BufReader<File>>>);

impl Records {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let hashing = Hashing { inner: BufReader::new(File::open(path)?), sha: Sha256::new(), bytes: 0 };
        Ok(Self(GzDecoder::new(hashing)))
    }

    /// The next message; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let mut length = [0; 4];
        if self.0.read(&mut length[..1])? == 0 {
            return Ok(None);
        }
        self.0.read_exact(&mut length[1..])?;
        let head = u32::from_le_bytes(length);
        self.0.read_exact(&mut length)?;
        let payload = u32::from_le_bytes(length);
        let head = self.part(head)?;
        let record: Record = postcard::from_bytes(&head).map_err(io::Error::other)?;
        Ok(Some(Record { payload: self.part(payload)?.into(), ..record }))
    }

    fn part(&mut self, length: u32) -> io::Result<Vec<u8>> {
        if length > PART_BYTES_MAX {
            return Err(io::Error::other("a message has an impossible length"));
        }
        let mut bytes = vec![0; length as usize];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The digest of the whole file.
    pub(super) fn digest(self) -> io::Result<String> {
        let mut hashing = self.0.into_inner();
        io::copy(&mut hashing, &mut io::sink())?;
        Ok(hex(hashing.sha))
    }
}

/// Computes the digest of the bytes that pass through.
struct Hashing<T> {
    inner: T,
    sha: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.sha.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sha.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// A digest in hexadecimal.
pub(super) fn hex(sha: Sha256) -> String {
    HEXLOWER.encode(&sha.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_messages_are_read_back_and_every_cut_is_detected() {
        let folder = std::env::temp_dir().join(format!("candlewire-backup-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("FEED");
        drop(std::fs::remove_file(&path));
        let record = |seq: u64| Record {
            seq,
            subject: format!("feed.{seq}"),
            replaces: seq.is_multiple_of(2),
            stored_ms: 1_000 * seq as i64,
            headers: vec![("Candlewire-Schema".to_owned(), "tick/1".to_owned())],
            payload: vec![b'x'; seq as usize * 100].into(),
        };
        let mut writer = Writer::create(&path).unwrap();
        (1..50).for_each(|seq| writer.write(&record(seq)).unwrap());
        let (digest, bytes) = writer.finish().unwrap();
        let read = |path: &Path| {
            let mut records = Records::open(path)?;
            let mut all = Vec::new();
            while let Some(record) = records.next()? {
                all.push(record);
            }
            Ok::<_, io::Error>((all, records.digest()?))
        };
        assert_eq!(read(&path).unwrap(), ((1..50).map(record).collect::<Vec<_>>(), digest.clone()));
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len() as u64, bytes);
        for cut in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path).map_or(true, |(_, found)| found != digest), "{cut}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
