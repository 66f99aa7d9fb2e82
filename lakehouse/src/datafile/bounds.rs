//! The least and the greatest value of a column, batch by batch.
//!
//! Owns the order of each type as Iceberg defines it: text by code point, numbers by value, floats
//! with -0.0 before 0.0 and NaN left out.
//!
//! Iceberg spec, "Manifests", notes on `lower_bounds` and `upper_bounds`.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteArray, PrimitiveArray};
use arrow::compute::{max, max_boolean, min, min_boolean};
use arrow::datatypes::{
    ArrowNumericType, ByteArrayType, Date32Type, Decimal128Type, Float32Type, Float64Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use iceberg::spec::{Datum, PrimitiveType};

use crate::spec::ColumnType;

/// Text is kept to this many characters and binary to this many bytes, Iceberg's default
/// (`write.metadata.metrics.default = truncate(16)`).
const BOUND_LENGTH: usize = 16;

/// Least and greatest value so far; `None` while every value is null or NaN.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bounds {
    Boolean(Option<(bool, bool)>),
    Int(Option<(i32, i32)>),
    Long(Option<(i64, i64)>),
    Float(Option<(f32, f32)>),
    Double(Option<(f64, f64)>),
    Decimal(Option<(i128, i128)>),
    String(Option<(Prefix, Prefix)>),
    Binary(Option<(Prefix, Prefix)>),
}

/// The start of a text or binary value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    start: Vec<u8>,
    /// Whether the value goes on. A longer value of the same start is greater, as the derived order
    /// has it.
    cut: bool,
}

impl Bounds {
    pub(super) fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean(None),
            ColumnType::Int | ColumnType::Date => Self::Int(None),
            ColumnType::Long | ColumnType::Timestamptz | ColumnType::Timestamp => Self::Long(None),
            ColumnType::Float => Self::Float(None),
            ColumnType::Double => Self::Double(None),
            ColumnType::Decimal { .. } => Self::Decimal(None),
            ColumnType::String => Self::String(None),
            ColumnType::Binary => Self::Binary(None),
        }
    }

    /// Widens the bounds to hold `array`; answers how many of its values are NaN.
    pub(super) fn add(&mut self, column_type: ColumnType, array: &ArrayRef) -> usize {
        match self {
            Self::Boolean(bounds) => {
                let array = array.as_boolean();
                widen(bounds, min_boolean(array).zip(max_boolean(array)), bool::lt);
            }
            Self::Int(bounds) if column_type == ColumnType::Date => {
                widen(bounds, range(array.as_primitive::<Date32Type>()), i32::lt);
            }
            Self::Int(bounds) => {
                widen(bounds, range(array.as_primitive::<Int32Type>()), i32::lt);
            }
            Self::Long(bounds) if column_type == ColumnType::Long => {
                widen(bounds, range(array.as_primitive::<Int64Type>()), i64::lt);
            }
            Self::Long(bounds) => {
                widen(bounds, range(array.as_primitive::<TimestampMicrosecondType>()), i64::lt);
            }
            Self::Decimal(bounds) => {
                widen(bounds, range(array.as_primitive::<Decimal128Type>()), i128::lt);
            }
            Self::Float(bounds) => {
                let (range, nans) = float_range(array.as_primitive::<Float32Type>());
                widen(bounds, range, f32::lt);
                return nans;
            }
            Self::Double(bounds) => {
                let (range, nans) = float_range(array.as_primitive::<Float64Type>());
                widen(bounds, range, f64::lt);
                return nans;
            }
            Self::String(bounds) => {
                let range = bytes_range(array.as_string::<i32>());
                widen(bounds, range.map(prefixes(text_prefix)), Prefix::lt);
            }
            Self::Binary(bounds) => {
                let range = bytes_range(array.as_binary::<i32>());
                widen(bounds, range.map(prefixes(binary_prefix)), Prefix::lt);
            }
        }
        0
    }

    /// As Iceberg stores them; a text or binary upper bound is missing when nothing short is greater.
    pub(super) fn to_iceberg(&self, column_type: ColumnType) -> (Option<Datum>, Option<Datum>) {
        match self {
            Self::Boolean(bounds) => both(*bounds, Datum::bool),
            Self::Int(bounds) if column_type == ColumnType::Date => both(*bounds, Datum::date),
            Self::Int(bounds) => both(*bounds, Datum::int),
            Self::Long(bounds) => match column_type {
                ColumnType::Timestamptz => both(*bounds, Datum::timestamptz_micros),
                ColumnType::Timestamp => both(*bounds, Datum::timestamp_micros),
                _ => both(*bounds, Datum::long),
            },
            // Readers differ on whether -0.0 equals 0.0: the bounds hold for both kinds.
            Self::Float(bounds) => match bounds {
                Some((low, high)) => (
                    Some(Datum::float(if *low == 0.0 { -0.0 } else { *low })),
                    Some(Datum::float(if *high == 0.0 { 0.0 } else { *high })),
                ),
                None => (None, None),
            },
            Self::Double(bounds) => match bounds {
                Some((low, high)) => (
                    Some(Datum::double(if *low == 0.0 { -0.0 } else { *low })),
                    Some(Datum::double(if *high == 0.0 { 0.0 } else { *high })),
                ),
                None => (None, None),
            },
            Self::Decimal(bounds) => match bounds {
                Some((low, high)) => (decimal(*low, column_type), decimal(*high, column_type)),
                None => (None, None),
            },
            Self::String(bounds) => match bounds {
                Some((low, high)) => (text(&low.start), text_above(high)),
                None => (None, None),
            },
            Self::Binary(bounds) => match bounds {
                Some((low, high)) => {
                    (Some(Datum::binary(low.start.iter().copied())), binary_above(high))
                }
                None => (None, None),
            },
        }
    }
}

fn widen<T: Clone>(
    bounds: &mut Option<(T, T)>,
    with: Option<(T, T)>,
    less: impl Fn(&T, &T) -> bool,
) {
    let Some((low, high)) = with else { return };
    *bounds = Some(match bounds.take() {
        None => (low, high),
        Some((least, greatest)) => (
            if less(&low, &least) { low } else { least },
            if less(&greatest, &high) { high } else { greatest },
        ),
    });
}

/// Least and greatest, if there is a value.
type Range<T> = Option<(T, T)>;

fn range<T: ArrowNumericType>(array: &PrimitiveArray<T>) -> Range<T::Native> {
    min(array).zip(max(array))
}

/// Least and greatest, and how many are NaN. Zeroes compare equal here; [`Bounds::to_iceberg`] makes up
/// for it.
fn float_range<T: Float>(array: &PrimitiveArray<T>) -> (Range<T::Native>, usize)
where
    T::Native: PartialOrd,
{
    let (mut low, mut high, mut nans) = (T::INFINITY, T::NEG_INFINITY, 0);
    let mut add = |value: T::Native| {
        // NaN is neither less nor greater than anything.
        low = if value < low { value } else { low };
        high = if value > high { value } else { high };
        nans += usize::from(T::is_nan(value));
    };
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => array.values().iter().copied().for_each(&mut add),
        Some(_) => array.iter().flatten().for_each(&mut add),
    }
    ((low <= high).then_some((low, high)), nans)
}

/// The two float types under one roof.
trait Float: ArrowNumericType {
    const INFINITY: Self::Native;
    const NEG_INFINITY: Self::Native;
    fn is_nan(value: Self::Native) -> bool;
}

impl Float for Float32Type {
    const INFINITY: f32 = f32::INFINITY;
    const NEG_INFINITY: f32 = f32::NEG_INFINITY;
    fn is_nan(value: f32) -> bool {
        value.is_nan()
    }
}

impl Float for Float64Type {
    const INFINITY: f64 = f64::INFINITY;
    const NEG_INFINITY: f64 = f64::NEG_INFINITY;
    fn is_nan(value: f64) -> bool {
        value.is_nan()
    }
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
        let mask = match u128::BITS.checked_sub(8 * u32::try_from(self.len).unwrap_or(16)) {
            None | Some(0) => u128::MAX,
            Some(unused) => u128::MAX.checked_shl(unused).unwrap_or_default(),
        };
        u128::from_be_bytes(window) & mask
    }

    /// Whether this value lies on `side` of `other`, which has the same head; as far as a bound can
    /// tell: longer values of one ASCII head share their bounds.
    fn lies(self, side: Ordering, other: Self, head: u128, data: &[u8]) -> bool {
        let short = self.len == other.len && self.len <= HEAD_BYTES;
        let cut = self.len > HEAD_BYTES && other.len > HEAD_BYTES && head & NOT_ASCII == 0;
        !short && !cut && self.bytes(data).cmp(other.bytes(data)) == side
    }
}

fn prefixes<'a>(
    prefix: impl Fn(&'a [u8]) -> Prefix,
) -> impl Fn((&'a [u8], &'a [u8])) -> (Prefix, Prefix) {
    move |(low, high)| (prefix(low), prefix(high))
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

fn both<T>(bounds: Option<(T, T)>, datum: impl Fn(T) -> Datum) -> (Option<Datum>, Option<Datum>) {
    bounds.map(|(low, high)| (datum(low), datum(high))).unzip()
}

fn decimal(unscaled: i128, column_type: ColumnType) -> Option<Datum> {
    let ColumnType::Decimal { precision, scale } = column_type else { return None };
    let decimal = PrimitiveType::Decimal { precision: precision.into(), scale: scale.into() };
    Datum::try_from_bytes(&unscaled.to_be_bytes(), decimal).ok()
}

fn text(start: &[u8]) -> Option<Datum> {
    std::str::from_utf8(start).ok().map(Datum::string)
}

/// A text no shorter value of which the prefix starts is above: the last character that has a
/// successor is replaced by it.
fn text_above(high: &Prefix) -> Option<Datum> {
    if !high.cut {
        return text(&high.start);
    }
    let mut chars: Vec<char> = std::str::from_utf8(&high.start).ok()?.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = successor(last) {
            chars.push(next);
            return Some(Datum::string(chars.into_iter().collect::<String>()));
        }
    }
    None
}

/// The next code point; surrogates are not characters and are stepped over.
fn successor(c: char) -> Option<char> {
    match u32::from(c) {
        0xD7FF => Some('\u{E000}'),
        code => char::from_u32(code + 1),
    }
}

fn binary_above(high: &Prefix) -> Option<Datum> {
    let mut bytes = high.start.clone();
    if high.cut {
        while bytes.last() == Some(&u8::MAX) {
            bytes.pop();
        }
        let last = bytes.last_mut()?;
        *last += 1;
    }
    Some(Datum::binary(bytes))
}
