//! UTF-16 text as UTF-8.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};

/// Bytes of UTF-8 text in memory, at most.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of a text without a byte order mark that show its encoding.
const SHOWING_BYTES: usize = 256;

/// Returns the encoding of a text in UTF-16 that begins with these bytes: by its byte order mark, or by the zeros of its
/// Latin letters.
pub(crate) fn utf16(head: &[u8]) -> Option<&'static Encoding> {
    if head.starts_with(b"\xff\xfe\x00\x00") {
        return None;
    }
    if head.starts_with(b"\xff\xfe") {
        return Some(UTF_16LE);
    }
    if head.starts_with(b"\xfe\xff") {
        return Some(UTF_16BE);
    }
    let zeros = |odd: usize| head.iter().take(SHOWING_BYTES).skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    match (zeros(0), zeros(1)) {
        (0, 1..) => Some(UTF_16LE),
        (1.., 0) => Some(UTF_16BE),
        _ => None,
    }
}

/// Reader of another encoding as UTF-8. What is not valid becomes U+FFFD.
pub(crate) struct Utf8Text<R> {
    source: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// Text in the buffer that is not read yet.
    text: Range<usize>,
    is_done: bool,
}

impl<R: BufRead> Utf8Text<R> {
    /// Decodes `source`, without its byte order mark.
    pub(crate) fn new(source: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_with_bom_removal();
        Self { source, decoder, buffer: vec![0; BUFFER_BYTES], text: 0..0, is_done: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        while self.text.is_empty() && !self.is_done {
            let bytes = self.source.fill_buf()?;
            let is_last = bytes.is_empty();
            let (result, used, written, _) = self.decoder.decode_to_utf8(bytes, &mut self.buffer, is_last);
            self.source.consume(used);
            self.is_done = is_last && result == CoderResult::InputEmpty;
            self.text = 0..written;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Utf8Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let count = buffer.len().min(self.text.len());
        buffer[..count].copy_from_slice(&self.buffer[self.text.start..self.text.start + count]);
        self.text.start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_text_is_read_as_utf8() {
        let text = "timestamp_ms,close\n".repeat(20_000) + "1704067200000,1 € \u{1f600}\n";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (mark, bytes) in [(b"\xff\xfe".as_slice(), le), (b"\xfe\xff", be)] {
            for bytes in [[mark, &bytes].concat(), bytes.clone()] {
                let encoding = utf16(&bytes).unwrap();
                let mut found = String::new();
                let source = io::BufReader::with_capacity(7, bytes.as_slice());
                Utf8Text::new(source, encoding).read_to_string(&mut found).unwrap();
                assert_eq!(found, text);
            }
        }
        assert_eq!(utf16(text.as_bytes()), None);
    }
}
