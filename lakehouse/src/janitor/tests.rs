//! A table on a disk with everything that may be left over, and everything that must stay.

#![allow(clippy::disallowed_methods, reason = "the age of a file on a disk is counted from now")]

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::avro::{Codec, DayWriter};
use crate::catalog::CatalogSettings;
use crate::commit::{
    CommitOutcome, CommitRequest, Counts, LakehouseSettings, SinkTable, UploadedFile,
};
use crate::ids::{Offset, PartitionId};
use crate::position::{ClusterId, Ranges, Source, TopicId};
use crate::spec::{Column, ColumnType, TableSpec};

const DAY: Duration = Duration::from_hours(24);

fn source() -> Source {
    Source { cluster: ClusterId::new("cluster"), topic: TopicId::new("topic") }
}

fn spec() -> TableSpec {
    let column = Column { name: "n".into(), column_type: ColumnType::Long, nullable: false };
    let (namespace, name) = ("ns".into(), "rows".into());
    TableSpec { namespace, name, columns: vec![column], partition_day: None }
}

struct Rig {
    folder: TempDir,
    lake: Lakehouse,
    sink: SinkTable,
    next: i64,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = Self::open(folder.path()).await;
        let sink = lake.ensure(&spec()).await.unwrap();
        let zero = [(PartitionId::new(0), Offset::new(0))].into();
        sink.pin(&source(), &zero).await.unwrap();
        Self { folder, lake, sink, next: 0 }
    }

    async fn open(folder: &Path) -> Lakehouse {
        let catalog = CatalogSettings::Sqlite { path: folder.join("catalog.db") };
        let warehouse = format!("file://{}", folder.join("w").display());
        let settings =
            LakehouseSettings { snapshots_kept: 5, ..LakehouseSettings::new(catalog, warehouse) };
        Lakehouse::open(&settings).await.unwrap()
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("w/ns/rows")
    }

    async fn upload(&self) -> UploadedFile {
        let mut writer = DayWriter::new(self.sink.schema(), Codec::default()).unwrap();
        let rows: ArrayRef = std::sync::Arc::new(Int64Array::from_iter_values(0..10));
        writer.append(&RecordBatch::try_new(spec().arrow_schema(), vec![rows]).unwrap()).unwrap();
        let mut files = writer.finish().unwrap();
        self.sink.upload(files.pop().unwrap()).await.unwrap()
    }

    fn request(&self, files: Vec<UploadedFile>) -> CommitRequest {
        let mut ranges = Ranges::default();
        let (start, end) = (Offset::new(self.next), Offset::new(self.next + 10));
        ranges.extend(PartitionId::new(0), start, end).unwrap();
        let counts = Counts { read: 10, written: 10, filtered: 0, rejected: 0 };
        let (attempt, deadline) = (Uuid::now_v7(), Duration::from_secs(20));
        CommitRequest { source: source(), ranges, counts, files, attempt, deadline }
    }

    async fn commit(&mut self) {
        let files = vec![self.upload().await];
        let outcome = self.sink.commit(&self.request(files)).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
        self.next += 10;
    }

    /// Commits until manifests were folded and snapshots expired.
    async fn live(&mut self) {
        for _ in 0..40 {
            self.commit().await;
        }
    }

    /// A file as a killed process leaves it.
    fn put(&self, within: &str, bytes: &[u8]) -> PathBuf {
        let path = self.table().join(within);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes everything in the folder two days old, and then writes one new file.
    async fn age(&self) {
        let then = SystemTime::now() - 2 * DAY;
        for file in self.lake.store.list(&self.location()).await.unwrap() {
            let file = File::options().write(true).open(format!("/{}", file.key)).unwrap();
            file.set_modified(then).unwrap();
        }
        self.put("data/now", b"");
    }

    fn location(&self) -> String {
        format!("file://{}", self.table().display())
    }

    async fn files(&self) -> BTreeSet<String> {
        let files = self.lake.store.list(&self.location()).await.unwrap();
        files.into_iter().map(|file| file.key).collect()
    }

    async fn tidy(&self, delete: bool) -> Result<Tidied> {
        let how = Tidying::new(DAY, FILES_MAX, delete).unwrap();
        self.lake.tidy("ns", "rows", &how).await
    }

    /// Every row can be read, and every file of every snapshot is there.
    async fn check(&self) {
        let table = self.lake.table("ns", "rows").await.unwrap().unwrap();
        let found = table.inventory().await.unwrap();
        assert!(found.broken.is_empty(), "{:?}", found.broken);
        assert_eq!(found.live_rows, self.next.unsigned_abs());
        for file in found.files {
            assert!(table.store().size(&file.location).await.unwrap().is_some(), "{file:?}");
        }
    }
}

#[tokio::test]
async fn leftovers_go_and_everything_that_is_named_stays() {
    let mut rig = Rig::new().await;
    rig.live().await;
    let stray = rig.upload().await;
    rig.age().await;
    rig.commit().await;
    let killed = rig.upload().await;
    let before = rig.files().await;

    let shown = rig.tidy(false).await.unwrap();
    assert_eq!((shown.deleted, rig.files().await), (0, before.clone()), "looking deletes nothing");
    let lists = shown.choice.leftovers.iter().filter(|file| file.key.contains("/snap-")).count();
    assert!(lists > 30, "the lists of expired snapshots: {lists}");
    let manifests = shown.choice.leftovers.iter().filter(|file| file.key.contains("-m0.avro"));
    assert!(manifests.count() > 10, "folded manifests");
    assert!(shown.choice.young >= 1, "what was uploaded just now");

    let tidied = rig.tidy(true).await.unwrap();
    assert_eq!(tidied.choice.leftovers, shown.choice.leftovers);
    assert_eq!(tidied.deleted, tidied.choice.leftovers.len());
    assert_eq!(tidied.deleted_bytes, shown.choice.bytes());
    let after = rig.files().await;
    let gone: BTreeSet<_> = before.difference(&after).cloned().collect();
    let chosen: BTreeSet<_> = tidied.choice.leftovers.into_iter().map(|file| file.key).collect();
    assert_eq!(gone, chosen);
    assert!(!Path::new(stray.location.trim_start_matches("file://")).exists());
    assert!(Path::new(killed.location.trim_start_matches("file://")).exists());
    rig.check().await;
    assert!(rig.tidy(true).await.unwrap().choice.leftovers.is_empty(), "once is enough");

    // The table goes on, with files that were stored before and after.
    let outcome = rig.sink.commit(&rig.request(vec![killed])).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    rig.next += 10;
    rig.commit().await;
    rig.check().await;
}

#[tokio::test]
async fn a_batch_that_lay_longer_than_the_retention_is_refused_once_the_table_was_tidied() {
    let mut rig = Rig::new().await;
    rig.live().await;
    let mut file = rig.upload().await;
    file.stored_ms -= 2 * i64::try_from(DAY.as_millis()).unwrap();
    let request = rig.request(vec![file.clone()]);
    rig.age().await;
    rig.tidy(true).await.unwrap();
    assert!(!Path::new(file.location.trim_start_matches("file://")).exists());
    let err = rig.sink.commit(&request).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Refused, "{err}");
    assert!(err.to_string().contains("may have been tidied away"), "{err}");
    rig.check().await;
    // Nothing was recorded, so the records are read and committed again.
    rig.commit().await;
    rig.check().await;
}

#[tokio::test]
async fn a_batch_that_lay_long_is_committed_while_nobody_tidies() {
    let mut rig = Rig::new().await;
    let mut file = rig.upload().await;
    file.stored_ms -= 2 * i64::try_from(DAY.as_millis()).unwrap();
    let outcome = rig.sink.commit(&rig.request(vec![file])).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    rig.next += 10;
    rig.check().await;
}

#[tokio::test]
async fn a_commit_that_was_under_way_meets_another_table() {
    let mut rig = Rig::new().await;
    rig.live().await;
    rig.upload().await;
    let ident = crate::commit::ident("ns", "rows").unwrap();
    let stopped = FencedCatalog::read(&rig.lake.catalog, &ident).await.unwrap().unwrap();
    rig.age().await;
    assert!(rig.tidy(true).await.unwrap().deleted > 0);
    let answer = sweep::record(stopped, 0).await.unwrap();
    assert!(matches!(answer, Answer::Conflict), "its base is gone");
    rig.check().await;
}

#[tokio::test]
async fn what_is_not_understood_stops_the_pass() {
    let mut rig = Rig::new().await;
    rig.live().await;
    rig.upload().await;
    let id = Uuid::now_v7();
    let earlier = format!(r#"{{"table-uuid":"{id}"}}"#);
    for (name, bytes, said) in [
        (format!("metadata/00003-{id}.metadata.json"), earlier.as_bytes(), "an earlier table"),
        (format!("metadata/00003-{id}.metadata.json"), b"{", "does not say whose"),
        (format!("metadata/00003-{id}.gz.metadata.json"), b"{}", "does not say whose"),
    ] {
        let path = rig.put(&name, bytes);
        rig.age().await;
        let before = rig.files().await;
        let err = rig.tidy(true).await.unwrap_err();
        assert!(err.kind() == Kind::Refused && err.to_string().contains(said), "{err}");
        assert_eq!(rig.files().await, before);
        std::fs::remove_file(path).unwrap();
    }
    // A manifest that some snapshot needs.
    let table = rig.lake.table("ns", "rows").await.unwrap().unwrap();
    let found = table.inventory().await.unwrap();
    let manifest = found.files.iter().find(|file| file.location.contains("-m0.avro")).unwrap();
    let manifest = manifest.location.trim_start_matches("file://");
    let bytes = std::fs::read(manifest).unwrap();
    for broken in [None, Some(&b"Obj"[..])] {
        match broken {
            None => std::fs::remove_file(manifest).unwrap(),
            Some(broken) => std::fs::write(manifest, broken).unwrap(),
        }
        rig.age().await;
        let before = rig.files().await;
        assert_eq!(rig.tidy(true).await.unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(rig.files().await, before);
    }
    std::fs::write(manifest, bytes).unwrap();
    rig.age().await;
    assert!(rig.tidy(true).await.unwrap().deleted > 0, "mended");
    rig.check().await;
}

#[tokio::test]
async fn what_a_tag_or_a_branch_needs_stays() {
    use iceberg::spec::{SnapshotReference, SnapshotRetention};
    let mut rig = Rig::new().await;
    rig.commit().await;
    let ident = crate::commit::ident("ns", "rows").unwrap();
    let fenced = FencedCatalog::read(&rig.lake.catalog, &ident).await.unwrap().unwrap();
    let id = fenced.base().metadata().current_snapshot_id().unwrap();
    let tag = SnapshotReference::new(id, SnapshotRetention::Tag { max_ref_age_ms: None });
    let answer = fenced.publish(|builder| builder.set_ref("keep", tag)).await.unwrap();
    assert!(matches!(answer, Answer::Committed(_)));
    rig.live().await;
    rig.age().await;
    assert!(rig.tidy(true).await.unwrap().deleted > 0);
    let table = rig.lake.table("ns", "rows").await.unwrap().unwrap();
    assert!(table.retained().iter().any(|snapshot| snapshot.id.get() == id));
    rig.check().await;
}

#[tokio::test]
async fn a_table_of_somebody_else_is_not_tidied() {
    let rig = Rig::new().await;
    let mut other = spec();
    other.name = "theirs".into();
    rig.lake.ensure(&other).await.unwrap();
    let how = Tidying::new(DAY, FILES_MAX, true).unwrap();
    for (name, said) in [("theirs", "no position"), ("missing", "no such table")] {
        let err = rig.lake.tidy("ns", name, &how).await.unwrap_err();
        assert!(err.to_string().contains(said), "{err}");
    }
}

/// Runs where the environment names an object store, as `tests/object_store.rs` does.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "which store to test is the environment's to say")]
async fn leftovers_in_an_object_store_go() {
    let Ok(endpoint) = std::env::var("S3_ENDPOINT") else { return };
    let folder = tempfile::tempdir().unwrap();
    let catalog = CatalogSettings::Sqlite { path: folder.path().join("catalog.db") };
    let warehouse = format!("s3://lakehouse/tidy-{}", Uuid::now_v7());
    let s3 = crate::storage::S3Settings {
        endpoint: Some(endpoint),
        region: "us-east-1".to_owned(),
        access_key: std::env::var("S3_ACCESS_KEY").unwrap(),
        secret_key: crate::storage::Secret::new(std::env::var("S3_SECRET_KEY").unwrap()),
        path_style: true,
    };
    let mut settings = LakehouseSettings::new(catalog, warehouse.clone());
    (settings.s3, settings.snapshots_kept) = (Some(s3), 5);
    let lake = Lakehouse::open(&settings).await.unwrap();
    let sink = lake.ensure(&spec()).await.unwrap();
    sink.pin(&source(), &[(PartitionId::new(0), Offset::new(0))].into()).await.unwrap();
    let mut rig = Rig { folder, lake, sink, next: 0 };
    rig.live().await;
    let stray = rig.upload().await;
    rig.commit().await;
    let location = format!("{warehouse}/ns/rows");
    let key = rig.lake.store.key(&stray.location).unwrap();
    // The store tells seconds: something must be newer than all of this.
    let old = loop {
        rig.upload().await;
        let files = rig.lake.store.list(&location).await.unwrap();
        let newest = files.iter().map(|file| file.modified_ms).max().unwrap();
        let stray = files.iter().find(|file| file.key == key).unwrap().modified_ms;
        if newest > stray {
            break files.len();
        }
    };
    let how = Tidying { retention: Duration::ZERO, files_max: 20, delete: true };
    let tidied = rig.lake.tidy("ns", "rows", &how).await.unwrap();
    assert_eq!(tidied.deleted, 20);
    let how = Tidying { files_max: FILES_MAX, ..how };
    let rest = rig.lake.tidy("ns", "rows", &how).await.unwrap();
    assert!(rest.deleted > 0);
    assert!(rig.lake.store.size(&stray.location).await.unwrap().is_none());
    let left = rig.lake.store.list(&location).await.unwrap().len();
    assert!(left < old, "{left} of {old}");
    rig.check().await;
    rig.commit().await;
    rig.check().await;
}

#[test]
fn a_retention_that_a_slow_upload_may_reach_is_refused() {
    assert!(Tidying::new(RETENTION_MIN, 1, true).is_ok());
    let short = RETENTION_MIN.checked_sub(Duration::from_millis(1)).unwrap();
    assert_eq!(Tidying::new(short, 1, false).unwrap_err().kind(), Kind::Config);
}

#[test]
fn a_clock_that_runs_ahead_makes_nothing_old() {
    let file = |modified_ms| StoredFile { key: "k".into(), bytes: 1, modified_ms };
    let hour = Duration::from_hours(1);
    let cutoff = Cutoff::of(&[file(50_000_000), file(40_000_000)], hour);
    assert_eq!((cutoff.leftover_ms, cutoff.swept_ms), (46_400_000, 48_200_000));
    let ahead = Cutoff::of(&[file(i64::MAX)], hour);
    assert!(ahead.leftover_ms < shell::now_ms(), "a store's clock that runs ahead neither");
    assert!(Cutoff::of(&[], hour).leftover_ms < 0);
}
