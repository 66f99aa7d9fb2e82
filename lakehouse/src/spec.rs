//! What a table must look like, in this crate's own words: columns, their types, the partition column.
//!
//! Owns the mapping between Arrow types and the types a table here can hold. It must never
//! guess: a type without an exact counterpart is refused.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::{Error, Kind, Result};

/// The time zone every `timestamptz` carries in Arrow.
pub const UTC: &str = "+00:00";

/// The type of one column; each has an exact counterpart in Arrow, Avro and Iceberg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    Long,
    /// 32-bit IEEE 754.
    Float,
    /// 64-bit IEEE 754.
    Double,
    /// Fixed-point number.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// UTF-8 text.
    String,
    /// Raw bytes.
    Binary,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamptz,
    /// Microseconds since 1970-01-01T00:00:00, without a zone.
    Timestamp,
}

impl ColumnType {
    /// The Arrow type that holds this column.
    pub fn to_arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => {
                DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
            }
            Self::String => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }

    /// The column type that an Arrow type maps to exactly.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`]: the type has no exact counterpart; the job must cast it.
    pub fn from_arrow(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int32 => Self::Int,
            DataType::Int64 => Self::Long,
            DataType::Float32 => Self::Float,
            DataType::Float64 => Self::Double,
            DataType::Decimal128(precision, scale) if *scale >= 0 => {
                Self::Decimal { precision: *precision, scale: scale.unsigned_abs() }
            }
            DataType::Utf8 => Self::String,
            DataType::Binary => Self::Binary,
            DataType::Date32 => Self::Date,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Self::Timestamptz,
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp,
            other => {
                return Err(Error::new(
                    Kind::Config,
                    "no Iceberg type holds this exactly; cast it",
                )
                .with("type", other));
            }
        })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int => f.write_str("int"),
            Self::Long => f.write_str("long"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Self::String => f.write_str("string"),
            Self::Binary => f.write_str("binary"),
            Self::Date => f.write_str("date"),
            Self::Timestamptz => f.write_str("timestamptz"),
            Self::Timestamp => f.write_str("timestamp"),
        }
    }
}

/// One column as the job wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as analysts will type it.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether a row may hold null there.
    pub nullable: bool,
}

/// A table as the job wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// One level, such as `marketing_events`.
    pub namespace: String,
    /// Such as `processed_conversions`.
    pub name: String,
    /// In the order of the SELECT list.
    pub columns: Vec<Column>,
    /// The timestamp column whose UTC day partitions the table, if any.
    pub partition_day: Option<String>,
}

impl TableSpec {
    /// The Arrow schema of the batches this table takes, without Iceberg's field ids.
    pub fn arrow_schema(&self) -> SchemaRef {
        let field = |column: &Column| {
            Field::new(&column.name, column.column_type.to_arrow(), column.nullable)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }
}
