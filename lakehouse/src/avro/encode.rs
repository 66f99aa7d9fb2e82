//! Rows of Arrow columns → Avro's binary encoding.
//!
//! Owns the check that a batch fits the table, and the inner loop. The loop cannot fail: whatever
//! could go wrong is found by [`Rows::check`] before the first byte.
//!
//! Avro 1.11 specification, "Binary encoding".

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};

use super::record::decimal_bytes;
use super::schema::{StoredColumn, TableSchema};
use crate::spec::ColumnType;
use crate::{Error, Kind, Result};

/// Union branches of an optional field: null is branch 0, the value branch 1, both zigzag.
const NULL: u8 = 0;
const VALUE: u8 = 2;

/// A string no longer than this is copied as one fixed-size move where the buffer allows.
const SHORT_BYTES: usize = 64;

/// A batch that fits the table: one array per column of the table, `None` where the batch lacks an
/// optional column.
#[derive(Clone)]
pub(crate) struct Rows {
    arrays: Vec<Option<ArrayRef>>,
    len: usize,
}

impl Rows {
    /// Matches `batch` to the table by column name.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`]: the batch has a column the table lacks, one of another type, a null in a required
    /// column, or a decimal of too many digits. The message names the column.
    pub(crate) fn check(schema: &TableSchema, batch: &RecordBatch) -> Result<Self> {
        let unknown = |name: &&String| !schema.columns().iter().any(|c| c.name == **name);
        if let Some(name) = batch.schema_ref().fields().iter().map(|f| f.name()).find(unknown) {
            return Err(misfit("the table lacks the column", name));
        }
        let arrays = schema.columns().iter().map(|column| {
            let array = batch.column_by_name(&column.name);
            fits(column, array).map(|()| array.cloned())
        });
        Ok(Self { arrays: arrays.collect::<Result<_>>()?, len: batch.num_rows() })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One array per column of the table.
    pub(crate) fn arrays(&self) -> &[Option<ArrayRef>] {
        &self.arrays
    }

    /// The same rows, some of them: a run without a copy.
    pub(crate) fn slice(&self, rows: &Range<usize>) -> Self {
        let cut = |array: &ArrayRef| array.slice(rows.start, rows.len());
        Self { arrays: self.each(cut), len: rows.len() }
    }

    /// The same columns through `f`, which must keep type and give `len` rows.
    pub(crate) fn try_map(
        &self,
        len: usize,
        f: impl Fn(&ArrayRef) -> Result<ArrayRef>,
    ) -> Result<Self> {
        let arrays = self.arrays.iter().map(|array| array.as_ref().map(&f).transpose());
        Ok(Self { arrays: arrays.collect::<Result<_>>()?, len })
    }

    fn each(&self, f: impl Fn(&ArrayRef) -> ArrayRef) -> Vec<Option<ArrayRef>> {
        self.arrays.iter().map(|array| array.as_ref().map(&f)).collect()
    }
}

fn fits(column: &StoredColumn, array: Option<&ArrayRef>) -> Result<()> {
    let Some(array) = array else {
        let absent = || misfit("the batch lacks a required column", &column.name);
        return if column.required { Err(absent()) } else { Ok(()) };
    };
    if *array.data_type() != column.column_type.to_arrow() {
        return Err(misfit("the column has another type", &column.name)
            .with("table", column.column_type)
            .with("batch", array.data_type()));
    }
    if column.required && array.null_count() > 0 {
        return Err(misfit("a required column holds null", &column.name));
    }
    if let ColumnType::Decimal { precision, .. } = column.column_type {
        let limit = 10_u128.pow(precision.into());
        let mut values = array.as_primitive::<Decimal128Type>().iter().flatten();
        if let Some(value) = values.find(|value| value.unsigned_abs() >= limit) {
            return Err(misfit("a decimal has too many digits", &column.name)
                .with("unscaled", value)
                .with("precision", precision));
        }
    }
    Ok(())
}

fn misfit(message: &str, column: &str) -> Error {
    Error::new(Kind::Bug, message).with("column", column)
}

/// The columns of some rows, ready for the inner loop.
pub(crate) struct Encoder<'a> {
    cells: Vec<Cells<'a>>,
}

struct Cells<'a> {
    values: Values<'a>,
    branch: Branch<'a>,
}

enum Branch<'a> {
    /// A required field: no union.
    None,
    /// An optional field without a null in this batch.
    Always,
    /// An optional field with nulls.
    Maybe(&'a NullBuffer),
    /// An optional field that the batch lacks.
    Never,
}

enum Values<'a> {
    Boolean(&'a BooleanBuffer),
    Int(&'a [i32]),
    Long(&'a [i64]),
    Float(&'a [f32]),
    Double(&'a [f64]),
    Decimal { values: &'a [i128], width: usize },
    Bytes { offsets: &'a [i32], data: &'a [u8] },
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(schema: &TableSchema, rows: &'a Rows) -> Self {
        let cells = schema.columns().iter().zip(&rows.arrays);
        Self { cells: cells.map(|(column, array)| Cells::new(column, array.as_ref())).collect() }
    }

    /// Appends `rows` to `out`.
    pub(crate) fn encode(&self, rows: Range<usize>, out: &mut Vec<u8>) {
        for row in rows {
            for cells in &self.cells {
                cells.encode(row, out);
            }
        }
    }
}

impl<'a> Cells<'a> {
    fn new(column: &StoredColumn, array: Option<&'a ArrayRef>) -> Self {
        let Some(array) = array else {
            return Self { values: Values::Int(&[]), branch: Branch::Never };
        };
        let branch = match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            _ if column.required => Branch::None,
            None => Branch::Always,
            Some(nulls) => Branch::Maybe(nulls),
        };
        Self { values: Values::new(column.column_type, array), branch }
    }

    #[inline]
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self.branch {
            Branch::None => {}
            Branch::Always => out.push(VALUE),
            Branch::Maybe(nulls) if nulls.is_valid(row) => out.push(VALUE),
            Branch::Maybe(_) | Branch::Never => return out.push(NULL),
        }
        self.values.encode(row, out);
    }
}

impl<'a> Values<'a> {
    fn new(column_type: ColumnType, array: &'a ArrayRef) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean(array.as_boolean().values()),
            ColumnType::Int => Self::Int(array.as_primitive::<Int32Type>().values()),
            ColumnType::Date => Self::Int(array.as_primitive::<Date32Type>().values()),
            ColumnType::Long => Self::Long(array.as_primitive::<Int64Type>().values()),
            ColumnType::Timestamptz | ColumnType::Timestamp => {
                Self::Long(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            ColumnType::Float => Self::Float(array.as_primitive::<Float32Type>().values()),
            ColumnType::Double => Self::Double(array.as_primitive::<Float64Type>().values()),
            ColumnType::Decimal { precision, .. } => Self::Decimal {
                values: array.as_primitive::<Decimal128Type>().values(),
                width: decimal_bytes(precision),
            },
            ColumnType::String => {
                let array = array.as_string::<i32>();
                Self::Bytes { offsets: array.value_offsets(), data: array.value_data() }
            }
            ColumnType::Binary => {
                let array = array.as_binary::<i32>();
                Self::Bytes { offsets: array.value_offsets(), data: array.value_data() }
            }
        }
    }

    #[inline]
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Boolean(values) => out.push(u8::from(values.value(row))),
            Self::Int(values) => put_long(out, at(values, row).into()),
            Self::Long(values) => put_long(out, at(values, row)),
            Self::Float(values) => out.extend_from_slice(&at(values, row).to_le_bytes()),
            Self::Double(values) => out.extend_from_slice(&at(values, row).to_le_bytes()),
            Self::Decimal { values, width } => put_decimal(out, at(values, row), *width),
            Self::Bytes { offsets, data } => {
                put_bytes(out, data, at(offsets, row), at(offsets, row + 1));
            }
        }
    }
}

/// Arrow guarantees `row` to be there; the default keeps the loop free of panics.
#[inline]
fn at<T: Copy + Default>(values: &[T], row: usize) -> T {
    values.get(row).copied().unwrap_or_default()
}

/// Zigzag, seven bits a byte, least significant first.
#[inline]
pub(crate) fn put_long(out: &mut Vec<u8>, value: i64) {
    let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    if let Ok(byte @ ..0x80) = u8::try_from(zigzag) {
        return out.push(byte);
    }
    if zigzag < 1 << 56 {
        let bits = u64::BITS - zigzag.leading_zeros();
        let len = bits.div_ceil(7);
        let more = 0x0080_8080_8080_8080 & ((1 << (8 * (len - 1))) - 1);
        let end = out.len() + len as usize;
        out.extend_from_slice(&(spread(zigzag) | more).to_le_bytes());
        return out.truncate(end);
    }
    let mut rest = zigzag;
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Moves each group of seven bits of a 56-bit number into a byte of its own.
#[inline]
const fn spread(bits: u64) -> u64 {
    let bits = ((bits & 0x00ff_ffff_f000_0000) << 4) | (bits & 0x0000_0000_0fff_ffff);
    let bits = ((bits & 0x0fff_c000_0fff_c000) << 2) | (bits & 0x0000_3fff_0000_3fff);
    ((bits & 0x3f80_3f80_3f80_3f80) << 1) | (bits & 0x007f_007f_007f_007f)
}

/// The last `width` bytes of the two's complement, most significant first.
#[inline]
fn put_decimal(out: &mut Vec<u8>, value: i128, width: usize) {
    let start = out.len();
    let bytes = (value << (8 * (16 - width))).to_be_bytes();
    out.extend_from_slice(&bytes);
    out.truncate(start + width);
}

#[inline]
fn put_bytes(out: &mut Vec<u8>, data: &[u8], start: i32, end: i32) {
    put_long(out, i64::from(end) - i64::from(start));
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else { return };
    let len = end - start;
    if len <= SHORT_BYTES
        && let Some(window) = data.get(start..start + SHORT_BYTES)
    {
        let end = out.len() + len;
        out.extend_from_slice(window);
        out.truncate(end);
    } else {
        out.extend_from_slice(data.get(start..end).unwrap_or_default());
    }
}
