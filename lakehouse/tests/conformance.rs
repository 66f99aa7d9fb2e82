//! One suite for every catalog: what a sink and a reader may rely on.
//!
//! It always runs on `SQLite` and local files. With `LAKEHOUSE_REST_URI`, and `LAKEHOUSE_REST_WAREHOUSE` such as
//! `s3://bucket/folder` or `file:///tmp/warehouse`, it also runs on that server; an `s3://` warehouse needs
//! `S3_ENDPOINT`, `S3_ACCESS_KEY` and `S3_SECRET_KEY`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "which server to test is the environment's to say")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{check_rows, column, position_of, request, source, spec, sqlite, starts};
use datafusion::prelude::SessionContext;
use lakehouse::Kind;
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{AsOf, CommitOutcome, Lakehouse, LakehouseSettings, ReadTable};
use lakehouse::spec::{ColumnType, TableSpec};
use serde_json::{Value, json};

/// A catalog to test, and a namespace of our own in it.
struct Place {
    settings: LakehouseSettings,
    spec: TableSpec,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    async fn open(&self) -> Lakehouse {
        Lakehouse::open(&self.settings).await.unwrap()
    }

    async fn table(&self) -> ReadTable {
        let table = self.open().await.table(&self.spec.namespace, &self.spec.name).await.unwrap();
        table.unwrap()
    }
}

fn places(test: &str) -> Vec<Place> {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(&format!("{test}_{}", uuid::Uuid::now_v7().simple()));
    let settings = sqlite(folder.path());
    let mut places = vec![Place { settings, spec: spec.clone(), _folder: Some(folder) }];
    if let Ok(uri) = std::env::var("LAKEHOUSE_REST_URI") {
        let warehouse = std::env::var("LAKEHOUSE_REST_WAREHOUSE").unwrap();
        let catalog = CatalogSettings::Rest { uri, warehouse: None, token: None };
        let s3 = warehouse.starts_with("s3://").then(|| common::s3().unwrap());
        let settings = LakehouseSettings { s3, ..LakehouseSettings::new(catalog, warehouse) };
        places.push(Place { settings, spec, _folder: None });
    }
    places
}

#[tokio::test]
async fn what_is_committed_is_read_back() {
    for place in places("readback") {
        let lakehouse = place.open().await;
        assert!(lakehouse.table(&place.spec.namespace, "rows").await.unwrap().is_none());
        let sink = lakehouse.ensure(&place.spec).await.unwrap();
        let start = [(0, 10), (1, 0)];
        sink.pin(&source(), &starts(&start)).await.unwrap();
        for batch in [&[(0, 10, 110), (1, 0, 7)][..], &[], &[(1, 7, 20)]] {
            let request = request(&sink, &place.spec, batch).await;
            let outcome = sink.commit(&request).await.unwrap();
            assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
        }
        assert_eq!(check_rows(&place.open().await, &place.spec, &start).await, 120);

        let table = place.open().await.table(&place.spec.namespace, "rows").await.unwrap().unwrap();
        let snapshots = table.snapshots();
        assert_eq!(snapshots.len(), 4, "the pin, two batches and a heartbeat");
        let first = table.as_of(AsOf::Snapshot(snapshots[2].id)).unwrap();
        assert_eq!(common::offsets(&first).await[&1].len(), 7);
        let then = table.as_of(AsOf::TimeMs(snapshots[2].time_ms)).unwrap();
        assert!(then.snapshot().is_some());
        assert_eq!(table.as_of(AsOf::TimeMs(0)).err().map(|err| err.kind()), Some(Kind::Refused));

        let context = SessionContext::new();
        context.register_table("rows", Arc::new(table.provider().await.unwrap())).unwrap();
        let counted = context
            .sql("SELECT count(*) AS n FROM rows WHERE kafka_partition = 1 AND id LIKE '1-%'")
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let counted = arrow::util::pretty::pretty_format_batches(&counted).unwrap().to_string();
        assert!(counted.contains("| 20 |"), "{counted}");
    }
}

#[tokio::test]
async fn a_repeated_attempt_lands_once() {
    for place in places("repeat") {
        let lakehouse = place.open().await;
        let sink = lakehouse.ensure(&place.spec).await.unwrap();
        sink.pin(&source(), &starts(&[(0, 0)])).await.unwrap();
        let batch = request(&sink, &place.spec, &[(0, 0, 50)]).await;
        assert!(matches!(sink.commit(&batch).await.unwrap(), CommitOutcome::Committed(_)));
        for lakehouse in [lakehouse, place.open().await] {
            let outcome =
                lakehouse.ensure(&place.spec).await.unwrap().commit(&batch).await.unwrap();
            assert!(matches!(outcome, CommitOutcome::AlreadyCommitted { .. }), "{outcome:?}");
        }
        assert_eq!(check_rows(&place.open().await, &place.spec, &[(0, 0)]).await, 50);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_rivals_for_the_same_records_one_wins() {
    for place in places("rivals") {
        let lakehouse = place.open().await;
        let sink = lakehouse.ensure(&place.spec).await.unwrap();
        sink.pin(&source(), &starts(&[(0, 0)])).await.unwrap();
        let mut next = 0;
        for rivals in [2, 3, 5, 8] {
            let mut tasks = Vec::new();
            for _ in 0..rivals {
                let sink = place.open().await.ensure(&place.spec).await.unwrap();
                let batch = request(&sink, &place.spec, &[(0, next, next + 10)]).await;
                tasks.push(tokio::spawn(async move { sink.commit(&batch).await.unwrap() }));
            }
            let (mut won, mut fenced) = (0, 0);
            for task in tasks {
                match task.await.unwrap() {
                    CommitOutcome::Committed(_) => won += 1,
                    CommitOutcome::Fenced { .. } => fenced += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((won, fenced), (1, rivals - 1));
            next += 10;
        }
        assert_eq!(check_rows(&place.open().await, &place.spec, &[(0, 0)]).await, 40);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_their_own_partitions_all_get_through() {
    for place in places("writers") {
        let start = [(0, 0), (1, 0), (2, 0), (3, 0)];
        let sink = place.open().await.ensure(&place.spec).await.unwrap();
        sink.pin(&source(), &starts(&start)).await.unwrap();
        let mut tasks = Vec::new();
        for (partition, _) in start {
            let (spec, lakehouse) = (place.spec.clone(), place.open().await);
            tasks.push(tokio::spawn(async move {
                let sink = lakehouse.ensure(&spec).await.unwrap();
                let mut conflicts = 0;
                for round in 0..15 {
                    let batch = [(partition, round * 10, round * 10 + 10)];
                    let batch = request(&sink, &spec, &batch).await;
                    match sink.commit(&batch).await.unwrap() {
                        CommitOutcome::Committed(report) => conflicts += report.conflicts,
                        other => panic!("{other:?}"),
                    }
                }
                conflicts
            }));
        }
        let mut conflicts = 0;
        for task in tasks {
            conflicts += task.await.unwrap();
        }
        assert!(conflicts > 0, "they never met");
        assert_eq!(check_rows(&place.open().await, &place.spec, &start).await, 600);
    }
}

#[tokio::test]
async fn three_hundred_commits_stay_quick_and_small() {
    for place in places("many") {
        let lakehouse = place.open().await;
        let sink = lakehouse.ensure(&place.spec).await.unwrap();
        sink.pin(&source(), &starts(&[(0, 0)])).await.unwrap();
        let (mut times, mut most) = (Vec::new(), 0);
        for n in 0..300 {
            let batch = request(&sink, &place.spec, &[(0, n * 2, n * 2 + 2)]).await;
            let start = Instant::now();
            let outcome = sink.commit(&batch).await.unwrap();
            times.push(start.elapsed());
            let CommitOutcome::Committed(report) = outcome else { panic!("{outcome:?}") };
            most = most.max(report.manifests);
            assert_eq!(report.attempts, 1);
        }
        let median = |times: &[Duration]| {
            let mut times = times.to_vec();
            times.sort_unstable();
            times[times.len() / 2]
        };
        let (early, late) = (median(&times[..50]), median(&times[250..]));
        assert!(most <= 100, "{most} manifests");
        assert!(late < early * 5 + Duration::from_millis(100), "{early:?} became {late:?}");
        println!("{:?}: p50 {early:?} → {late:?}, {most} manifests", place.settings.catalog);
        assert_eq!(check_rows(&place.open().await, &place.spec, &[(0, 0)]).await, 600);
        let table = place.table().await;
        let files = table.store().list(table.location()).await.unwrap();
        let old = files.iter().filter(|file| file.key.ends_with(".metadata.json")).count();
        // The current one, and the log of `write.metadata.previous-versions-max`.
        assert!(old <= 101, "{old} metadata files");
    }
}

#[tokio::test]
async fn a_table_evolves_under_its_rows() {
    for mut place in places("evolve") {
        let lakehouse = place.open().await;
        let sink = lakehouse.ensure(&place.spec).await.unwrap();
        sink.pin(&source(), &starts(&[(0, 0)])).await.unwrap();
        let batch = request(&sink, &place.spec, &[(0, 0, 10)]).await;
        sink.commit(&batch).await.unwrap();
        place.spec.columns.push(column("more", ColumnType::Double, true));
        let evolved = lakehouse.ensure(&place.spec).await.unwrap();
        assert_eq!(evolved.schema().columns().len(), 5);
        // The older sink, and a new one whose files have the column.
        let older = TableSpec { columns: place.spec.columns[..4].to_vec(), ..place.spec.clone() };
        let batch = request(&sink, &older, &[(0, 10, 20)]).await;
        assert!(matches!(sink.commit(&batch).await.unwrap(), CommitOutcome::Committed(_)));
        assert_eq!(check_rows(&place.open().await, &place.spec, &[(0, 0)]).await, 20);

        let mut refused = place.spec.clone();
        refused.columns[3].column_type = ColumnType::Int;
        let Err(err) = lakehouse.ensure(&refused).await else { panic!("long can't become int") };
        assert_eq!(err.kind(), Kind::Refused);
        assert!(err.to_string().contains("`kafka_offset` is long in the table, int in the job"));
    }
}

#[tokio::test]
async fn opening_many_at_once_makes_one_table() {
    for place in places("open") {
        let opens = (0..8).map(|_| async {
            let sink = place.open().await.ensure(&place.spec).await.unwrap();
            sink.pin(&source(), &starts(&[(0, 3)])).await.unwrap()
        });
        for position in futures::future::join_all(opens).await {
            assert_eq!(format!("{position:?}"), "{0: 3}");
        }
        let table = place.open().await.table(&place.spec.namespace, "rows").await.unwrap().unwrap();
        assert_eq!(table.snapshots().len(), 1);
        let sink = place.open().await.ensure(&place.spec).await.unwrap();
        let batch = request(&sink, &place.spec, &[(0, 0, 1)]).await;
        let outcome = sink.commit(&batch).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Fenced { .. }));
        assert_eq!(format!("{:?}", position_of(&outcome)), "{0: 3}");
    }
}

/// Sets main's retention as another client would.
async fn set_retention(place: &Place, retention: &Value) {
    let table = place.table().await;
    let id = table.snapshot().unwrap().get();
    match &place.settings.catalog {
        CatalogSettings::Sqlite { path } => {
            let location = table.metadata_location();
            let bytes = table.store().read(location).await.unwrap();
            let mut metadata: Value = serde_json::from_slice(&bytes).unwrap();
            let main = metadata["refs"]["main"].as_object_mut().unwrap();
            main.extend(retention.as_object().unwrap().clone());
            let (folder, name) = location.rsplit_once('/').unwrap();
            let version: u32 = name.split_once('-').unwrap().0.parse().unwrap();
            let id = uuid::Uuid::now_v7();
            let next = format!("{folder}/{:05}-{id}.metadata.json", version + 1);
            let bytes = serde_json::to_vec(&metadata).unwrap();
            table.store().put_new(&next, bytes).await.unwrap();
            let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await;
            let swapped = sqlx::query("UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? WHERE metadata_location = ?")
                .bind(&next)
                .bind(location)
                .bind(location)
                .execute(&pool.unwrap())
                .await;
            assert_eq!(swapped.unwrap().rows_affected(), 1);
        }
        CatalogSettings::Rest { uri, .. } => {
            let mut update = json!({
                "action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id,
            });
            update.as_object_mut().unwrap().extend(retention.as_object().unwrap().clone());
            let (namespace, name) = (&place.spec.namespace, &place.spec.name);
            let body = json!({
                "identifier": { "namespace": [namespace], "name": name },
                "requirements": [],
                "updates": [update],
            });
            let url = format!("{uri}/v1/namespaces/{namespace}/tables/{name}");
            let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_on_main_survives_our_commits_and_is_kept_to() {
    const HOUR_MS: i64 = 3_600_000;
    for mut place in places("retention") {
        place.settings.snapshots_kept = 3;
        let sink = place.open().await.ensure(&place.spec).await.unwrap();
        sink.pin(&source(), &starts(&[(0, 0)])).await.unwrap();
        let mut next = 0;
        for (retention, kept) in [
            (json!({}), 3),
            (json!({ "min-snapshots-to-keep": 7 }), 7),
            (json!({ "min-snapshots-to-keep": 5, "max-ref-age-ms": HOUR_MS }), 5),
            (json!({ "min-snapshots-to-keep": 1, "max-snapshot-age-ms": HOUR_MS }), 15),
        ] {
            set_retention(&place, &retention).await;
            for _ in 0..10 {
                let batch = request(&sink, &place.spec, &[(0, next, next + 1)]).await;
                let outcome = sink.commit(&batch).await.unwrap();
                assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
                next += 1;
            }
            let table = place.table().await;
            assert_eq!(table.retained().len(), kept, "{retention}");
            let main = &table.branches().unwrap()["main"];
            for (key, value) in retention.as_object().unwrap() {
                assert_eq!(main.retention.get(key), Some(value), "{key}");
            }
        }
    }
}
