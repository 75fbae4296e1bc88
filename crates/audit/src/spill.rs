//! Temporary file of records, written in order of arrival and read back bucket by bucket.
//!
//! The file has no name, so it disappears with the process however that ends. Each bucket collects a block in memory; a
//! full block is compressed and appended to the file. Memory therefore holds one block per bucket, and 16 bytes for
//! every block of the file, about a thousandth of its contents.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use service::{Code, Coded};
use zstd::bulk::{Compressor, Decompressor};

/// A block is written once it has this many bytes; a longer record makes a longer block.
const BLOCK_BYTES: usize = 16 * 1024;
/// The fastest level: the data is read only once.
const LEVEL: i32 = 1;

/// Position of a block in the file.
#[derive(Debug, Clone, Copy)]
struct BlockPosition {
    at: u64,
    bytes: u32,
    /// Bytes before compression.
    raw_bytes: u32,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    written: Vec<BlockPosition>,
    /// Records that are not written yet.
    block: Vec<u8>,
}

/// A file of records in buckets.
pub(crate) struct Spill {
    file: File,
    /// Length of the file in bytes.
    end: u64,
    buckets: Vec<Bucket>,
    compressor: Compressor<'static>,
}

impl Spill {
    /// Creates an empty spill file in the folder for temporary files.
    ///
    /// # Errors
    /// The folder is missing or cannot be written.
    pub(crate) fn new(buckets: usize) -> anyhow::Result<Self> {
        let file = tempfile::tempfile().map_err(|error| failed("create", &error, Code::BadConfig))?;
        Ok(Self { file, end: 0, buckets: vec![Bucket::default(); buckets], compressor: Compressor::new(LEVEL)? })
    }

    /// Adds the record that `write` appends to a bucket.
    ///
    /// # Errors
    /// The file cannot be written, as on a full disk; any error of `write`.
    pub(crate) fn put(
        &mut self,
        bucket: usize,
        write: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Bucket { written, block } = &mut self.buckets[bucket];
        write(block)?;
        if block.len() >= BLOCK_BYTES {
            let append = append(&mut self.file, self.end, &self.compressor.compress(block)?, block.len());
            let place = append.map_err(|error| failed("write", &error, Code::Failed))?;
            self.end += u64::from(place.bytes);
            written.push(place);
            // Free the memory of a long record: there are up to a thousand blocks.
            *block = Vec::new();
        }
        Ok(())
    }

    /// Visits the blocks of a bucket in the order in which they were filled. Each block holds whole records.
    ///
    /// # Errors
    /// The file cannot be read; any error of `visit`.
    pub(crate) fn each_block(
        &self,
        bucket: usize,
        mut visit: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Bucket { written, block } = &self.buckets[bucket];
        let mut decompressor = Decompressor::new()?;
        for BlockPosition { at, bytes, raw_bytes } in written {
            let mut compressed = vec![0; *bytes as usize];
            self.file.read_exact_at(&mut compressed, *at).map_err(|error| failed("read", &error, Code::Failed))?;
            visit(&decompressor.decompress(&compressed, *raw_bytes as usize)?)?;
        }
        visit(block)
    }
}

fn append(file: &mut File, at: u64, compressed: &[u8], raw_bytes: usize) -> io::Result<BlockPosition> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let place = BlockPosition { at, bytes: length(compressed.len())?, raw_bytes: length(raw_bytes)? };
    file.write_all(compressed)?;
    Ok(place)
}

/// An error that names the folder and says how to use another one.
fn failed(action: &str, error: &io::Error, code: Code) -> anyhow::Error {
    let folder = std::env::temp_dir();
    let error = anyhow::anyhow!(
        "cannot {action} a temporary file in {} ({error}): set TMPDIR to a folder with room for what the audit reads",
        folder.display()
    );
    Coded::new(code, error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_gives_its_records_back_in_order() {
        let mut spill = Spill::new(3).unwrap();
        let record = |number: usize| vec![number as u8; 1 + number * 31 % 900];
        for number in 0..1_000 {
            // No record goes into the second bucket; one record is longer than a block.
            let record = if number == 500 { vec![7; 3 * BLOCK_BYTES] } else { record(number) };
            let write = |block: &mut Vec<u8>| {
                block.extend(record);
                Ok(())
            };
            spill.put(number % 2 * 2, write).unwrap();
        }
        for (bucket, first) in [(0, Some(0)), (1, None), (2, Some(1))] {
            let (mut found, mut longest) = (Vec::new(), 0);
            let visit = |block: &[u8]| {
                longest = longest.max(block.len());
                found.extend_from_slice(block);
                Ok(())
            };
            spill.each_block(bucket, visit).unwrap();
            let records = first.into_iter().flat_map(|first| (first..1_000).step_by(2));
            let expected = records.flat_map(|n| if n == 500 { vec![7; 3 * BLOCK_BYTES] } else { record(n) });
            assert!(found.iter().copied().eq(expected), "{bucket}");
            assert!(longest < 5 * BLOCK_BYTES, "{longest}");
        }
        assert!(spill.end > 0, "nothing was written");
    }
}
