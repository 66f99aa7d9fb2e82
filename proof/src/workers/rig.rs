//! A broker, an emitter at a steady pace, and processors of one group.

use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use data_emitter::{
    Compression, EmitterSettings, Fraction, Generator, GeneratorSettings, Properties, Rate,
    Summary, Unlimited, emit,
};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{Lakehouse, LakehouseSettings};
use lakehouse::position::Position;
use lakehouse::storage::Store;
use rustix::process::{Pid, Signal, kill_process};
use stream_processor::job::Job;
use streamforge::demo::Broker;
use streamforge::query::Tables;
use streamforge::verify::{Record, Truth, Verdict, verify};
use tokio_util::sync::CancellationToken;

use super::log::Commits;
use super::now;
use crate::servers::Servers;

const JOB: &str = include_str!("../../../stream-processor/sql-jobs/transform_pipeline.sql");
const NAMESPACE: &str = "marketing_events";
/// The threshold in it.
const THRESHOLD_CENTS: i128 = 5_000;
/// Two for each of eight workers.
const PARTITIONS: i32 = 16;
/// Enough that each of eight workers has rows for both tables in every interval; a minute of it is far from what
/// makes the broker trim.
const EVENTS_PER_S: u32 = 2_000;
const MALFORMED: f64 = 0.03;
const COMMIT_INTERVAL: &str = "1s";
/// A group gathers its members, and rebalances for each late one.
const JOINED_MAX: Duration = Duration::from_mins(2);
const SETTLE_MAX: Duration = Duration::from_mins(1);
const STOP_MAX: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What one round found.
pub(super) struct Round {
    /// The first half of the time: phases are still sought.
    pub(super) settling: Commits,
    /// The second half.
    pub(super) settled: Commits,
    pub(super) verdict: Verdict,
}

pub(super) struct Rig {
    folder: PathBuf,
    job: Job,
    broker: Broker,
    settings: LakehouseSettings,
    emitter: EmitterSettings,
}

/// A worker that does not outlive a failed round.
struct Worker {
    child: Child,
    log: PathBuf,
    mark: u64,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Rig {
    /// Tables in `folder`, or on `servers`. The broker is this process's own in any case: it is not what is measured.
    pub(super) fn new(folder: &Path, servers: Option<&Servers>, seed: u64) -> Result<Self> {
        // Servers that are kept hold the tables of earlier rounds.
        let text = JOB.replace(NAMESPACE, &format!("workers_{}", uuid::Uuid::now_v7().simple()));
        let job = Job::parse(&text)?;
        std::fs::write(folder.join("job.sql"), text)?;
        let broker = Broker::start(&job.source.topic, PARTITIONS)?;
        let settings = servers.map_or_else(|| in_folder(folder), Servers::lakehouse);
        let rate = NonZeroU32::new(EVENTS_PER_S).context("a rate")?;
        let generator = GeneratorSettings {
            malformed: Fraction::new(MALFORMED)?,
            ..GeneratorSettings::new(seed, 1_772_368_496_789)
        };
        let emitter = EmitterSettings {
            brokers: broker.address(),
            topic: job.source.topic.clone(),
            rate: Rate::PerSecond(rate),
            events: None,
            generator,
            compression: Compression::None,
            flush_timeout: Duration::from_secs(30),
            properties: Properties::default(),
        };
        Ok(Self { folder: folder.to_owned(), job, broker, settings, emitter })
    }

    /// Lets `workers` work, and measures for so long once all of them commit.
    pub(super) async fn run(&self, workers: usize, measured: Duration) -> Result<Round> {
        let Self { settings, .. } = self;
        Store::open(&settings.warehouse, settings.s3.as_ref())?.make_bucket().await?;
        let lake = Lakehouse::open(settings).await?;
        let stop = CancellationToken::new();
        let emitting = {
            let (emitter, stop) = (self.emitter.clone(), stop.clone());
            tokio::spawn(async move { emit(&emitter, Arc::new(Unlimited), |_| {}, &stop).await })
        };
        let mut workers: Vec<Worker> =
            (0..workers).map(|number| self.start(number)).collect::<Result<_>>()?;
        joined(&mut workers).await?;
        let settling = watched(&mut workers, measured / 2).await?;
        let settled = watched(&mut workers, measured / 2).await?;
        stop.cancel();
        let sent = emitting.await??;
        ensure!(sent.undelivered() == 0 && sent.misplaced == 0, "the broker failed: {sent:?}");
        self.settle(&lake, &sent, &mut workers).await?;
        for worker in &mut workers {
            end(worker).await?;
        }
        let verdict = self.prove(&lake, &sent).await?;
        ensure!(verdict.read == sent.delivered, "not all was read: {verdict}");
        Ok(Round { settling, settled, verdict })
    }

    fn start(&self, number: usize) -> Result<Worker> {
        let log = self.folder.join(format!("worker-{number}.log"));
        let job = self.folder.join("job.sql").display().to_string();
        let catalog = match &self.settings.catalog {
            CatalogSettings::Sqlite { path } => format!("sqlite://{}", path.display()),
            CatalogSettings::Rest { uri, .. } => uri.clone(),
        };
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(s3) = &self.settings.s3 {
            command
                .args(["processor", "--s3-endpoint", s3.endpoint.as_deref().unwrap_or_default()])
                .env("S3_ACCESS_KEY", &s3.access_key)
                .env("S3_SECRET_KEY", s3.secret_key.reveal());
        } else {
            command.arg("processor");
        }
        let child = command
            .args(["--job", &job, "--brokers", &self.broker.address(), "--catalog-uri", &catalog])
            .args(["--warehouse", &self.settings.warehouse, "--group", "workers"])
            .args(["--commit-interval", COMMIT_INTERVAL, "--status-address", "off"])
            // The in-process broker answers an idle fetch only after the whole wait.
            .args(["--kafka-properties", "fetch.wait.max.ms=10", "--preflight", "off"])
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("a worker can't be started")?;
        Ok(Worker { child, log, mark: 0 })
    }

    /// Waits until every acknowledged record is in every table.
    async fn settle(&self, lake: &Lakehouse, sent: &Summary, workers: &mut [Worker]) -> Result<()> {
        let begun = now();
        while self.committed(lake).await? < sent.delivered {
            check_running(workers)?;
            check_time(begun, SETTLE_MAX, "all is committed")?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Records below the position of the table that is behind.
    async fn committed(&self, lake: &Lakehouse) -> Result<u64> {
        let mut least = u64::MAX;
        for (namespace, name) in Tables::of(&self.job).names() {
            let table = lake.table(namespace, name).await?.context("a table is missing")?;
            let properties = table.properties();
            let text = properties.get("streamforge.position").context("no position")?;
            let position = Position::from_json(text)?;
            let sum: i64 = position.offsets().values().map(|offset| offset.get()).sum();
            least = least.min(u64::try_from(sum)?);
        }
        Ok(least)
    }

    async fn prove(&self, lake: &Lakehouse, sent: &Summary) -> Result<Verdict> {
        let count = usize::try_from(sent.sent.records)?;
        let records = Generator::new(&self.emitter.generator).partitioned(PARTITIONS).take(count);
        let records = records.map(|placed| Record {
            partition: placed.partition,
            offset: i64::try_from(placed.index).unwrap_or(i64::MAX),
            payload: placed.emission.payload,
        });
        let truth = Truth { threshold_cents: THRESHOLD_CENTS, topic: &self.job.source.topic };
        verify(lake, &Tables::of(&self.job), &truth, records).await
    }
}

fn in_folder(folder: &Path) -> LakehouseSettings {
    LakehouseSettings::new(
        CatalogSettings::Sqlite { path: folder.join("catalog.db") },
        format!("file://{}", folder.join("warehouse").display()),
    )
}

/// Waits until every worker has committed something.
async fn joined(workers: &mut [Worker]) -> Result<()> {
    let begun = now();
    loop {
        let mut idle = 0;
        for worker in workers.iter() {
            let log = std::fs::read_to_string(&worker.log)?;
            idle += usize::from(!log.contains("\"committed\""));
        }
        if idle == 0 {
            return Ok(());
        }
        check_running(workers)?;
        check_time(begun, JOINED_MAX, "every worker commits")?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the workers do from now on, for so long.
async fn watched(workers: &mut [Worker], span: Duration) -> Result<Commits> {
    for worker in workers.iter_mut() {
        worker.mark = std::fs::metadata(&worker.log)?.len();
    }
    let begun = now();
    tokio::time::sleep(span).await;
    check_running(workers)?;
    let mut commits = Commits::default();
    for worker in workers.iter_mut() {
        commits.read(&worker.log, &mut worker.mark)?;
    }
    commits.over(begun.elapsed())
}

/// Fails with the last words of a worker that ended by itself.
fn check_running(workers: &mut [Worker]) -> Result<()> {
    for worker in workers {
        if let Some(status) = worker.child.try_wait()? {
            let log = std::fs::read_to_string(&worker.log)?;
            let words = log.lines().rfind(|line| line.contains("ERROR")).unwrap_or_default();
            bail!("a worker ended by itself, {status}: {words}");
        }
    }
    Ok(())
}

fn check_time(begun: Instant, longest: Duration, what: &str) -> Result<()> {
    ensure!(begun.elapsed() < longest, "waited {} s until {what}", longest.as_secs());
    Ok(())
}

async fn end(worker: &mut Worker) -> Result<()> {
    let pid = Pid::from_child(&worker.child);
    kill_process(pid, Signal::TERM)?;
    let begun = now();
    loop {
        if let Some(status) = worker.child.try_wait()? {
            ensure!(status.success(), "after SIGTERM: {status}");
            return Ok(());
        }
        check_time(begun, STOP_MAX, "a worker ends after SIGTERM")?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
