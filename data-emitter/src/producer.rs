//! The Kafka client of the emitter: its settings, and what it reports.
//!
//! The only module that names rdkafka. It neither generates nor paces.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use tracing::{debug, error, info, warn};

use crate::ledger::Ledger;
use crate::placement::Placed;
use crate::{EmitError, EmitterSettings, Rate};

/// Records the client holds before it pushes back. Each is touched again by the client's threads when it is sent and when
/// it is reported: with more they have left the CPU's cache by then, which a profile shows in every copy and free.
const QUEUE_RECORDS_MAX: &str = "4000";
/// Payload bytes the client holds before it pushes back.
const QUEUE_KBYTES_MAX: &str = "32768";
/// What the batches of all partitions hold together: three fifths of what the records of a full queue come to, so that it
/// always has a batch that is ready to go.
const BATCHES_BYTES: u64 = 1_000_000;
/// The smallest batch that is worth a request.
const BATCH_BYTES_MIN: u64 = 16_384;
/// How long a batch may wait for company when the stream has a rate; the price is latency.
const LINGER_MS: &str = "5";
/// The same when the stream goes as fast as the broker takes it. There nothing is gained by sending sooner, and a batch
/// that is overdue while the one before it is on its way makes librdkafka's thread spin until the answer: an idempotent
/// producer has one request of a partition under way.
const LINGER_UNPACED_MS: &str = "20";
/// How long one question about the topic may take; SIGTERM waits for two of them at most.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// How batches are compressed on their way to the broker, and in its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: the broker is on the same machine.
    #[default]
    None,
    /// Small and slow.
    Gzip,
    /// Fast.
    Snappy,
    /// Fast.
    Lz4,
    /// Smallest.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Kafka's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, CompressionError> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.as_str() == text)
            .ok_or_else(|| CompressionError(text.to_owned()))
    }
}

/// Kafka has no such compression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a compression; choose none, gzip, snappy, lz4 or zstd")]
pub struct CompressionError(String);

/// Asks for the topic before there is a producer: how much a batch holds depends on the answer.
pub(crate) struct Probe {
    client: BaseProducer<Reports>,
    topic: String,
}

impl Probe {
    /// Makes the client; the connection comes later by itself.
    pub(crate) fn new(settings: &EmitterSettings) -> Result<Self, EmitError> {
        let client = create(ClientConfig::new(), settings)?;
        Ok(Self { client, topic: settings.topic.clone() })
    }

    /// Asks once how many partitions the topic has.
    pub(crate) fn partitions(&self) -> Result<i32, String> {
        partitions_of(self.client.client(), &self.topic)
    }
}

/// A connected client and the account of its deliveries.
///
/// Reports come in on a thread of the client's own: rdkafka's `poll` spins
/// through the last millisecond of every wait, so a loop that polls for a
/// millisecond never rests.
pub(crate) struct Producer {
    client: ThreadedProducer<Reports>,
    topic: String,
}

/// What came of handing a record to the client.
pub(crate) enum Handed {
    /// The client has it.
    Queued,
    /// The client's queue is full; wait, then try again.
    Full,
}

impl Producer {
    /// Makes the client for a topic of so many partitions.
    pub(crate) fn new(settings: &EmitterSettings, partitions: i32) -> Result<Self, EmitError> {
        let linger = if settings.rate == Rate::Max { LINGER_UNPACED_MS } else { LINGER_MS };
        let mut config = ClientConfig::new();
        config
            // Retries neither repeat nor reorder records.
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", linger)
            .set("batch.size", batch_bytes(partitions).to_string())
            .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX)
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX);
        let client: ThreadedProducer<Reports> = create(config, settings)?;
        // A bootstrap address gives no producer id. The broker's own answer makes librdkafka ask for one at once, and not
        // 500 ms later: one answer brings the connection, the next comes through it. What they say doesn't matter.
        for _ in 0..2 {
            let _ = partitions_of(client.client(), &settings.topic);
        }
        Ok(Self { client, topic: settings.topic.clone() })
    }

    /// Hands one record to the client.
    pub(crate) fn hand(&self, record: &Placed) -> Result<Handed, EmitError> {
        let index = usize::try_from(record.index).unwrap_or(usize::MAX);
        let mut message = BaseRecord::with_opaque_to(&self.topic, index)
            .partition(record.partition)
            .key(record.emission.key.as_slice())
            .timestamp(record.emission.timestamp_ms);
        message.payload = record.emission.payload.as_deref();
        match self.client.send(message) {
            Ok(()) => Ok(Handed::Queued),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                Ok(Handed::Full)
            }
            Err((error, _)) => Err(self.refusal(&error)),
        }
    }

    /// How many records have no report yet.
    pub(crate) fn unreported(&self) -> i32 {
        self.client.in_flight_count()
    }

    /// Looks at the account.
    pub(crate) fn ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        self.client.context().with(|ledger| read(&*ledger))
    }

    fn refusal(&self, error: &KafkaError) -> EmitError {
        let reason = match self.client.client().fatal_error() {
            Some((_, reason)) => reason,
            None => error.to_string(),
        };
        EmitError::Refused { topic: self.topic.clone(), reason }
    }
}

/// Makes a client of `config`, with what is the same for both kinds.
fn create<P: FromClientConfigAndContext<Reports>>(
    mut config: ClientConfig,
    settings: &EmitterSettings,
) -> Result<P, EmitError> {
    config.set("client.id", "streamforge-data-emitter").set_log_level(RDKafkaLogLevel::Info);
    for (key, value) in settings.properties.iter() {
        config.set(key, value);
    }
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("compression.type", settings.compression.as_str());
    config
        .create_with_context(Reports::default())
        .map_err(|error| EmitError::Settings { reason: refused(&error) })
}

/// Bytes of one partition's records that make a batch ready.
fn batch_bytes(partitions: i32) -> u64 {
    let count = u64::try_from(partitions).unwrap_or(1).max(1);
    (BATCHES_BYTES / count).max(BATCH_BYTES_MIN)
}

/// Asks once how many partitions `topic` has.
fn partitions_of(client: &Client<Reports>, topic: &str) -> Result<i32, String> {
    let metadata =
        client.fetch_metadata(Some(topic), METADATA_TIMEOUT).map_err(|error| error.to_string())?;
    let topic = metadata.topics().first().ok_or("the broker did not answer for the topic")?;
    if let Some(error) = topic.error() {
        return Err(RDKafkaErrorCode::from(error).to_string());
    }
    match i32::try_from(topic.partitions().len()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("the topic has no partitions yet".to_owned()),
    }
}

/// librdkafka's words about a setting, and what to do where it lacks a part.
fn refused(error: &KafkaError) -> String {
    let KafkaError::ClientConfig(_, reason, key, _) = error else { return error.to_string() };
    if reason.contains("not available at build time") {
        format!("{reason}; build with `--features tls`, or run the container image, which has it")
    } else if SECRETS.iter().any(|word| key.contains(word)) {
        // It would repeat the value.
        format!("the value of `{key}` is not accepted")
    } else {
        reason.clone()
    }
}

/// Words in the names of settings that hold secrets.
const SECRETS: [&str; 7] = ["password", "secret", "key", "token", "oauthbearer", "username", "pem"];

/// Receives what librdkafka has to say.
#[derive(Default)]
struct Reports(Mutex<Ledger>);

impl Reports {
    /// Held for a moment: by the reporting thread for each report, by the
    /// emitter ten times a second.
    fn with<T>(&self, act: impl FnOnce(&mut Ledger) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        match result {
            Ok(message) => {
                let offset = Some(message.offset()).filter(|offset| *offset >= 0);
                self.with(|ledger| ledger.delivered(message.partition(), index as u64, offset));
            }
            Err((error, message)) => {
                debug!(%error, partition = message.partition(), index, "not delivered");
                self.with(|ledger| ledger.failed(error.to_string()));
            }
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => error!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                info!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // librdkafka goes on by itself; what it can't deliver is in the account.
        warn!(target: "librdkafka", %error, "{reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key and payload of an event; shorter ones are rare.
    const RECORD_BYTES: u64 = 400;

    #[test]
    fn a_full_queue_has_a_batch_that_is_ready() {
        let queue: u64 = QUEUE_RECORDS_MAX.parse().unwrap();
        for partitions in 1..=64 {
            let all_but_ready = batch_bytes(partitions) * u64::try_from(partitions).unwrap();
            assert!(queue * RECORD_BYTES > all_but_ready, "{partitions} partitions");
        }
    }

    #[test]
    fn a_batch_is_worth_a_request_on_any_topic() {
        assert_eq!((batch_bytes(1), batch_bytes(4)), (1_000_000, 250_000));
        assert_eq!((batch_bytes(10_000), batch_bytes(0)), (BATCH_BYTES_MIN, BATCHES_BYTES));
    }
}
