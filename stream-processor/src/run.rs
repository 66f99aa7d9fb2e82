//! Wires the threads and the async side together, and takes them down again.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use crossbeam_channel::{Sender, bounded};
use lakehouse::avro::RowEncoder;
use lakehouse::position::Source;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, STOP_MAX};
use crate::decode::Decoder;
use crate::job::Job;
use crate::kafka::{Batch, Consumer};
use crate::pipeline::{Starts, smallest};
use crate::shell::assembler::{Answer, Assembler};
use crate::shell::bound::{Bound, committed};
use crate::shell::ends::Asker;
use crate::shell::handover::{self, Handover};
use crate::shell::order::Intake;
use crate::shell::reader::Reader;
use crate::shell::witness::Witness;
use crate::shell::worker::{Worked, Worker};
use crate::shell::{Command, Flow, HungUp, RawChunk};
use crate::sink::Sink;
use crate::start::{Prepared, prepare};
use crate::status::{Life, Phase, Reporters, Samples, Size};
use crate::transform::Transform;

/// Chunks between two threads. With polls of 2,000 records a few are enough to keep both busy.
const PIPE_CHUNKS: usize = 4;
/// Threads that decode, where there are as many cores. More would wait for the reader: it hands out what it polls.
const WORKERS_MAX: usize = 4;
/// How long the consumer may take to close after [`STOP_MAX`] was spent on the last commit: together they stay below
/// the ten seconds after which orchestrators kill.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Runs `job` until `shutdown`, or until the end of its topic if it is bounded, then commits what is open and returns.
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
    let prepared = tokio::select! {
        prepared = prepare(&job, &config, &reporters) => prepared?,
        () = shutdown.cancelled() => return Ok(()),
    };
    work(job, config, prepared, reporters, shutdown).await
}

async fn work(
    job: Job,
    config: Config,
    prepared: Prepared,
    reporters: Reporters,
    shutdown: CancellationToken,
) -> Result<()> {
    let Prepared { source, assign, first, untouched, ends, sinks } = prepared;
    // Any other member is given partitions anew when it joins.
    let suspects = if config.consumer.instance_id.is_some() { untouched } else { Vec::new() };
    let all: Vec<_> = first.keys().copied().collect();
    let runtime = Handle::current();
    let (raw_in, raw_out) = bounded(PIPE_CHUNKS);
    let (places_in, places_out) = bounded(PIPE_CHUNKS);
    let (spent_in, spent_out) = crossbeam_channel::unbounded();
    let (command_in, command_out) = crossbeam_channel::unbounded();
    let answers = crossbeam_channel::unbounded();
    let (at_end_in, at_end) = watch::channel(false);
    let (change_in, change_out) = handover::changes();

    let handover = Handover {
        runtime: runtime.clone(),
        sinks: sinks.clone(),
        source: source.clone(),
        first,
        output: raw_in.clone(),
        changes: change_in.clone(),
    };
    let intake = Intake::new(raw_out, places_in);
    let workers = workers(&job, &config, &sinks, &reporters, intake, &spent_in)?;
    let witness = Witness::new(source.clone());
    let assembler = Assembler {
        sinks: sinks.clone(),
        source: source.clone(),
        witness: witness.clone(),
        runtime: runtime.clone(),
        places: places_out,
        answers: answers.clone(),
        commands: command_in.clone(),
        progress: reporters.job,
        journal: reporters.journal,
        at_end: at_end_in,
        started: reporters.start.instant,
    };
    let reading_ends = ends.clone();
    let asked = source.clone();
    let (progress, started) = (reporters.reader, reporters.start.instant);
    let (asking, stop_asking) = bounded(0);
    let (consumer_of, topic) = (config.consumer, job.source.topic.clone());
    let reading = std::thread::Builder::new().name("reader".to_owned());
    let reading = reading.spawn(move || -> Result<()> {
        let fixed = assign.map(|wanted| handover.positions(&wanted)).transpose()?;
        let mut consumer = Consumer::new(&consumer_of, &topic, Box::new(handover))?;
        witness.ask_through(consumer.probe());
        match fixed {
            None => consumer.subscribe()?,
            Some(tables) => {
                consumer.assign(&smallest(&tables))?;
                change_in.send(handover::Change::Assigned(tables))?;
            }
        }
        let probe = consumer.probe();
        Asker { probe, all, progress: progress.clone(), started }.spawn(stop_asking)?;
        Reader {
            consumer,
            source,
            suspects,
            bound: Bound::new(reading_ends),
            output: raw_in,
            commands: command_out,
            spent: spent_out,
            changes: change_out,
            progress,
            asking,
        }
        .run()
    })?;
    for worker in workers {
        std::thread::Builder::new().name("worker".to_owned()).spawn(move || worker.run())?;
    }
    let limits = config.limits;
    let assembling = std::thread::Builder::new().name("assembler".to_owned());
    let assembling = assembling.spawn(move || assembler.run(limits))?;
    let threads = Threads { reading, assembling, life: reporters.life };
    let done = done(sinks, asked, ends, at_end);
    supervise(threads, &answers.0, &command_in, done, shutdown).await
}

/// Waits until a bounded job is done; any other never is.
async fn done(
    sinks: Vec<Sink>,
    source: Source,
    ends: Option<Starts>,
    mut at_end: watch::Receiver<bool>,
) -> Result<()> {
    match ends {
        Some(ends) if at_end.wait_for(|at_end| *at_end).await.is_ok() => {
            committed(&sinks, &source, &ends).await
        }
        // The assembler is gone, and has its own words for it.
        _ => std::future::pending().await,
    }
}

/// One for each core.
fn workers(
    job: &Job,
    config: &Config,
    sinks: &[Sink],
    reporters: &Reporters,
    intake: Intake<Flow<RawChunk>, Worked>,
    spent: &Sender<Arc<Batch>>,
) -> Result<Vec<Worker>> {
    let transform = Transform::new(job)?;
    let names = sinks.iter().map(|sink| sink.name().to_owned()).collect();
    let samples = Arc::new(Samples::new(names, reporters.journal.clone()));
    let intake = Arc::new(intake);
    let worker = |_| {
        Ok(Worker {
            topic: job.source.topic.clone(),
            decoder: Decoder::new(job, config.decode),
            transform: transform.clone(),
            encoder: RowEncoder::new(config.codec)?,
            sinks: sinks.to_vec(),
            samples: Arc::clone(&samples),
            started: reporters.start.instant,
            intake: Arc::clone(&intake),
            spent: spent.clone(),
        })
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (0..cores.min(WORKERS_MAX)).map(worker).collect()
}

type Thread = std::thread::JoinHandle<Result<()>>;
type Ended = Result<std::thread::Result<Result<()>>, JoinError>;

struct Threads {
    reading: Thread,
    assembling: Thread,
    /// Told when they work and when they are taken down.
    life: watch::Sender<Life>,
}

/// Waits for the stop or the first failure, then takes the threads down, the end of the pipe first.
async fn supervise(
    threads: Threads,
    answers: &crossbeam_channel::Sender<Answer>,
    commands: &crossbeam_channel::Sender<Command>,
    done: impl Future<Output = Result<()>>,
    shutdown: CancellationToken,
) -> Result<()> {
    let Threads { reading, assembling, life } = threads;
    life.send_modify(|life| life.phase = Phase::Running);
    let mut reading = spawn_blocking(move || reading.join());
    let mut assembling = spawn_blocking(move || assembling.join());
    let (mut read, mut assembled, mut ended) = (None, None, None);
    tokio::select! {
        ended = &mut reading => read = Some(flat(ended, "reader")),
        ended = &mut assembling => assembled = Some(flat(ended, "assembler")),
        done = done => {
            life.send_modify(|life| life.phase = Phase::Stopping);
            drop(answers.send(Answer::Stop));
            ended = Some(done);
        }
        () = shutdown.cancelled() => {
            info!("stopping: committing what is open");
            lakehouse::faults::point("stop.signalled");
            life.send_modify(|life| life.phase = Phase::Stopping);
            drop(answers.send(Answer::Stop));
        }
    }
    // Whichever broke first takes its neighbours down: both have something to say.
    if assembled.is_none() {
        let ended = tokio::time::timeout(STOP_MAX, &mut assembling).await;
        assembled = ended.ok().map(|ended| flat(ended, "assembler"));
    }
    if assembled.is_none() {
        warn!("the last commit did not land in time; the next start reads it again");
    }
    lakehouse::faults::point("stop.flushed");
    if read.is_none() {
        drop(commands.send(Command::Stop));
        let ended = tokio::time::timeout(CLOSE_MAX, &mut reading).await;
        read = ended.ok().map(|ended| flat(ended, "reader"));
    }
    lakehouse::faults::point("stop.closed");
    if read.is_none() {
        warn!("the consumer did not close in time");
    }
    let at_end = matches!(ended, Some(Ok(())));
    cause([ended, assembled, read].into_iter().flatten())?;
    if at_end {
        let Size { cpu_ms, rss_peak_bytes, .. } = Size::read();
        info!(cpu_ms, rss_peak_bytes, "everything up to the end of the topic is committed");
    }
    Ok(())
}

/// The error that is not merely the echo of another.
fn cause(outcomes: impl Iterator<Item = Result<()>>) -> Result<()> {
    let (echoes, causes): (Vec<_>, Vec<_>) =
        outcomes.filter_map(Result::err).partition(anyhow::Error::is::<HungUp>);
    causes.into_iter().chain(echoes).next().map_or(Ok(()), Err)
}

fn flat(ended: Ended, thread: &str) -> Result<()> {
    match ended {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => bail!("the {thread} thread panicked; see the message above"),
    }
}
