//! A table in memory, and what must be true of it at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Literal, MAIN_BRANCH, Snapshot, Struct,
    Summary, TableMetadata,
};

use super::super::retry::Pauses;
use super::super::snapshot::{Append, ManifestCache, Prepared, prepare};
use super::super::{
    CommitOutcome, CommitRequest, Counts, Lakehouse, SinkTable, UploadedFile, facts, keys, retain,
    shell,
};
use crate::catalog::memory::MemoryCatalog;
use crate::catalog::{Answer, Base, Catalog, FencedCatalog};
use crate::ids::{Offset, PartitionId};
use crate::position::{ClusterId, Position, Ranges, Source, TopicId};
use crate::spec::{Column, ColumnType, TableSpec};
use crate::storage::Store;

pub(super) const QUICK: Pauses = Pauses {
    conflict: Duration::from_micros(50),
    conflict_max: Duration::from_micros(400),
    unknown: Duration::from_micros(50),
    unknown_max: Duration::from_micros(400),
};

#[derive(Clone)]
pub(super) struct World {
    pub(super) memory: Arc<MemoryCatalog>,
    pub(super) ident: TableIdent,
    pub(super) spec: TableSpec,
}

pub(super) fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column { name: name.into(), column_type, nullable }
}

pub(super) fn source() -> Source {
    Source { cluster: ClusterId::new("cluster"), topic: TopicId::new("topic") }
}

pub(super) fn offsets<const N: usize>(of: [(i32, i64); N]) -> BTreeMap<PartitionId, Offset> {
    of.map(|(partition, offset)| (PartitionId::new(partition), Offset::new(offset))).into()
}

impl World {
    pub(super) fn new() -> Self {
        let spec = TableSpec {
            namespace: "ns".into(),
            name: "rows".into(),
            columns: vec![
                column("id", ColumnType::String, false),
                column("at", ColumnType::Timestamptz, true),
            ],
            partition_day: Some("at".into()),
        };
        let memory = Arc::new(MemoryCatalog::new(FileIO::new_with_memory()));
        Self { memory, ident: super::super::ident("ns", "rows").unwrap(), spec }
    }

    pub(super) fn catalog(&self) -> Arc<dyn Catalog> {
        self.memory.clone()
    }

    pub(super) fn lakehouse(&self) -> Lakehouse {
        Self::lakehouse_on(self.catalog())
    }

    pub(super) fn lakehouse_on(catalog: Arc<dyn Catalog>) -> Lakehouse {
        let store = Store::open("file:///nowhere", None).unwrap();
        Lakehouse { catalog, store, snapshots_kept: retain::SNAPSHOTS_KEPT, pauses: QUICK }
    }

    pub(super) async fn sink(&self) -> SinkTable {
        self.sink_on(self.catalog()).await
    }

    pub(super) async fn sink_on(&self, catalog: Arc<dyn Catalog>) -> SinkTable {
        Self::lakehouse_on(catalog).ensure(&self.spec).await.unwrap()
    }

    pub(super) fn metadata(&self) -> TableMetadata {
        self.memory.get(&self.ident).unwrap().1
    }

    pub(super) async fn base(&self) -> Base {
        self.catalog().load(&self.ident).await.unwrap().unwrap()
    }

    /// Changes the table as someone else would.
    pub(super) async fn change(
        &self,
        make: impl FnOnce(
            iceberg::spec::TableMetadataBuilder,
        ) -> iceberg::Result<iceberg::spec::TableMetadataBuilder>,
    ) {
        let fenced = FencedCatalog::read(&self.catalog(), &self.ident).await.unwrap().unwrap();
        assert!(matches!(fenced.publish(make).await.unwrap(), Answer::Committed(_)));
    }

    /// Appends as another engine would: without our keys. False when someone was faster.
    pub(super) async fn foreign_append(&self, files: &[UploadedFile]) -> bool {
        self.foreign_append_as(files, &[]).await
    }

    /// The same by an engine that leaves `keys` in the summary.
    pub(super) async fn foreign_append_as(
        &self,
        files: &[UploadedFile],
        keys: &[(&str, &str)],
    ) -> bool {
        let fenced = FencedCatalog::read(&self.catalog(), &self.ident).await.unwrap().unwrap();
        let append = Append {
            files,
            position: &Position::empty(source()),
            ranges: &Ranges::default(),
            counts: Counts::default(),
            attempt: shell::uuid(),
            snapshots_kept: usize::MAX,
        };
        let Prepared { snapshot, .. } =
            prepare(fenced.base(), &append, &ManifestCache::default()).await.unwrap();
        let snapshot = with_keys(&snapshot, keys);
        let answer =
            fenced.publish(|builder| builder.set_branch_snapshot(snapshot, MAIN_BRANCH)).await;
        matches!(answer.unwrap(), Answer::Committed(_))
    }

    /// What must be true whatever happened. Returns the rows in the table.
    pub(super) async fn check(&self) -> u64 {
        let metadata = self.metadata();
        check_chain(&metadata);
        let base = self.base().await;
        let mut names = BTreeSet::new();
        let mut covered: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
        let mut rows = 0;
        if let Some(snapshot) = metadata.current_snapshot() {
            let list = base.table.manifest_list_reader(snapshot).load().await.unwrap();
            for manifest in list.entries() {
                let manifest = manifest.load_manifest(base.table.file_io()).await.unwrap();
                for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                    assert!(names.insert(entry.file_path().to_owned()), "a file is named twice");
                    rows += entry.record_count();
                    let parts: Vec<_> = entry.file_path().split('/').collect();
                    if let ["ours", partition, start, end, _] = parts[..] {
                        let range = (start.parse().unwrap(), end.parse().unwrap());
                        covered.entry(partition.parse().unwrap()).or_default().push(range);
                    }
                }
            }
            let summary = &snapshot.summary().additional_properties;
            assert_eq!(summary["total-records"], rows.to_string());
            assert_eq!(summary["total-data-files"], names.len().to_string());
        }
        let position = facts::position(&metadata, &source()).unwrap();
        let position = position.unwrap_or_else(|| Position::empty(source()));
        for (partition, mut ranges) in covered {
            ranges.sort_unstable();
            let start = ranges[0].0;
            let end = ranges.iter().fold(start, |end, range| {
                assert_eq!(end, range.0, "partition {partition}: a hole or an overlap: {ranges:?}");
                range.1
            });
            assert_eq!(position.get(PartitionId::new(partition)), Some(Offset::new(end)));
        }
        rows
    }
}

/// Ranges are contiguous along main, and the books balance (invariant I4).
fn check_chain(metadata: &TableMetadata) {
    let keyed: Vec<_> = facts::ancestors(metadata)
        .filter(|s| s.summary().additional_properties.contains_key(keys::POSITION))
        .collect();
    let get =
        |snapshot: &Snapshot, key: &str| snapshot.summary().additional_properties[key].clone();
    for pair in keyed.windows(2) {
        let [newer, older] = pair else { unreachable!() };
        let mut expected =
            Position::from_json(&get(older, keys::POSITION)).unwrap().offsets().clone();
        let ranges: BTreeMap<i32, (i64, i64)> =
            serde_json::from_str(&get(newer, keys::RANGES)).unwrap();
        for (partition, (start, end)) in ranges {
            let held = expected.insert(PartitionId::new(partition), Offset::new(end));
            assert_eq!(held, Some(Offset::new(start)), "partition {partition}");
        }
        let held = Position::from_json(&get(newer, keys::POSITION)).unwrap();
        for (partition, offset) in expected {
            assert_eq!(held.get(partition), Some(offset));
        }
    }
    for snapshot in &keyed {
        let count = |key: &str| {
            let text = snapshot.summary().additional_properties.get(key);
            text.map_or(0, |text| text.parse::<u64>().unwrap())
        };
        assert_eq!(count("added-records"), count(keys::WRITTEN));
        let sum = count(keys::WRITTEN) + count(keys::FILTERED) + count(keys::REJECTED);
        assert_eq!(count(keys::READ), sum);
    }
}

/// The snapshot with other keys than ours.
fn with_keys(snapshot: &Snapshot, keys: &[(&str, &str)]) -> Snapshot {
    let mut summary: Summary = snapshot.summary().clone();
    summary.additional_properties.retain(|key, _| !key.starts_with("streamforge."));
    let theirs = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    summary.additional_properties.extend(theirs);
    Snapshot::builder()
        .with_snapshot_id(snapshot.snapshot_id())
        .with_parent_snapshot_id(snapshot.parent_snapshot_id())
        .with_sequence_number(snapshot.sequence_number())
        .with_timestamp_ms(snapshot.timestamp_ms())
        .with_manifest_list(snapshot.manifest_list())
        .with_summary(summary)
        .with_schema_id(snapshot.schema_id().unwrap())
        .build()
}

/// A data file that nobody reads.
pub(super) fn file(location: String, rows: u64) -> UploadedFile {
    let data = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(location.clone())
        .file_format(DataFileFormat::Avro)
        .partition(Struct::from_iter([Some(Literal::date(20_000))]))
        .partition_spec_id(0)
        .record_count(rows)
        .file_size_in_bytes(rows * 10)
        .build()
        .unwrap();
    let stored_ms = shell::now_ms();
    UploadedFile { location, rows, bytes: rows * 10, stored_ms, day: Some(20_000), data }
}

/// A batch of one file for each range; the file's name says what is in it.
pub(super) fn request(of: &[(i32, i64, i64)]) -> CommitRequest {
    let attempt = shell::uuid();
    let mut ranges = Ranges::default();
    let mut files = Vec::new();
    for (partition, start, end) in of {
        let id = PartitionId::new(*partition);
        ranges.extend(id, Offset::new(*start), Offset::new(*end)).unwrap();
        if start < end {
            let location = format!("ours/{partition}/{start}/{end}/{attempt}");
            files.push(file(location, (end - start).unsigned_abs()));
        }
    }
    let written = files.iter().map(|file| file.rows).sum();
    let counts = Counts { read: written + 5, written, filtered: 3, rejected: 2 };
    let counts = if ranges.moves_nothing() { Counts::default() } else { counts };
    let (source, deadline) = (source(), Duration::from_secs(20));
    CommitRequest { source, ranges, counts, files, attempt, deadline }
}

/// How it ended, in one word, and where the table stands.
pub(super) fn told(outcome: &CommitOutcome) -> (&'static str, &Position) {
    match outcome {
        CommitOutcome::Committed(report) => ("committed", &report.position),
        CommitOutcome::AlreadyCommitted { position } => ("already", position),
        CommitOutcome::Fenced { position, .. } => ("fenced", position),
        CommitOutcome::Gap { position, .. } => ("gap", position),
    }
}
