//! Finding the bytes that end a piece of JSON text, eight at a time.

/// Bytes looked at in one step.
const STEP: usize = 8;

/// The first quote, backslash or control character at or after `from`; the length if there is none.
#[inline]
pub(super) fn string_stop(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<STEP>()) {
        let stops = stops(*chunk);
        if stops != 0 {
            return at + (stops.trailing_zeros() / u8::BITS) as usize;
        }
        at += STEP;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| is_stop(*byte)).unwrap_or(rest.len())
}

/// The first byte at or after `from` that is no JSON whitespace.
#[inline]
pub(super) fn skip_whitespace(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

fn is_stop(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// The high bit of each byte that is a stop, the first byte lowest; bits above the first one may be
/// set falsely, by a borrow, so only the first counts.
#[inline]
fn stops(chunk: [u8; STEP]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; STEP]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; STEP]);
    let bytes = u64::from_le_bytes(chunk);
    let below = |bytes: u64, limit: u64| bytes.wrapping_sub(ONES * limit) & !bytes;
    let quote = below(bytes ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(bytes ^ (ONES * u64::from(b'\\')), 1);
    let control = below(bytes, 0x20);
    (quote | backslash | control) & HIGH
}

#[cfg(test)]
mod tests {
    use super::{is_stop, string_stop};

    #[test]
    fn every_byte_at_every_place_is_judged_alike() {
        for length in 0..40 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; length];
                    if let Some(slot) = text.get_mut(place) {
                        *slot = byte;
                    }
                    let expected = if is_stop(byte) { place } else { length };
                    assert_eq!(string_stop(&text, 0), expected, "{byte} at {place} of {length}");
                    assert_eq!(string_stop(&text, place), expected, "{byte} at {place}, from it");
                }
            }
        }
    }
}
