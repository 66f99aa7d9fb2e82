//! A topic: made, filled, changed under its readers, and asked where it ends.
//!
//! Uses rdkafka's own clients and nothing of the product, so that a mistake in the product's consumer can't hide
//! itself here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::Ledger;
use crate::servers::until;

/// How long one request to the broker may take.
const ASK_MAX: Duration = Duration::from_secs(20);
/// How long everything that was handed to a producer may take to be acknowledged.
const FLUSH_MAX: Duration = Duration::from_mins(2);

/// One topic of a scene.
pub(crate) struct Topic {
    brokers: String,
    name: String,
    admin: AdminClient<DefaultClientContext>,
}

/// How a producer compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// A record to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub(crate) payload: Option<Vec<u8>>,
}

impl Sent {
    /// A record without a key.
    pub(crate) fn to(partition: i32, payload: Vec<u8>) -> Self {
        Self { partition, key: None, payload: Some(payload) }
    }
}

impl Topic {
    /// Makes it, with settings such as `cleanup.policy`.
    pub(crate) fn create(
        brokers: &str,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let admin = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        let topic = Self { brokers: brokers.to_owned(), name: name.to_owned(), admin };
        topic.make(partitions, settings)?;
        Ok(topic)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn make(&self, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let mut new = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        until("the topic is made", ASK_MAX, || {
            match answer(self.admin.create_topics([&new], &options())) {
                // One of this name is still being deleted.
                Err(RDKafkaErrorCode::TopicAlreadyExists) => Ok(false),
                Err(code) => Err(anyhow!("{code}")),
                Ok(()) => Ok(true),
            }
        })?;
        let wanted = usize::try_from(partitions)?;
        until("the topic is seen", ASK_MAX, || Ok(self.ends()?.len() == wanted)).map(drop)
    }

    /// Deletes it and waits until nobody knows it any more.
    pub(crate) fn delete(&self) -> Result<()> {
        answer(self.admin.delete_topics(&[&self.name], &options()))
            .map_err(|code| anyhow!("the topic was not deleted: {code}"))?;
        until("the topic is gone", ASK_MAX, || Ok(self.partitions()?.is_empty())).map(drop)
    }

    /// Another topic of the same name.
    pub(crate) fn recreate(&self, partitions: i32) -> Result<()> {
        self.delete()?;
        self.make(partitions, &[])
    }

    /// Grows it to `partitions`.
    pub(crate) fn grow(&self, partitions: usize) -> Result<()> {
        let new = [NewPartitions::new(&self.name, partitions)];
        answer(self.admin.create_partitions(&new, &options()))
            .map_err(|code| anyhow!("the topic did not grow: {code}"))?;
        until("the partitions are seen", ASK_MAX, || Ok(self.ends()?.len() == partitions)).map(drop)
    }

    /// Deletes everything below these offsets, as retention does.
    pub(crate) fn delete_before(&self, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        let list = self.list(offsets)?;
        let done = block(self.admin.delete_records(&list, &options()))??;
        for element in done.elements() {
            element.error().with_context(|| format!("partition {}", element.partition()))?;
        }
        let starts = self.marks()?.into_iter().map(|(partition, (low, _))| (partition, low));
        let starts: BTreeMap<i32, i64> = starts.collect();
        for (partition, offset) in offsets {
            ensure!(starts.get(partition) >= Some(offset), "records are still there: {starts:?}");
        }
        Ok(())
    }

    /// Changes its settings.
    pub(crate) fn alter(&self, settings: &[(&str, &str)]) -> Result<()> {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&self.name));
        for (key, value) in settings {
            change = change.set(key, value);
        }
        for answer in block(self.admin.alter_configs([&change], &options()))?? {
            answer.map_err(|(_, code)| anyhow!("the settings were not changed: {code}"))?;
        }
        Ok(())
    }

    /// Writes group offsets, as another member or an operator could.
    pub(crate) fn commit_for(&self, group: &str, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create()?;
        let list = self.list(offsets)?;
        until("the group takes offsets", ASK_MAX, || {
            Ok(consumer.commit(&list, CommitMode::Sync).map(|()| true)?)
        })
        .map(drop)
    }

    /// The offset behind the last record of each partition, markers counted.
    pub(crate) fn ends(&self) -> Result<BTreeMap<i32, i64>> {
        Ok(self.marks()?.into_iter().map(|(partition, (_, high))| (partition, high)).collect())
    }

    /// First offset and end of each partition.
    pub(crate) fn marks(&self) -> Result<BTreeMap<i32, (i64, i64)>> {
        let client: BaseConsumer = self.config().create()?;
        let marks =
            |partition| Ok((partition, client.fetch_watermarks(&self.name, partition, ASK_MAX)?));
        self.partitions_by(&client)?.into_iter().map(marks).collect()
    }

    /// Every record that a reader of committed transactions gets, read from the beginning.
    pub(crate) fn read(&self) -> Result<Ledger> {
        let ends = self.marks()?;
        let consumer: BaseConsumer = self
            .config()
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .create()?;
        consumer.assign(&self.list(&ends.iter().map(|(p, (low, _))| (*p, *low)).collect())?)?;
        let mut ledger = Ledger::new();
        let mut ended = std::collections::BTreeSet::new();
        until("the topic is read", FLUSH_MAX, || {
            while let Some(polled) = consumer.poll(Duration::from_millis(100)) {
                match polled {
                    Ok(record) => {
                        let payload = record.payload().map(<[u8]>::to_vec);
                        ledger.insert((record.partition(), record.offset()), payload);
                    }
                    Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
                    Err(err) => return Err(err.into()),
                }
            }
            Ok(ended.len() == ends.len())
        })?;
        Ok(ledger)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", "proof-reader");
        config.set("enable.auto.commit", "false");
        config
    }

    fn partitions(&self) -> Result<Vec<i32>> {
        self.partitions_by(&self.config().create()?)
    }

    fn partitions_by(&self, client: &BaseConsumer) -> Result<Vec<i32>> {
        // Of all topics: a question for one that is missing would make librdkafka remember it.
        let metadata = client.fetch_metadata(None, ASK_MAX)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.name);
        Ok(found.map_or(Vec::new(), |topic| {
            topic.partitions().iter().map(MetadataPartition::id).collect()
        }))
    }

    fn list(&self, offsets: &BTreeMap<i32, i64>) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.name, *partition, Offset::Offset(*offset))?;
        }
        Ok(list)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ASK_MAX)).operation_timeout(Some(ASK_MAX))
}

/// One thing asked of the brokers, and what became of it.
fn answer<T>(
    asked: impl Future<Output = Result<Vec<Result<T, (T, RDKafkaErrorCode)>>, KafkaError>>,
) -> Result<(), RDKafkaErrorCode> {
    let failed = |err: KafkaError| err.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    let answers = block(asked).map_err(failed)?.map_err(failed)?;
    answers.into_iter().try_for_each(|answer| answer.map(drop).map_err(|(_, code)| code))
}

fn block<T>(work: impl Future<Output = T>) -> Result<T, KafkaError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|err| KafkaError::ClientCreation(err.to_string()))?;
    Ok(runtime.block_on(work))
}

/// A producer that keeps what was acknowledged.
pub(crate) struct Sender {
    producer: ThreadedProducer<Recorder>,
    topic: String,
}

#[derive(Default)]
struct Recorder {
    delivered: Mutex<Ledger>,
    failed: Mutex<Option<String>>,
}

impl ClientContext for Recorder {}

impl ProducerContext for Recorder {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(record) => {
                let payload = record.payload().map(<[u8]>::to_vec);
                let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
                delivered.insert((record.partition(), record.offset()), payload);
            }
            Err((err, _)) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| err.to_string());
            }
        }
    }
}

impl Sender {
    /// A producer to `topic`; with `transactions`, one that begins and ends them by that id.
    pub(crate) fn new(topic: &Topic, codec: Codec, transactions: Option<&str>) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &topic.brokers).set("compression.codec", codec.name());
        config.set("enable.idempotence", "true").set("message.max.bytes", "12000000");
        config.set("linger.ms", "5");
        if let Some(id) = transactions {
            config.set("transactional.id", id);
        }
        let producer: ThreadedProducer<Recorder> =
            config.create_with_context(Recorder::default())?;
        if transactions.is_some() {
            producer.init_transactions(ASK_MAX)?;
        }
        Ok(Self { producer, topic: topic.name.clone() })
    }

    /// Hands a record over.
    pub(crate) fn send(&self, record: &Sent) -> Result<()> {
        until("the producer takes a record", FLUSH_MAX, || {
            let mut message: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(&self.topic).partition(record.partition);
            if let Some(key) = &record.key {
                message = message.key(key);
            }
            if let Some(payload) = &record.payload {
                message = message.payload(payload);
            }
            match self.producer.send(message) {
                Ok(()) => Ok(true),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
                Err((err, _)) => Err(err.into()),
            }
        })
        .map(drop)
    }

    /// Waits for all acknowledgements; what was acknowledged since the last call.
    pub(crate) fn flush(&self) -> Result<Ledger> {
        self.producer.flush(FLUSH_MAX)?;
        let context = self.producer.context();
        let failed = context.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(why) = failed {
            bail!("a record was not delivered: {why}");
        }
        Ok(std::mem::take(&mut *context.delivered.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A transaction of these records; what a reader of committed ones must get of it.
    pub(crate) fn transaction(&self, records: &[Sent], commit: bool) -> Result<Ledger> {
        self.producer.begin_transaction()?;
        for record in records {
            self.send(record)?;
        }
        // What was not sent would not be in the log, and not be aborted there.
        let delivered = self.flush()?;
        ensure!(delivered.len() == records.len(), "some of a transaction was not delivered");
        if commit {
            self.producer.commit_transaction(ASK_MAX)?;
            return Ok(delivered);
        }
        self.producer.abort_transaction(ASK_MAX)?;
        Ok(Ledger::new())
    }
}
