//! A job with `'scan.bounded.mode' = 'latest-offset'`: it ends by itself, with everything committed that was there.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and read the clock"
)]

use std::fs::File;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_emitter::{
    Compression, EmitterSettings, Fraction, Generator, GeneratorSettings, Rate, Unlimited, emit,
};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{Lakehouse, LakehouseSettings};
use stream_processor::job::Job;
use streamforge::demo::Broker;
use streamforge::query::Tables;
use streamforge::verify::{Record, Truth, verify};
use tokio_util::sync::CancellationToken;

const SHIPPED: &str = include_str!("../sql-jobs/transform_pipeline.sql");
const PARTITIONS: i32 = 4;
/// Few enough for the in-process broker to keep them all.
const EVENTS: u64 = 30_000;
/// How long a run may take that has so little to do.
const RUN_MAX: Duration = Duration::from_mins(1);

/// A run that does not outlive a failed test.
struct Run(Child);

impl Run {
    fn start(folder: &Path, broker: &Broker, name: &str, more: &[&str]) -> Self {
        let log = File::create(folder.join(format!("{name}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_stream-processor"))
            .arg("--job")
            .arg(folder.join("job.sql"))
            .args(["--brokers", &broker.address(), "--status-address", "off"])
            .args(["--catalog-uri", &format!("sqlite://{}", folder.join("catalog.db").display())])
            .args(["--warehouse", &format!("file://{}", folder.join("warehouse").display())])
            .args(more)
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }

    /// Waits for it to end by itself, and for the best; returns what it said.
    #[track_caller]
    fn done(mut self, folder: &Path, name: &str) -> String {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < RUN_MAX, "{name} has not ended");
            std::thread::sleep(Duration::from_millis(10));
        };
        let log = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
        assert!(status.success(), "{name}: {status}\n{log}");
        assert!(log.contains("everything up to the end of the topic is committed"), "{log}");
        log
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn emitter(broker: &Broker, topic: &str) -> EmitterSettings {
    let generator = GeneratorSettings {
        malformed: Fraction::new(0.01).unwrap(),
        ..GeneratorSettings::new(0xb0, 1_772_368_496_789)
    };
    EmitterSettings {
        brokers: broker.address(),
        topic: topic.to_owned(),
        rate: Rate::PerSecond(NonZeroU32::new(15_000).unwrap()),
        events: Some(EVENTS),
        generator,
        compression: Compression::None,
        flush_timeout: Duration::from_secs(30),
        properties: data_emitter::Properties::default(),
    }
}

/// The shipped job with an end, written into the folder.
fn bounded_job(folder: &Path) -> Job {
    let bounded = SHIPPED.replace(
        "'scan.startup.mode' = 'earliest-offset'",
        "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'",
    );
    assert_ne!(bounded, SHIPPED);
    std::fs::write(folder.join("job.sql"), &bounded).unwrap();
    Job::parse(&bounded).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_where_the_topic_ended_and_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let job = bounded_job(folder);
    let broker = Broker::start(&job.source.topic, PARTITIONS).unwrap();
    let emitter = emitter(&broker, &job.source.topic);

    // Nothing is there yet, which is an end, too.
    Run::start(folder, &broker, "empty", &["--assign", "all"]).done(folder, "empty");

    let emitting = {
        let emitter = emitter.clone();
        tokio::spawn(async move {
            emit(&emitter, Arc::new(Unlimited), |_| {}, &CancellationToken::new()).await
        })
    };
    // What comes while it runs is not its business, or it would not end before the emitter does.
    Run::start(folder, &broker, "meanwhile", &["--assign", "all"]).done(folder, "meanwhile");
    let sent = emitting.await.unwrap().unwrap();
    assert_eq!(sent.delivered, EVENTS);

    // Interrupted runs, and two that share the rest, each of which ends by itself.
    let mut killed = Run::start(folder, &broker, "killed", &["--commit-interval", "10ms"]);
    std::thread::sleep(Duration::from_millis(300));
    killed.0.kill().unwrap();
    drop(killed);
    let first = Run::start(folder, &broker, "first", &["--group", "shop"]);
    let second = Run::start(folder, &broker, "second", &["--group", "shop"]);
    first.done(folder, "first");
    second.done(folder, "second");

    prove(folder, &job, &emitter, sent.sent.records).await;

    // Once more finds nothing, and commits nothing.
    let log = Run::start(folder, &broker, "again", &["--assign", "all"]).done(folder, "again");
    assert!(!log.contains("\"committed\""), "{log}");
}

/// Everything is there, each record once.
async fn prove(folder: &Path, job: &Job, emitter: &EmitterSettings, records_sent: u64) {
    let settings = LakehouseSettings::new(
        CatalogSettings::Sqlite { path: folder.join("catalog.db") },
        format!("file://{}", folder.join("warehouse").display()),
    );
    let lake = Lakehouse::open(&settings).await.unwrap();
    let records = Generator::new(&emitter.generator).partitioned(PARTITIONS);
    let records = records.take(usize::try_from(records_sent).unwrap()).map(|placed| Record {
        partition: placed.partition,
        offset: i64::try_from(placed.index).unwrap(),
        payload: placed.emission.payload,
    });
    let truth = Truth { threshold_cents: 5_000, topic: &job.source.topic };
    let verdict = verify(&lake, &Tables::of(job), &truth, records).await.unwrap();
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.read, EVENTS);
    assert!(verdict.rejected > 0 && verdict.written > 0);
}

/// Each is fenced by the other whenever they meet, also when it has read everything already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_on_the_same_partitions_both_end() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let job = bounded_job(folder);
    let broker = Broker::start(&job.source.topic, PARTITIONS).unwrap();
    let emitter = emitter(&broker, &job.source.topic);
    let stop = CancellationToken::new();
    let sent = emit(&emitter, Arc::new(Unlimited), |_| {}, &stop).await.unwrap();
    let settings = ["--assign", "all", "--commit-interval", "10ms"];
    let first = Run::start(folder, &broker, "first", &settings);
    let second = Run::start(folder, &broker, "second", &settings);
    first.done(folder, "first");
    second.done(folder, "second");
    prove(folder, &job, &emitter, sent.sent.records).await;
}
