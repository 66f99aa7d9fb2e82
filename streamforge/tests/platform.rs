//! `provision` and `verify` as processes, over an in-process broker, a `SQLite` catalog and files.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use data_emitter::{EmitterSettings, Fraction, GeneratorSettings, Unlimited, emit};
use lakehouse::commit::Lakehouse;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{ClusterId, Source, TopicId};
use stream_processor::config::{Cli, Config};
use stream_processor::job::Job;
use stream_processor::status;
use streamforge::demo::Broker;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const JOB: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../stream-processor/sql-jobs/transform_pipeline.sql");
const TOPIC: &str = "user-activity-stream";
/// How long the processor may take to be ready, and to commit what it read.
const SETTLE: &str = "60s";

/// A broker with the topic, and an empty folder for catalog and warehouse.
struct Platform {
    broker: Broker,
    folder: TempDir,
}

impl Platform {
    fn new(partitions: i32) -> Self {
        let broker = Broker::start(TOPIC, partitions).unwrap();
        Self { broker, folder: tempfile::tempdir().unwrap() }
    }

    /// The settings that every program is given.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.path().display();
        vec![
            ("--brokers", self.broker.address()),
            ("--catalog-uri", format!("sqlite://{folder}/catalog.db")),
            ("--warehouse", format!("file://{folder}/warehouse")),
            ("--kafka-properties", "fetch.wait.max.ms=10".to_owned()),
        ]
    }

    fn run(&self, command: &str, job: &str, more: &[&str]) -> Output {
        let mut process = Command::new(env!("CARGO_BIN_EXE_streamforge"));
        process.env_clear().args([command, "--job", job]);
        for (flag, value) in self.settings() {
            process.args([flag, &value]);
        }
        process.args(more).output().unwrap()
    }

    fn config(&self, job: &Job) -> Config {
        let settings = self.settings();
        let mut typed = vec!["stream-processor", "--assign", "all", "--commit-interval", "50ms"];
        typed.extend(["--heartbeat-interval", "50ms"]);
        typed.extend(settings.iter().flat_map(|(flag, value)| [*flag, value.as_str()]));
        Config::check(&Cli::parse_from(typed).run, &job.source).unwrap()
    }

    async fn emit(&self, seed: u64, events: u64) {
        let generator = GeneratorSettings {
            malformed: Fraction::new(0.01).unwrap(),
            ..GeneratorSettings::new(seed, 1_780_000_000_000)
        };
        let settings = EmitterSettings {
            events: Some(events),
            ..EmitterSettings::new(self.broker.address(), TOPIC.to_owned(), generator)
        };
        let stop = CancellationToken::new();
        let sent = emit(&settings, Arc::new(Unlimited), |_| {}, &stop).await.unwrap();
        assert_eq!(sent.undelivered(), 0, "{sent:?}");
    }
}

#[track_caller]
fn check(output: &Output, code: i32, words: &[&str]) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
    said
}

/// The shipped job with one piece of text changed.
fn changed(folder: &Path, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(JOB).unwrap();
    assert!(text.contains(from), "the job file no longer says `{from}`");
    let path = folder.join("changed.sql");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    path.display().to_string()
}

#[test]
fn what_is_missing_is_made_once_and_then_found() {
    let platform = Platform::new(6);
    let first = platform.run("provision", JOB, &[]);
    let tables = ["marketing_events.processed_conversions: ", "marketing_events.rejected_events: "];
    check(&first, 0, &["topic user-activity-stream: already there, 6 partitions", "ready"]);
    check(&first, 0, &tables.map(|table| format!("{table}made")).each_ref().map(String::as_str));
    let second = platform.run("provision", JOB, &[]);
    check(
        &second,
        0,
        &tables.map(|table| format!("{table}already")).each_ref().map(String::as_str),
    );
}

#[test]
fn a_topic_with_other_partitions_is_an_error_that_names_both_numbers() {
    let platform = Platform::new(3);
    let refused = platform.run("provision", JOB, &[]);
    check(&refused, 1, &["3 partitions and 6 are wanted", "KAFKA_PARTITIONS=3"]);
    check(&platform.run("provision", JOB, &["--partitions", "3"]), 0, &["ready"]);
}

#[test]
fn a_job_that_does_not_fit_the_table_is_an_error_that_names_the_column() {
    let platform = Platform::new(6);
    check(&platform.run("provision", JOB, &[]), 0, &["ready"]);
    let job = changed(platform.folder.path(), "AS marketing_action", "AS deed");
    let refused = platform.run("provision", &job, &[]);
    check(&refused, 1, &["`marketing_action`", "processed_conversions", "mend the job file"]);
    check(&platform.run("provision", JOB, &[]), 0, &["ready"]);
}

#[tokio::test]
async fn a_table_of_another_cluster_is_an_error_that_names_both() {
    let platform = Platform::new(6);
    let job = Job::parse(&std::fs::read_to_string(JOB).unwrap()).unwrap();
    let lake = Lakehouse::open(&platform.config(&job).lakehouse).await.unwrap();
    let source = Source { cluster: ClusterId::new("elsewhere"), topic: TopicId::new("gone") };
    let starts = BTreeMap::from([(PartitionId::new(0), Offset::new(7))]);
    lake.ensure(&job.rejects_spec()).await.unwrap().pin(&source, &starts).await.unwrap();
    let refused = platform.run("provision", JOB, &[]);
    check(&refused, 1, &["rejected_events", "elsewhere", "check KAFKA_BROKERS"]);
}

#[test]
fn servers_that_are_away_are_waited_for_with_their_reason_and_not_for_ever() {
    let platform = Platform::new(6);
    let nowhere = ["--brokers", "127.0.0.1:1", "--wait", "5s"];
    let mut process = Command::new(env!("CARGO_BIN_EXE_streamforge"));
    process.env_clear().args(["provision", "--job", JOB]).args(nowhere);
    for (flag, value) in platform.settings().into_iter().filter(|(flag, _)| *flag != "--brokers") {
        process.args([flag, &value]);
    }
    let words = ["waiting for Kafka at 127.0.0.1:1", "Connection refused", "raise PROVISION_WAIT"];
    check(&process.output().unwrap(), 1, &words);
}

#[test]
fn wrong_settings_exit_with_64_before_anything_is_touched() {
    let platform = Platform::new(6);
    for (wrong, word) in [
        (
            ["--topic", "clicks"],
            "KAFKA_TOPIC is `clicks`, but the job file reads `user-activity-stream`",
        ),
        (["--partitions", "0"], "0 is not in 1.."),
        (["--wait", "soon"], "say it like 500ms"),
        (["--job", "/nowhere.sql"], "/nowhere.sql"),
    ] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_streamforge"));
        process.env_clear().args(["provision"]).args(wrong);
        for (flag, value) in platform.settings() {
            process.args([flag, &value]);
        }
        check(&process.output().unwrap(), 64, &[word]);
    }
    for (properties, word) in [
        ("group.id=other", "`group.id` may not be set"),
        ("a=1,canary", "part 2 of KAFKA_PROPERTIES"),
        ("no.such.thing=1", "no.such.thing"),
    ] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_streamforge"));
        process.env_clear().args(["verify", "--job", JOB]).env("KAFKA_PROPERTIES", properties);
        process.args(["--warehouse", "file:///nowhere", "--brokers", "127.0.0.1:1"]);
        let said = check(&process.output().unwrap(), 64, &[word]);
        assert!(!said.contains("canary"), "{said}");
    }
    assert!(!platform.folder.path().join("catalog.db").exists());
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_that_is_not_built_in_is_told_with_what_to_do() {
    let platform = Platform::new(6);
    let mut process = Command::new(env!("CARGO_BIN_EXE_streamforge"));
    process.env_clear().args(["provision", "--job", JOB, "--warehouse", "file:///nowhere"]);
    process.args(["--brokers", &platform.broker.address()]);
    process.args(["--kafka-properties", "security.protocol=SSL"]);
    check(&process.output().unwrap(), 64, &["OpenSSL not available", "--features tls"]);
}

#[test]
fn help_teaches() {
    for (command, words) in [
        ("provision", ["nothing is deleted", "KAFKA_PARTITIONS", "PROVISION_WAIT", "Exit code"]),
        ("lend", ["as a temporary table", "FLINK_URL", "HANDOVER_WAIT", "Exit code"]),
        ("adopt", ["late commit", "--position", "FLINK_URL", "Exit code"]),
        ("verify", ["record by record", "VERIFY_WAIT", "KAFKA_PROPERTIES", "Exit code"]),
    ] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_streamforge"));
        process.args([command, "--help"]).env("S3_SECRET_KEY", "canary");
        process.env("KAFKA_PROPERTIES", "sasl.password=canary");
        let said = check(&process.output().unwrap(), 0, &words);
        assert!(!said.contains("canary"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_platform_is_proved_and_what_it_lacks_is_told() {
    let platform = Platform::new(6);
    platform.emit(3, 15_000).await;
    let nothing = platform.run("verify", JOB, &["--wait", "0s"]);
    check(&nothing, 1, &["there is no table", "is a processor running?"]);

    let job = Job::parse(&std::fs::read_to_string(JOB).unwrap()).unwrap();
    let (reporters, _seen) = status::channel();
    let stop = CancellationToken::new();
    let config = platform.config(&job);
    let processor = tokio::spawn(stream_processor::run(job, config, reporters, stop.clone()));
    let proved = platform.run("verify", JOB, &["--wait", SETTLE]);
    let clean = "lost=0 duplicated=0 altered=0";
    let said = check(&proved, 0, &["verified: read=15000 ", clean]);
    assert!(!said.contains("rejected=0 "), "{said}");

    // A verifier that is told another job finds the rows that its own would not have written.
    let other =
        changed(platform.folder.path(), "transaction_value > 50", "transaction_value > 100");
    check(
        &platform.run("verify", &other, &["--wait", SETTLE]),
        1,
        &["lost=0 duplicated=0 altered="],
    );

    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), processor).await.unwrap().unwrap().unwrap();
    platform.emit(4, 1_000).await;
    let behind = platform.run("verify", JOB, &["--wait", "1s"]);
    check(
        &behind,
        1,
        &["verified: read=15000 ", clean, "1,000 records of the topic not committed"],
    );
    let now = platform.run("verify", JOB, &["--wait", "0s"]);
    check(&now, 0, &["verified: read=15000 ", "not compared: 1,000 records"]);
}

/// Runs a processor until the tables hold all of the topic, as `verify` proves, and stops it.
async fn process_everything(platform: &Platform, job: &Job, words: &[&str]) {
    let (reporters, _seen) = status::channel();
    let stop = CancellationToken::new();
    let config = platform.config(job);
    let processor =
        tokio::spawn(stream_processor::run(job.clone(), config, reporters, stop.clone()));
    check(&platform.run("verify", JOB, &["--wait", SETTLE]), 0, words);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), processor).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lent_tables_keep_a_processor_out_until_they_are_adopted() {
    let platform = Platform::new(6);
    let job = Job::parse(&std::fs::read_to_string(JOB).unwrap()).unwrap();
    platform.emit(5, 3_000).await;
    check(&platform.run("lend", JOB, &[]), 1, &["there is no table", "streamforge provision"]);
    process_everything(&platform, &job, &["verified: read=3000 "]).await;

    let start = platform.folder.path().join("start.sql");
    let out = ["--out", start.to_str().unwrap()];
    // A second time it finds what it did, and says the same.
    for _ in 0..2 {
        check(&platform.run("lend", JOB, &out), 0, &["lent to flink, which goes on at 0:"]);
        let statement = std::fs::read_to_string(&start).unwrap();
        assert!(statement.contains("CREATE TEMPORARY TABLE `user_activity`"), "{statement}");
        assert!(statement.contains("specific-offsets' = 'partition:0,offset:"), "{statement}");
    }
    check(&platform.run("provision", JOB, &[]), 0, &["by day of event_ts_utc, lent to flink"]);
    check(&platform.run("position", JOB, &[]), 0, &["processed_conversions: 0:", "lent to flink"]);
    let (reporters, _seen) = status::channel();
    let config = platform.config(&job);
    let run = stream_processor::run(job.clone(), config, reporters, CancellationToken::new());
    let refused = tokio::time::timeout(Duration::from_secs(30), run).await.unwrap().unwrap_err();
    assert!(format!("{refused:#}").contains("lent to another engine"), "{refused:#}");

    platform.emit(6, 1_000).await;
    let twice = ["--position", "0:0,1:0,2:0,3:0,4:0,5:0"];
    check(&platform.run("adopt", JOB, &twice), 1, &["would be written twice"]);
    let cluster = ["--flink", "http://127.0.0.1:1", "--wait", "1s"];
    check(&platform.run("adopt", JOB, &cluster), 1, &["127.0.0.1:1 is not ready", "refused"]);
    check(&platform.run("adopt", JOB, &[]), 0, &["processed_conversions: ours again, at 0:"]);
    // What is ours is not moved by hand.
    let beyond = ["--position", "0:90000,1:90000,2:90000,3:90000,4:90000,5:90000"];
    check(&platform.run("adopt", JOB, &beyond), 0, &["processed_conversions: ours already"]);
    process_everything(&platform, &job, &["verified: read=4000 ", "lost=0 duplicated=0"]).await;
}
