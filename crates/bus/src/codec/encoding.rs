//! Compression of payloads with many lines.
//!
//! The speed of a replay is limited by the bytes that the server writes, stores and reads back. Lines repeat their
//! names, so zstd reduces them to a tenth in less time than writing them takes. Live messages have one line or a few;
//! they are not compressed, so that every subscriber can read them.

use async_nats::HeaderMap;
use bytes::Bytes;

/// Header with the encoding of a payload: `zstd`, one frame with its content size. Absent means not encoded.
pub const ENCODING_HEADER: &str = "Content-Encoding";
/// Payloads up to this size are never compressed.
pub const PLAIN_BYTES_MAX: usize = 4 * 1024;
/// Upper bound of a decompressed payload: the size limit of a message.
const DECODED_BYTES_MAX: u64 = 1024 * 1024;
const ZSTD: &str = "zstd";
/// The fastest level with most of the gain: level 3 takes half as long again for the same size.
const LEVEL: i32 = 1;

/// Compresses payloads one after another, with one context.
#[derive(Default)]
pub struct Encoder(Option<zstd::bulk::Compressor<'static>>);

impl Encoder {
    /// Returns the payload to send, and sets its encoding in the headers.
    pub fn encode(&mut self, headers: &mut HeaderMap, payload: &Bytes) -> Bytes {
        let encoded = if payload.len() > PLAIN_BYTES_MAX { self.compress(payload) } else { None };
        match encoded {
            Some(encoded) => {
                headers.insert(ENCODING_HEADER, ZSTD);
                encoded
            }
            None => payload.clone(),
        }
    }

    /// `None` when the payload would not become smaller.
    fn compress(&mut self, payload: &[u8]) -> Option<Bytes> {
        if self.0.is_none() {
            self.0 = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        let encoded = self.0.as_mut()?.compress(payload).ok()?;
        (encoded.len() < payload.len()).then(|| encoded.into())
    }
}

/// Decompresses payloads one after another, with one context.
#[derive(Default)]
pub struct Decoder(Option<zstd::bulk::Decompressor<'static>>);

impl Decoder {
    /// Returns the headers and the decoded payload of a message. A payload that cannot be decoded stays as it is, with
    /// its encoding header.
    pub fn decode(&mut self, headers: Option<HeaderMap>, payload: Bytes) -> (Option<HeaderMap>, Bytes) {
        let Some(encoding) = headers.as_ref().and_then(|headers| headers.get(ENCODING_HEADER)) else {
            return (headers, payload);
        };
        match self.decompress(encoding.as_str(), &payload) {
            Some(decoded) => (headers.as_ref().map(without_encoding), decoded),
            None => (headers, payload),
        }
    }

    /// Releases the memory of the decompression context.
    pub fn rest(&mut self) {
        self.0 = None;
    }

    fn decompress(&mut self, encoding: &str, payload: &[u8]) -> Option<Bytes> {
        let len = zstd::zstd_safe::get_frame_content_size(payload).ok()??;
        if encoding != ZSTD || len > DECODED_BYTES_MAX {
            return None;
        }
        if self.0.is_none() {
            self.0 = zstd::bulk::Decompressor::new().ok();
        }
        self.0.as_mut()?.decompress(payload, len as usize).ok().map(Bytes::from)
    }
}

/// Returns the headers and the decoded payload of a single message: see [`ENCODING_HEADER`]. A payload that cannot be
/// decoded stays as it is, with its encoding header.
pub fn decode(headers: Option<HeaderMap>, payload: Bytes) -> (Option<HeaderMap>, Bytes) {
    Decoder::default().decode(headers, payload)
}

fn without_encoding(headers: &HeaderMap) -> HeaderMap {
    let mut others = HeaderMap::new();
    for (name, values) in headers.iter() {
        if AsRef::<str>::as_ref(name) != ENCODING_HEADER {
            values.iter().for_each(|value| others.append(name.clone(), value.clone()));
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn sent(payload: &[u8]) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert("Other", "stays");
        let payload = Encoder::default().encode(&mut headers, &Bytes::copy_from_slice(payload));
        (headers, payload)
    }

    #[test]
    fn short_payloads_are_not_compressed() {
        let lines = vec![b'x'; PLAIN_BYTES_MAX];
        let (headers, payload) = sent(&lines);
        assert!(headers.get(ENCODING_HEADER).is_none());
        assert_eq!(payload, lines);
    }

    #[test]
    fn incompressible_payloads_are_not_compressed() {
        let mut noise = vec![0; 8_192];
        StdRng::seed_from_u64(1).fill_bytes(&mut noise);
        let (headers, payload) = sent(&noise);
        assert!(headers.get(ENCODING_HEADER).is_none());
        assert_eq!(payload, noise);
    }

    #[test]
    fn an_undecodable_payload_keeps_its_encoding_header() {
        let (headers, payload) = sent(&[b'x'; 10_000]);
        let mut other = headers.clone();
        other.insert(ENCODING_HEADER, "br");
        let huge = zstd::bulk::compress(&vec![0; 2 * 1024 * 1024], 1).unwrap();
        let without_length = {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
            std::io::Write::write_all(&mut encoder, &[b'x'; 10_000]).unwrap();
            encoder.finish().unwrap()
        };
        let broken = payload.slice(..payload.len() - 3);
        let mut decoder = Decoder::default();
        for (headers, payload) in [
            (&headers, Bytes::from_static(b"{}")),
            (&headers, Bytes::new()),
            (&headers, broken),
            (&headers, huge.into()),
            (&headers, without_length.into()),
            (&other, payload.clone()),
        ] {
            let (left, same) = decoder.decode(Some(headers.clone()), payload.clone());
            assert_eq!(same, payload);
            assert!(left.unwrap().get(ENCODING_HEADER).is_some());
        }
        // A failure does not affect the next payload.
        assert_eq!(decoder.decode(Some(headers), payload).1, vec![b'x'; 10_000]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
       fn encoded_payloads_are_decoded(lines in prop::collection::vec("[a-z0-9:,.]{0,80}", 0..600)) {
            let payload = lines.join("\n");
            let (headers, sent) = sent(payload.as_bytes());
            prop_assert!(sent.len() <= payload.len());
            let (headers, decoded) = decode(Some(headers), sent);
            prop_assert_eq!(decoded, payload.as_bytes());
            let headers = headers.unwrap();
            prop_assert!(headers.get(ENCODING_HEADER).is_none());
            prop_assert_eq!(headers.get("Other").map(|value| value.as_str()), Some("stays"));
        }

        #[test]
       fn any_bytes_can_be_passed_to_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>()) {
            let mut headers = HeaderMap::new();
            headers.insert(ENCODING_HEADER, ZSTD);
            decode(Some(headers.clone()), bytes.clone().into());
            let mut frame = zstd::bulk::compress(&bytes, 1).unwrap();
            let at = at.index(frame.len());
            frame[at] ^= 0x55;
            decode(Some(headers), frame.into());
        }
    }
}
