//! The least and the greatest text or binary value of a column, cut short.
//!
//! Owns the cut, and the raising of a cut upper bound. A bound that can't be raised is left out.

use std::cmp::Ordering;

use arrow::array::{Array, BinaryArray, GenericByteArray, StringArray};
use arrow::datatypes::ByteArrayType;
use iceberg::spec::Datum;

/// Text is kept to this many characters and binary to this many bytes, Iceberg's default
/// (`write.metadata.metrics.default = truncate(16)`).
const BOUND_LENGTH: usize = 16;

/// The start of a text or binary value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    start: Vec<u8>,
    /// Whether the value goes on. A longer value of the same start is greater, as the derived order
    /// has it.
    cut: bool,
}

impl Prefix {
    pub(super) fn text_below(&self) -> Option<Datum> {
        text(&self.start)
    }

    /// A short text that no value starting like this exceeds: the last character that has a
    /// successor is replaced by it.
    pub(super) fn text_above(&self) -> Option<Datum> {
        if !self.cut {
            return text(&self.start);
        }
        let mut chars: Vec<char> = std::str::from_utf8(&self.start).ok()?.chars().collect();
        while let Some(last) = chars.pop() {
            if let Some(next) = successor(last) {
                chars.push(next);
                return Some(Datum::string(chars.into_iter().collect::<String>()));
            }
        }
        None
    }

    pub(super) fn binary_below(&self) -> Datum {
        Datum::binary(self.start.iter().copied())
    }

    /// A short value that no value starting like this exceeds.
    pub(super) fn binary_above(&self) -> Option<Datum> {
        let mut bytes = self.start.clone();
        if self.cut {
            while bytes.last() == Some(&u8::MAX) {
                bytes.pop();
            }
            let last = bytes.last_mut()?;
            *last += 1;
        }
        Some(Datum::binary(bytes))
    }
}

/// Least and greatest text.
pub(super) fn text_range(array: &StringArray) -> Option<(Prefix, Prefix)> {
    bytes_range(array).map(|(low, high)| (text_prefix(low), text_prefix(high)))
}

/// Least and greatest binary value.
pub(super) fn binary_range(array: &BinaryArray) -> Option<(Prefix, Prefix)> {
    bytes_range(array).map(|(low, high)| (binary_prefix(low), binary_prefix(high)))
}

/// The least and the greatest value by bytes, which for UTF-8 is by code point.
fn bytes_range<T: ByteArrayType<Offset = i32>>(
    array: &GenericByteArray<T>,
) -> Option<(&[u8], &[u8])> {
    let data = array.value_data();
    let starts = array.value_offsets();
    let spans =
        starts.iter().zip(starts.iter().skip(1)).map(|(start, end)| Span::new(*start, *end));
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => span_range(data, spans),
        Some(nulls) => {
            let valid = spans.zip(nulls.iter()).filter(|(_, valid)| *valid);
            span_range(data, valid.map(|(span, _)| span))
        }
    }
}

fn span_range(data: &[u8], mut spans: impl Iterator<Item = Span>) -> Option<(&[u8], &[u8])> {
    let first = spans.next()?;
    let (mut low, mut high) = (first, first);
    let (mut low_head, mut high_head) = (first.head(data), first.head(data));
    for span in spans {
        // Most values lie between: that is seen by half of their heads.
        let start = span.start_of_head(data);
        if half(low_head) < start && start < half(high_head) {
            continue;
        }
        let head = span.head(data);
        if head < low_head || (head == low_head && span.lies(Ordering::Less, low, head, data)) {
            (low, low_head) = (span, head);
        }
        if head > high_head || (head == high_head && span.lies(Ordering::Greater, high, head, data))
        {
            (high, high_head) = (span, head);
        }
    }
    Some((low.bytes(data), high.bytes(data)))
}

/// Where a value lies in its column's bytes.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    len: usize,
}

/// Bytes that are compared as one number; as many as a bound keeps characters.
const HEAD_BYTES: usize = BOUND_LENGTH;

/// The bits that no ASCII character has.
const NOT_ASCII: u128 = u128::from_ne_bytes([0x80; HEAD_BYTES]);

impl Span {
    /// Arrow guarantees offsets to be positive and in order.
    fn new(start: i32, end: i32) -> Self {
        let start = usize::try_from(start).unwrap_or_default();
        Self { start, len: usize::try_from(end).unwrap_or_default().saturating_sub(start) }
    }

    fn bytes(self, data: &[u8]) -> &[u8] {
        data.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// The first bytes as a number that orders alike, zeroes after a shorter value.
    fn head(self, data: &[u8]) -> u128 {
        let window = data.get(self.start..).and_then(<[u8]>::first_chunk::<HEAD_BYTES>);
        let window = window.copied().unwrap_or_else(|| {
            let mut window = [0; HEAD_BYTES];
            for (to, from) in window.iter_mut().zip(self.bytes(data)) {
                *to = *from;
            }
            window
        });
        let unused = u128::MAX.checked_shr(self.bits_of_head()).unwrap_or(0);
        u128::from_be_bytes(window) & !unused
    }

    fn bits_of_head(self) -> u32 {
        8 * u32::try_from(self.len.min(HEAD_BYTES)).unwrap_or(0)
    }

    /// The first half of the head; zero, which nothing lies below, at the very end of the data.
    fn start_of_head(self, data: &[u8]) -> u64 {
        let start = data.get(self.start..).and_then(<[u8]>::first_chunk);
        let unused = u64::MAX.checked_shr(self.bits_of_head()).unwrap_or(0);
        start.map_or(0, |start| u64::from_be_bytes(*start) & !unused)
    }

    /// Whether this value lies on `side` of `other`, which has the same head; as far as a bound can
    /// tell: longer values of one ASCII head share their bounds.
    fn lies(self, side: Ordering, other: Self, head: u128, data: &[u8]) -> bool {
        let short = self.len == other.len && self.len <= HEAD_BYTES;
        let cut = self.len > HEAD_BYTES && other.len > HEAD_BYTES && head & NOT_ASCII == 0;
        !short && !cut && self.bytes(data).cmp(other.bytes(data)) == side
    }
}

fn half(head: u128) -> u64 {
    u64::try_from(head >> u64::BITS).unwrap_or(u64::MAX)
}

fn binary_prefix(value: &[u8]) -> Prefix {
    prefix(value, BOUND_LENGTH)
}

fn text_prefix(value: &[u8]) -> Prefix {
    // A character starts at every byte that is no continuation byte.
    let starts = value.iter().enumerate().filter(|(_, byte)| **byte & 0xC0 != 0x80);
    prefix(value, starts.map(|(at, _)| at).nth(BOUND_LENGTH).unwrap_or(value.len()))
}

fn prefix(value: &[u8], len: usize) -> Prefix {
    let start = value.get(..len).unwrap_or(value);
    Prefix { start: start.to_vec(), cut: start.len() < value.len() }
}

fn text(start: &[u8]) -> Option<Datum> {
    std::str::from_utf8(start).ok().map(Datum::string)
}

/// The next code point; surrogates are not characters and are stepped over.
fn successor(c: char) -> Option<char> {
    match u32::from(c) {
        0xD7FF => Some('\u{E000}'),
        code => char::from_u32(code + 1),
    }
}
