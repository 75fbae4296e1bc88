//! Payloads of many lines, compressed.
//!
//! A replay is bound by the bytes that the server writes, keeps and reads again, and its lines repeat their names: zstd
//! makes a tenth of them in less time than writing them takes. What is live is one line or a few, and goes as it is, for
//! everybody to read.

use async_nats::HeaderMap;
use bytes::Bytes;

/// Names how a payload is encoded: `zstd`, in one frame that says how long it is. Absent: as it is.
pub const ENCODING_HEADER: &str = "Content-Encoding";
/// Payloads up to here are never compressed.
pub const PLAIN_BYTES_MAX: usize = 4 * 1024;
/// What a compressed payload may come to at most, as much as a message may hold by itself.
const DECODED_BYTES_MAX: u64 = 1024 * 1024;
const ZSTD: &str = "zstd";
/// The fastest that still finds most: level 3 takes half as long again for the same size.
const LEVEL: i32 = 1;

/// Compresses payloads, one after another.
#[derive(Default)]
pub struct Encoder(Option<zstd::bulk::Compressor<'static>>);

impl Encoder {
    /// The payload as it is to be sent, and what its headers must say of it.
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

    /// `None` when it would gain nothing.
    fn compress(&mut self, payload: &[u8]) -> Option<Bytes> {
        if self.0.is_none() {
            self.0 = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        let encoded = self.0.as_mut()?.compress(payload).ok()?;
        (encoded.len() < payload.len()).then(|| encoded.into())
    }
}

/// Decompresses payloads, one after another.
#[derive(Default)]
pub struct Decoder(Option<zstd::bulk::Decompressor<'static>>);

impl Decoder {
    /// Headers and payload of a message as its lines are. One that cannot be decoded stays as it came, with the header that
    /// says so.
    pub fn decode(&mut self, headers: Option<HeaderMap>, payload: Bytes) -> (Option<HeaderMap>, Bytes) {
        let Some(encoding) = headers.as_ref().and_then(|headers| headers.get(ENCODING_HEADER)) else {
            return (headers, payload);
        };
        match self.decompress(encoding.as_str(), &payload) {
            Some(decoded) => (headers.as_ref().map(without_encoding), decoded),
            None => (headers, payload),
        }
    }

    /// Gives back the memory that the next payload would be decompressed with.
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

/// Headers and payload of a single message as its lines are: see [`ENCODING_HEADER`]. One that cannot be decoded stays as it
/// came, with the header that says so.
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
    fn what_is_live_goes_as_it_is() {
        let lines = vec![b'x'; PLAIN_BYTES_MAX];
        let (headers, payload) = sent(&lines);
        assert!(headers.get(ENCODING_HEADER).is_none());
        assert_eq!(payload, lines);
    }

    #[test]
    fn what_does_not_become_shorter_goes_as_it_is() {
        let mut noise = vec![0; 8_192];
        StdRng::seed_from_u64(1).fill_bytes(&mut noise);
        let (headers, payload) = sent(&noise);
        assert!(headers.get(ENCODING_HEADER).is_none());
        assert_eq!(payload, noise);
    }

    #[test]
    fn what_cannot_be_decoded_stays_and_says_so() {
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
        // None of them spoils the next one.
        assert_eq!(decoder.decode(Some(headers), payload).1, vec![b'x'; 10_000]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_encoded_is_decoded(lines in prop::collection::vec("[a-z0-9:,.]{0,80}", 0..600)) {
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
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>()) {
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
