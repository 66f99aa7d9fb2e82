//! Wires the threads and the async side together, and takes them down again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crossbeam_channel::bounded;
use lakehouse::Kind;
use lakehouse::commit::Lakehouse;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{ClusterId, Source, TopicId};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Assign, Config, STOP_MAX};
use crate::decode::Decoder;
use crate::job::{Job, Startup};
use crate::kafka::{Consumer, ConsumerSettings, KafkaErrorKind, SourceIdentity};
use crate::pipeline::Starts;
use crate::preflight::{self, Verdict};
use crate::shell::assembler::{Answer, Assembler, positions};
use crate::shell::reader::{self, Handover, Reader};
use crate::shell::worker::Worker;
use crate::shell::Command;
use crate::sink::Sink;
use crate::status::Reporters;
use crate::transform::Transform;

/// Chunks between two threads. With polls of 2,000 records a few are enough to keep both busy.
const PIPE_CHUNKS: usize = 4;
/// How long servers may take to answer at start.
const START_MAX: Duration = Duration::from_secs(120);
const START_RETRY: Duration = Duration::from_millis(500);
/// How long one question to the broker may take.
const ASK_MAX: Duration = Duration::from_secs(10);
/// How long the preflight reads.
const SAMPLE_WAIT: Duration = Duration::from_secs(3);

/// Runs `job` until `shutdown`, then commits what is open and returns.
///
/// # Errors
///
/// An operator must act; the message says why. Nothing is lost: a later start reads on from the tables.
pub async fn run(
    job: Job,
    config: Config,
    reporters: Reporters,
    shutdown: CancellationToken,
) -> Result<()> {
    let started = Instant::now();
    tokio::select! {
        prepared = prepare(&job, &config) => {
            let prepared = prepared?;
            work(job, config, prepared, reporters, shutdown, started).await
        }
        () = shutdown.cancelled() => Ok(()),
    }
}

/// What is known before the first record is read.
struct Prepared {
    consumer_of: ConsumerSettings,
    source: Source,
    partitions: Vec<PartitionId>,
    first: Starts,
    sinks: Vec<Sink>,
}

async fn prepare(job: &Job, config: &Config) -> Result<Prepared> {
    let consumer_of = config.consumer.clone();
    let (topic, settings, latest) =
        (job.source.topic.clone(), consumer_of.clone(), job.source.startup == Startup::Latest);
    let ask = spawn_blocking(move || look_at_topic(&settings, &topic, latest));
    let (seen, sinks) = tokio::try_join!(
        async { ask.await.context("the question to Kafka panicked")? },
        open_sinks(job, config)
    )?;
    let source =
        Source { cluster: ClusterId::new(seen.identity.cluster), topic: TopicId::new(seen.identity.topic_id) };
    let tables = positions(&sinks, &source, &seen.first).await?;
    for (sink, starts) in sinks.iter().zip(&tables) {
        within(sink.name(), starts, &seen.low, &seen.high)?;
    }
    if config.preflight {
        let starts = crate::pipeline::smallest(&tables);
        check_job(job, &config.consumer, starts, &seen.high).await?;
    }
    info!(
        topic = job.source.topic,
        partitions = seen.identity.partitions.len(),
        sinks = ?sinks.iter().map(Sink::name).collect::<Vec<_>>(),
        "ready"
    );
    Ok(Prepared { consumer_of, source, partitions: seen.identity.partitions, first: seen.first, sinks })
}

struct Seen {
    identity: SourceIdentity,
    low: Starts,
    high: Starts,
    first: Starts,
}

fn look_at_topic(settings: &ConsumerSettings, topic: &str, latest: bool) -> Result<Seen> {
    let settings = ConsumerSettings { group: None, instance_id: None, ..settings.clone() };
    let consumer = Consumer::new(&settings, topic, Box::new(reader_without_group()))?;
    let begun = Instant::now();
    let identity = loop {
        match consumer.source(ASK_MAX) {
            Ok(identity) => break identity,
            Err(err) if err.kind() == KafkaErrorKind::Retry && begun.elapsed() < START_MAX => {
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
    Ok(Seen { identity, low, high, first })
}

/// Fails closed where the topic no longer holds what the table wants next.
fn within(table: &str, starts: &Starts, low: &Starts, high: &Starts) -> Result<()> {
    for (partition, at) in starts {
        if let Some(low) = low.get(partition).filter(|low| *low > at) {
            bail!(
                "records are lost: {table} wants offset {at} of partition {partition}, but retention has \
                 deleted everything below {low}; nothing was committed"
            );
        }
        if let Some(high) = high.get(partition).filter(|high| *high < at) {
            bail!(
                "the log was cut: {table} stands at offset {at} of partition {partition}, but the topic ends \
                 at {high}; nothing was committed"
            );
        }
    }
    Ok(())
}

async fn open_sinks(job: &Job, config: &Config) -> Result<Vec<Sink>> {
    let lakehouse = patiently("the catalog", || Lakehouse::open(&config.lakehouse)).await?;
    let rejects = job.rejects_spec();
    let mut sinks = Vec::with_capacity(job.sinks.len() + 1);
    for spec in job.sinks.iter().map(|sink| &sink.table).chain([&rejects]) {
        let open = || Sink::open(&lakehouse, spec, config.codec);
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

fn is_passing(err: &anyhow::Error) -> bool {
    let kind = err.chain().find_map(|cause| cause.downcast_ref::<lakehouse::Error>());
    kind.is_some_and(|err| matches!(err.kind(), Kind::Retry | Kind::Conflict))
}

async fn check_job(job: &Job, settings: &ConsumerSettings, starts: Starts, high: &Starts) -> Result<()> {
    let left = |(p, at): (&PartitionId, &Offset)| high.get(p).map_or(0, |high| high.get() - at.get());
    let there: i64 = starts.iter().map(left).sum();
    let wanted = usize::try_from(there).unwrap_or(0).min(preflight::SAMPLE_MAX);
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
fn reader_without_group() -> impl crate::kafka::Rebalance {
    struct NoGroup;
    impl crate::kafka::Rebalance for NoGroup {
        fn assigned(&mut self, _: &[PartitionId]) -> Starts {
            Starts::new()
        }
        fn revoked(&mut self, _: &[PartitionId], _: bool) {}
    }
    NoGroup
}

async fn work(
    job: Job,
    config: Config,
    prepared: Prepared,
    reporters: Reporters,
    shutdown: CancellationToken,
    started: Instant,
) -> Result<()> {
    let Prepared { consumer_of, source, partitions, first, sinks } = prepared;
    let runtime = Handle::current();
    let (raw_in, raw_out) = bounded(PIPE_CHUNKS);
    let (rows_in, rows_out) = bounded(PIPE_CHUNKS);
    let (spent_in, spent_out) = crossbeam_channel::unbounded();
    let (command_in, command_out) = crossbeam_channel::unbounded();
    let answers = crossbeam_channel::unbounded();
    let (change_in, change_out) = reader::changes();

    let handover = Handover {
        runtime: runtime.clone(),
        sinks: sinks.clone(),
        source: source.clone(),
        first,
        output: raw_in.clone(),
        changes: change_in.clone(),
    };
    let worker = Worker {
        topic: job.source.topic.clone(),
        decoder: Decoder::new(&job, config.decode),
        transform: Transform::new(&job)?,
        input: raw_out,
        output: rows_in,
        spent: spent_in,
    };
    let assembler = Assembler {
        sinks: sinks.clone(),
        source: source.clone(),
        runtime: runtime.clone(),
        input: rows_out,
        answers: answers.clone(),
        commands: command_in.clone(),
        progress: reporters.job,
        started,
    };
    let (assign, topic) = (config.assign.clone(), job.source.topic.clone());
    let reading = std::thread::Builder::new().name("reader".to_owned());
    let reading = reading.spawn(move || -> Result<()> {
        let wanted = match assign {
            None => None,
            Some(Assign::All) => Some(partitions),
            Some(Assign::Some(some)) => Some(some),
        };
        let fixed = wanted.map(|wanted| handover.positions(&wanted)).transpose()?;
        let mut consumer = Consumer::new(&consumer_of, &topic, Box::new(handover))?;
        match fixed {
            None => consumer.subscribe()?,
            Some(tables) => {
                consumer.assign(&crate::pipeline::smallest(&tables))?;
                change_in.send(reader::Change::Assigned(tables))?;
            }
        }
        Reader {
            consumer,
            source,
            output: raw_in,
            commands: command_out,
            spent: spent_out,
            changes: change_out,
            progress: reporters.reader,
        }
        .run()
    })?;
    let working = std::thread::Builder::new().name("worker".to_owned()).spawn(move || worker.run())?;
    let limits = config.limits;
    let assembling =
        std::thread::Builder::new().name("assembler".to_owned()).spawn(move || assembler.run(limits))?;

    supervise(Threads { reading, working, assembling }, &answers.0, &command_in, shutdown).await
}

struct Threads {
    reading: std::thread::JoinHandle<Result<()>>,
    working: std::thread::JoinHandle<()>,
    assembling: std::thread::JoinHandle<Result<()>>,
}

/// Waits for the stop or the first failure, then takes the threads down in order.
async fn supervise(
    threads: Threads,
    answers: &crossbeam_channel::Sender<Answer>,
    commands: &crossbeam_channel::Sender<Command>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut reading = spawn_blocking(move || threads.reading.join());
    let mut assembling = spawn_blocking(move || threads.assembling.join());
    let outcome = tokio::select! {
        ended = &mut reading => return flat(ended, "reader"),
        ended = &mut assembling => flat(ended, "assembler"),
        () = shutdown.cancelled() => {
            info!("stopping: committing what is open");
            drop(answers.send(Answer::Stop));
            match tokio::time::timeout(STOP_MAX, &mut assembling).await {
                Ok(ended) => flat(ended, "assembler"),
                Err(_) => {
                    warn!("the last commit did not land within {}s; the next start reads it again", STOP_MAX.as_secs());
                    return Ok(());
                }
            }
        }
    };
    drop(commands.send(Command::Stop));
    if tokio::time::timeout(STOP_MAX, &mut reading).await.is_err() {
        warn!("the consumer did not close in time");
    }
    let _ = &threads.working;
    outcome
}

fn flat(
    ended: Result<std::thread::Result<Result<()>>, tokio::task::JoinError>,
    thread: &str,
) -> Result<()> {
    match ended {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => bail!("the {thread} thread panicked; see the message above"),
    }
}
