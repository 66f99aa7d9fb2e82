//! A real S3 server: what it answers, and what that means here.
//!
//! Runs on the server that `S3_ENDPOINT`, `S3_ACCESS_KEY` and `S3_SECRET_KEY` name, whose user must be allowed to
//! make buckets, and on none without them; the same cases run on scripted answers in `storage/tests.rs`.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod common;

use bytes::Bytes;
use lakehouse::Kind;
use lakehouse::storage::{Bucket, S3Settings, Secret, Store};

/// A bucket of our own on the server, if there is one.
fn place() -> Option<(String, S3Settings)> {
    let settings = common::s3()?;
    let bucket = format!("streamforge-{}", uuid::Uuid::now_v7().simple());
    Some((format!("s3://{bucket}/warehouse"), settings))
}

#[track_caller]
fn check<T: std::fmt::Debug>(outcome: lakehouse::Result<T>, kind: Kind, words: &[&str]) {
    let err = outcome.unwrap_err();
    let text = err.to_string();
    assert_eq!(err.kind(), kind, "{text}");
    assert!(!text.contains('\n'), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in {text}");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_named_and_made_and_found() {
    let Some((warehouse, settings)) = place() else { return };
    let store = Store::open(&warehouse, Some(&settings)).unwrap();
    let words = ["bucket is missing", "streamforge provision", "NoSuchBucket"];
    check(store.check().await, Kind::Config, &words);
    check(store.put_new(&format!("{warehouse}/x"), Bytes::from("x")).await, Kind::Config, &words);
    check(store.read(&format!("{warehouse}/x")).await, Kind::Config, &words);
    assert_eq!(store.make_bucket().await.unwrap(), Bucket::Made);
    assert_eq!(store.make_bucket().await.unwrap(), Bucket::Found);
    store.check().await.unwrap();
    check(store.read(&format!("{warehouse}/x")).await, Kind::Corrupt, &["the file is missing"]);
}

#[tokio::test]
async fn wrong_credentials_are_named_at_once() {
    let Some((warehouse, settings)) = place() else { return };
    Store::open(&warehouse, Some(&settings)).unwrap().make_bucket().await.unwrap();
    let secret = S3Settings { secret_key: Secret::new("canary-wrong"), ..settings.clone() };
    let user = S3Settings { access_key: "nobody".to_owned(), ..settings };
    for wrong in [secret, user] {
        let store = Store::open(&warehouse, Some(&wrong)).unwrap();
        let words = ["refuses the credentials", "S3_ACCESS_KEY", "S3_SECRET_KEY"];
        check(store.check().await, Kind::Config, &words);
        check(store.make_bucket().await, Kind::Config, &words);
        let put = store.put_new(&format!("{warehouse}/x"), Bytes::from("x")).await;
        check(put, Kind::Config, &words);
        check(store.read(&format!("{warehouse}/x")).await, Kind::Config, &words);
    }
}

#[tokio::test]
async fn a_file_is_put_where_none_is_and_never_over_another() {
    let Some((warehouse, settings)) = place() else { return };
    let store = Store::open(&warehouse, Some(&settings)).unwrap();
    store.make_bucket().await.unwrap();
    let location = format!("{warehouse}/t/data/at_day=2026-01-01/Größe.avro");
    assert_eq!(store.size(&location).await.unwrap(), None);
    store.put_new(&location, Bytes::from("rows")).await.unwrap();
    // As after a lost answer.
    store.put_new(&location, Bytes::from("rows")).await.unwrap();
    let other = store.put_new(&location, Bytes::from("other rows")).await;
    check(other, Kind::Conflict, &["another file"]);
    assert_eq!(store.read(&location).await.unwrap(), "rows");
    assert_eq!(store.size(&location).await.unwrap(), Some(4));
}
