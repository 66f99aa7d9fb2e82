//! Tables that are broken on purpose: each check must notice, and nothing else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test may panic")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use lakehouse::avro::{Codec, DayWriter};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{
    CommitOutcome, CommitRequest, Counts, Lakehouse, LakehouseSettings, SinkTable,
};
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{ClusterId, Ranges, Source, TopicId};
use lakehouse::scan::Role;
use serde_json::Value;
use stream_processor::job::Job;
use streamforge::query::Tables;
use streamforge::verify::invariants::{Baseline, Depth, Invariants, Report};
use tempfile::TempDir;

const JOB: &str = "
CREATE TABLE events (
  ts TIMESTAMP_LTZ(3) NOT NULL,
  kafka_partition INT NOT NULL METADATA FROM 'partition' VIRTUAL,
  kafka_offset BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL
) WITH ('connector' = 'kafka', 'topic' = 't', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
INSERT INTO lake.shop.processed_conversions SELECT ts, kafka_partition, kafka_offset FROM events";
const TABLE: &str = "processed_conversions";
/// Rows in a commit.
const ROWS: i64 = 10;
/// Enough for manifests to be folded, and for snapshots to expire.
const COMMITS: i64 = 40;
const SNAPSHOTS_KEPT: usize = 25;

struct Lake {
    folder: TempDir,
    job: Job,
}

impl Lake {
    /// A lake with a table of so many commits.
    async fn new(commits: i64) -> Self {
        let lake = Self { folder: tempfile::tempdir().unwrap(), job: Job::parse(JOB).unwrap() };
        let opened = lake.open().await;
        opened.ensure(&lake.job.rejects_spec()).await.unwrap();
        let sink = opened.ensure(&lake.job.sinks[0].table).await.unwrap();
        let starts = BTreeMap::from([(PartitionId::new(0), Offset::new(0))]);
        sink.pin(&source(), &starts).await.unwrap();
        for commit in 0..commits {
            append(&sink, commit * ROWS).await;
        }
        lake
    }

    /// Opened anew: nothing is remembered of files that a test has changed.
    async fn open(&self) -> Lakehouse {
        let catalog = CatalogSettings::Sqlite { path: self.folder.path().join("catalog.db") };
        let warehouse = format!("file://{}/warehouse", self.folder.path().display());
        let settings = LakehouseSettings::new(catalog, warehouse);
        Lakehouse::open(&LakehouseSettings { snapshots_kept: SNAPSHOTS_KEPT, ..settings })
            .await
            .unwrap()
    }

    async fn look(&self, mut asked: Invariants) -> Report {
        asked.look(&self.open().await, &Tables::of(&self.job)).await.unwrap()
    }

    async fn all(&self) -> Report {
        self.look(Invariants { depth: Depth::Rows, ..Invariants::default() }).await
    }

    /// The files of one role, in the order of their names.
    async fn files(&self, role: Role) -> Vec<PathBuf> {
        let table = self.open().await.table("shop", TABLE).await.unwrap().unwrap();
        let files = table.inventory().await.unwrap().files.into_iter();
        let files = files.filter(|file| file.role == role).map(|file| path(&file.location));
        files.collect()
    }

    async fn metadata(&self) -> PathBuf {
        path(self.open().await.table("shop", TABLE).await.unwrap().unwrap().metadata_location())
    }

    /// Changes the table's metadata as it lies in the store, behind everybody's back.
    async fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.metadata().await;
        let mut metadata = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut metadata);
        std::fs::write(path, metadata.to_string()).unwrap();
    }
}

fn path(location: &str) -> PathBuf {
    location.trim_start_matches("file://").into()
}

fn source() -> Source {
    Source { cluster: ClusterId::new("cluster"), topic: TopicId::new("topic") }
}

async fn append(sink: &SinkTable, start: i64) {
    let offsets = || start..start + ROWS;
    let at = TimestampMicrosecondArray::from_iter_values(offsets().map(|n| n * 7_200_000_000));
    let columns: [(&str, ArrayRef); 3] = [
        ("ts", Arc::new(at.with_timezone("+00:00"))),
        ("kafka_partition", Arc::new(Int32Array::from_iter_values(offsets().map(|_| 0)))),
        ("kafka_offset", Arc::new(Int64Array::from_iter_values(offsets()))),
    ];
    let mut writer = DayWriter::new(sink.schema(), Codec::default()).unwrap();
    writer.append(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let mut files = Vec::new();
    for file in writer.finish().unwrap() {
        files.push(sink.upload(file).await.unwrap());
    }
    let mut ranges = Ranges::default();
    ranges.extend(PartitionId::new(0), Offset::new(start), Offset::new(start + ROWS)).unwrap();
    let rows = ROWS.cast_unsigned();
    let request = CommitRequest {
        source: source(),
        ranges,
        counts: Counts { read: rows + 3, written: rows, filtered: 2, rejected: 1 },
        files,
        attempt: uuid(start),
        deadline: Duration::from_mins(1),
    };
    let outcome = sink.commit(&request).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
}

/// An attempt's id; each must be another one.
fn uuid(start: i64) -> uuid::Uuid {
    uuid::Uuid::from_u128(start.cast_unsigned().into())
}

#[track_caller]
fn check(report: &Report, words: &[&str]) {
    let said = report.to_string();
    assert_eq!(report.is_clean(), words.is_empty(), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in {said}");
    }
}

/// The summary of the newest snapshot.
fn newest(metadata: &mut Value) -> &mut Value {
    let id = metadata["current-snapshot-id"].clone();
    let snapshots = metadata["snapshots"].as_array_mut().unwrap();
    &mut snapshots.iter_mut().find(|one| one["snapshot-id"] == id).unwrap()["summary"]
}

#[tokio::test]
async fn a_sound_table_is_sound_after_folding_and_expiry() {
    let lake = Lake::new(COMMITS).await;
    let report = lake.all().await;
    check(&report, &[]);
    assert_eq!(report.figures["snapshots"], SNAPSHOTS_KEPT as u64);
    assert_eq!(report.figures["keyed"], SNAPSHOTS_KEPT as u64);
    assert_eq!(report.figures["read"], (SNAPSHOTS_KEPT as u64) * 13);
    assert!(report.figures["manifests"] < 20, "{report}");
    assert!(report.figures["parsed"] >= COMMITS.cast_unsigned(), "{report}");
    assert!(report.figures["left_over_files"] > 0, "lists of expired snapshots stay: {report}");
    let words = ["violated=0", "snapshots=25", "files=", "manifests=", "left_over_files="];
    for word in words {
        assert!(report.to_string().contains(word), "{report}");
    }
}

#[tokio::test]
async fn a_missing_file_is_noticed_whatever_it_is() {
    for (role, word) in [
        (Role::Data, "I5: data file"),
        (Role::Manifest, "the file is missing"),
        (Role::ManifestList, "the file is missing"),
    ] {
        let lake = Lake::new(3).await;
        let file = lake.files(role).await.remove(0);
        std::fs::remove_file(&file).unwrap();
        let report = lake.look(Invariants::default()).await;
        check(&report, &[word, "is missing", &file.file_name().unwrap().to_string_lossy()]);
    }
}

#[tokio::test]
async fn a_file_of_another_length_is_noticed() {
    for role in [Role::Data, Role::Manifest] {
        let lake = Lake::new(3).await;
        let file = lake.files(role).await.remove(0);
        let mut bytes = std::fs::read(&file).unwrap();
        let length = bytes.len();
        bytes.push(0);
        std::fs::write(&file, bytes).unwrap();
        let report = lake.look(Invariants::default()).await;
        check(&report, &[&format!("has {} bytes, and {length} are recorded", length + 1)]);
    }
}

#[tokio::test]
async fn a_damaged_file_of_the_right_length_is_noticed_when_it_is_parsed() {
    let lake = Lake::new(3).await;
    let file = lake.files(Role::Data).await.remove(0);
    let bytes = std::fs::read(&file).unwrap();
    let damage = |at: usize, with: u8| {
        let mut bytes = bytes.clone();
        bytes[at] ^= with;
        std::fs::write(&file, bytes).unwrap();
    };
    damage(bytes.len() - 1, 1);
    check(&lake.look(Invariants::default()).await, &[]);
    check(&lake.all().await, &["I5: data file", "is broken"]);
    // Inside the block: its frame is sound, its rows are not.
    damage(bytes.len() - 20, 0xff);
    check(&lake.all().await, &["I5: data file"]);
    damage(0, 1);
    check(&lake.all().await, &["does not begin as an Avro file"]);
}

#[tokio::test]
async fn altered_books_are_noticed() {
    let cases: [(&str, &str, &[&str]); 6] = [
        ("streamforge.ranges", r#"{"0":[21,30]}"#, &["I4", "starts at 21, the table stood at 20"]),
        ("streamforge.read", "12", &["I4", "read=12, but written=10"]),
        ("added-records", "9", &["I4", "10 records written, but added-records=9"]),
        ("total-records", "31", &["total-records is 31, and the manifests hold 30"]),
        (
            "streamforge.position",
            r#"{"cluster":"cluster","topics":{"topic":{"0":31}}}"#,
            &["I4", "ends at 30, the position says Some(31)"],
        ),
        ("streamforge.attempt", "", &["landed twice"]),
    ];
    for (key, value, words) in cases {
        let lake = Lake::new(3).await;
        let double = uuid(0).to_string();
        let value = if value.is_empty() { &double } else { value };
        lake.edit(|metadata| newest(metadata)[key] = value.into()).await;
        check(&lake.look(Invariants::default()).await, words);
    }
}

#[tokio::test]
async fn altered_properties_are_noticed() {
    let lake = Lake::new(3).await;
    let older = r#"{"cluster":"cluster","topics":{"topic":{"0":20}}}"#;
    lake.edit(|metadata| metadata["properties"]["streamforge.position"] = older.into()).await;
    check(&lake.look(Invariants::default()).await, &["the property says", "\"0\":20"]);
    lake.edit(|metadata| {
        drop(metadata["properties"].as_object_mut().unwrap().remove("streamforge.position"));
    })
    .await;
    check(&lake.look(Invariants::default()).await, &["the table has snapshots, but no position"]);
}

#[tokio::test]
async fn files_that_nobody_names_are_bounded_and_never_come_back() {
    let lake = Lake::new(3).await;
    let before = std::fs::read(lake.metadata().await).unwrap();
    append(&lake.open().await.ensure(&lake.job.sinks[0].table).await.unwrap(), 30).await;
    let after = std::fs::read(lake.metadata().await).unwrap();
    let data = lake.files(Role::Data).await.remove(0);
    std::fs::write(data.with_file_name("orphan.avro"), b"left by a killed process").unwrap();
    std::fs::write(data.with_file_name("half.avro#1"), b"half").unwrap();

    let bounded =
        |files, bytes| Invariants { left_over_max: Some((files, bytes)), ..Invariants::default() };
    check(&lake.look(bounded(2, 28)).await, &[]);
    check(&lake.look(bounded(1, 99)).await, &["I7: 2 files of 28 bytes are named by nobody"]);
    check(&lake.look(bounded(9, 27)).await, &["I7: 2 files of 28 bytes"]);

    // The table goes back by one commit: what that had added is left over, until somebody names it again.
    std::fs::write(lake.metadata().await, before).unwrap();
    let back = lake.look(Invariants::default()).await;
    check(&back, &[]);
    assert_eq!(back.revived(&back), Vec::<String>::new());
    std::fs::write(lake.metadata().await, after).unwrap();
    let again = lake.look(Invariants::default()).await;
    let revived = back.revived(&again);
    assert!(
        revived.iter().any(|why| why.starts_with("I7: ") && why.contains("/data/")),
        "{revived:?}"
    );
}

#[tokio::test]
async fn what_others_put_there_must_stay() {
    let lake = Lake::new(3).await;
    lake.edit(|metadata| {
        metadata["properties"]["owner"] = "analysts".into();
        metadata["refs"]["main"]["min-snapshots-to-keep"] = 7.into();
    })
    .await;
    let table = lake.open().await.table("shop", TABLE).await.unwrap().unwrap();
    let baseline = Baseline::take(&table).unwrap().with_rows("kafka_offset < 5", 5);
    assert_eq!(baseline.snapshots.len(), 0, "all are ours");
    let with = |baseline: &Baseline| Invariants {
        baselines: [(TABLE.to_owned(), baseline.clone())].into(),
        ..Invariants::default()
    };
    append(&lake.open().await.ensure(&lake.job.sinks[0].table).await.unwrap(), 30).await;
    check(&lake.look(with(&baseline)).await, &[]);
    let more = baseline.clone().with_rows("kafka_offset >= 35", 6);
    check(&lake.look(with(&more)).await, &["I6: 6 rows were WHERE kafka_offset >= 35, and 5 are"]);
    lake.edit(|metadata| {
        drop(metadata["properties"].as_object_mut().unwrap().remove("owner"));
        metadata["refs"]["main"]["min-snapshots-to-keep"] = 1.into();
    })
    .await;
    check(&lake.look(with(&baseline)).await, &["I6: foreign property owner", "I6: branch main"]);
}

#[tokio::test]
async fn rows_of_aborted_transactions_and_too_many_manifests_are_noticed() {
    let lake = Lake::new(3).await;
    let aborted = |offset| Invariants { aborted: [(0, offset)].into(), ..Invariants::default() };
    check(&lake.look(aborted(30)).await, &[]);
    check(
        &lake.look(aborted(29)).await,
        &["I12: processed_conversions holds offset 29 of partition 0"],
    );
    let few = Invariants { manifests_max: Some(2), ..Invariants::default() };
    check(&lake.look(few).await, &["I14: the current snapshot has 3 manifests; at most 2"]);
}
