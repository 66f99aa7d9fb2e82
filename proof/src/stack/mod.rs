//! One job of its own on the real servers: a topic, two tables, processors, and what was sent.
//!
//! Owns what every suite on the real servers needs: it sends and remembers, starts and kills, waits and compares.
//! It must never judge a row: the verifier does, on records whose offsets the broker acknowledged.

mod events;
mod feed;
mod lanes;
mod processor;
mod stage;
mod tables;
mod topic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lakehouse::commit::Lakehouse;
use lakehouse::storage::Store;
use stream_processor::job::Job;
use streamforge::query::Tables;
use streamforge::verify::invariants::Invariants;
use streamforge::verify::{Record, Truth, Verdict, verify_ours};
use tokio::runtime::Runtime;

use crate::servers::{ACCESS_KEY, SECRET_KEY, Servers, WAREHOUSE, until};

pub(crate) use events::{Broken, purchase, purchase_of_bytes, purchase_of_fields};
pub(crate) use feed::Feed;
pub(crate) use lanes::Named;
pub(crate) use processor::{Processor, Spawn, Stop};
pub(crate) use stage::{Case, Found, Refuted, StackArgs, Stage, must, refuted};
pub(crate) use tables::Stand;
pub(crate) use topic::{Codec, Sender, Sent, Topic};

/// The job that is shipped; a scene reads another topic into other tables.
const JOB: &str = include_str!("../../../stream-processor/sql-jobs/transform_pipeline.sql");
const TOPIC: &str = "user-activity-stream";
const NAMESPACE: &str = "marketing_events";
/// The job's filter, in cents.
const THRESHOLD_CENTS: i128 = 5_000;
/// How long processors may take to commit all that is there: I8's minute.
pub(crate) const SETTLE_MAX: Duration = Duration::from_mins(1);

/// How much of a processor's last words a table shows.
const SAID_MAX: usize = 240;

/// Every record that the broker acknowledged, by partition and offset.
pub(crate) type Ledger = BTreeMap<(i32, i64), Option<Vec<u8>>>;

/// One job of its own.
pub(crate) struct Scene<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) topic: Topic,
    pub(crate) ledger: Ledger,
    pub(crate) lake: Lakehouse,
    pub(crate) runtime: &'a Runtime,
    name: String,
    folder: PathBuf,
    job: Job,
    job_file: PathBuf,
    logs: usize,
}

impl<'a> Scene<'a> {
    /// An empty topic of `partitions`, no table yet. Logs go to a folder of its own under `logs`.
    pub(crate) fn new(
        servers: &'a Servers,
        runtime: &'a Runtime,
        name: &str,
        partitions: i32,
        topic_settings: &[(&str, &str)],
        logs: &Path,
    ) -> Result<Self> {
        // Servers that are kept hold the tables of earlier runs.
        let name = format!("{name}_{}", uuid::Uuid::now_v7().simple());
        let folder = logs.join(&name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let text = JOB.replace(TOPIC, &name).replace(NAMESPACE, &name);
        let job = Job::parse(&text)?;
        ensure!(job.source.topic == name, "the shipped job no longer reads {TOPIC}");
        ensure!(
            job.rejects_spec().namespace == name,
            "the shipped job no longer fills {NAMESPACE}"
        );
        let job_file = folder.join("job.sql");
        std::fs::write(&job_file, text)?;
        let settings = servers.lakehouse();
        let lake = runtime.block_on(async {
            Store::open(&settings.warehouse, settings.s3.as_ref())?.make_bucket().await?;
            Lakehouse::open(&settings).await
        })?;
        let topic = Topic::create(&servers.kafka(), &name, partitions, topic_settings)?;
        let ledger = Ledger::new();
        Ok(Self { servers, topic, ledger, lake, runtime, name, folder, job, job_file, logs: 0 })
    }

    /// The namespace of its tables, and its topic.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a processor said at its end, for people: without the name that only this run has.
    pub(crate) fn said(&self, stop: &Stop) -> String {
        let short = self.name.rsplit_once('_').map_or(self.name.as_str(), |(short, _)| short);
        let said: String = stop.said.replace(&self.name, short).chars().take(SAID_MAX).collect();
        format!("exit {}: {said}", stop.code.unwrap_or(-1))
    }

    /// The tables that the job fills.
    pub(crate) fn tables(&self) -> Tables {
        Tables::of(&self.job)
    }

    /// The name of the first table, without its namespace.
    pub(crate) fn table(&self) -> Result<&str> {
        self.job.sinks.first().map(|sink| sink.table.name.as_str()).context("the job has no table")
    }

    /// Where its logs are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a processor of this job is told. It reads every partition; commits follow quickly.
    pub(crate) fn spawn(&self) -> Spawn {
        let servers = self.servers;
        Spawn::new(&self.job_file)
            .flag("--brokers", servers.kafka())
            .flag("--catalog-uri", servers.catalog())
            .flag("--s3-endpoint", servers.store())
            .flag("--warehouse", WAREHOUSE)
            .flag("--commit-interval", "100ms")
            .flag("--heartbeat-interval", "200ms")
            .flag("--status-address", "off")
            .flag("--assign", "all")
            .env("S3_ACCESS_KEY", ACCESS_KEY)
            .env("S3_SECRET_KEY", SECRET_KEY)
    }

    /// The same for the member `instance` of a consumer group; a restart keeps its place in it.
    pub(crate) fn spawn_member(&self, instance: &str) -> Spawn {
        let group = self.spawn().without("--assign").flag("--group", &self.name);
        group.flag("--instance-id", instance)
    }

    /// Starts a processor with a log of its own.
    pub(crate) fn start(&mut self, spawn: &Spawn) -> Result<Processor> {
        self.logs += 1;
        Processor::start(spawn, self.folder.join(format!("processor-{}.log", self.logs)))
    }

    /// Sends with a producer of its own, and remembers what was acknowledged.
    pub(crate) fn send(
        &mut self,
        codec: Codec,
        records: impl IntoIterator<Item = Sent>,
    ) -> Result<u64> {
        let sender = Sender::new(&self.topic, codec, None)?;
        for record in records {
            sender.send(&record)?;
        }
        let delivered = sender.flush()?;
        let count = delivered.len() as u64;
        self.ledger.extend(delivered);
        Ok(count)
    }

    /// Where the tables stand; `None` before the first commit to each of them.
    pub(crate) fn stand(&self) -> Result<Option<Stand>> {
        self.runtime.block_on(Stand::look(&self.lake, &self.tables()))
    }

    /// Waits until the tables stand at the topic's ends: lag is 0. `processors` must stay alive meanwhile.
    pub(crate) fn settle(&self, processors: &mut [&mut Processor]) -> Result<Duration> {
        self.settle_within(SETTLE_MAX, processors)
    }

    /// The same with another patience.
    pub(crate) fn settle_within(
        &self,
        limit: Duration,
        processors: &mut [&mut Processor],
    ) -> Result<Duration> {
        let ends = self.topic.ends()?;
        let mut died = None;
        let mut last = None;
        let settled = until(&format!("lag is 0 (the topic ends at {ends:?})"), limit, || {
            for processor in processors.iter_mut() {
                if let Some(ended) = processor.ended()? {
                    died = Some(ended);
                    return Ok(true);
                }
            }
            last = self.stand()?;
            Ok(last.as_ref().is_some_and(|stand| stand.reaches(&ends)))
        });
        if let Some(ended) = died {
            return Err(refuted(format!("a processor ended by itself: {ended}")));
        }
        let at = || last.as_ref().map(Stand::least);
        settled.map_err(|err| refuted(format!("{err:#}; the tables stand at {:?}", at())))
    }

    /// The store that holds the tables.
    pub(crate) fn store(&self) -> Result<Store> {
        let settings = self.servers.lakehouse();
        Ok(Store::open(&settings.warehouse, settings.s3.as_ref())?)
    }

    /// Checks the tables' own books and files, and what is foreign in them.
    pub(crate) fn look(&self, invariants: &mut Invariants) -> Result<()> {
        let report = self.runtime.block_on(invariants.look(&self.lake, &self.tables()))?;
        must(report.violations.is_empty(), || report.violations.join("; "))
    }

    /// Compares the tables with everything that was acknowledged.
    pub(crate) fn judge(&self) -> Result<Verdict> {
        self.judge_ours("true")
    }

    /// The same where only rows for which the SQL condition `ours` holds are the job's.
    pub(crate) fn judge_ours(&self, ours: &str) -> Result<Verdict> {
        let records = self.ledger.iter().map(|((partition, offset), payload)| Record {
            partition: *partition,
            offset: *offset,
            payload: payload.clone(),
        });
        let truth = Truth { threshold_cents: THRESHOLD_CENTS, topic: &self.name };
        self.runtime.block_on(verify_ours(&self.lake, &self.tables(), &truth, records, ours))
    }
}

/// The few words of a verdict that fit into a table.
pub(crate) fn words(verdict: &Verdict) -> String {
    let Verdict { read, written, filtered, rejected, .. } = verdict;
    let text = format!("read={read} written={written} filtered={filtered} rejected={rejected}");
    if verdict.is_clean() {
        return text;
    }
    let Verdict { lost, duplicated, altered, findings, .. } = verdict;
    let findings = findings.join("; ");
    format!("{text} lost={lost} duplicated={duplicated} altered={altered}: {findings}")
}
