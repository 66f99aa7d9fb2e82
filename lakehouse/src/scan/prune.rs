//! Which files can't hold a row that a filter wants.
//!
//! Owns the translation of a file's bounds into `DataFusion`'s pruning. A missing bound is unknown, and
//! unknown keeps the file.

use std::collections::HashSet;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use iceberg::spec::{Datum, PrimitiveLiteral};

use super::DataFileRef;
use crate::avro::{StoredColumn, TableSchema};
use crate::spec::{ColumnType, UTC};

/// The bounds of some files, as `DataFusion` asks for them.
pub(super) struct FileBounds<'a> {
    pub(super) schema: &'a TableSchema,
    pub(super) files: &'a [DataFileRef],
}

impl FileBounds<'_> {
    fn stored(&self, column: &Column) -> Option<&StoredColumn> {
        self.schema.columns().iter().find(|stored| stored.name == column.name)
    }

    fn bounds<'b>(
        &'b self,
        column: &Column,
        bound: impl Fn(&'b DataFileRef, i32) -> Option<&'b Datum>,
    ) -> Option<ArrayRef> {
        let stored = self.stored(column)?;
        let data_type = stored.column_type.to_arrow();
        let null = ScalarValue::try_from(&data_type).ok()?;
        let values = self.files.iter().map(|file| {
            let value = bound(file, stored.id).and_then(|datum| scalar(datum, stored.column_type));
            value.unwrap_or_else(|| null.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for FileBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |file, id| file.file.lower_bounds().get(&id))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        // DataFusion takes NaN for the greatest value; Iceberg's bounds leave it out.
        self.bounds(column, |file, id| {
            let float = self.stored(column)?.column_type;
            let may_hold_nan = matches!(float, ColumnType::Float | ColumnType::Double)
                && file.file.nan_value_counts().get(&id) != Some(&0);
            if may_hold_nan { None } else { file.file.upper_bounds().get(&id) }
        })
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let id = self.stored(column)?.id;
        let counts = self.files.iter().map(|file| file.file.null_value_counts().get(&id).copied());
        Some(std::sync::Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self, _: &Column) -> Option<ArrayRef> {
        let counts = self.files.iter().map(|file| file.rows);
        Some(std::sync::Arc::new(UInt64Array::from_iter_values(counts)))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// A bound in the type the column has now; `None` where it can't be told exactly.
fn scalar(datum: &Datum, column_type: ColumnType) -> Option<ScalarValue> {
    use PrimitiveLiteral as Is;
    Some(match (column_type, datum.literal()) {
        (ColumnType::Boolean, Is::Boolean(value)) => (*value).into(),
        (ColumnType::Int, Is::Int(value)) => (*value).into(),
        (ColumnType::Long, Is::Int(value)) => i64::from(*value).into(),
        (ColumnType::Long, Is::Long(value)) => (*value).into(),
        (ColumnType::Float, Is::Float(value)) => value.0.into(),
        (ColumnType::Double, Is::Float(value)) => f64::from(value.0).into(),
        (ColumnType::Double, Is::Double(value)) => value.0.into(),
        (ColumnType::String, Is::String(value)) => value.as_str().into(),
        (ColumnType::Binary, Is::Binary(value)) => ScalarValue::Binary(Some(value.clone())),
        (ColumnType::Date, Is::Int(value)) => ScalarValue::Date32(Some(*value)),
        (ColumnType::Timestamptz, Is::Long(value)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), Some(UTC.into()))
        }
        (ColumnType::Timestamp, Is::Long(value)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), None)
        }
        (ColumnType::Decimal { precision, scale }, Is::Int128(value)) => {
            ScalarValue::Decimal128(Some(*value), precision, i8::try_from(scale).ok()?)
        }
        _ => return None,
    })
}
