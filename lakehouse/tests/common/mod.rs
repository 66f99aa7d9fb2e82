//! Rows that say where they come from, written and read back through the public interface.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "which server to test is the environment's to say")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};
use lakehouse::avro::{Codec, DayWriter};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{
    CommitOutcome, CommitRequest, Counts, Lakehouse, LakehouseSettings, ReadTable, SinkTable,
};
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{ClusterId, Position, Ranges, Source, TopicId};
use lakehouse::scan::read_file;
use lakehouse::spec::{Column, ColumnType, TableSpec};
use lakehouse::storage::{S3Settings, Secret};
use uuid::Uuid;

pub(crate) fn source() -> Source {
    Source { cluster: ClusterId::new("cluster-1"), topic: TopicId::new("topic-1") }
}

pub(crate) fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column { name: name.into(), column_type, nullable }
}

pub(crate) fn spec(namespace: &str) -> TableSpec {
    TableSpec {
        namespace: namespace.into(),
        name: "rows".into(),
        columns: vec![
            column("id", ColumnType::String, false),
            column("at", ColumnType::Timestamptz, false),
            column("kafka_partition", ColumnType::Int, false),
            column("kafka_offset", ColumnType::Long, false),
        ],
        partition_day: Some("at".into()),
    }
}

pub(crate) fn sqlite(folder: &std::path::Path) -> LakehouseSettings {
    let path = folder.join("catalog.db");
    LakehouseSettings::new(
        CatalogSettings::Sqlite { path },
        format!("file://{}", folder.join("warehouse").display()),
    )
}

/// The object store to test, when the environment names one.
pub(crate) fn s3() -> Option<S3Settings> {
    let endpoint = std::env::var("S3_ENDPOINT").ok()?;
    Some(S3Settings {
        endpoint: Some(endpoint),
        region: "us-east-1".to_owned(),
        access_key: std::env::var("S3_ACCESS_KEY").unwrap(),
        secret_key: Secret::new(std::env::var("S3_SECRET_KEY").unwrap()),
        path_style: true,
    })
}

/// Ranges of offsets, each a row.
pub(crate) type Batch<'a> = &'a [(i32, i64, i64)];

pub(crate) fn rows(spec: &TableSpec, of: Batch<'_>) -> RecordBatch {
    let each = of.iter().flat_map(|(p, start, end)| (*start..*end).map(|o| (*p, o)));
    let each: Vec<_> = each.collect();
    let each = || each.iter().copied();
    // Eight hours apart in steps of offsets, so that a batch spans a few days.
    let at = each().map(|(_, offset)| 1_760_000_000_000_000 + (offset % 3) * 28_800_000_000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(each().map(|(p, o)| format!("{p}-{o}")))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("+00:00")),
        Arc::new(Int32Array::from_iter_values(each().map(|(p, _)| p))),
        Arc::new(Int64Array::from_iter_values(each().map(|(_, o)| o))),
    ];
    let schema = TableSpec { columns: spec.columns[..4].to_vec(), ..spec.clone() }.arrow_schema();
    RecordBatch::try_new(schema, columns).unwrap()
}

pub(crate) async fn request(sink: &SinkTable, spec: &TableSpec, of: Batch<'_>) -> CommitRequest {
    let mut ranges = Ranges::default();
    for (partition, start, end) in of {
        let partition = PartitionId::new(*partition);
        ranges.extend(partition, Offset::new(*start), Offset::new(*end)).unwrap();
    }
    let mut writer = DayWriter::new(sink.schema(), Codec::default()).unwrap();
    let batch = rows(spec, of);
    if batch.num_rows() > 0 {
        writer.append(&batch).unwrap();
    }
    let mut files = Vec::new();
    for file in writer.finish().unwrap() {
        files.push(sink.upload(file).await.unwrap());
    }
    let written = batch.num_rows() as u64;
    let counts = Counts { read: written, written, filtered: 0, rejected: 0 };
    let (source, attempt) = (source(), Uuid::now_v7());
    CommitRequest { source, ranges, counts, files, attempt, deadline: Duration::from_mins(1) }
}

pub(crate) fn position_of(outcome: &CommitOutcome) -> &Position {
    match outcome {
        CommitOutcome::Committed(report) => &report.position,
        CommitOutcome::AlreadyCommitted { position }
        | CommitOutcome::Fenced { position, .. }
        | CommitOutcome::Gap { position, .. } => position,
    }
}

pub(crate) fn starts(of: &[(i32, i64)]) -> BTreeMap<PartitionId, Offset> {
    of.iter().map(|(p, o)| (PartitionId::new(*p), Offset::new(*o))).collect()
}

/// Every partition with the offsets of its rows, sorted.
pub(crate) async fn offsets(table: &ReadTable) -> BTreeMap<i32, Vec<i64>> {
    let schema = table.schema().unwrap();
    let mut found: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for file in table.files().await.unwrap() {
        let bytes = table.store().read(&file.location).await.unwrap();
        assert_eq!(bytes.len() as u64, file.bytes);
        let mut rows = 0;
        for batch in read_file(bytes, &schema, Some(&[2, 3])).unwrap() {
            let batch = batch.unwrap();
            rows += batch.num_rows() as u64;
            let partitions = batch.column(0).as_primitive::<Int32Type>();
            let offsets = batch.column(1).as_primitive::<Int64Type>();
            assert_eq!(partitions.null_count() + offsets.null_count(), 0);
            for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
                found.entry(*partition).or_default().push(*offset);
            }
        }
        assert_eq!(rows, file.rows);
    }
    for offsets in found.values_mut() {
        offsets.sort_unstable();
    }
    found
}

/// Nothing is lost and nothing is there twice, from each start up to the table's position.
pub(crate) async fn check_rows(
    lakehouse: &Lakehouse,
    spec: &TableSpec,
    starts: &[(i32, i64)],
) -> usize {
    let table = lakehouse.table(&spec.namespace, &spec.name).await.unwrap().unwrap();
    let position = lakehouse.ensure(spec).await.unwrap().position(&source()).await.unwrap();
    let found = offsets(&table).await;
    let mut rows = 0;
    for (partition, start) in starts {
        let end = position.get(PartitionId::new(*partition)).unwrap().get();
        let expected: Vec<_> = (*start..end).collect();
        let found = found.get(partition).cloned().unwrap_or_default();
        rows += found.len();
        assert!(
            found == expected,
            "partition {partition}: {} rows of {}",
            found.len(),
            expected.len()
        );
    }
    let newest = &table.snapshots()[0];
    assert_eq!(newest.summary["total-records"], rows.to_string());
    assert_eq!(newest.summary["streamforge.position"], position.to_json());
    rows
}
