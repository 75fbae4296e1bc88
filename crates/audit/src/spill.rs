//! Records out of memory: written as they come, read back bucket by bucket.
//!
//! They lie in one temporary file without a name, so nothing of it outlives the process, however that ends. Each bucket
//! gathers a block in memory; a full block is compressed and appended to the file. So memory holds one block of each bucket,
//! and of every block in the file 16 bytes: a thousandth of what is in it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use service::{Code, Coded};
use zstd::bulk::{Compressor, Decompressor};

/// A block is written once it has so many bytes; a longer record makes a longer block.
const BLOCK_BYTES: usize = 16 * 1024;
/// The fastest level: what is written is read once.
const LEVEL: i32 = 1;

/// Where a block lies in the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    bytes: u32,
    /// Bytes before compression.
    raw_bytes: u32,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    written: Vec<Place>,
    /// Records that are not written yet.
    block: Vec<u8>,
}

/// A file of records in buckets.
pub(crate) struct Spill {
    file: File,
    /// Bytes of the file.
    end: u64,
    buckets: Vec<Bucket>,
    compressor: Compressor<'static>,
}

impl Spill {
    /// Creates an empty one in the folder for temporary files.
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
            // A long record must not keep its room: there are a thousand blocks.
            *block = Vec::new();
        }
        Ok(())
    }

    /// Visits the blocks of a bucket in the order in which they were filled. Each holds whole records.
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
        for Place { at, bytes, raw_bytes } in written {
            let mut compressed = vec![0; *bytes as usize];
            self.file.read_exact_at(&mut compressed, *at).map_err(|error| failed("read", &error, Code::Failed))?;
            visit(&decompressor.decompress(&compressed, *raw_bytes as usize)?)?;
        }
        visit(block)
    }
}

fn append(file: &mut File, at: u64, compressed: &[u8], raw_bytes: usize) -> io::Result<Place> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let place = Place { at, bytes: length(compressed.len())?, raw_bytes: length(raw_bytes)? };
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
            // Nothing goes into the second one; one record is longer than a block.
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
