//! Zip archive of a single file, for users who want one small download. The crate `zip` (written `::zip` here) does the
//! work.

use std::io::{self, Seek, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, DateTime, ZipWriter};

/// Writes a zip archive that holds one file of this name and content. Equal content gives equal bytes, because the
/// entry has zip's earliest date instead of the current one.
///
/// # Errors
/// Writing to `to` fails.
pub fn write_zip(to: impl Write + Seek, name: &str, content: &[u8]) -> io::Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(to);
    zip.start_file(name, options)?;
    zip.write_all(content)?;
    zip.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    #[test]
    fn zipped_content_comes_back_and_bytes_are_reproducible() {
        let pack = || {
            let mut bytes = Cursor::new(Vec::new());
            write_zip(&mut bytes, "predictions.parquet", &[7; 100_000]).expect("packed");
            bytes.into_inner()
        };
        let bytes = pack();
        assert_eq!(bytes, pack());
        assert!(bytes.len() < 10_000);
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("a zip archive");
        let mut content = Vec::new();
        archive.by_name("predictions.parquet").expect("the file").read_to_end(&mut content).expect("readable");
        assert_eq!(content, [7; 100_000]);
    }
}
