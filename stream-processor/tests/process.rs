//! The processor as a process: wrong settings, wrong job files, a topic it must not touch.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::fs::File;
use std::process::{Command, Output};

const JOB: &str = include_str!("../sql-jobs/transform_pipeline.sql");

fn processor(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    command.args(args).env_remove("RUST_LOG").output().unwrap()
}

#[track_caller]
fn check_job(from: &str, to: &str, place: &str, words: &[&str]) {
    assert!(JOB.contains(from), "the job file no longer says `{from}`");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.sql");
    std::fs::write(&path, JOB.replacen(from, to, 1)).unwrap();
    let output = processor(&["check", "--job", &path.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains(place), "no place in: {said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
}

/// Line of the job file on which `text` first stands.
fn line(text: &str) -> String {
    let before = JOB.find(text).unwrap();
    format!("line {}", JOB[..before].matches('\n').count() + 1)
}

#[test]
fn a_typo_in_a_column_is_told_with_its_place_and_the_likely_name() {
    let place = line("WHERE activity_type");
    check_job(
        "WHERE activity_type",
        "WHERE activty_type",
        &place,
        &["column", "activty_type", "activity_type"],
    );
}

#[test]
fn an_unsupported_clause_is_told_with_its_place() {
    check_job(
        "transaction_value > 50",
        "transaction_value > 50 LIMIT 5",
        "line ",
        &["LIMIT", "column"],
    );
}

#[test]
fn a_comparison_of_unlike_types_is_told_with_its_place() {
    check_job(
        "transaction_value > 50",
        "transaction_value > 'fifty'",
        &line("transaction_value > 50"),
        &["column"],
    );
}

#[test]
fn the_shipped_job_file_fits() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/sql-jobs/transform_pipeline.sql");
    let output = processor(&["check", "--job", path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_setting_that_cannot_be_is_refused_before_anything_is_touched() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/sql-jobs/transform_pipeline.sql");
    let wrong = [
        (["--catalog-uri", "ftp://catalog"], "ICEBERG_CATALOG_URI"),
        (["--warehouse", "somewhere"], "ICEBERG_WAREHOUSE"),
        (["--commit-interval", "1ms"], "COMMIT_INTERVAL"),
        (["--memory-budget", "1KiB"], "MEMORY_BUDGET"),
        (["--kafka-properties", "no-equals-sign"], "KAFKA_PROPERTIES"),
    ];
    for (setting, name) in wrong {
        let keys = ["--s3-access-key", "a", "--s3-secret-key", "canary-b"];
        let output = processor(&[&["--job", path], &keys[..], &setting[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{setting:?}: {said}");
        assert!(said.contains(name), "{setting:?}: {said}");
        assert!(!said.contains("canary"), "{setting:?}: a secret is shown: {said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_takes_nothing_more_changes_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    let status = command.args(["--job", "none.sql"]).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(64));
}

#[test]
fn help_names_every_setting_with_its_environment_name() {
    let said = String::from_utf8(processor(&["--help"]).stdout).unwrap();
    let names = [
        "KAFKA_BROKERS",
        "KAFKA_GROUP",
        "KAFKA_PROPERTIES",
        "ICEBERG_CATALOG_URI",
        "ICEBERG_WAREHOUSE",
        "S3_ENDPOINT",
        "S3_REGION",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "COMMIT_INTERVAL",
        "MEMORY_BUDGET",
        "AVRO_CODEC",
        "PREFLIGHT",
    ];
    for name in names {
        assert!(said.contains(name), "--help says nothing of {name}");
    }
}
