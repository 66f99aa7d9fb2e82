#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use iceberg::io::{FileIO, LocalFsStorageFactory};
use iceberg::spec::{MAIN_BRANCH, Operation, Snapshot, Summary, TableMetadataBuilder};
use iceberg::{Catalog as _, CatalogBuilder as _, NamespaceIdent, TableIdent};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalogBuilder};

use super::memory::MemoryCatalog;
use super::rest::{RestCatalog, Timeouts};
use super::rest_server::{RestServer, Wire};
use super::sqlite::SqliteCatalog;
use super::*;
use crate::spec::{Column, ColumnType, TableSpec};

fn ident() -> TableIdent {
    TableIdent::new(NamespaceIdent::new("marketing".to_owned()), "rows".to_owned())
}

fn creation() -> Creation {
    let column =
        |name: &str, column_type| Column { name: name.into(), column_type, nullable: true };
    crate::commit::creation(&TableSpec {
        namespace: "marketing".into(),
        name: "rows".into(),
        columns: vec![column("id", ColumnType::String), column("at", ColumnType::Timestamptz)],
        partition_day: Some("at".into()),
    })
    .unwrap()
}

fn snapshot(base: &Base, id: i64) -> Snapshot {
    let metadata = base.metadata();
    Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(metadata.last_updated_ms())
        .with_manifest_list(format!("{}/metadata/snap-{id}.avro", metadata.location()))
        .with_summary(Summary {
            operation: Operation::Append,
            additional_properties: [("k".to_owned(), "v".to_owned())].into(),
        })
        .with_schema_id(metadata.current_schema_id())
        .build()
}

async fn append(catalog: &Arc<dyn Catalog>, id: i64) -> Answer {
    let fenced = FencedCatalog::read(catalog, &ident()).await.unwrap().unwrap();
    let snapshot = snapshot(fenced.base(), id);
    fenced.publish(|builder| builder.set_branch_snapshot(snapshot, MAIN_BRANCH)).await.unwrap()
}

async fn current(catalog: &Arc<dyn Catalog>) -> Option<i64> {
    catalog.load(&ident()).await.unwrap().unwrap().metadata().current_snapshot_id()
}

/// What every catalog must do.
async fn suite(catalog: Arc<dyn Catalog>) {
    assert!(catalog.load(&ident()).await.unwrap().is_none(), "nothing is there at first");
    let made = catalog.create(&ident(), &creation()).await.unwrap();
    let again = catalog.create(&ident(), &creation()).await.unwrap();
    assert_eq!(made.metadata().uuid(), again.metadata().uuid(), "making it twice finds the first");
    assert_eq!(made.metadata().default_partition_spec().fields()[0].name, "at_day");

    let Answer::Committed(base) = append(&catalog, 1).await else { panic!("the first publish") };
    assert_eq!(base.metadata().current_snapshot_id(), Some(1));
    let loaded = catalog.load(&ident()).await.unwrap().unwrap();
    assert_eq!(loaded.location(), base.location());
    assert_eq!(loaded.metadata(), base.metadata());

    let table = ident();
    let fenced = || FencedCatalog::read(&catalog, &table);
    let (first, second) = (fenced().await.unwrap().unwrap(), fenced().await.unwrap().unwrap());
    let (one, two) = (snapshot(first.base(), 2), snapshot(second.base(), 3));
    let answer = first.publish(|builder| builder.set_branch_snapshot(one, MAIN_BRANCH)).await;
    assert!(matches!(answer, Ok(Answer::Committed(_))));
    let answer = second.publish(|builder| builder.set_branch_snapshot(two, MAIN_BRANCH)).await;
    assert!(matches!(answer, Ok(Answer::Conflict)), "the second on one base must lose");
    assert_eq!(current(&catalog).await, Some(2));

    let tagged = fenced().await.unwrap().unwrap();
    let reference = iceberg::spec::SnapshotReference::new(
        1,
        iceberg::spec::SnapshotRetention::Tag { max_ref_age_ms: None },
    );
    let answer = tagged.publish(|builder| builder.set_ref("kept", reference)).await;
    assert!(matches!(answer, Ok(Answer::Committed(_))));
    let tagged = catalog.load(&ident()).await.unwrap().unwrap();
    assert_eq!(tagged.refs.iter().collect::<Vec<_>>(), [1], "tags are seen");

    let mut bases = Vec::new();
    for _ in 0..8 {
        bases.push(fenced().await.unwrap().unwrap());
    }
    let mut racers = Vec::new();
    for (id, fenced) in (10..).zip(bases) {
        let snapshot = snapshot(fenced.base(), id);
        racers.push(tokio::spawn(
            fenced.publish(|builder| builder.set_branch_snapshot(snapshot, MAIN_BRANCH)),
        ));
    }
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap().unwrap() {
            Answer::Committed(_) => won += 1,
            Answer::Conflict => {}
            Answer::Unknown(err) => panic!("{err}: {:?}", err.source()),
        }
    }
    assert_eq!(won, 1, "one of eight wins");
}

fn store(folder: &tempfile::TempDir) -> Store {
    Store::open(&format!("file://{}", folder.path().display()), None).unwrap()
}

async fn sqlite(folder: &tempfile::TempDir) -> Arc<dyn Catalog> {
    let (path, store) = (folder.path().join("deep/catalog.db"), store(folder));
    let catalog = SqliteCatalog::open(&path, store.warehouse(), store.file_io()).await;
    Arc::new(catalog.unwrap())
}

fn quick() -> Timeouts {
    Timeouts { connect: Duration::from_secs(2), total: Duration::from_secs(2) }
}

async fn rest(server: &RestServer, file_io: FileIO) -> Arc<dyn Catalog> {
    let token = Some(Secret::new("canary-token"));
    let open = RestCatalog::open(&server.uri, Some("house"), token, file_io, quick());
    Arc::new(open.await.unwrap())
}

#[tokio::test]
async fn memory_does_what_a_catalog_must() {
    suite(Arc::new(MemoryCatalog::new(FileIO::new_with_memory()))).await;
}

#[tokio::test]
async fn sqlite_does_what_a_catalog_must() {
    let folder = tempfile::tempdir().unwrap();
    suite(sqlite(&folder).await).await;
}

#[tokio::test]
async fn rest_does_what_a_catalog_must() {
    let file_io = FileIO::new_with_memory();
    let server = RestServer::start(file_io.clone()).await;
    suite(rest(&server, file_io).await).await;
    let seen = server.seen();
    assert!(seen.contains(&"authorization: bearer canary-token".to_owned()));
    let keyed = seen.iter().find(|line| line.starts_with("idempotency-key"));
    assert_eq!(keyed, None, "a server keeps the answer to each key in memory");
}

#[tokio::test]
async fn only_200_and_409_are_plain_answers() {
    let file_io = FileIO::new_with_memory();
    let server = RestServer::start(file_io.clone()).await;
    let catalog = rest(&server, file_io).await;
    catalog.create(&ident(), &creation()).await.unwrap();
    let cases = [
        (Wire::Refused(503), false),
        (Wire::Refused(429), false),
        (Wire::Refused(401), false),
        (Wire::Refused(419), false),
        (Wire::Refused(404), false),
        (Wire::Refused(400), false),
        (Wire::CutBefore, false),
        (Wire::Hidden(201), true),
        (Wire::Hidden(202), true),
        (Wire::Hidden(302), true),
        (Wire::Hidden(500), true),
        (Wire::Hidden(502), true),
        (Wire::Hidden(503), true),
        (Wire::Hidden(504), true),
        (Wire::CutAfter, true),
        (Wire::Truncated, true),
        (Wire::Garbled, true),
        (Wire::Hang, true),
    ];
    for (id, (wire, applied)) in (1..).zip(cases) {
        let before = current(&catalog).await;
        server.script([wire]);
        let Answer::Unknown(err) = append(&catalog, id).await else {
            panic!("{wire:?} is unknown")
        };
        let shown = format!("{err} {err:?} {:?}", err.source().map(ToString::to_string));
        assert!(!shown.contains("canary-token"), "{wire:?} shows the token: {shown}");
        assert!(!applied || err.kind() == Kind::Retry, "{wire:?} is final: {shown}");
        let expected = if applied { Some(id) } else { before };
        assert_eq!(current(&catalog).await, expected, "{wire:?}");
    }
    server.script([Wire::Hidden(409), Wire::Refused(409)]);
    assert!(matches!(append(&catalog, 90).await, Answer::Conflict));
    assert_eq!(current(&catalog).await, Some(90), "a conflict may be our own success");
    assert!(matches!(append(&catalog, 91).await, Answer::Conflict));
}

#[tokio::test]
async fn a_wrong_address_is_refused_without_showing_credentials() {
    for uri in ["ftp://host", "http://user:canary@host", "host", "http://host/?token=canary"] {
        let settings = CatalogSettings::Rest { uri: uri.into(), warehouse: None, token: None };
        assert!(!format!("{settings:?}").contains("canary"), "{settings:?}");
        let opened = RestCatalog::open(uri, None, None, FileIO::new_with_memory(), quick()).await;
        let Err(err) = opened else { panic!("{uri} is no address") };
        assert_eq!(err.kind(), Kind::Config, "{uri}");
        assert!(!format!("{err} {err:?}").contains("canary"), "{err:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_to_be_tried_again() {
    let file_io = FileIO::new_with_memory();
    let opened = RestCatalog::open("http://127.0.0.1:9", None, None, file_io, quick()).await;
    assert_eq!(opened.err().map(|err| err.kind()), Some(Kind::Retry));
}

/// iceberg-rust's own catalog opens the same database, sees our table, and its commits are seen by us.
#[tokio::test]
async fn the_database_is_the_one_that_other_clients_open() {
    let folder = tempfile::tempdir().unwrap();
    let ours = sqlite(&folder).await;
    ours.create(&ident(), &creation()).await.unwrap();
    let theirs = SqlCatalogBuilder::default()
        .with_storage_factory(Arc::new(LocalFsStorageFactory))
        .uri(format!("sqlite://{}", folder.path().join("deep/catalog.db").display()))
        .warehouse_location(store(&folder).warehouse().to_owned())
        .sql_bind_style(SqlBindStyle::QMark)
        .load(SQLITE_CATALOG_NAME, std::collections::HashMap::new())
        .await
        .unwrap();
    assert_eq!(theirs.list_namespaces(None).await.unwrap(), [ident().namespace().clone()]);
    assert_eq!(theirs.list_tables(ident().namespace()).await.unwrap(), [ident()]);
    let table = theirs.load_table(&ident()).await.unwrap();

    let stale = FencedCatalog::read(&ours, &ident()).await.unwrap().unwrap();
    let change = iceberg::transaction::Transaction::new(&table);
    let change = change.update_table_properties().set("theirs".into(), "1".into());
    let change = iceberg::transaction::ApplyTransactionAction::apply(
        change,
        iceberg::transaction::Transaction::new(&table),
    );
    change.unwrap().commit(&theirs).await.unwrap();
    let late = stale.publish(|builder| builder.set_properties([("a".into(), "b".into())].into()));
    assert!(matches!(late.await, Ok(Answer::Conflict)), "their commit moves the row under ours");
    assert!(matches!(append(&ours, 7).await, Answer::Committed(_)));
    let table = theirs.load_table(&ident()).await.unwrap();
    assert_eq!(table.metadata().current_snapshot_id(), Some(7));
    assert_eq!(table.metadata().properties().get("theirs").map(String::as_str), Some("1"));
}

#[tokio::test]
async fn old_metadata_files_are_cleaned_up() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = sqlite(&folder).await;
    catalog.create(&ident(), &creation()).await.unwrap();
    let set = |builder: TableMetadataBuilder, n: i32| {
        let max = ("write.metadata.previous-versions-max".to_owned(), "3".to_owned());
        builder.set_properties([("n".to_owned(), n.to_string()), max].into())
    };
    for n in 0..10 {
        let fenced = FencedCatalog::read(&catalog, &ident()).await.unwrap().unwrap();
        assert!(matches!(
            fenced.publish(|builder| set(builder, n)).await,
            Ok(Answer::Committed(_))
        ));
    }
    let files = std::fs::read_dir(folder.path().join("marketing/rows/metadata")).unwrap();
    assert_eq!(files.count(), 4, "the current one and three before it");
}

#[tokio::test]
async fn many_processes_may_open_one_new_database_at_once() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let opens = (0..16).map(|_| {
        let folder = Arc::clone(&folder);
        tokio::spawn(async move {
            let catalog = sqlite(&folder).await;
            catalog.create(&ident(), &creation()).await.unwrap().metadata().uuid()
        })
    });
    let uuids = futures::future::join_all(opens).await;
    let uuids: std::collections::BTreeSet<_> = uuids.into_iter().map(Result::unwrap).collect();
    assert_eq!(uuids.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_a_matter_of_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    std::fs::write(&path, "this is a text file, and it is long enough to be read as a header…")
        .unwrap();
    let store = store(&folder);
    let opened = SqliteCatalog::open(&path, store.warehouse(), store.file_io()).await;
    assert_eq!(opened.err().map(|err| err.kind()), Some(Kind::Config));
}
