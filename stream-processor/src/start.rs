//! What must be known before the first record is read: the topic, the tables, whether they fit.
//!
//! Owns the order of these looks: the job is judged before any table is made. It must never read a record for
//! the tables.

#![allow(clippy::disallowed_methods, reason = "waiting for servers needs a clock")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lakehouse::Kind;
use lakehouse::commit::Lakehouse;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{ClusterId, Source, TopicId};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::config::{Assign, Config};
use crate::job::{Job, Startup};
use crate::kafka::{Consumer, ConsumerSettings, KafkaErrorKind, Rebalance, SourceIdentity};
use crate::pipeline::Starts;
use crate::preflight::{self, Verdict};
use crate::shell::assembler::positions;
use crate::sink::{Sink, is_started};

/// How long servers may take to answer at start.
const START_MAX: Duration = Duration::from_mins(2);
const START_RETRY: Duration = Duration::from_millis(500);
/// How long one question to the broker may take.
const ASK_MAX: Duration = Duration::from_secs(10);
/// How long the preflight reads.
const SAMPLE_WAIT: Duration = Duration::from_secs(3);

/// What the run starts from.
pub(crate) struct Prepared {
    pub(crate) source: Source,
    /// The partitions to read without a group.
    pub(crate) assign: Option<Vec<PartitionId>>,
    /// Where each partition begins that no table knows yet.
    pub(crate) first: Starts,
    /// One for each `INSERT`, rejects last.
    pub(crate) sinks: Vec<Sink>,
}

/// Looks at the topic and makes the tables ready.
pub(crate) async fn prepare(job: &Job, config: &Config) -> Result<Prepared> {
    let (seen, lakehouse) = tokio::try_join!(
        look(job, config),
        patiently("the catalog", || Lakehouse::open(&config.lakehouse))
    )?;
    let assign = assigned(config.assign.as_ref(), &seen.identity.partitions)?;
    if config.preflight && !any_started(&lakehouse, job).await? {
        check_job(job, &config.consumer, &seen).await?;
    }
    let sinks = open_sinks(&lakehouse, job, config).await?;
    let Seen { identity, mut ends, first } = seen;
    let source = Source {
        cluster: ClusterId::new(identity.cluster),
        topic: TopicId::new(identity.topic_id),
    };
    let tables = positions(&sinks, &source, &first).await?;
    if tables.iter().any(|starts| ends.are_below(starts)) {
        // A rival may have read on and committed since the topic was looked at.
        ends = look(job, config).await?.ends;
    }
    for (sink, starts) in sinks.iter().zip(&tables) {
        ends.check(sink.name(), starts)?;
    }
    let names: Vec<&str> = sinks.iter().map(Sink::name).collect();
    info!(topic = job.source.topic, partitions = identity.partitions.len(), sinks = ?names, "ready");
    Ok(Prepared { source, assign, first, sinks })
}

fn assigned(wanted: Option<&Assign>, there: &[PartitionId]) -> Result<Option<Vec<PartitionId>>> {
    let some = match wanted {
        None => return Ok(None),
        Some(Assign::All) => return Ok(Some(there.to_vec())),
        Some(Assign::Some(some)) => some,
    };
    let missing: Vec<_> = some.iter().filter(|partition| !there.contains(partition)).collect();
    ensure!(
        missing.is_empty(),
        "KAFKA_ASSIGN names partitions {missing:?}; the topic has {there:?}"
    );
    Ok(Some(some.clone()))
}

/// Whether any sink table was committed to before.
async fn any_started(lakehouse: &Lakehouse, job: &Job) -> Result<bool> {
    for sink in &job.sinks {
        if patiently("the catalog", || is_started(lakehouse, &sink.table)).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Seen {
    identity: SourceIdentity,
    ends: Ends,
    first: Starts,
}

/// What the broker holds of each partition: `[low, high)`.
struct Ends {
    low: Starts,
    high: Starts,
}

impl Ends {
    fn are_below(&self, starts: &Starts) -> bool {
        starts.iter().any(|(p, at)| self.high.get(p).is_some_and(|high| high < at))
    }

    /// Fails closed where the topic no longer holds what the table wants next.
    fn check(&self, table: &str, starts: &Starts) -> Result<()> {
        for (partition, at) in starts {
            if let Some(low) = self.low.get(partition).filter(|low| *low > at) {
                bail!(
                    "records are lost: {table} wants offset {at} of partition {partition}, but \
                     retention has deleted everything below {low}; nothing was committed"
                );
            }
            if let Some(high) = self.high.get(partition).filter(|high| *high < at) {
                bail!(
                    "the log was cut: {table} stands at offset {at} of partition {partition}, but \
                     the topic ends at {high}; nothing was committed"
                );
            }
        }
        Ok(())
    }
}

async fn look(job: &Job, config: &Config) -> Result<Seen> {
    let (topic, settings) = (job.source.topic.clone(), config.consumer.clone());
    let latest = job.source.startup == Startup::Latest;
    let ask = spawn_blocking(move || look_at_topic(&settings, &topic, latest));
    ask.await.context("the question to Kafka panicked")?
}

fn look_at_topic(settings: &ConsumerSettings, topic: &str, latest: bool) -> Result<Seen> {
    let settings = ConsumerSettings { group: None, instance_id: None, ..settings.clone() };
    let consumer = Consumer::new(&settings, topic, Box::new(reader_without_group()))?;
    let begun = Instant::now();
    let identity = loop {
        match consumer.source(ASK_MAX) {
            Ok(identity) => break identity,
            Err(err) if may_pass(err.kind()) && begun.elapsed() < START_MAX => {
                info!(%err, brokers = settings.brokers, topic, "waiting for Kafka");
                std::thread::sleep(START_RETRY);
            }
            Err(err) => {
                return Err(err).with_context(|| format!("topic {topic} at {}", settings.brokers));
            }
        }
    };
    let (mut low, mut high) = (Starts::new(), Starts::new());
    for partition in &identity.partitions {
        let marks = consumer.watermarks(*partition, ASK_MAX)?;
        low.insert(*partition, marks.low);
        high.insert(*partition, marks.high);
    }
    let first = if latest { high.clone() } else { low.clone() };
    consumer.close(ASK_MAX)?;
    Ok(Seen { identity, ends: Ends { low, high }, first })
}

async fn open_sinks(lakehouse: &Lakehouse, job: &Job, config: &Config) -> Result<Vec<Sink>> {
    let rejects = job.rejects_spec();
    let mut sinks = Vec::with_capacity(job.sinks.len() + 1);
    for spec in job.sinks.iter().map(|sink| &sink.table).chain([&rejects]) {
        let open = || Sink::open(lakehouse, spec, config.codec);
        sinks.push(patiently("the catalog", open).await?);
    }
    Ok(sinks)
}

/// Tries again while a server is not there yet, and says what it waits for.
async fn patiently<T, E, F>(what: &str, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<anyhow::Error>,
{
    let begun = Instant::now();
    loop {
        let err: anyhow::Error = match attempt().await {
            Ok(found) => return Ok(found),
            Err(err) => err.into(),
        };
        if !is_passing(&err) || begun.elapsed() >= START_MAX {
            return Err(err);
        }
        info!(err = format!("{err:#}"), "waiting for {what}");
        tokio::time::sleep(START_RETRY).await;
    }
}

fn may_pass(kind: KafkaErrorKind) -> bool {
    // The topic may be about to be made.
    matches!(kind, KafkaErrorKind::Retry | KafkaErrorKind::UnknownTopic)
}

fn is_passing(err: &anyhow::Error) -> bool {
    let kind = err.chain().find_map(|cause| cause.downcast_ref::<lakehouse::Error>());
    kind.is_some_and(|err| matches!(err.kind(), Kind::Retry | Kind::Conflict))
}

/// Refuses a job that the topic's records can't match.
async fn check_job(job: &Job, settings: &ConsumerSettings, seen: &Seen) -> Result<()> {
    let left = |(p, at): (&PartitionId, &Offset)| {
        seen.ends.high.get(p).map_or(0, |high| high.get() - at.get())
    };
    let there: i64 = seen.first.iter().map(left).sum();
    let wanted = usize::try_from(there).unwrap_or(0).min(preflight::SAMPLE_MAX);
    let starts = seen.first.clone();
    let (settings, topic) = (settings.clone(), job.source.topic.clone());
    let sample = if wanted == 0 {
        Vec::new()
    } else {
        spawn_blocking(move || sample(&settings, &topic, &starts, wanted)).await??
    };
    match preflight::examine(job, &sample) {
        Verdict::Pass => info!(records = sample.len(), "preflight: the job fits the topic"),
        Verdict::Empty => info!("preflight: no record to look at yet"),
        Verdict::Warn(what) => warn!("preflight: {what}"),
        Verdict::Refuse(why) => bail!(
            "preflight: {why}; nothing was committed. Mend the job file, or set PREFLIGHT=off if it is right"
        ),
    }
    Ok(())
}

fn sample(
    settings: &ConsumerSettings,
    topic: &str,
    starts: &Starts,
    wanted: usize,
) -> Result<Vec<Vec<u8>>> {
    let settings = ConsumerSettings { group: None, instance_id: None, ..settings.clone() };
    let mut consumer = Consumer::new(&settings, topic, Box::new(reader_without_group()))?;
    consumer.assign(starts)?;
    let (begun, mut sample) = (Instant::now(), Vec::new());
    while sample.len() < wanted && begun.elapsed() < SAMPLE_WAIT {
        let batch = consumer.poll(wanted - sample.len(), Duration::from_millis(50))?;
        sample.extend(batch.records().filter_map(|record| record.payload.map(<[u8]>::to_vec)));
    }
    consumer.close(ASK_MAX)?;
    Ok(sample)
}

/// Consumers that only assign are never given partitions by a group.
fn reader_without_group() -> impl Rebalance {
    struct NoGroup;
    impl Rebalance for NoGroup {
        fn assigned(&mut self, _: &[PartitionId]) -> Starts {
            Starts::new()
        }
        fn revoked(&mut self, _: &[PartitionId], _: bool) {}
    }
    NoGroup
}
