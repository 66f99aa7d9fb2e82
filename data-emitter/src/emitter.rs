//! Publishes the stream: the loop between generator, pace and client.
//!
//! The loop decides nothing about a record's content and keeps no account of
//! its own; it stops by itself only when the count is reached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::generator::{Emission, Generator, Tally};
use crate::outcome::{EmitError, Progress, Summary};
use crate::pace::{NextRecord, Pace};
use crate::placement::{Lengths, Placed, partition_of};
use crate::producer::{Compression, Handed, Probe, Producer};
use crate::properties::Properties;
use crate::{GeneratorSettings, Rate};

/// Records between two looks at stop signal and clock.
const BURST_RECORDS: u64 = 256;
/// How long to wait while the stream is held back.
const HELD_BACK_WAIT: Duration = Duration::from_millis(1);
/// How long to wait when no event is due: few wake-ups, and groups too small to notice.
const IDLE_WAIT: Duration = Duration::from_millis(10);
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How long the topic may take to appear: a broker's cold start.
const TOPIC_TIMEOUT: Duration = Duration::from_mins(1);
/// How long to wait between two questions for the topic.
const TOPIC_RETRY: Duration = Duration::from_millis(200);

/// What to publish, where, and how fast.
#[derive(Clone, Debug)]
pub struct EmitterSettings {
    /// Addresses of brokers: `host:port`, separated by commas.
    pub brokers: String,
    /// The topic, which must exist or be created by the broker.
    pub topic: String,
    /// How many records per second.
    pub rate: Rate,
    /// How many records; endless without.
    pub events: Option<u64>,
    /// The stream.
    pub generator: GeneratorSettings,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long the last acknowledgements may take after the last record.
    pub flush_timeout: Duration,
    /// More settings for librdkafka.
    pub properties: Properties,
}

/// How long the last acknowledgements may take: less than the 10 s that an
/// orchestrator waits after SIGTERM.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(8);

impl EmitterSettings {
    /// An endless stream as fast as `brokers` take it.
    pub fn new(brokers: String, topic: String, generator: GeneratorSettings) -> Self {
        Self {
            brokers,
            topic,
            rate: Rate::Max,
            events: None,
            generator,
            compression: Compression::None,
            flush_timeout: FLUSH_TIMEOUT,
            properties: Properties::default(),
        }
    }
}

/// Publishes the stream until its count is reached or `stop` is cancelled, then
/// waits up to [`EmitterSettings::flush_timeout`] for the last acknowledgements.
///
/// `pace` may hold the stream back; `progress` is told ten times a second. The
/// work is done on a blocking thread, which also ends when the future is dropped.
///
/// # Errors
///
/// - [`EmitError::Settings`]: correct the setting that is named.
/// - [`EmitError::NoTopic`]: nothing was sent; check the address, or create the topic.
/// - [`EmitError::Refused`]: the client is broken for good; start a new one.
///
/// Undelivered records are no error here: [`Summary::undelivered`] counts them.
pub async fn emit(
    settings: &EmitterSettings,
    pace: Arc<dyn Pace>,
    progress: impl FnMut(Progress) + Send + 'static,
    stop: &CancellationToken,
) -> Result<Summary, EmitError> {
    let stop = stop.child_token();
    let _stop_when_dropped = stop.clone().drop_guard();
    let settings = settings.clone();
    let work = move || run(&settings, &*pace, progress, &stop);
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ended before the work began.
            Err(_) => Ok(Summary::default()),
        },
    }
}

fn run(
    settings: &EmitterSettings,
    pace: &dyn Pace,
    mut progress: impl FnMut(Progress),
    stop: &CancellationToken,
) -> Result<Summary, EmitError> {
    let Some(partitions) = await_topic(settings, stop)? else {
        return Ok(Summary::default());
    };
    let producer = Producer::new(settings, partitions)?;
    let clock = Stopwatch::start();
    let mut stream = Stream::new(settings, partitions);
    let mut told_at = Duration::ZERO;
    while !stop.is_cancelled() && stream.left() > 0 {
        let due = settings.rate.due(clock.elapsed()).saturating_sub(stream.sent.records);
        let wait = stream.burst(due.min(BURST_RECORDS), &producer, pace)?;
        rest(wait);
        if clock.elapsed() >= told_at + PROGRESS_INTERVAL {
            told_at = clock.elapsed();
            progress(stream.progress(&producer));
        }
    }
    await_reports(&producer, settings.flush_timeout);
    progress(stream.progress(&producer));
    Ok(stream.summary(&producer, clock.elapsed()))
}

/// Waits for the topic; `None` when told to stop before it was there.
fn await_topic(
    settings: &EmitterSettings,
    stop: &CancellationToken,
) -> Result<Option<i32>, EmitError> {
    let probe = Probe::new(settings)?;
    let clock = Stopwatch::start();
    while !stop.is_cancelled() {
        match probe.partitions() {
            Ok(count) => return Ok(Some(count)),
            Err(reason) if clock.elapsed() >= TOPIC_TIMEOUT => {
                return Err(EmitError::NoTopic {
                    topic: settings.topic.clone(),
                    brokers: settings.brokers.clone(),
                    reason,
                });
            }
            Err(reason) => {
                tracing::info!(topic = settings.topic, reason, "waiting for the topic");
                rest(TOPIC_RETRY);
            }
        }
    }
    Ok(None)
}

/// Waits up to `timeout` for the reports that are still out.
fn await_reports(producer: &Producer, timeout: Duration) {
    let clock = Stopwatch::start();
    while producer.unreported() > 0 {
        if clock.elapsed() >= timeout {
            tracing::warn!(unreported = producer.unreported(), "gave up on the last reports");
            return;
        }
        rest(HELD_BACK_WAIT);
    }
}

/// Gives the processor to someone else; the emitter has a thread of its own.
fn rest(wait: Duration) {
    if !wait.is_zero() {
        std::thread::sleep(wait);
    }
}

/// The stream on its way: the record at hand, and what went before it.
struct Stream {
    generator: Generator,
    partitions: i32,
    total: Option<u64>,
    lengths: Lengths,
    sent: Tally,
    /// The next record; made, and not yet sent, when `pending`.
    record: Placed,
    pending: bool,
}

/// What became of an attempt to send one record.
#[derive(PartialEq, Eq)]
enum Step {
    Sent,
    HeldBack,
}

impl Stream {
    fn new(settings: &EmitterSettings, partitions: i32) -> Self {
        Self {
            generator: Generator::new(&settings.generator),
            partitions,
            total: settings.events,
            lengths: Lengths::default(),
            sent: Tally::default(),
            record: Placed { partition: 0, index: 0, emission: Emission::blank() },
            pending: false,
        }
    }

    fn left(&self) -> u64 {
        self.total.map_or(u64::MAX, |total| total.saturating_sub(self.sent.records))
    }

    /// Sends up to `quota` records; returns how long to wait before the next burst.
    fn burst(
        &mut self,
        quota: u64,
        producer: &Producer,
        pace: &dyn Pace,
    ) -> Result<Duration, EmitError> {
        if quota == 0 {
            return Ok(IDLE_WAIT);
        }
        for _ in 0..quota.min(self.left()) {
            if self.step(producer, pace)? == Step::HeldBack {
                return Ok(HELD_BACK_WAIT);
            }
        }
        Ok(Duration::ZERO)
    }

    /// Makes the next record unless one waits, and sends it if it may go.
    fn step(&mut self, producer: &Producer, pace: &dyn Pace) -> Result<Step, EmitError> {
        if !self.pending {
            self.generator.fill(&mut self.record.emission);
            self.record.partition = partition_of(&self.record.emission.key, self.partitions);
            self.record.index = self.lengths.push(self.record.partition);
            self.pending = true;
        }
        if !pace.admits(&NextRecord::of(&self.record)) {
            return Ok(Step::HeldBack);
        }
        match producer.hand(&self.record)? {
            Handed::Full => Ok(Step::HeldBack),
            Handed::Queued => {
                self.sent.add(&self.record.emission);
                self.pending = false;
                Ok(Step::Sent)
            }
        }
    }

    fn progress(&self, producer: &Producer) -> Progress {
        let (delivered, failed) = producer.ledger(|ledger| (ledger.delivered, ledger.failed));
        Progress { sent: self.sent.records, delivered, failed, total: self.total }
    }

    fn summary(self, producer: &Producer, elapsed: Duration) -> Summary {
        let ledger = producer.ledger(Clone::clone);
        Summary {
            sent: self.sent,
            delivered: ledger.delivered,
            failed: ledger.failed,
            last_failure: ledger.last_failure,
            misplaced: ledger.misplaced,
            first_misplaced: ledger.first_misplaced,
            partition_count: self.partitions,
            partitions: ledger.partitions,
            elapsed,
        }
    }
}

/// The one place that reads a clock: real time is what a rate is about.
struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods, reason = "the shell measures; pure code is told")]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
