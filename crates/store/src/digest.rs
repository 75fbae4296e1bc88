//! Short digest in the name of an archive file.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Length of a digest in hexadecimal digits.
const DIGITS: usize = 16;

/// The first 64 bits of a SHA-256. It detects damage, not forgery: a forger can also choose the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Computes the digest of everything that `content` yields.
    ///
    /// # Errors
    /// Reading fails.
    pub fn of(mut content: impl Read) -> io::Result<Self> {
        let mut writer = DigestWriter::new(io::sink());
        io::copy(&mut content, &mut writer)?;
        Ok(writer.digest())
    }
}

/// Formats the digest as `sha256sum FILE | cut -c-16` prints it.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

/// The error of parsing a text that is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is {DIGITS} hexadecimal digits in lower case")]
pub struct BadDigest;

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = Some(text).filter(|text| text.len() == DIGITS && text.bytes().all(is_digit));
        digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(Self).ok_or(BadDigest)
    }
}

/// Writes through to another writer and computes the digest of the bytes.
pub(crate) struct DigestWriter<W> {
    to: W,
    sha: Sha256,
}

impl<W: Write> DigestWriter<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, sha: Sha256::new() }
    }

    /// Returns the digest of all bytes written so far.
    pub(crate) fn digest(self) -> Digest {
        let sha = self.sha.finalize();
        Digest(u64::from_be_bytes(*sha.first_chunk().expect("a SHA-256 has 32 bytes")))
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.sha.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_sha256sum_prints_first() {
        let digest = Digest::of(&b"abc"[..]).expect("memory can be read");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea");
        assert_eq!("ba7816bf8f01cfea".parse(), Ok(digest));
        for bad in ["", "ba7816bf8f01cfe", "ba7816bf8f01cfea0", "BA7816BF8F01CFEA", "+a7816bf8f01cfea"] {
            assert_eq!(bad.parse::<Digest>(), Err(BadDigest), "{bad}");
        }
    }
}
