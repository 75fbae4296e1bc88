//! A fast serializer for flat records, with the same bytes as serde_json.
//!
//! Records are flat: names, numbers, enum variants. Their keys need no escapes and their strings rarely do, so both are
//! copied here without examining each byte twice. serde_json writes numbers, and every record of another form.

use std::fmt;

use serde::ser::{Error, Impossible, Serialize, SerializeStruct, Serializer};

/// Appends a record.
pub(super) fn write(record: &impl Serialize, to: &mut Vec<u8>) {
    let start = to.len();
    if record.serialize(Flat { to }).is_err() {
        to.truncate(start);
        serde_json::to_writer(to, record).expect("records have string keys and memory takes every byte");
    }
}

/// Serializer for a flat record, or one of its values.
struct Flat<'a> {
    to: &'a mut Vec<u8>,
}

/// The fields of a record that is being written.
struct Fields<'a> {
    to: &'a mut Vec<u8>,
    is_first: bool,
}

/// The value is not flat.
#[derive(Debug)]
struct NotFlat;

type Written = Result<(), NotFlat>;

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = NotFlat;

    #[inline]
    fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Written {
        if needs_escape(key) {
            return Err(NotFlat);
        }
        self.to.extend_from_slice(if self.is_first { b"{\"" } else { b",\"" });
        self.is_first = false;
        self.to.extend_from_slice(key.as_bytes());
        self.to.extend_from_slice(b"\":");
        value.serialize(Flat { to: self.to })
    }

    fn end(self) -> Written {
        self.to.extend_from_slice(if self.is_first { b"{}" } else { b"}" });
        Ok(())
    }
}

impl<'a> Flat<'a> {
    #[inline]
    fn number(self, number: impl Serialize) -> Written {
        serde_json::to_writer(self.to, &number).map_err(|_| NotFlat)
    }
}

#[inline]
fn needs_escape(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
}

impl<'a> Serializer for Flat<'a> {
    type Ok = ();
    type Error = NotFlat;
    type SerializeSeq = Impossible<(), NotFlat>;
    type SerializeTuple = Impossible<(), NotFlat>;
    type SerializeTupleStruct = Impossible<(), NotFlat>;
    type SerializeTupleVariant = Impossible<(), NotFlat>;
    type SerializeMap = Impossible<(), NotFlat>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Impossible<(), NotFlat>;

    #[inline]
    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Fields<'a>, NotFlat> {
        Ok(Fields { to: self.to, is_first: true })
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Written {
        if needs_escape(text) {
            return serde_json::to_writer(self.to, text).map_err(|_| NotFlat);
        }
        self.to.push(b'"');
        self.to.extend_from_slice(text.as_bytes());
        self.to.push(b'"');
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Written {
        self.to.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Written {
        self.number(value)
    }

    fn serialize_i16(self, value: i16) -> Written {
        self.number(value)
    }

    fn serialize_i32(self, value: i32) -> Written {
        self.number(value)
    }

    fn serialize_i64(self, value: i64) -> Written {
        self.number(value)
    }

    fn serialize_u8(self, value: u8) -> Written {
        self.number(value)
    }

    fn serialize_u16(self, value: u16) -> Written {
        self.number(value)
    }

    fn serialize_u32(self, value: u32) -> Written {
        self.number(value)
    }

    fn serialize_u64(self, value: u64) -> Written {
        self.number(value)
    }

    fn serialize_f32(self, value: f32) -> Written {
        self.number(value)
    }

    fn serialize_f64(self, value: f64) -> Written {
        self.number(value)
    }

    fn serialize_unit_variant(self, _name: &'static str, _idx: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _name: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_none(self) -> Written {
        Err(NotFlat)
    }

    fn serialize_unit(self) -> Written {
        Err(NotFlat)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Written {
        Err(NotFlat)
    }

    fn serialize_char(self, _value: char) -> Written {
        Err(NotFlat)
    }

    fn serialize_bytes(self, _value: &[u8]) -> Written {
        Err(NotFlat)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _idx: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Written {
        Err(NotFlat)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq, NotFlat> {
        Err(NotFlat)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, NotFlat> {
        Err(NotFlat)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeTupleStruct, NotFlat> {
        Err(NotFlat)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _idx: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, NotFlat> {
        Err(NotFlat)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap, NotFlat> {
        Err(NotFlat)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _idx: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, NotFlat> {
        Err(NotFlat)
    }
}

impl fmt::Display for NotFlat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a flat record")
    }
}

impl std::error::Error for NotFlat {}

impl Error for NotFlat {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    /// A record with every type of field that records have.
    #[derive(Debug, Clone, Serialize)]
    struct Record<'a> {
        text: &'a str,
        event_ms: i64,
        seq: u64,
        hour: u8,
        close: f64,
        small: f32,
        #[serde(skip_serializing_if = "Option::is_none")]
        volume: Option<f64>,
        #[serde(rename = "final")]
        is_final: bool,
        window: Word,
    }

    #[derive(Debug, Clone, Copy, Serialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        RateLimited,
    }

    fn check(record: &impl Serialize) {
        let mut written = b"before".to_vec();
        write(record, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), format!("before{}", serde_json::to_string(record).unwrap()));
    }

    proptest! {
        #[test]
        fn flat_records_are_written_as_serde_json_does(
            text in ".*",
            (event_ms, seq, hour) in any::<(i64, u64, u8)>(),
            close in any::<f64>(),
            price in 0_u64..1 << 53,
            volume in prop::option::of(any::<f64>()),
            is_final in any::<bool>(),
        ) {
            let window = Word::RateLimited;
            let record = Record { text: &text, event_ms, seq, hour, close, small: close as f32, volume, is_final, window };
            check(&record);
            check(&Record { text: "bitcoin", close: price as f64 / 100.0, ..record });
        }
    }

    #[test]
    fn other_records_are_written_by_serde_json() {
        #[derive(Serialize)]
        struct Empty {}
        #[derive(Serialize)]
        struct Odd {
            #[serde(rename = "a\"b")]
            key: u8,
        }
        #[derive(Serialize)]
        struct Around {
            list: Vec<Option<u8>>,
        }
        check(&Empty {});
        check(&Odd { key: 1 });
        check(&Around { list: vec![None, Some(1)] });
        check(&[1.5, f64::NAN]);
        check(&Some(()));
        check(&'x');
    }
}
