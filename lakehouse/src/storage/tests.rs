#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Mutex;

use iceberg::io::FileIO;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn folder() -> (TempDir, Store, String) {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = format!("file://{}/ware house%20#1~", folder.path().display());
    let store = Store::open(&warehouse, None).unwrap();
    (folder, store, warehouse)
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

// ---- a folder

#[tokio::test]
async fn a_file_is_read_as_it_was_put() {
    let (folder, store, warehouse) = folder();
    let location = format!("{warehouse}/t/data/at_day=2026-01-01/Größe.avro");
    assert_eq!(store.size(&location).await.unwrap(), None);
    store.put_new(&location, text("rows")).await.unwrap();
    assert_eq!(store.size(&location).await.unwrap(), Some(4));
    assert_eq!(store.read(&location).await.unwrap(), text("rows"));
    let on_disk = folder.path().join("ware house%20#1~/t/data/at_day=2026-01-01/Größe.avro");
    assert_eq!(std::fs::read(on_disk).unwrap(), b"rows", "the path is taken as it is written");
}

#[tokio::test]
async fn a_file_is_never_put_over_another() {
    let (_folder, store, warehouse) = folder();
    let location = format!("{warehouse}/x.avro");
    store.put_new(&location, text("first")).await.unwrap();
    // The same length: an attempt of ours whose answer was lost.
    store.put_new(&location, text("again")).await.unwrap();
    let err = store.put_new(&location, text("other length")).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Conflict);
    assert_eq!(store.read(&location).await.unwrap(), text("first"));
}

#[tokio::test]
async fn a_missing_file_is_corrupt_and_not_a_passing_fault() {
    let (_folder, store, warehouse) = folder();
    let err = store.read(&format!("{warehouse}/gone.avro")).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Corrupt);
    assert!(err.to_string().contains("gone.avro"), "{err}");
}

#[tokio::test]
async fn one_place_has_three_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let store = Store::open(&format!("file://{path}"), None).unwrap();
    store.put_new(&format!("file://{path}/x"), text("rows")).await.unwrap();
    for location in [format!("file:{path}/x"), format!("{path}/x")] {
        assert_eq!(store.read(&location).await.unwrap(), text("rows"));
    }
}

#[test]
fn a_slash_at_the_end_of_the_warehouse_does_not_count() {
    assert_eq!(Store::open("file:///a/b/", None).unwrap().warehouse(), "file:///a/b");
}

#[tokio::test]
async fn a_location_elsewhere_is_refused() {
    let (_folder, store, _) = folder();
    for location in ["s3://lakehouse/x", "x.avro", "http://host/x", "file:///a/../b"] {
        let err = store.read(location).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Config, "{location}");
    }
}

#[test]
fn a_warehouse_must_be_a_folder_or_a_bucket() {
    for warehouse in ["", "/tmp/x", "file://tmp", "s3://", "s3:///x", "gs://bucket", "s3://bucket"]
    {
        let err = Store::open(warehouse, None).unwrap_err();
        assert_eq!(err.kind(), Kind::Config, "{warehouse}");
    }
}

// ---- as Iceberg sees it

#[tokio::test]
async fn iceberg_writes_reads_and_deletes_through_the_store() {
    let (_folder, store, warehouse) = folder();
    let io = store.file_io();
    let location = format!("{warehouse}/metadata/v1.json");
    assert!(!io.exists(&location).await.unwrap());
    io.new_output(&location).unwrap().write(text("one")).await.unwrap();
    io.new_output(&location).unwrap().write(text("{two}")).await.unwrap();
    let input = io.new_input(&location).unwrap();
    assert_eq!(input.read().await.unwrap(), text("{two}"));
    assert_eq!(input.metadata().await.unwrap().size, 5);
    assert_eq!(input.reader().await.unwrap().read(1..4).await.unwrap(), text("two"));
    io.delete(&location).await.unwrap();
    io.delete(&location).await.unwrap();
    assert!(input.read().await.is_err());
    assert!(input.metadata().await.is_err());
}

#[tokio::test]
async fn what_iceberg_writes_in_pieces_appears_when_it_is_closed() {
    let (_folder, store, warehouse) = folder();
    let location = format!("{warehouse}/metadata/list.avro");
    let mut writer = store.file_io().new_output(&location).unwrap().writer().await.unwrap();
    writer.write(text("one ")).await.unwrap();
    writer.write(text("two")).await.unwrap();
    assert_eq!(store.size(&location).await.unwrap(), None);
    writer.close().await.unwrap();
    assert_eq!(store.read(&location).await.unwrap(), text("one two"));
    assert!(writer.close().await.is_err());
    assert!(writer.write(text("late")).await.is_err());
}

#[tokio::test]
async fn iceberg_deletes_what_lies_below_a_prefix_and_nothing_else() {
    let (_folder, store, warehouse) = folder();
    for name in ["a/1", "a/b/2", "ab/3"] {
        store.put_new(&format!("{warehouse}/{name}"), text("x")).await.unwrap();
    }
    store.file_io().delete_prefix(format!("{warehouse}/a")).await.unwrap();
    let mut left = Vec::new();
    for name in ["a/1", "a/b/2", "ab/3"] {
        left.push(store.size(&format!("{warehouse}/{name}")).await.unwrap());
    }
    assert_eq!(left, [None, None, Some(1)]);
}

#[test]
fn a_store_is_never_serialised() {
    let (_folder, store, _) = folder();
    let factory = store.storage_factory();
    let err = serde_json::to_string(&factory).unwrap_err();
    assert!(err.to_string().contains("never sent"), "{err}");
}

// ---- S3

const CANARY: &str = "canary-d41d8cd98f";

fn s3(endpoint: &str) -> Store {
    let settings = S3Settings {
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".into(),
        access_key: "minio-admin".into(),
        secret_key: Secret::new(CANARY),
        path_style: true,
    };
    let shown = format!("{settings:?} {:?}", Some(&settings));
    assert!(!shown.contains(CANARY), "{shown}");
    Store::open("s3://lakehouse/warehouse", Some(&settings)).unwrap()
}

#[test]
fn no_secret_is_shown() {
    let store = s3("http://127.0.0.1:1");
    let io: FileIO = store.file_io();
    let storage = store.storage_factory().build(&iceberg::io::StorageConfig::new()).unwrap();
    for shown in [format!("{store:?}"), format!("{io:?}"), format!("{storage:?}")] {
        assert!(!shown.contains(CANARY) && shown.contains("warehouse"), "{shown}");
    }
}

/// A server that answers one request after another as told: a status, or `None` to hang up.
struct Script {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn start(answers: Vec<Option<&'static str>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = request(&mut stream).await;
                log.lock().unwrap().push(head);
                let Some(answer) = answers.next() else { return };
                if let Some(answer) = answer {
                    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
                    let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { address, seen }
    }

    fn methods(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|head| head.split(' ').next().unwrap().to_owned()).collect()
    }
}

/// The head of a request whose body, if any, was read too.
async fn request(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    loop {
        let mut part = [0; 4096];
        let len = stream.read(&mut part).await.unwrap();
        received.extend_from_slice(&part[..len]);
        let text = String::from_utf8_lossy(&received).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            assert_ne!(len, 0, "the request ends early: {text}");
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if received.len() >= head.len() + 4 + length {
            return head.to_owned();
        }
    }
}

const OK: &str = "200 OK\r\nContent-Length: 0\r\nETag: \"1\"";
const EXISTS: &str = "412 Precondition Failed\r\nContent-Length: 0";
const SLOW_DOWN: &str = "503 Slow Down\r\nContent-Length: 0";
const FORBIDDEN: &str = "403 Forbidden\r\nContent-Length: 0";
const FOUR_BYTES: &str = "200 OK\r\nContent-Length: 4\r\nETag: \"1\"\r\n\
    Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT";

const NO_BUCKET: &str = "404 Not Found\r\nContent-Length: 42\r\n\r\n\
    <Error>\n<Code>NoSuchBucket</Code>\n</Error>";
const NO_KEY: &str = "404 Not Found\r\nContent-Length: 39\r\n\r\n\
    <Error>\n<Code>NoSuchKey</Code>\n</Error>";
const NO_KEY_AT_ALL: &str = "404 Not Found\r\nContent-Length: 0";
const DENIED: &str = "403 Forbidden\r\nContent-Length: 42\r\n\r\n\
    <Error>\n<Code>AccessDenied</Code>\n</Error>";
const TAKEN: &str = "409 Conflict\r\nContent-Length: 49\r\n\r\n\
    <Error>\n<Code>BucketAlreadyExists</Code>\n</Error>";
const OURS: &str = "409 Conflict\r\nContent-Length: 53\r\n\r\n\
    <Error>\n<Code>BucketAlreadyOwnedByYou</Code>\n</Error>";

#[track_caller]
fn check(outcome: Result<()>, expected: Result<(), Kind>) {
    assert_eq!(outcome.map_err(|err| err.kind()), expected);
}

async fn put(answers: Vec<Option<&'static str>>) -> (Result<()>, Script) {
    let script = Script::start(answers).await;
    let store = s3(&script.address);
    (store.put_new("s3://lakehouse/warehouse/x.avro", text("rows")).await, script)
}

#[tokio::test]
async fn an_object_is_put_only_where_none_is() {
    let (outcome, script) = put(vec![Some(OK), Some(FOUR_BYTES)]).await;
    check(outcome, Ok(()));
    assert_eq!(script.methods(), ["put", "head"]);
    let seen = script.seen.lock().unwrap();
    assert!(seen[0].starts_with("put /lakehouse/warehouse/x.avro "), "{}", seen[0]);
    assert!(seen[0].contains("if-none-match: *"), "{}", seen[0]);
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_found_again() {
    // The first put lands, its answer does not arrive; the second finds the object there.
    let (outcome, script) = put(vec![None, Some(EXISTS), Some(FOUR_BYTES)]).await;
    check(outcome, Ok(()));
    assert_eq!(script.methods(), ["put", "put", "head"]);
}

#[tokio::test]
async fn a_busy_store_is_asked_again() {
    let answers = vec![Some(SLOW_DOWN), Some(SLOW_DOWN), Some(OK), Some(FOUR_BYTES)];
    let (outcome, script) = put(answers).await;
    check(outcome, Ok(()));
    assert_eq!(script.methods(), ["put", "put", "put", "head"]);
}

#[tokio::test]
async fn a_store_that_stays_busy_is_left_to_the_caller() {
    let (outcome, script) = put(vec![Some(SLOW_DOWN); 50]).await;
    check(outcome, Err(Kind::Retry));
    assert_eq!(script.methods().len(), 1 + RETRIES_MAX);
}

#[tokio::test]
async fn wrong_credentials_are_a_matter_of_configuration() {
    let (outcome, script) = put(vec![Some(FORBIDDEN)]).await;
    let err = outcome.unwrap_err();
    assert_eq!(err.kind(), Kind::Config);
    let shown = format!("{err} {err:?}");
    assert!(!shown.contains(CANARY), "{shown}");
    assert_eq!(script.methods(), ["put"]);
}

#[tokio::test]
async fn another_object_in_the_place_is_a_conflict() {
    let other = "200 OK\r\nContent-Length: 9\r\nETag: \"1\"\r\n\
        Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT";
    let (outcome, _) = put(vec![Some(EXISTS), Some(other)]).await;
    check(outcome, Err(Kind::Conflict));
}

#[tokio::test]
async fn what_a_store_took_and_does_not_hold_is_put_again() {
    let short = "200 OK\r\nContent-Length: 3\r\nETag: \"1\"\r\n\
        Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT";
    let (outcome, _) = put(vec![Some(OK), Some(short)]).await;
    check(outcome, Err(Kind::Retry));
    let (outcome, _) = put(vec![Some(OK), Some(NO_KEY_AT_ALL)]).await;
    check(outcome, Err(Kind::Retry));
}

#[tokio::test]
async fn what_iceberg_writes_is_looked_for_as_well() {
    let script = Script::start(vec![Some(OK), Some(NO_KEY_AT_ALL)]).await;
    let output = s3(&script.address).file_io().new_output("s3://lakehouse/warehouse/m.avro");
    let err = output.unwrap().write(text("rows")).await.unwrap_err();
    assert!(err.to_string().contains("does not hold it"), "{err}");
    assert_eq!(script.methods(), ["put", "head"]);
}

#[tokio::test]
async fn a_put_that_meets_one_under_way_is_tried_again() {
    // S3 answers 409 to the second of two conditional puts at once; the first may be ours.
    let missing = "404 Not Found\r\nContent-Length: 0";
    let (outcome, script) =
        put(vec![Some("409 Conflict\r\nContent-Length: 0"), Some(missing)]).await;
    check(outcome, Err(Kind::Retry));
    assert_eq!(script.methods(), ["put", "head"]);
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_file() {
    let script = Script::start(vec![Some(NO_BUCKET), Some(NO_KEY)]).await;
    let store = s3(&script.address);
    let read = async || store.read("s3://lakehouse/warehouse/x").await.unwrap_err();
    let err = read().await;
    assert_eq!(err.kind(), Kind::Config);
    assert!(err.to_string().contains("streamforge provision"), "{err}");
    assert_eq!(read().await.kind(), Kind::Corrupt);
}

#[tokio::test]
async fn a_look_at_the_store_tells_what_is_wrong_with_it() {
    for (answer, expected) in [
        (NO_KEY, Ok(())),
        // Who may not list is denied what is not there.
        (DENIED, Ok(())),
        (NO_BUCKET, Err(Kind::Config)),
        (FORBIDDEN, Err(Kind::Config)),
    ] {
        let script = Script::start(vec![Some(answer)]).await;
        check(s3(&script.address).check().await, expected);
    }
    let (folder, store, _) = folder();
    check(store.check().await, Ok(()));
    drop(folder);
}

#[tokio::test]
async fn a_bucket_is_made_where_there_is_none() {
    for (answers, expected) in [
        (vec![Some(NO_KEY)], Ok(Bucket::Found)),
        (vec![Some(NO_BUCKET), Some(OK)], Ok(Bucket::Made)),
        (vec![Some(NO_BUCKET), Some(OURS)], Ok(Bucket::Found)),
        (vec![Some(NO_BUCKET), Some(TAKEN)], Err(Kind::Config)),
        (vec![Some(NO_BUCKET), Some(DENIED)], Err(Kind::Config)),
        (vec![Some(NO_BUCKET), Some(SLOW_DOWN)], Err(Kind::Retry)),
        (vec![Some(FORBIDDEN)], Err(Kind::Config)),
    ] {
        let script = Script::start(answers).await;
        let made = s3(&script.address).make_bucket().await;
        if let Err(err) = &made {
            let shown = format!("{err} {err:?}");
            assert!(!shown.contains(CANARY) && !shown.contains("X-Amz"), "{shown}");
        }
        assert_eq!(made.map_err(|err| err.kind()), expected);
        if let Some(put) = script.seen.lock().unwrap().get(1) {
            assert!(put.starts_with("put /lakehouse/?x-amz-algorithm="), "{put}");
        }
    }
    let (_folder, store, _) = folder();
    assert_eq!(store.make_bucket().await.unwrap(), Bucket::Folder);
}

#[tokio::test]
async fn an_unreachable_store_is_a_passing_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcome = s3(&address).put_new("s3://lakehouse/warehouse/x", text("rows")).await;
    check(outcome, Err(Kind::Retry));
}

#[tokio::test]
async fn a_bucket_is_known_by_hadoops_names_too_and_another_bucket_is_refused() {
    let script = Script::start(vec![Some(FOUR_BYTES)]).await;
    let store = s3(&script.address);
    assert_eq!(store.size("s3a://lakehouse/warehouse/x").await.unwrap(), Some(4));
    let err = store.size("s3://other/warehouse/x").await.unwrap_err();
    assert_eq!(err.kind(), Kind::Config);
}
