//! `kill -9` at random moments, and rivals on the same partitions: nothing lost, nothing doubled.
//!
//! The broker and the emitter live in this process; the processor is the real binary in processes of its
//! own, over a `SQLite` catalog and files. What the tables hold in the end is compared with what the
//! emitter had acknowledged, by the verifier that shares no code with the engine.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may panic and read the clock"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use data_emitter::{
    Compression, EmitterSettings, Fraction, Generator, GeneratorSettings, NextRecord, Pace, Rate,
    Summary, emit,
};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{Lakehouse, LakehouseSettings};
use lakehouse::position::Position;
use stream_processor::job::Job;
use streamforge::demo::Broker;
use streamforge::query::Tables;
use streamforge::verify::{Record, Truth, Verdict, verify};
use tokio_util::sync::CancellationToken;

const JOB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sql-jobs/transform_pipeline.sql");
const PARTITIONS: i32 = 4;
/// The broker trims what lies further back than this; what no table holds yet must stay.
const UNCOMMITTED_RECORDS_MAX: u64 = 10_000;
/// How long everything may take to be committed once nothing is killed any more.
const SETTLE_MAX: Duration = Duration::from_mins(1);

/// Holds the emitter back by what every table has committed: a killed processor reads again from there.
#[derive(Default)]
struct PaceByTables(Mutex<BTreeMap<i32, u64>>);

impl Pace for PaceByTables {
    fn admits(&self, record: &NextRecord) -> bool {
        let committed = self.0.lock().unwrap().get(&record.partition).copied().unwrap_or(0);
        record.index < committed + UNCOMMITTED_RECORDS_MAX
    }
}

/// A processor that does not outlive a failed test.
struct Processor(Child);

impl Processor {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

struct Rig {
    dir: PathBuf,
    settings: LakehouseSettings,
    broker: Broker,
    job: Job,
    pace: Arc<PaceByTables>,
    logs: usize,
}

impl Rig {
    fn new(dir: &Path) -> Self {
        let job = Job::parse(&std::fs::read_to_string(JOB).unwrap()).unwrap();
        let settings = LakehouseSettings::new(
            CatalogSettings::Sqlite { path: dir.join("catalog.db") },
            format!("file://{}", dir.join("warehouse").display()),
        );
        let broker = Broker::start(&job.source.topic, PARTITIONS).unwrap();
        Self { dir: dir.to_owned(), settings, broker, job, pace: Arc::default(), logs: 0 }
    }

    /// A processor that reads every partition, whoever else does.
    fn spawn(&mut self) -> Processor {
        self.start(&["--assign", "all", "--status-address", "off"])
    }

    fn start(&mut self, settings: &[&str]) -> Processor {
        self.logs += 1;
        let log = File::create(self.dir.join(format!("processor-{}.log", self.logs))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_stream-processor"))
            .args(["--job", JOB, "--brokers", &self.broker.address()])
            .args(["--catalog-uri", &format!("sqlite://{}", self.dir.join("catalog.db").display())])
            .args(["--warehouse", &self.settings.warehouse])
            .args(["--commit-interval", "20ms", "--heartbeat-interval", "50ms"])
            // The in-process broker answers an idle fetch only after the whole wait.
            .args(["--kafka-properties", "fetch.wait.max.ms=10"])
            .args(settings)
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Processor(child.unwrap())
    }

    /// Fails with the last words of a processor that ended by itself.
    #[track_caller]
    fn check_running(&self, processors: &mut [Processor]) {
        for processor in processors {
            if let Some(status) = processor.0.try_wait().unwrap() {
                panic!("a processor ended by itself, {status}: {}", self.last_errors());
            }
        }
    }

    fn last_errors(&self) -> String {
        let logs = (1..=self.logs).map(|number| {
            std::fs::read_to_string(self.dir.join(format!("processor-{number}.log"))).unwrap()
        });
        let errors = logs
            .filter_map(|log| Some(log.lines().rfind(|line| line.contains("ERROR"))?.to_owned()));
        errors.collect::<Vec<_>>().join("\n")
    }

    fn logged(&self, words: &str) -> usize {
        let count = |number| {
            let log = std::fs::read_to_string(self.dir.join(format!("processor-{number}.log")));
            log.unwrap().matches(words).count()
        };
        (1..=self.logs).map(count).sum()
    }

    fn emitter(&self, seed: u64) -> EmitterSettings {
        let share = |share| Fraction::new(share).unwrap();
        let generator = GeneratorSettings {
            late: share(0.01),
            duplicates: share(0.01),
            out_of_order: share(0.01),
            malformed: share(0.01),
            ..GeneratorSettings::new(seed, 1_772_368_496_789)
        };
        EmitterSettings {
            brokers: self.broker.address(),
            topic: self.job.source.topic.clone(),
            rate: Rate::PerSecond(NonZeroU32::new(20_000).unwrap()),
            events: None,
            generator,
            compression: Compression::None,
            flush_timeout: Duration::from_secs(30),
            properties: data_emitter::Properties::default(),
        }
    }

    /// Where every table stands; a table that is not there yet stands nowhere.
    async fn position(&self, lake: &Lakehouse) -> BTreeMap<i32, u64> {
        let mut least: Option<BTreeMap<i32, u64>> = None;
        for (namespace, name) in Tables::of(&self.job).names() {
            let Some(table) = lake.table(namespace, name).await.unwrap() else {
                return BTreeMap::new();
            };
            let Some(text) = table.properties().get("streamforge.position").cloned() else {
                return BTreeMap::new();
            };
            let at = Position::from_json(&text).unwrap();
            let at: BTreeMap<i32, u64> = at
                .offsets()
                .iter()
                .map(|(p, offset)| (p.get(), u64::try_from(offset.get()).unwrap()))
                .collect();
            least = Some(match least {
                None => at,
                Some(least) => least
                    .into_iter()
                    .map(|(p, o)| (p, o.min(at.get(&p).copied().unwrap_or(0))))
                    .collect(),
            });
        }
        least.unwrap_or_default()
    }

    async fn follow(&self, lake: &Lakehouse) -> u64 {
        let position = self.position(lake).await;
        let sum = position.values().sum();
        *self.pace.0.lock().unwrap() = position;
        sum
    }

    /// Lets `child` run until every acknowledged record is committed.
    async fn settle(&self, lake: &Lakehouse, sent: &Summary, children: &mut [Processor]) {
        let begun = Instant::now();
        while self.follow(lake).await < sent.delivered {
            assert!(begun.elapsed() < SETTLE_MAX, "not settled: {:?}", self.position(lake).await);
            self.check_running(children);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn prove(&self, lake: &Lakehouse, emitter: &EmitterSettings, sent: &Summary) -> Verdict {
        assert_eq!(sent.undelivered(), 0);
        assert_eq!(sent.misplaced, 0);
        let count = usize::try_from(sent.sent.records).unwrap();
        let records = Generator::new(&emitter.generator).partitioned(PARTITIONS).take(count);
        let records = records.map(|placed| Record {
            partition: placed.partition,
            offset: i64::try_from(placed.index).unwrap(),
            payload: placed.emission.payload,
        });
        let truth = Truth { threshold_cents: 5_000, topic: &self.job.source.topic };
        verify(lake, &Tables::of(&self.job), &truth, records).await.unwrap()
    }
}

fn terminate(Processor(child): &mut Processor) {
    let pid = i32::try_from(child.id()).unwrap();
    let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap();
    assert!(sent.success());
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "after SIGTERM: {status}");
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "still there 10 s after SIGTERM");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A number below `bound` that follows from `state`.
fn below(state: &mut u64, bound: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % bound
}

/// Kills processors `kills` times while `at_once` of them run on the same partitions.
async fn torture(kills: usize, at_once: usize, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let lake = Lakehouse::open(&rig.settings).await.unwrap();
    let emitter = rig.emitter(seed);
    let stop = CancellationToken::new();
    let emitting = {
        let (emitter, pace, stop) = (emitter.clone(), Arc::clone(&rig.pace), stop.clone());
        tokio::spawn(async move { emit(&emitter, pace, |_| {}, &stop).await })
    };
    let mut dice = seed | 1;
    let mut children: Vec<Processor> = (0..at_once).map(|_| rig.spawn()).collect();
    let (mut productive, mut before) = (0, 0);
    for _ in 0..kills {
        // From before the first read to well after several commits.
        let until = Instant::now() + Duration::from_millis(below(&mut dice, 500));
        while Instant::now() < until {
            rig.follow(&lake).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let victim = usize::try_from(below(&mut dice, at_once as u64)).unwrap();
        rig.check_running(&mut children);
        children[victim].kill();
        let after = rig.follow(&lake).await;
        productive += usize::from(after > before);
        before = after;
        children[victim] = rig.spawn();
    }
    stop.cancel();
    let sent = emitting.await.unwrap().unwrap();
    rig.settle(&lake, &sent, &mut children).await;
    children.iter_mut().for_each(terminate);

    let verdict = rig.prove(&lake, &emitter, &sent).await;
    let (commits, fenced) = (rig.logged("\"committed\""), rig.logged("another writer moved"));
    println!(
        "{kills} kills of {at_once} at once, {productive} after progress, {commits} commits, {fenced} fenced: {verdict}"
    );
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.read, sent.delivered);
    assert!(verdict.rejected > 0 && verdict.written > 0);
    assert!(productive * 4 > kills, "most were killed before they did anything");
    if at_once > 1 {
        assert!(fenced > 0, "the rivals never met");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_lose_and_double_nothing() {
    torture(100, 1, 0x5eed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processors_on_the_same_partitions_are_fenced() {
    torture(10, 2, 0xfe9ce).await;
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether the processor with its status page at `address` says that it commits.
fn is_healthy(address: &str) -> bool {
    let mut ask = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    let ask = ask.args(["healthcheck", "--status-address", address]).stderr(Stdio::null());
    ask.status().unwrap().success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shares_the_topic_and_takes_over_from_its_dead() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let lake = Lakehouse::open(&rig.settings).await.unwrap();
    let emitter = rig.emitter(0x9709);
    let stop = CancellationToken::new();
    let emitting = {
        let (emitter, pace, stop) = (emitter.clone(), Arc::clone(&rig.pace), stop.clone());
        tokio::spawn(async move { emit(&emitter, pace, |_| {}, &stop).await })
    };
    let first_page = format!("127.0.0.1:{}", free_port());
    assert!(!is_healthy(&first_page), "healthy before it runs");
    let mut children = vec![
        rig.start(&["--group", "shop", "--status-address", &first_page]),
        rig.start(&["--group", "shop", "--status-address", "off"]),
    ];
    // Both at work, then one dies and the other has everything.
    let begun = Instant::now();
    let both_at_work = |rig: &Rig| {
        let log = |number| {
            std::fs::read_to_string(rig.dir.join(format!("processor-{number}.log"))).unwrap()
        };
        [1, 2].into_iter().all(|number| log(number).contains("\"committed\""))
    };
    while !both_at_work(&rig) {
        assert!(begun.elapsed() < SETTLE_MAX, "the topic is not shared");
        rig.follow(&lake).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while !is_healthy(&first_page) {
        assert!(begun.elapsed() < SETTLE_MAX, "it commits, and says it does not");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    children.remove(1).kill();
    let before = rig.follow(&lake).await;
    while rig.follow(&lake).await < before + 2 * UNCOMMITTED_RECORDS_MAX * 4 {
        assert!(begun.elapsed() < 2 * SETTLE_MAX, "nobody took over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    let sent = emitting.await.unwrap().unwrap();
    rig.settle(&lake, &sent, &mut children).await;
    children.iter_mut().for_each(terminate);
    let verdict = rig.prove(&lake, &emitter, &sent).await;
    println!("{verdict}");
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.read, sent.delivered);
}
