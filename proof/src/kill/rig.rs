//! One topic, two tables, and processors that are processes: the stage of every case.
//!
//! The broker and the emitter live here; `SQLite` and files hold the tables. The emitter is held back by what the
//! tables hold, so that the broker never trims what a killed process must read again. It must never judge a row:
//! the verifier does, on records made again from the seed.

#![allow(clippy::disallowed_methods, reason = "deadlines need a clock")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use data_emitter::{
    Compression, EmitError, EmitterSettings, Fraction, Generator, GeneratorSettings, NextRecord,
    Pace, Properties, Rate, Summary, emit,
};
use lakehouse::commit::Lakehouse;
use lakehouse::position::Position;
use stream_processor::job::Job;
use streamforge::demo::Broker;
use streamforge::query::Tables;
use streamforge::verify::invariants::Invariants;
use streamforge::verify::{Record, Truth, Verdict, verify};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::process::{Armed, Process};
use crate::committer::lakehouse;

/// The job that is shipped.
const JOB: &str = include_str!("../../../stream-processor/sql-jobs/transform_pipeline.sql");
/// The job's filter, in hundredths of a dollar.
const THRESHOLD_CENTS: i128 = 5_000;
/// The broker trims what lies further back; what no table holds yet must stay.
const UNCOMMITTED_RECORDS_MAX: u64 = 10_000;
/// I8: how long everything may take to be committed once the faults are over.
pub(crate) const SETTLE_MAX: Duration = Duration::from_mins(1);
/// How often the tables are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(4);
/// When the first event happens, in milliseconds since 1970.
const START_MS: i64 = 1_772_368_496_789;
/// Findings that are put into words.
const FINDINGS_MAX: usize = 4;
const POSITION: &str = "streamforge.position";

/// What a rig is made of.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// Records a second, as long as the tables keep up.
    pub(crate) rate: u32,
    pub(crate) seed: u64,
    /// How often a processor commits.
    pub(crate) commit_ms: u64,
}

impl Stage {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self { name: name.to_owned(), partitions: 4, rate: 3_000, seed, commit_ms: 20 }
    }
}

/// Holds the emitter back by what every table has committed.
#[derive(Default)]
struct PaceByTables(Mutex<BTreeMap<i32, u64>>);

impl Pace for PaceByTables {
    fn admits(&self, record: &NextRecord) -> bool {
        let committed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = committed.get(&record.partition).copied().unwrap_or(0);
        record.index < committed + UNCOMMITTED_RECORDS_MAX
    }
}

/// Where the tables stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stand {
    /// The least offset of every partition.
    pub(crate) least: BTreeMap<i32, u64>,
    /// The sum of the tables' sequence numbers: it grows with every commit.
    pub(crate) commits: i64,
}

/// What a case came to.
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// What of I4 to I7 and I14 does not hold.
    violations: Vec<String>,
    pub(crate) commits: i64,
    pub(crate) settled: Duration,
}

impl Judged {
    pub(crate) fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.violations.is_empty()
    }

    pub(crate) fn words(&self) -> String {
        let Verdict { read, written, rejected, .. } = &self.verdict;
        let findings = self.verdict.findings.iter().chain(&self.violations);
        let findings = findings.take(FINDINGS_MAX).cloned().collect::<Vec<_>>().join("; ");
        format!(
            "{read} records, {written} rows, {rejected} rejects, {} commits, lag 0 after {:.1} s {findings}",
            self.commits,
            self.settled.as_secs_f64()
        )
    }
}

/// A running stage.
pub(crate) struct Rig {
    stage: Stage,
    folder: PathBuf,
    logs: PathBuf,
    started: usize,
    job: Job,
    job_file: PathBuf,
    broker: Broker,
    lake: Lakehouse,
    pace: Arc<PaceByTables>,
    emitter: EmitterSettings,
    stop: CancellationToken,
    emitting: Option<JoinHandle<Result<Summary, EmitError>>>,
}

impl Rig {
    /// Makes the topic and begins to fill it. Tables lie in `folder`, logs in `logs`.
    pub(crate) async fn start(stage: Stage, folder: &Path, logs: &Path) -> Result<Self> {
        let mut rig = Self::silent(stage, folder, logs).await?;
        rig.emit();
        Ok(rig)
    }

    /// The same, but nothing is sent yet.
    pub(crate) async fn silent(stage: Stage, folder: &Path, logs: &Path) -> Result<Self> {
        let folder = folder.join(&stage.name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let job_file = folder.join("job.sql");
        std::fs::write(&job_file, JOB)?;
        let job = Job::parse(JOB).context("the shipped job")?;
        let broker = Broker::start(&job.source.topic, stage.partitions)?;
        let lake = Lakehouse::open(&lakehouse(&folder)).await?;
        let emitter = emitter(&stage, &broker, &job.source.topic)?;
        Ok(Self {
            stage,
            folder,
            logs: logs.to_owned(),
            started: 0,
            job,
            job_file,
            broker,
            lake,
            pace: Arc::default(),
            emitter,
            stop: CancellationToken::new(),
            emitting: None,
        })
    }

    /// Begins to fill the topic.
    pub(crate) fn emit(&mut self) {
        let (emitter, stop) = (self.emitter.clone(), self.stop.clone());
        let pace: Arc<PaceByTables> = Arc::clone(&self.pace);
        self.emitting =
            Some(tokio::spawn(async move { emit(&emitter, pace, |_| {}, &stop).await }));
    }

    /// Manifests in the current snapshot of the table that has the most.
    pub(crate) async fn manifests(&self) -> Result<usize> {
        let mut most = 0;
        for (namespace, name) in Tables::of(&self.job).names() {
            if let Some(table) = self.lake.table(namespace, name).await? {
                most = most.max(table.inventory().await?.manifests);
            }
        }
        Ok(most)
    }

    pub(crate) fn lake(&self) -> &Lakehouse {
        &self.lake
    }

    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A processor of every partition, whoever else reads them.
    pub(crate) fn processor(&mut self, armed: Option<Armed>) -> Result<Process> {
        self.processor_with(&["--assign", "all"], None, "", armed)
    }

    /// A processor with these settings; `program` is another build of it, `tag` goes into its log's name.
    pub(crate) fn processor_with(
        &mut self,
        settings: &[&str],
        program: Option<&Path>,
        tag: &str,
        armed: Option<Armed>,
    ) -> Result<Process> {
        self.started += 1;
        let mut command = if let Some(program) = program {
            Command::new(program)
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("processor");
            command
        };
        let tables = lakehouse(&self.folder);
        command
            .arg("--job")
            .arg(&self.job_file)
            .args(["--brokers", &self.broker.address()])
            .args(["--catalog-uri", &format!("sqlite://{}/catalog.db", self.folder.display())])
            .args(["--warehouse", &tables.warehouse])
            .args(["--commit-interval", &format!("{}ms", self.stage.commit_ms)])
            .args(["--heartbeat-interval", &format!("{}ms", self.stage.commit_ms * 2)])
            // The in-process broker answers an idle fetch only after the whole wait.
            .args(["--kafka-properties", "fetch.wait.max.ms=10"])
            .args(["--status-address", "off"])
            .args(settings)
            .env("RUST_LOG", "info");
        let dot = if tag.is_empty() { "" } else { "." };
        let log = format!("{}-{:04}{dot}{tag}.log", self.stage.name, self.started);
        Process::start(command, &self.logs.join(log), armed)
    }

    /// Looks at the tables, and lets the emitter go on accordingly.
    pub(crate) async fn look(&self) -> Result<Stand> {
        let stand = self.stand().await?;
        self.pace.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&stand.least);
        Ok(stand)
    }

    /// A table that is not there yet stands nowhere.
    async fn stand(&self) -> Result<Stand> {
        let mut least: Option<BTreeMap<i32, u64>> = None;
        let mut commits = 0;
        for (namespace, name) in Tables::of(&self.job).names() {
            let Some(table) = self.lake.table(namespace, name).await? else {
                return Ok(Stand::default());
            };
            commits += table.snapshots().first().map_or(0, |snapshot| snapshot.sequence);
            let Some(text) = table.properties().remove(POSITION) else {
                return Ok(Stand::default());
            };
            let position = Position::from_json(&text)?;
            let at = position.offsets().iter();
            let at: BTreeMap<i32, u64> =
                at.map(|(p, offset)| (p.get(), offset.get().unsigned_abs())).collect();
            least = Some(match least {
                None => at,
                Some(mut least) => {
                    least.retain(|partition, _| at.contains_key(partition));
                    for (partition, offset) in &mut least {
                        *offset = at.get(partition).map_or(*offset, |other| (*offset).min(*other));
                    }
                    least
                }
            });
        }
        Ok(Stand { least: least.unwrap_or_default(), commits })
    }

    /// Looks until `enough` says so.
    ///
    /// # Errors
    ///
    /// It does not within `limit`; `what` was waited for.
    pub(crate) async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut enough: impl FnMut(&Stand) -> Result<bool>,
    ) -> Result<Stand> {
        let begun = Instant::now();
        loop {
            let stand = self.look().await?;
            if enough(&stand)? {
                return Ok(stand);
            }
            if begun.elapsed() >= limit {
                bail!("{}: {what} did not happen within {limit:?}: {stand:?}", self.stage.name);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lets time pass while the emitter follows the tables.
    pub(crate) async fn rest(&self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look().await?;
            tokio::time::sleep(LOOK_EVERY.min(until - Instant::now().min(until))).await;
        }
        Ok(())
    }

    /// The next commit of anybody, counted from now on.
    pub(crate) async fn next_commit(&self, of: &mut Process, limit: Duration) -> Result<Duration> {
        let begun = Instant::now();
        let before = self.stand().await?.commits;
        self.until("a new commit", limit, |stand| {
            if let Some(status) = of.ended()? {
                bail!("a processor ended by itself, {status}: {}", of.tail());
            }
            Ok(stand.commits > before)
        })
        .await?;
        Ok(begun.elapsed())
    }

    /// Ends the emitter, waits until `processors` have committed everything, stops them, and compares every
    /// record.
    pub(crate) async fn judge(mut self, processors: &mut [Process]) -> Result<Judged> {
        self.stop.cancel();
        let emitting = self.emitting.take().context("nothing was sent")?;
        // It is held back by the tables, so they are looked at while it ends.
        while !emitting.is_finished() {
            self.look().await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let sent = emitting.await??;
        ensure!(sent.undelivered() == 0 && sent.misplaced == 0, "not all was delivered: {sent:?}");
        let begun = Instant::now();
        let end = self
            .until("lag 0 (I8)", SETTLE_MAX, |stand| {
                for processor in &mut *processors {
                    if let Some(status) = processor.ended()? {
                        bail!("a processor ended by itself, {status}: {}", processor.tail());
                    }
                }
                Ok(stand.least.values().sum::<u64>() >= sent.delivered)
            })
            .await?;
        let settled = begun.elapsed();
        for processor in processors {
            processor.terminate()?;
        }
        let verdict = self.verify(&sent).await?;
        ensure!(verdict.read == sent.delivered, "{} of {} compared", verdict.read, sent.delivered);
        ensure!(verdict.written > 0, "nothing to lose: {verdict}");
        let found = Invariants::default().look(&self.lake, &Tables::of(&self.job)).await?;
        Ok(Judged { verdict, violations: found.violations, commits: end.commits, settled })
    }

    async fn verify(&self, sent: &Summary) -> Result<Verdict> {
        let count = usize::try_from(sent.sent.records)?;
        let records = Generator::new(&self.emitter.generator);
        let records = records.partitioned(self.stage.partitions).take(count);
        let records = records.map(|placed| Record {
            partition: placed.partition,
            offset: i64::try_from(placed.index).unwrap_or(i64::MAX),
            payload: placed.emission.payload,
        });
        let truth = Truth { threshold_cents: THRESHOLD_CENTS, topic: &self.job.source.topic };
        verify(&self.lake, &Tables::of(&self.job), &truth, records).await
    }
}

fn emitter(stage: &Stage, broker: &Broker, topic: &str) -> Result<EmitterSettings> {
    let share = Fraction::new(0.01).context("a share")?;
    let generator = GeneratorSettings {
        late: share,
        duplicates: share,
        out_of_order: share,
        malformed: Fraction::new(0.003).context("a share")?,
        ..GeneratorSettings::new(stage.seed, START_MS)
    };
    Ok(EmitterSettings {
        brokers: broker.address(),
        topic: topic.to_owned(),
        rate: Rate::PerSecond(NonZeroU32::new(stage.rate).context("a rate of zero")?),
        events: None,
        generator,
        compression: Compression::None,
        flush_timeout: Duration::from_secs(30),
        properties: Properties::default(),
    })
}
