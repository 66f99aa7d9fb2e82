//! The job's declaration, laid out for reading records.

use lakehouse::spec::ColumnType;

use super::Reason;
use super::json::{self, unescape};
use super::number;
use super::scan::string_stop;
use super::time::DayCache;
use crate::job::{Origin, SourceTable, TimestampStyle};

/// Fields that a set of bits can hold; declarations with more are read the careful way only.
const FIELDS_FAST_MAX: usize = 128;
/// Bytes of a key that are compared at once.
const KEY_BYTES: usize = 32;

/// The declared JSON fields.
#[derive(Debug)]
pub(super) struct Layout {
    /// In the order of the declaration.
    pub(super) fields: Vec<Field>,
    /// One bit for each field that is declared NOT NULL.
    pub(super) required: u128,
    /// Whether a set of bits holds all fields.
    pub(super) fits_bits: bool,
    style: TimestampStyle,
}

/// One declared JSON field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    pub(super) nullable: bool,
    pub(super) key: Key,
    /// Digits after the seconds that a timestamp keeps.
    precision: u8,
}

/// A field's value in one record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    /// Absent or null.
    Null,
    Boolean(bool),
    /// An integer, days, or microseconds.
    Integer(i64),
    /// Unscaled.
    Decimal(i128),
    /// A checked float: its text in the record.
    Number {
        start: usize,
        end: usize,
    },
    /// A text without escapes: its bytes in the record.
    Text {
        start: usize,
        end: usize,
    },
    /// A text that had escapes: its bytes in [`Scratch::text`].
    Unescaped {
        start: usize,
        end: usize,
    },
}

/// Memory that reading one record needs.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Unescaped texts, one after the other.
    pub(super) text: String,
    days: DayCache,
}

impl Layout {
    pub(super) fn new(source: &SourceTable) -> Self {
        let json = source.columns.iter().filter(|column| column.origin == Origin::Json);
        let fields: Vec<Field> = json
            .map(|column| Field {
                name: column.name.clone(),
                column_type: column.column_type,
                nullable: column.nullable,
                key: Key::new(&column.name),
                precision: column.precision,
            })
            .collect();
        let required = fields
            .iter()
            .rev()
            .fold(0, |bits: u128, field| bits << 1 | u128::from(!field.nullable));
        let fits_bits = fields.len() <= FIELDS_FAST_MAX;
        Self { fields, required, fits_bits, style: source.timestamps }
    }

    /// The field with this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Reads the value at `at` into `cell`, as `field` declares it; returns the place after it.
    ///
    /// The cell is written in place: handing it back costs as much again as reading it.
    #[inline]
    pub(super) fn cell(
        &self,
        field: &Field,
        text: &str,
        at: usize,
        cell: &mut Cell,
        scratch: &mut Scratch,
    ) -> Result<usize, Reason> {
        let bytes = text.as_bytes();
        match bytes.get(at) {
            Some(b'"') => {
                let end = string_stop(bytes, at + 1);
                if bytes.get(end) != Some(&b'"') {
                    return self.escaped(field, text, at, cell, scratch);
                }
                if field.column_type == ColumnType::String {
                    *cell = Cell::Text { start: at + 1, end };
                } else {
                    let raw = text.get(at + 1..end).unwrap_or_default();
                    *cell = Cell::Integer(self.time(field, raw, &mut scratch.days)?);
                }
                Ok(end + 1)
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = number::scan(bytes, at).ok_or(Reason::InvalidJson)?;
                let written = text.get(at..number.end).ok_or(Reason::InvalidJson)?;
                field.number(written, number, at, cell)?;
                Ok(number.end)
            }
            Some(b'n') if follows(bytes, at, b"null") => {
                *cell = Cell::Null;
                Ok(at + 4)
            }
            Some(b't') if follows(bytes, at, b"true") => {
                *cell = field.boolean(true)?;
                Ok(at + 4)
            }
            Some(b'f') if follows(bytes, at, b"false") => {
                *cell = field.boolean(false)?;
                Ok(at + 5)
            }
            _ => Err(Reason::WrongType),
        }
    }

    /// Reads a string that holds an escape, or is broken.
    #[cold]
    fn escaped(
        &self,
        field: &Field,
        text: &str,
        at: usize,
        cell: &mut Cell,
        scratch: &mut Scratch,
    ) -> Result<usize, Reason> {
        let string = json::string(text.as_bytes(), at).map_err(|_| Reason::InvalidJson)?;
        let raw = text.get(at + 1..string.end - 1).unwrap_or_default();
        let start = scratch.text.len();
        let whole = unescape(raw, &mut scratch.text);
        if field.column_type == ColumnType::String {
            whole.ok_or(Reason::InvalidUtf8)?;
            *cell = Cell::Unescaped { start, end: scratch.text.len() };
        } else {
            // Half a surrogate pair is no digit either.
            let Scratch { text, days } = scratch;
            let unescaped = whole.and_then(|()| text.get(start..)).unwrap_or_default();
            *cell = Cell::Integer(self.time(field, unescaped, days)?);
        }
        Ok(string.end)
    }

    fn time(&self, field: &Field, text: &str, days: &mut DayCache) -> Result<i64, Reason> {
        let text = text.as_bytes();
        let value = match field.column_type {
            ColumnType::Date => super::time::parse_date(text).map(i64::from),
            ColumnType::Timestamptz => days.timestamp(text, self.style, field.precision, true),
            ColumnType::Timestamp => days.timestamp(text, self.style, field.precision, false),
            _ => return Err(Reason::WrongType),
        };
        value.ok_or(Reason::BadTimestamp)
    }
}

impl Field {
    #[inline]
    fn number(
        &self,
        text: &str,
        number: number::Number,
        at: usize,
        cell: &mut Cell,
    ) -> Result<(), Reason> {
        let value = match self.column_type {
            ColumnType::Double if number::is_finite(text, number) => {
                Cell::Number { start: at, end: number.end }
            }
            ColumnType::Float if number::float(text).is_some() => {
                Cell::Number { start: at, end: number.end }
            }
            ColumnType::Decimal { precision, scale } => {
                let unscaled = number::decimal(text, precision, scale);
                Cell::Decimal(unscaled.ok_or(Reason::OutOfRange)?)
            }
            ColumnType::Int if number.integer => {
                let value: i32 = text.parse().map_err(|_| Reason::OutOfRange)?;
                Cell::Integer(value.into())
            }
            ColumnType::Long if number.integer => {
                Cell::Integer(text.parse().map_err(|_| Reason::OutOfRange)?)
            }
            ColumnType::Double | ColumnType::Float => return Err(Reason::OutOfRange),
            _ => return Err(Reason::WrongType),
        };
        *cell = value;
        Ok(())
    }

    fn boolean(&self, value: bool) -> Result<Cell, Reason> {
        match self.column_type {
            ColumnType::Boolean => Ok(Cell::Boolean(value)),
            _ => Err(Reason::WrongType),
        }
    }
}

#[inline]
fn follows(bytes: &[u8], at: usize, word: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(word))
}

/// `"name":` as compact JSON writes it.
#[derive(Debug)]
pub(super) struct Key {
    written: Vec<u8>,
    /// The same, in two halves, where it is short; and which of their bits count.
    halves: Option<[(u128, u128); 2]>,
}

impl Key {
    fn new(name: &str) -> Self {
        let written = [b"\"", name.as_bytes(), b"\":"].concat();
        let mut bytes = [0; KEY_BYTES];
        let mut mask = [0; KEY_BYTES];
        for ((byte, mask), from) in bytes.iter_mut().zip(&mut mask).zip(&written) {
            (*byte, *mask) = (*from, u8::MAX);
        }
        let halves = (written.len() <= KEY_BYTES).then(|| {
            let ((b0, b1), (m0, m1)) = (split(&bytes), split(&mask));
            [(b0, m0), (b1, m1)]
        });
        Self { written, halves }
    }

    /// The place after the key and its colon, if that is what stands at `at`.
    #[inline]
    pub(super) fn matches(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = bytes.get(at..)?;
        let found = match (&self.halves, rest.first_chunk::<KEY_BYTES>()) {
            (Some([(b0, m0), (b1, m1)]), Some(chunk)) => {
                let (c0, c1) = split(chunk);
                ((c0 ^ b0) & m0) | ((c1 ^ b1) & m1) == 0
            }
            _ => rest.starts_with(&self.written),
        };
        found.then_some(at + self.written.len())
    }
}

#[inline]
fn split(bytes: &[u8; KEY_BYTES]) -> (u128, u128) {
    let (low, high) = bytes.split_at(KEY_BYTES / 2);
    let half = |half: &[u8]| half.first_chunk().map_or(0, |half| u128::from_le_bytes(*half));
    (half(low), half(high))
}
