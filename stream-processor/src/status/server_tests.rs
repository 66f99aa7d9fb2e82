//! The server as a browser or a scraper meets it, on a real port.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use clap::Parser;
use lakehouse::ids::{Offset, PartitionId};
use serde_json::Value;

use super::*;
use crate::config::{Cli, Config};
use crate::job::Job;
use crate::status::{CommitEntry, Phase, Reporters, TableProgress, Wait, channel};

const JOB: &str = include_str!("../../sql-jobs/transform_pipeline.sql");
const PATHS: [&str; 9] = [
    "/",
    "/page.css",
    "/page.js",
    "/icon.svg",
    "/healthz",
    "/readyz",
    "/metrics",
    "/status.json",
    "/job.json",
];

struct Rig {
    address: String,
    server: Arc<Server>,
    reporters: Reporters,
}

impl Rig {
    async fn new() -> Self {
        let job = Job::parse(JOB).unwrap();
        let cli = Cli::parse_from([
            "stream-processor",
            "--s3-access-key",
            "canary-access",
            "--s3-secret-key",
            "canary-secret",
        ]);
        let mut config = Config::check(&cli.run, &job.source).unwrap();
        config.consumer.extra =
            [("sasl.password", "canary-pass"), ("sasl.username", "canary-name")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        let about = About::new(JOB, &job, &config);
        let (reporters, status) = channel();
        let server = Arc::new(Server { status, about, memory: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes = routes(Arc::clone(&server));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, server, reporters }
    }

    /// Head and body of the answer.
    async fn ask(&self, method: &str, path: &str) -> (String, String) {
        let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let address = self.address.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(ASK_MAX)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.to_lowercase(), body.to_owned())
        });
        asked.await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.ask("GET", path).await.1).unwrap()
    }

    /// A job that runs, has committed, and has met a server which repeats the keys it is sent.
    fn run(&self) {
        let at = |offset| [(PartitionId::new(0), Offset::new(offset))].into();
        let mut committed =
            TableProgress { name: "shop.sales".to_owned(), ..TableProgress::default() };
        committed.position = at(7);
        committed.rows = 5;
        committed.committing = Some(Duration::ZERO);
        committed.trouble = Some("403 for canary-access, canary-secret, canary-pass".to_owned());
        self.reporters.life.send_modify(|life| {
            life.phase = Phase::Running;
            let cause = "401 for canary-access".to_owned();
            life.waits.insert("a server".to_owned(), Wait { since: Duration::ZERO, cause });
        });
        self.reporters.reader.send_modify(|reader| {
            reader.joined = true;
            reader.position = at(10);
            reader.high = at(10);
        });
        self.reporters.job.send_modify(|job| job.tables = vec![committed]);
        self.reporters.journal.send_modify(|journal| {
            journal.commit(CommitEntry {
                at: Duration::from_secs(1),
                table: "shop.sales".to_owned(),
                records: 7,
                rows: 5,
                files: 1,
                bytes: 100,
                took: Duration::from_millis(12),
                snapshot: Some(i64::MAX),
                conflicts: 0,
            });
        });
        self.server.observe();
    }
}

#[tokio::test]
async fn every_answer_forbids_what_a_page_does_not_need() {
    let rig = Rig::new().await;
    for path in PATHS.into_iter().chain(["/nothing-here"]) {
        let (head, _) = rig.ask("GET", path).await;
        for header in [
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{path}: no `{header}` in {head}");
        }
        assert!(!head.contains("access-control"), "{path}: {head}");
    }
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let rig = Rig::new().await;
    for path in PATHS {
        for method in ["POST", "PUT", "DELETE"] {
            let (head, _) = rig.ask(method, path).await;
            assert!(head.starts_with("http/1.0 405"), "{method} {path}: {head}");
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_any_answer() {
    let rig = Rig::new().await;
    rig.run();
    for phase in [Phase::Running, Phase::Starting] {
        rig.reporters.life.send_modify(|life| life.phase = phase);
        for path in PATHS {
            let (head, body) = rig.ask("GET", path).await;
            assert!(!head.contains("canary") && !body.contains("canary"), "{path}: {body}");
        }
    }
    let (_, body) = rig.ask("GET", "/job.json").await;
    assert!(body.contains("KAFKA_PROPERTIES sasl.password"), "{body}");
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let rig = Rig::new().await;
    for path in ["/", "/page.css", "/page.js", "/icon.svg"] {
        let (_, body) = rig.ask("GET", path).await;
        // Names of XML languages look like addresses, and are never loaded.
        let body = body.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "//cdn", "innerHTML", "style=", "onclick", "eval("] {
            assert!(!body.contains(word), "{path} holds `{word}`");
        }
    }
}

#[tokio::test]
async fn the_document_keeps_the_names_that_others_read() {
    let rig = Rig::new().await;
    rig.run();
    let report = rig.json("/status.json").await;
    let at = |path: &str| {
        report.pointer(path).unwrap_or_else(|| panic!("no {path} in {report}")).clone()
    };
    assert_eq!(at("/reader/position/0"), 10);
    assert_eq!(at("/reader/high/0"), 10);
    assert_eq!(at("/job/read"), 0);
    assert!(at("/job/rejected").is_object());
    assert_eq!(at("/job/fenced"), 0);
    assert_eq!(at("/job/tables/0/name"), "shop.sales");
    assert_eq!(at("/job/tables/0/position/0"), 7);
    assert_eq!(at("/job/tables/0/rows"), 5);
    for name in ["commits", "conflicts", "last_commit_ms", "last_snapshot"] {
        at(&format!("/job/tables/0/{name}"));
    }
    assert_eq!(at("/job/tables/0/lag/0"), 3);
    // A browser's numbers end at 2^53.
    assert_eq!(at("/commits/0/snapshot"), "9223372036854775807");
    assert_eq!(
        rig.json("/job.json").await.pointer("/source/topic").unwrap(),
        "user-activity-stream"
    );
}

#[tokio::test]
async fn readiness_is_told_with_its_reason() {
    let rig = Rig::new().await;
    let wait = Wait { since: Duration::ZERO, cause: "connection refused".to_owned() };
    rig.reporters.life.send_modify(|life| {
        life.waits.insert("the catalog at http://c:1".to_owned(), wait);
    });
    let (head, body) = rig.ask("GET", "/readyz").await;
    assert!(head.starts_with("http/1.0 503"), "{head}");
    assert!(body.contains("waiting for the catalog at http://c:1"), "{body}");
    assert!(body.contains("connection refused"), "{body}");
    assert_eq!(rig.ask("GET", "/healthz").await.1, "alive\n");
    let address = rig.address.clone();
    let asked = tokio::task::spawn_blocking(move || super::ask(&address)).await.unwrap();
    assert!(asked.unwrap_err().to_string().contains("the catalog at http://c:1"));
}
