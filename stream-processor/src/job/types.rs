//! Flink's types ↔ the types a table can hold.

use datafusion::sql::sqlparser::ast::{DataType, ExactNumberInfo, TimezoneInfo};
use datafusion::sql::sqlparser::tokenizer::Span;
use lakehouse::spec::ColumnType;

use super::error::{JobError, Result};

/// Iceberg's timestamps hold microseconds.
const TIMESTAMP_DIGITS_MAX: u64 = 6;
/// What Flink and Arrow's 128-bit decimals hold.
pub(super) const DECIMAL_DIGITS_MAX: u8 = 38;

/// A type as the job names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SqlType {
    pub(super) column_type: ColumnType,
    /// Digits after the seconds; 0 for types that are no timestamp.
    pub(super) precision: u8,
}

impl SqlType {
    pub(super) fn parse(data_type: &DataType, span: Span) -> Result<Self> {
        let plain = |column_type| Ok(Self { column_type, precision: 0 });
        match data_type {
            DataType::Boolean => plain(ColumnType::Boolean),
            DataType::Int(None) | DataType::Integer(None) => plain(ColumnType::Int),
            DataType::BigInt(None) => plain(ColumnType::Long),
            DataType::Float(ExactNumberInfo::None) => plain(ColumnType::Float),
            DataType::Double(ExactNumberInfo::None) | DataType::DoublePrecision => {
                plain(ColumnType::Double)
            }
            DataType::Decimal(info) | DataType::Dec(info) | DataType::Numeric(info) => {
                plain(decimal(*info, span)?)
            }
            DataType::String(None) => plain(ColumnType::String),
            DataType::Date => plain(ColumnType::Date),
            DataType::Timestamp(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                timestamp(ColumnType::Timestamp, *digits, span)
            }
            DataType::Custom(name, digits)
                if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") =>
            {
                let digits = match digits.as_slice() {
                    [] => None,
                    [digits] => Some(digits.parse().map_err(|_| unsupported(data_type, span))?),
                    _ => return Err(unsupported(data_type, span)),
                };
                timestamp(ColumnType::Timestamptz, digits, span)
            }
            other => Err(unsupported(other, span)),
        }
    }
}

/// How Flink writes a type.
pub(crate) fn name(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Boolean => "BOOLEAN".to_owned(),
        ColumnType::Int => "INT".to_owned(),
        ColumnType::Long => "BIGINT".to_owned(),
        ColumnType::Float => "FLOAT".to_owned(),
        ColumnType::Double => "DOUBLE".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("DECIMAL({precision}, {scale})"),
        ColumnType::String => "STRING".to_owned(),
        ColumnType::Binary => "BYTES".to_owned(),
        ColumnType::Date => "DATE".to_owned(),
        ColumnType::Timestamptz => "TIMESTAMP_LTZ".to_owned(),
        ColumnType::Timestamp => "TIMESTAMP".to_owned(),
    }
}

fn decimal(info: ExactNumberInfo, span: Span) -> Result<ColumnType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=DECIMAL_DIGITS_MAX), Ok(scale)) if scale <= precision => {
            Ok(ColumnType::Decimal { precision, scale })
        }
        _ => Err(JobError::at(span, format!("DECIMAL({precision}, {scale}) does not exist"))
            .hint("the precision is 1 to 38, the scale 0 to the precision")),
    }
}

fn timestamp(column_type: ColumnType, digits: Option<u64>, span: Span) -> Result<SqlType> {
    match digits.unwrap_or(TIMESTAMP_DIGITS_MAX) {
        // Up to TIMESTAMP_DIGITS_MAX, so the conversion holds.
        digits @ 0..=TIMESTAMP_DIGITS_MAX => {
            Ok(SqlType { column_type, precision: u8::try_from(digits).unwrap_or_default() })
        }
        digits => {
            Err(JobError::at(span, format!("a timestamp of {digits} digits is not supported"))
                .hint("Iceberg holds microseconds: at most 6"))
        }
    }
}

fn unsupported(data_type: &DataType, span: Span) -> JobError {
    let hint = match data_type {
        DataType::TinyInt(_) | DataType::SmallInt(_) => "use INT",
        DataType::Real => "use FLOAT or DOUBLE",
        DataType::Varchar(_) | DataType::Char(_) | DataType::Text | DataType::CharVarying(_) => {
            "use STRING"
        }
        DataType::Timestamp(..) => "use TIMESTAMP_LTZ",
        _ => {
            "the subset has BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), STRING, DATE, TIMESTAMP(p) and TIMESTAMP_LTZ(p)"
        }
    };
    JobError::at(span, format!("the type {data_type} is not supported")).hint(hint)
}
