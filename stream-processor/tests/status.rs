//! Whether a real process says truly how it is: while servers are away, at work, and standing by.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, on the real clock")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_emitter::{EmitterSettings, Fraction, GeneratorSettings, Summary, Unlimited, emit};
use serde_json::Value;
use streamforge::demo::Broker;
use tokio_util::sync::CancellationToken;

const JOB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sql-jobs/transform_pipeline.sql");
const TOPIC: &str = "user-activity-stream";
const WAIT_MAX: Duration = Duration::from_mins(1);

struct Processor {
    child: Child,
    page: String,
    log: PathBuf,
}

impl Processor {
    fn start(folder: &Path, settings: &[&str]) -> Self {
        let page = format!("127.0.0.1:{}", free_port());
        let log = folder.join(format!("{page}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_stream-processor"))
            .args(["--job", JOB, "--status-address", &page])
            .args(["--warehouse", &format!("file://{}", folder.join("warehouse").display())])
            .args(["--commit-interval", "100ms", "--heartbeat-interval", "200ms"])
            // The in-process broker answers an idle fetch only after the whole wait.
            .args(["--kafka-properties", "fetch.wait.max.ms=10"])
            .args(settings)
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn();
        Self { child: child.unwrap(), page, log }
    }

    /// Status and body of the page's answer; `None` while it does not answer.
    fn ask(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.page).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn report(&self) -> Value {
        serde_json::from_str(&self.ask("/status.json").unwrap().1).unwrap()
    }

    /// Waits for an answer of `/readyz` with this status whose words hold `words`.
    #[track_caller]
    fn wait_until(&mut self, status: u16, words: &str) {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < WAIT_MAX {
            if let Some(ended) = self.child.try_wait().unwrap() {
                panic!("it ended: {ended}; {}", self.said());
            }
            last = self.ask("/readyz").or(last);
            if last.as_ref().is_some_and(|(code, body)| *code == status && body.contains(words)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no {status} with `{words}`, but {last:?}; {}", self.said());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let begun = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().unwrap() {
                return ended;
            }
            assert!(begun.elapsed() < WAIT_MAX, "it does not stop: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn sqlite(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("catalog.db").display())
}

#[test]
fn a_catalog_that_is_away_at_start_is_waited_for_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(TOPIC, 1).unwrap();
    let catalog = format!("http://127.0.0.1:{}", free_port());
    let brokers = broker.address();
    let settings = ["--brokers", &brokers, "--assign", "all", "--catalog-uri", &catalog];
    let mut processor = Processor::start(folder.path(), &settings);
    processor.wait_until(503, &format!("waiting for the catalog at {catalog}"));
    assert_eq!(processor.ask("/healthz").unwrap(), (200, "alive\n".to_owned()));
    assert_eq!(processor.report().pointer("/health/state").unwrap(), "starting");
    assert_eq!(processor.ask("/").unwrap().0, 200);
    let begun = Instant::now();
    while !processor.said().contains(&format!("waiting for the catalog at {catalog}")) {
        assert!(begun.elapsed() < WAIT_MAX, "the log is silent: {}", processor.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(processor.stop().success(), "{}", processor.said());
}

#[test]
fn a_broker_that_is_away_at_start_is_waited_for_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let brokers = format!("127.0.0.1:{}", free_port());
    let catalog = sqlite(folder.path());
    let settings = ["--brokers", &brokers, "--assign", "all", "--catalog-uri", &catalog];
    let mut processor = Processor::start(folder.path(), &settings);
    processor.wait_until(503, &format!("waiting for Kafka at {brokers}"));
    assert!(processor.stop().success(), "{}", processor.said());
}

#[test]
fn a_member_of_the_group_without_partitions_is_ready_and_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(TOPIC, 1).unwrap();
    let (brokers, catalog) = (broker.address(), sqlite(folder.path()));
    let settings = ["--brokers", &brokers, "--group", "shop", "--catalog-uri", &catalog];
    let mut first = Processor::start(folder.path(), &settings);
    first.wait_until(200, "every record is committed");
    let second = Processor::start(folder.path(), &settings);
    let begun = Instant::now();
    let (mut active, mut idle) = loop {
        assert!(begun.elapsed() < WAIT_MAX, "none stands by: {}{}", first.said(), second.said());
        let stands_by = |one: &Processor| {
            let answer = one.ask("/readyz");
            answer.is_some_and(|(code, body)| code == 200 && body.contains("no partition"))
        };
        if stands_by(&second) {
            break (first, second);
        }
        if stands_by(&first) {
            break (second, first);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    active.wait_until(200, "every record is committed");
    assert!(active.stop().success(), "{}", active.said());
    idle.wait_until(200, "every record is committed");
    assert!(idle.stop().success(), "{}", idle.said());
}

async fn fill(broker: &Broker) -> Summary {
    let generator = GeneratorSettings {
        malformed: Fraction::new(0.02).unwrap(),
        ..GeneratorSettings::new(7, 1_772_368_496_789)
    };
    let settings = EmitterSettings {
        events: Some(5_000),
        ..EmitterSettings::new(broker.address(), TOPIC.to_owned(), generator)
    };
    emit(&settings, Arc::new(Unlimited), |_| {}, &CancellationToken::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_told_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(TOPIC, 2).unwrap();
    let sent = fill(&broker).await;
    let (brokers, catalog) = (broker.address(), sqlite(folder.path()));
    let settings = ["--brokers", &brokers, "--assign", "all", "--catalog-uri", &catalog];
    let mut processor = Processor::start(folder.path(), &settings);
    processor.wait_until(200, "every record is committed");
    let report = processor.report();
    let number = |path: &str| {
        let value = report.pointer(path).unwrap_or_else(|| panic!("no {path} in {report}"));
        value.as_u64().unwrap_or_else(|| panic!("{path} is {value}"))
    };
    let read = number("/job/read");
    assert_eq!(read, sent.delivered);
    let rejected = report.pointer("/job/rejected").unwrap().as_object().unwrap();
    let rejected: u64 = rejected.values().map(|count| count.as_u64().unwrap()).sum();
    assert!(rejected > 0, "nothing was broken");
    let written = number("/job/tables/0/rows");
    assert_eq!(written + number("/job/tables/0/filtered") + rejected, read);
    assert_eq!(number("/job/tables/1/rows"), rejected);
    assert!(number("/job/tables/0/bytes") > 0);

    let list = |path: &str| report.pointer(path).unwrap().as_array().unwrap().clone();
    let of = |entry: &Value, key: &str| entry.get(key).unwrap().as_u64().unwrap();
    let commits: u64 = list("/commits").iter().map(|commit| of(commit, "rows")).sum();
    assert_eq!(commits, written + rejected, "the commits of so short a life are all remembered");
    assert!(!list("/rows/marketing_events.processed_conversions/rows").is_empty());
    for reject in list("/rejects") {
        assert!(!reject.get("samples").unwrap().as_array().unwrap().is_empty(), "{reject}");
    }
    let (_, metrics) = processor.ask("/metrics").unwrap();
    let table = "{table=\"marketing_events.processed_conversions\"}";
    let line = format!("streamforge_rows_committed_total{table} {written}");
    assert!(metrics.lines().any(|found| found == line), "no `{line}` in {metrics}");
    let line = format!("streamforge_commit_duration_seconds_count{table}");
    assert!(metrics.contains(&line), "no `{line}` in {metrics}");
    assert!(processor.stop().success(), "{}", processor.said());
}
