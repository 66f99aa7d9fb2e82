//! What must be known before the first record is read: the topic, the tables, whether they fit.
//!
//! Owns the order of these looks: the job is judged before any table is made. It must never read a record for
//! the tables.

#![allow(clippy::disallowed_methods, reason = "a sample has a time limit")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lakehouse::Kind;
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::Lakehouse;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{ClusterId, Source, TopicId};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::config::{Assign, Config};
use crate::job::{Job, Startup};
use crate::kafka::{
    Consumer, ConsumerSettings, KafkaError, KafkaErrorKind, Rebalance, SourceIdentity,
};
use crate::patience::Patience;
use crate::pipeline::Starts;
use crate::preflight::{self, Verdict};
use crate::shell::assembler::positions;
use crate::sink::{Sink, is_started};
use crate::status::{Reporters, address, brokers};

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
    /// Partitions of which no table has anything: nobody may have them.
    pub(crate) untouched: Vec<PartitionId>,
    /// Where each partition ended, if the job is to end there.
    pub(crate) ends: Option<Starts>,
    /// One for each `INSERT`, rejects last.
    pub(crate) sinks: Vec<Sink>,
}

/// Looks at the topic and makes the tables ready. Waits for servers that are away, and tells `reporters`.
pub(crate) async fn prepare(job: &Job, config: &Config, reporters: &Reporters) -> Result<Prepared> {
    let tables = || Patience::new(servers_of_tables(config), reporters);
    let (seen, lakehouse) = tokio::try_join!(
        look(job, config, reporters),
        patiently(tables(), || Lakehouse::open(&config.lakehouse))
    )?;
    lakehouse::faults::point("start.topic-seen");
    let assign = assigned(config.assign.as_ref(), &seen.identity.partitions)?;
    if config.preflight && !patiently(tables(), || any_started(&lakehouse, job)).await? {
        check_job(job, &config.consumer, &seen).await?;
    }
    let sinks = patiently(tables(), || open_sinks(&lakehouse, job, config)).await?;
    lakehouse::faults::point("start.tables-open");
    let Seen { identity, mut ends, first } = seen;
    let source = Source {
        cluster: ClusterId::new(identity.cluster),
        topic: TopicId::new(identity.topic_id),
    };
    let at = patiently(tables(), || positions(&sinks, &source, &first)).await?;
    lakehouse::faults::point("start.pinned");
    if at.iter().any(|starts| ends.are_below(starts)) {
        // A rival may have read on and committed since the topic was looked at.
        ends = look(job, config, reporters).await?.ends;
    }
    for (sink, starts) in sinks.iter().zip(&at) {
        ends.check(sink.name(), starts)?;
    }
    let untouched = ends.untouched(&at);
    let ends = job.source.bounded.then_some(ends.high);
    let names: Vec<&str> = sinks.iter().map(Sink::name).collect();
    info!(topic = job.source.topic, partitions = identity.partitions.len(), sinks = ?names, "ready");
    Ok(Prepared { source, assign, first, untouched, ends, sinks })
}

/// What an operator looks for when the tables can't be reached.
fn servers_of_tables(config: &Config) -> String {
    let lakehouse = &config.lakehouse;
    let catalog = match &lakehouse.catalog {
        CatalogSettings::Sqlite { path } => path.display().to_string(),
        CatalogSettings::Rest { uri, .. } => address(uri),
    };
    match lakehouse.s3.as_ref().and_then(|s3| s3.endpoint.as_deref()) {
        Some(endpoint) => {
            format!("the catalog at {catalog} and the store at {}", address(endpoint))
        }
        None => format!("the catalog at {catalog}"),
    }
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
        if is_started(lakehouse, &sink.table).await? {
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

    /// Partitions in which every table still stands at the first record.
    fn untouched(&self, tables: &[Starts]) -> Vec<PartitionId> {
        let stands = |p: &PartitionId, low: &Offset| tables.iter().all(|at| at.get(p) == Some(low));
        self.low.iter().filter(|(p, low)| stands(p, low)).map(|(p, _)| *p).collect()
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

async fn look(job: &Job, config: &Config, reporters: &Reporters) -> Result<Seen> {
    let (topic, settings) = (job.source.topic.clone(), config.consumer.clone());
    let latest = job.source.startup == Startup::Latest;
    let name = format!("Kafka at {} (topic {topic})", brokers(&settings.brokers));
    let mut patience = Patience::new(name, reporters);
    let ask = spawn_blocking(move || {
        let settings = ConsumerSettings { group: None, instance_id: None, ..settings };
        let consumer = Consumer::new(&settings, &topic, Box::new(reader_without_group()))?;
        let seen = loop {
            match look_at_topic(&consumer, latest) {
                Ok(seen) => break seen,
                Err(err) if may_pass(err.kind()) => {
                    std::thread::sleep(patience.again(&err.to_string()));
                }
                Err(err) => {
                    let place = format!("topic {topic} at {}", brokers(&settings.brokers));
                    return Err(err).context(place);
                }
            }
        };
        consumer.close(ASK_MAX)?;
        Ok(seen)
    });
    ask.await.context("the question to Kafka panicked")?
}

fn look_at_topic(consumer: &Consumer, latest: bool) -> Result<Seen, KafkaError> {
    let identity = consumer.source(ASK_MAX)?;
    let (mut low, mut high) = (Starts::new(), Starts::new());
    for partition in &identity.partitions {
        let marks = consumer.watermarks(*partition, ASK_MAX)?;
        low.insert(*partition, marks.low);
        high.insert(*partition, marks.high);
    }
    let first = if latest { high.clone() } else { low.clone() };
    Ok(Seen { identity, ends: Ends { low, high }, first })
}

async fn open_sinks(lakehouse: &Lakehouse, job: &Job, config: &Config) -> Result<Vec<Sink>> {
    let rejects = job.rejects_spec();
    let mut sinks = Vec::with_capacity(job.sinks.len() + 1);
    for spec in job.sinks.iter().map(|sink| &sink.table).chain([&rejects]) {
        sinks.push(Sink::open(lakehouse, spec, config.codec).await?);
    }
    Ok(sinks)
}

/// Tries again while a server is not there.
async fn patiently<T, E, F>(mut patience: Patience, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<anyhow::Error>,
{
    loop {
        let err: anyhow::Error = match attempt().await {
            Ok(found) => return Ok(found),
            Err(err) => err.into(),
        };
        if !is_passing(&err) {
            return Err(err);
        }
        tokio::time::sleep(patience.again(&format!("{err:#}"))).await;
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
        match consumer.poll(wanted - sample.len(), Duration::from_millis(50)) {
            Ok(batch) => {
                let payloads = batch.records().filter_map(|record| record.payload);
                sample.extend(payloads.map(<[u8]>::to_vec));
            }
            // A broker that goes away now is waited for by the reader.
            Err(err) if err.kind() == KafkaErrorKind::Retry => {}
            Err(err) => return Err(err.into()),
        }
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
