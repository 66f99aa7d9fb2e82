//! Random rows of every column type, as Arrow batches and as plain values.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use lakehouse::spec::{Column, ColumnType, TableSpec, UTC};
use proptest::prelude::*;

/// A value of any column type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Decimal(i128),
    String(String),
    Binary(Vec<u8>),
    Date(i32),
    Timestamptz(i64),
    Timestamp(i64),
}

pub(crate) type Row = Vec<Option<Cell>>;

const TYPES: [ColumnType; 13] = [
    ColumnType::Boolean,
    ColumnType::Int,
    ColumnType::Long,
    ColumnType::Float,
    ColumnType::Double,
    ColumnType::Decimal { precision: 12, scale: 2 },
    ColumnType::Decimal { precision: 1, scale: 0 },
    ColumnType::Decimal { precision: 38, scale: 10 },
    ColumnType::String,
    ColumnType::Binary,
    ColumnType::Date,
    ColumnType::Timestamptz,
    ColumnType::Timestamp,
];

/// A table with each type twice: required, then nullable.
pub(crate) fn every_type() -> TableSpec {
    let required = TYPES.iter().enumerate().map(|(index, column_type)| Column {
        name: format!("required_{index}"),
        column_type: *column_type,
        nullable: false,
    });
    let nullable = TYPES.iter().enumerate().map(|(index, column_type)| Column {
        name: format!("nullable_{index}"),
        column_type: *column_type,
        nullable: true,
    });
    TableSpec {
        namespace: "shop".into(),
        name: "everything".into(),
        columns: required.chain(nullable).collect(),
        partition_day: None,
    }
}

fn any_cell(column_type: ColumnType) -> BoxedStrategy<Cell> {
    match column_type {
        ColumnType::Boolean => any::<bool>().prop_map(Cell::Boolean).boxed(),
        ColumnType::Int => any::<i32>().prop_map(Cell::Int).boxed(),
        ColumnType::Long => any::<i64>().prop_map(Cell::Long).boxed(),
        ColumnType::Float => prop::num::f32::ANY.prop_map(Cell::Float).boxed(),
        ColumnType::Double => prop::num::f64::ANY.prop_map(Cell::Double).boxed(),
        ColumnType::Decimal { precision, .. } => {
            let limit = 10_i128.pow(precision.into()) - 1;
            (-limit..=limit).prop_map(Cell::Decimal).boxed()
        }
        ColumnType::String => ".{0,50}".prop_map(Cell::String).boxed(),
        ColumnType::Binary => {
            prop::collection::vec(any::<u8>(), 0..80).prop_map(Cell::Binary).boxed()
        }
        ColumnType::Date => any::<i32>().prop_map(Cell::Date).boxed(),
        ColumnType::Timestamptz => any::<i64>().prop_map(Cell::Timestamptz).boxed(),
        ColumnType::Timestamp => any::<i64>().prop_map(Cell::Timestamp).boxed(),
    }
}

/// Up to `most` rows of [`every_type`].
pub(crate) fn any_rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let cells: Vec<BoxedStrategy<Option<Cell>>> = every_type()
        .columns
        .iter()
        .map(|column| {
            let cell = any_cell(column.column_type);
            if column.nullable {
                prop::option::of(cell).boxed()
            } else {
                cell.prop_map(Some).boxed()
            }
        })
        .collect();
    prop::collection::vec(cells, 1..=most)
}

macro_rules! column {
    ($rows:ident, $index:ident, $variant:ident) => {
        $rows.iter().map(|row| match &row[$index] {
            Some(Cell::$variant(value)) => Some(value.clone()),
            None => None,
            other => panic!("column {} holds {other:?}", $index),
        })
    };
}

/// The rows as one batch of [`every_type`].
pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let spec = every_type();
    let columns = spec.columns.iter().enumerate().map(|(index, column)| -> ArrayRef {
        match column.column_type {
            ColumnType::Boolean => {
                Arc::new(column!(rows, index, Boolean).collect::<BooleanArray>())
            }
            ColumnType::Int => Arc::new(column!(rows, index, Int).collect::<Int32Array>()),
            ColumnType::Long => Arc::new(column!(rows, index, Long).collect::<Int64Array>()),
            ColumnType::Float => Arc::new(column!(rows, index, Float).collect::<Float32Array>()),
            ColumnType::Double => Arc::new(column!(rows, index, Double).collect::<Float64Array>()),
            ColumnType::Decimal { precision, scale } => Arc::new(
                column!(rows, index, Decimal)
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(precision, i8::try_from(scale).unwrap())
                    .unwrap(),
            ),
            ColumnType::String => Arc::new(column!(rows, index, String).collect::<StringArray>()),
            ColumnType::Binary => Arc::new(column!(rows, index, Binary).collect::<BinaryArray>()),
            ColumnType::Date => Arc::new(column!(rows, index, Date).collect::<Date32Array>()),
            ColumnType::Timestamptz => {
                let array =
                    column!(rows, index, Timestamptz).collect::<TimestampMicrosecondArray>();
                Arc::new(array.with_timezone(UTC))
            }
            ColumnType::Timestamp => {
                Arc::new(column!(rows, index, Timestamp).collect::<TimestampMicrosecondArray>())
            }
        }
    });
    RecordBatch::try_new(spec.arrow_schema(), columns.collect()).unwrap()
}
