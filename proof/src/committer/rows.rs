//! Rows that say where they come from, so that one that is lost, doubled or altered is seen to be.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use lakehouse::position::{ClusterId, Source, TopicId};
use lakehouse::spec::{Column, ColumnType, TableSpec};

/// 2025-10-09, in microseconds since 1970.
const DAY_US: i64 = 1_760_000_000_000_000;
/// Eight hours.
const STEP_US: i64 = 28_800_000_000;

/// What the rows pretend to come from.
pub(crate) fn source() -> Source {
    Source { cluster: ClusterId::new("cluster-1"), topic: TopicId::new("topic-1") }
}

/// The table of the committers.
pub(crate) fn spec() -> TableSpec {
    let column =
        |name: &str, column_type| Column { name: name.into(), column_type, nullable: false };
    TableSpec {
        namespace: "committed".into(),
        name: "rows".into(),
        columns: vec![
            column("id", ColumnType::String),
            column("at", ColumnType::Timestamptz),
            column("kafka_partition", ColumnType::Int),
            column("kafka_offset", ColumnType::Long),
        ],
        partition_day: Some("at".into()),
    }
}

/// The one text that the row of this place may hold.
pub(super) fn id(partition: i32, offset: i64) -> String {
    format!("{partition}-{offset}")
}

/// A row for each offset of these ranges.
pub(super) fn batch(of: &[(i32, i64, i64)]) -> Result<RecordBatch> {
    let each = of.iter().flat_map(|(p, start, end)| (*start..*end).map(|offset| (*p, offset)));
    let each: Vec<(i32, i64)> = each.collect();
    let each = || each.iter().copied();
    // Eight hours apart by blocks of offsets: a batch has files of two days now and then.
    let at = each().map(|(_, offset)| DAY_US + offset / 4_000 % 9 * STEP_US);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(each().map(|(p, o)| id(p, o)))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("+00:00")),
        Arc::new(Int32Array::from_iter_values(each().map(|(p, _)| p))),
        Arc::new(Int64Array::from_iter_values(each().map(|(_, o)| o))),
    ];
    Ok(RecordBatch::try_new(spec().arrow_schema(), columns)?)
}
