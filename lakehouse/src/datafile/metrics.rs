//! Counts and bounds of every column of one file, gathered while its batches pass.

use std::collections::HashMap;

use arrow::array::Array;
use iceberg::spec::Datum;

use super::bounds::Bounds;
use crate::avro::{Rows, TableSchema};
use crate::spec::ColumnType;

/// What is known of each column, in table order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    columns: Vec<ColumnMetrics>,
}

#[derive(Clone, Debug)]
struct ColumnMetrics {
    column_type: ColumnType,
    values: u64,
    nulls: u64,
    nans: u64,
    bounds: Bounds,
}

/// The same, by field id, as a manifest wants it.
pub(super) struct IcebergMetrics {
    pub(super) values: HashMap<i32, u64>,
    pub(super) nulls: HashMap<i32, u64>,
    pub(super) nans: HashMap<i32, u64>,
    pub(super) lower: HashMap<i32, Datum>,
    pub(super) upper: HashMap<i32, Datum>,
}

impl Metrics {
    pub(crate) fn new(schema: &TableSchema) -> Self {
        let columns = schema.columns().iter().map(|column| ColumnMetrics {
            column_type: column.column_type,
            values: 0,
            nulls: 0,
            nans: 0,
            bounds: Bounds::new(column.column_type),
        });
        Self { columns: columns.collect() }
    }

    /// Counts `rows` in.
    pub(crate) fn add(&mut self, rows: &Rows) {
        for (column, array) in self.columns.iter_mut().zip(rows.arrays()) {
            column.values += rows.len() as u64;
            let Some(array) = array else {
                column.nulls += rows.len() as u64;
                continue;
            };
            column.nulls += array.null_count() as u64;
            column.nans += column.bounds.add(column.column_type, array) as u64;
        }
    }

    /// Counts in what is known of other rows of the same table.
    pub(crate) fn merge(&mut self, other: Self) {
        for (column, other) in self.columns.iter_mut().zip(other.columns) {
            column.values += other.values;
            column.nulls += other.nulls;
            column.nans += other.nans;
            column.bounds.merge(other.bounds);
        }
    }

    pub(super) fn to_iceberg(&self, schema: &TableSchema) -> IcebergMetrics {
        let mut metrics = IcebergMetrics {
            values: HashMap::new(),
            nulls: HashMap::new(),
            nans: HashMap::new(),
            lower: HashMap::new(),
            upper: HashMap::new(),
        };
        for (stored, column) in schema.columns().iter().zip(&self.columns) {
            metrics.values.insert(stored.id, column.values);
            metrics.nulls.insert(stored.id, column.nulls);
            if matches!(column.column_type, ColumnType::Float | ColumnType::Double) {
                metrics.nans.insert(stored.id, column.nans);
            }
            let (lower, upper) = column.bounds.to_iceberg(column.column_type);
            metrics.lower.extend(lower.map(|bound| (stored.id, bound)));
            metrics.upper.extend(upper.map(|bound| (stored.id, bound)));
        }
        metrics
    }
}
