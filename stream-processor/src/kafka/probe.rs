//! Questions about the source that any thread may ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lakehouse::faults::{Bug, made};
use lakehouse::ids::{Offset, PartitionId};

use super::error::KafkaError;
use super::fetch::Marks;
use super::ffi::{Client, TopicFacts};

/// What a topic is, apart from its name: a recreated topic has another id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentity {
    /// The cluster's id.
    pub cluster: String,
    /// The topic's id, as Kafka's tools print it.
    pub topic_id: String,
    /// Its partitions, sorted.
    pub partitions: Vec<PartitionId>,
    /// Copies of each partition; the fewest, where they differ.
    pub replication: usize,
}

/// What a partition holds: `[low, high)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset that retention has left.
    pub low: Offset,
    /// The offset behind the last record that may be read.
    pub high: Offset,
}

/// A handle for questions; it keeps the client alive, so drop it before closing the consumer.
#[derive(Clone)]
pub struct Probe {
    /// Shared by all probes of a consumer, which may replace its client.
    current: Arc<Mutex<Arc<Client>>>,
    /// What fetches said, where librdkafka does not fetch.
    fetched: Option<Marks>,
}

impl Probe {
    pub(super) fn new(client: &Arc<Client>, fetched: Option<Marks>) -> Self {
        Self { current: Arc::new(Mutex::new(Arc::clone(client))), fetched }
    }

    /// Sends this probe's questions, and those of its clones, through another client.
    pub(super) fn follow(&self, client: &Arc<Client>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(client);
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the brokers which cluster and topic this is. Each of its three questions may take
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// - [`super::KafkaErrorKind::Retry`]: no answer in time.
    /// - [`super::KafkaErrorKind::UnknownTopic`]: there is no such topic.
    /// - [`super::KafkaErrorKind::Config`]: the brokers are too old to know topic ids.
    pub fn source(&self, timeout: Duration) -> Result<SourceIdentity, KafkaError> {
        let client = self.client();
        let ask = || {
            let topic = client.describe_topic(timeout)?;
            let cluster = client.cluster_id(timeout)?;
            let TopicFacts { id, partitions, replication } = topic;
            let topic_id = if made(Bug::S9TopicIdIgnored) { "any".to_owned() } else { id };
            Ok(SourceIdentity { cluster, topic_id, partitions, replication })
        };
        ask().map_err(|error| client.with_trouble(error))
    }

    /// Asks the partition's leader.
    ///
    /// # Errors
    ///
    /// - [`super::KafkaErrorKind::Retry`]: no answer in time.
    /// - [`super::KafkaErrorKind::UnknownTopic`]: there is no such partition.
    pub fn watermarks(
        &self,
        partition: PartitionId,
        timeout: Duration,
    ) -> Result<Watermarks, KafkaError> {
        let client = self.client();
        let marks = client.query_watermarks(partition, timeout);
        let marks = marks.map(|(low, high)| Watermarks { low, high });
        marks.map_err(|error| client.with_trouble(error))
    }

    /// What the partition's last fetch said, without asking; `None` before the first one.
    pub fn cached_watermarks(&self, partition: PartitionId) -> Option<Watermarks> {
        let of_own = self.fetched.as_ref().and_then(|fetched| fetched.of(partition));
        let marks = of_own.or_else(|| self.client().cached_watermarks(partition));
        marks.map(|(low, high)| Watermarks { low, high })
    }
}
