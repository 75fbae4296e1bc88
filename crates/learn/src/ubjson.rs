//! Checks that bytes are one whole UBJSON object, before XGBoost reads them.
//!
//! XGBoost (3.4.1) trusts the lengths in a model file and reads beyond its end: a file that was cut short is then
//! completed with memory after it, or ends the process. This check decodes nothing; it follows the lengths, which must
//! end where the bytes end. See <https://ubjson.org/type-reference/>.

/// Maximum nesting of objects and arrays. XGBoost's models have six levels.
const DEPTH_MAX: usize = 64;

/// Whether the bytes are exactly one object.
pub(crate) fn is_whole_object(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    bytes.first() == Some(&b'{') && skip_value(&mut rest, 0).is_some() && rest.is_empty()
}

/// Skips a value. `None` when it is cut short or not UBJSON.
fn skip_value(rest: &mut &[u8], depth: usize) -> Option<()> {
    let marker = take(rest, 1)?[0];
    match marker {
        b'{' if depth < DEPTH_MAX => skip_object(rest, depth + 1),
        b'[' if depth < DEPTH_MAX => skip_array(rest, depth + 1),
        b'S' | b'H' => skip_text(rest),
        marker => take(rest, width(marker)?).map(drop),
    }
}

/// Returns the number of bytes of a value of fixed length after its marker.
fn width(marker: u8) -> Option<usize> {
    match marker {
        b'Z' | b'N' | b'T' | b'F' => Some(0),
        b'i' | b'U' | b'C' => Some(1),
        b'I' => Some(2),
        b'l' | b'd' => Some(4),
        b'L' | b'D' => Some(8),
        _ => None,
    }
}

/// Skips pairs of a text without marker and a value, up to the closing brace.
fn skip_object(rest: &mut &[u8], depth: usize) -> Option<()> {
    while *rest.first()? != b'}' {
        skip_text(rest)?;
        skip_value(rest, depth)?;
    }
    take(rest, 1).map(drop)
}

/// Skips values up to the closing bracket; after `#` a counted number of values without a bracket; after `$` and `#` a
/// counted number of values of one type without markers.
fn skip_array(rest: &mut &[u8], depth: usize) -> Option<()> {
    match *rest.first()? {
        b'$' => {
            let kind = take(rest, 2)?[1];
            (take(rest, 1)? == b"#").then_some(())?;
            let bytes = length(rest)?.checked_mul(width(kind)?)?;
            take(rest, bytes).map(drop)
        }
        b'#' => {
            take(rest, 1)?;
            let count = length(rest)?;
            // Every value has at least its marker.
            if count > rest.len() {
                return None;
            }
            (0..count).try_for_each(|_| skip_value(rest, depth))
        }
        _ => {
            while *rest.first()? != b']' {
                skip_value(rest, depth)?;
            }
            take(rest, 1).map(drop)
        }
    }
}

fn skip_text(rest: &mut &[u8]) -> Option<()> {
    let bytes = length(rest)?;
    take(rest, bytes).map(drop)
}

/// Reads an integer with its marker as a length: big-endian, not negative.
fn length(rest: &mut &[u8]) -> Option<usize> {
    let marker = take(rest, 1)?[0];
    let bytes = take(rest, width(marker).filter(|_| b"iUIlL".contains(&marker))?)?;
    if marker != b'U' && bytes[0] > 0x7f {
        return None;
    }
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(number).ok()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, others) = rest.split_at_checked(count)?;
    *rest = others;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_one_object_is_accepted() {
        let wholes: [&[u8]; 7] = [
            b"{}",
            b"{U\x01aZ}",
            b"{U\x01aSU\x03xyz}",
            b"{U\x01a[i\x01i\x02]U\x01b{}}",
            b"{U\x01a[#U\x02{}T}",
            b"{U\x01a[$d#U\x02\0\0\0\0\0\0\0\0}",
            b"{L\0\0\0\0\0\0\0\x01aD\0\0\0\0\0\0\0\0}",
        ];
        for whole in wholes {
            assert!(is_whole_object(whole), "{whole:?}");
            for cut in 0..whole.len() {
                assert!(!is_whole_object(&whole[..cut]), "{whole:?} cut at {cut}");
            }
            assert!(!is_whole_object(&[whole, b"}"].concat()), "{whole:?} and more");
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let endless = [b"{U\x01a".as_slice(), &[b'['; 100_000]].concat();
        let lies: [&[u8]; 5] = [
            b"{U\xffa}",
            b"{L\xff\xff\xff\xff\xff\xff\xff\xffaZ}",
            b"{U\x01a[$D#L\x7f\xff\xff\xff\xff\xff\xff\xff}",
            b"[Z]",
            &endless,
        ];
        for lie in lies {
            assert!(!is_whole_object(lie), "{:?}", &lie[..lie.len().min(20)]);
        }
    }
}
