//! The command for people, as a person would use it: run the demo, read what it says, ask its tables.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

const JOB: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../stream-processor/sql-jobs/transform_pipeline.sql");

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamforge"));
    command.args(args).env("JOB_FILE", JOB).env_remove("RUST_LOG");
    command
}

fn streamforge(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The number after `name=` in the balance line.
#[track_caller]
fn balance(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with("verified: ")).unwrap();
    let part = line.split(' ').find_map(|part| part.strip_prefix(&format!("{name}="))).unwrap();
    part.parse().unwrap()
}

#[track_caller]
fn count(dir: &str, sql: &str, more: &[&str]) -> u64 {
    let args = [&["query", "--dir", dir, "--format", "csv", sql], more].concat();
    said(&streamforge(&args)).lines().nth(1).unwrap().parse().unwrap()
}

fn dir(parent: &Path) -> String {
    parent.join("demo").display().to_string()
}

#[test]
fn a_demo_with_every_fault_proves_itself_and_answers_queries() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir(folder.path());
    let mut args = vec!["demo", "--events", "30000", "--seed", "9", "--commit-interval", "50ms"];
    args.extend(["--malformed", "0.01", "--late", "0.01", "--duplicates", "0.01"]);
    args.extend(["--out-of-order", "0.01", "--dir", &dir]);
    let text = said(&streamforge(&args));

    let [read, written, filtered, rejected] =
        ["read", "written", "filtered", "rejected"].map(|name| balance(&text, name));
    assert_eq!(read, 30_000);
    assert_eq!(written + filtered + rejected, read);
    assert!(written > 0 && rejected > 0, "{text}");
    for name in ["lost", "duplicated", "altered"] {
        assert_eq!(balance(&text, name), 0, "{text}");
    }
    assert_eq!(text.lines().filter(|line| line.contains("| purchase ")).count(), 5, "{text}");

    assert_eq!(count(&dir, "SELECT count(*) FROM processed_conversions", &[]), written);
    assert_eq!(count(&dir, "SELECT count(*) FROM rejected_events", &[]), rejected);
    let wrong = "SELECT count(*) FROM processed_conversions WHERE revenue_usd <= 50";
    assert_eq!(count(&dir, wrong, &[]), 0);
    // The planner goes as deep as the expression is long.
    let terms: Vec<String> = (0..500).map(|n| format!("customer_id = 'nobody {n}' OR ")).collect();
    let terms = terms.concat();
    let long = format!("SELECT count(*) FROM processed_conversions WHERE {terms} revenue_usd > 50");
    assert_eq!(count(&dir, &long, &[]), written);

    let history = ["query", "--dir", &dir, "--snapshots", "processed_conversions"];
    let history = said(&streamforge(&history));
    let oldest = history.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    let earlier = count(&dir, "SELECT count(*) FROM processed_conversions", &["--as-of", &oldest]);
    assert!(earlier < written, "{earlier} rows at first, {written} in the end");
}

#[test]
fn the_filter_lives_in_the_job_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let job = folder.path().join("job.sql");
    let text = std::fs::read_to_string(JOB).unwrap();
    assert!(text.contains("transaction_value > 50"));
    let changed = text.replace("transaction_value > 50", "transaction_value > 100");
    std::fs::write(&job, changed).unwrap();
    let dir = dir(folder.path());
    let job = job.display().to_string();
    let demo = ["demo", "--events", "20000", "--job", &job, "--dir", &dir];
    let text = said(&streamforge(&demo));
    assert!(balance(&text, "written") > 0, "{text}");
    let wrong = "SELECT count(*) FROM processed_conversions WHERE revenue_usd <= 100";
    assert_eq!(count(&dir, wrong, &[]), 0);
}

#[test]
fn an_earlier_demo_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir(folder.path());
    said(&streamforge(&["demo", "--events", "1000", "--dir", &dir]));
    let again = streamforge(&["demo", "--events", "1000", "--dir", &dir]);
    assert!(!again.status.success());
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(error.contains("earlier demo") && error.contains("--dir"), "{error}");
}

#[test]
fn who_stops_reading_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir(folder.path());
    let mut demo = command(&["demo", "--events", "1000", "--dir", &dir]);
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((demo.stdout.take(), demo.stderr.take()));
    assert!(demo.wait().unwrap().success());
    assert!(count(&dir, "SELECT count(*) FROM processed_conversions", &[]) > 0);
}

#[test]
fn a_wrong_query_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir(folder.path());
    let none = streamforge(&["query", "--dir", &dir, "SELECT 1"]);
    assert!(!none.status.success());
    assert!(String::from_utf8_lossy(&none.stderr).contains("run `streamforge demo` first"));
    said(&streamforge(&["demo", "--events", "1000", "--dir", &dir]));
    let typo = ["query", "--dir", &dir, "SELECT platfrom FROM processed_conversions"];
    let typo = streamforge(&typo);
    assert!(!typo.status.success());
    assert!(String::from_utf8_lossy(&typo.stderr).contains("platfrom"));
}
