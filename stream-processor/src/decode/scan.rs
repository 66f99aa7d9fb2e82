//! Finding the bytes that end a piece of JSON text, sixteen at a time.

use wide::u8x16;

/// Bytes looked at in one step.
const STEP: usize = 16;

/// The first quote, backslash or control character at or after `from`; the length if there is none.
#[inline]
pub(super) fn string_stop(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<STEP>()) {
        let stops = stops(*chunk);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
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

/// A bit for each byte that is a stop, the first byte lowest.
#[inline]
fn stops(chunk: [u8; STEP]) -> u32 {
    let bytes = u8x16::new(chunk);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let backslash = bytes.simd_eq(u8x16::splat(b'\\'));
    let control = bytes.simd_eq(bytes.min(u8x16::splat(0x1f)));
    (quote | backslash | control).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::{is_stop, string_stop};

    #[test]
    fn every_byte_at_every_place_is_judged_alike() {
        for length in 0..50 {
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
