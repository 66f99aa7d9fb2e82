//! What a cluster says about itself and a topic.

use std::ffi::c_char;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use lakehouse::ids::PartitionId;
use rdkafka_sys as sys;

use super::client::Client;
use super::queue::Queue;
use super::{KafkaError, KafkaErrorKind, REASON_BYTES, kind_of, millis, outcome, text};

/// librdkafka's text for a topic id that the broker didn't send.
const NO_TOPIC_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// A topic as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct TopicFacts {
    pub(in super::super) id: String,
    pub(in super::super) partitions: Vec<PartitionId>,
    /// The fewest copies of a partition.
    pub(in super::super) replication: usize,
}

impl Client {
    /// The cluster's id.
    pub(in super::super) fn cluster_id(&self, timeout: Duration) -> Result<String, KafkaError> {
        // SAFETY: a valid client; the copy is ours to free.
        let id = unsafe {
            let id = sys::rd_kafka_clusterid(self.rk(), millis(timeout));
            let copy = text(id);
            sys::rd_kafka_mem_free(self.rk(), id.cast());
            copy
        };
        if id.is_empty() {
            return Err(KafkaError::new(
                KafkaErrorKind::Retry,
                "no broker told the cluster id in time",
            ));
        }
        Ok(id)
    }

    /// The brokers' ids, the one that answered first.
    fn brokers(&self, timeout: Duration) -> Result<Vec<i32>, KafkaError> {
        let mut answer: *const sys::rd_kafka_metadata = ptr::null();
        // SAFETY: a valid client and a C string. The topic is named on purpose: asked about "all topics it
        // knows", librdkafka may let the broker create them.
        let code = unsafe {
            let topic = sys::rd_kafka_topic_new(self.rk(), self.topic().as_ptr(), ptr::null_mut());
            let code =
                sys::rd_kafka_metadata(self.rk(), 0, topic, &raw mut answer, millis(timeout));
            sys::rd_kafka_topic_destroy(topic);
            code
        };
        outcome(code, "asking for the brokers")?;
        // SAFETY: a successful answer is ours to read, and to free once.
        unsafe {
            let count = usize::try_from((*answer).broker_cnt).unwrap_or(0);
            let brokers = elements((*answer).brokers, count);
            let mut ids: Vec<_> =
                brokers.iter().map(|broker| broker.id).filter(|id| *id >= 0).collect();
            ids.sort_by_key(|id| *id != (*answer).orig_broker_id);
            sys::rd_kafka_metadata_destroy(answer);
            Ok(ids)
        }
    }

    /// The topic's id and partitions. Any broker knows; the controller, whom librdkafka would ask, may be
    /// away (and is not even named by its mock brokers).
    pub(in super::super) fn describe_topic(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<TopicFacts, KafkaError> {
        let brokers = self.brokers(timeout)?;
        let each = timeout / u32::try_from(brokers.len()).unwrap_or(u32::MAX).max(1);
        let mut failure = KafkaError::new(KafkaErrorKind::Retry, "no broker is known");
        for broker in brokers {
            match self.describe_topic_by(broker, each) {
                Err(error) if error.kind() == KafkaErrorKind::Retry => failure = error,
                answer => return answer,
            }
        }
        Err(failure)
    }

    fn describe_topic_by(
        self: &Arc<Self>,
        broker: i32,
        timeout: Duration,
    ) -> Result<TopicFacts, KafkaError> {
        let queue = Queue::new(self)?;
        let request = Request::new(self, broker, timeout)?;
        // SAFETY: a valid client, request and queue; the request is copied.
        unsafe {
            sys::rd_kafka_DescribeTopics(
                self.rk(),
                request.topics,
                request.options,
                queue.as_ptr(),
            );
        }
        // SAFETY: a valid queue.
        let event =
            NonNull::new(unsafe { sys::rd_kafka_queue_poll(queue.as_ptr(), millis(timeout)) });
        let Some(event) = event.map(Event) else {
            return Err(KafkaError::new(
                KafkaErrorKind::Retry,
                "no broker described the topic in time",
            ));
        };
        event.topic()
    }
}

/// The question, in librdkafka's objects.
struct Request {
    topics: *mut sys::rd_kafka_TopicCollection_t,
    options: *mut sys::rd_kafka_AdminOptions_t,
}

impl Request {
    fn new(client: &Client, broker: i32, timeout: Duration) -> Result<Self, KafkaError> {
        let mut names: [*const c_char; 1] = [client.topic().as_ptr()];
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let mut reason = [0 as c_char; REASON_BYTES];
        let (room, length) = (reason.as_mut_ptr(), reason.len());
        // SAFETY: one C string, which is copied; a valid client; a buffer of the length given.
        unsafe {
            let request = Self {
                topics: sys::rd_kafka_TopicCollection_of_topic_names(
                    names.as_mut_ptr(),
                    names.len(),
                ),
                options: sys::rd_kafka_AdminOptions_new(client.rk(), operation),
            };
            let wait = millis(timeout);
            let code =
                sys::rd_kafka_AdminOptions_set_request_timeout(request.options, wait, room, length);
            outcome(code, "describing the topic")?;
            let code = sys::rd_kafka_AdminOptions_set_broker(request.options, broker, room, length);
            outcome(code, "describing the topic")?;
            Ok(request)
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe {
            sys::rd_kafka_TopicCollection_destroy(self.topics);
            sys::rd_kafka_AdminOptions_destroy(self.options);
        }
    }
}

/// The answer.
struct Event(NonNull<sys::rd_kafka_event_t>);

impl Event {
    fn topic(&self) -> Result<TopicFacts, KafkaError> {
        let event = self.0.as_ptr();
        // SAFETY: a valid event; everything read hangs off it and lives as long.
        unsafe {
            outcome(sys::rd_kafka_event_error(event), "describing the topic")?;
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            let mut count = 0;
            if result.is_null() {
                return Err(KafkaError::new(KafkaErrorKind::Bug, "the answer describes no topic"));
            }
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            let Some(topic) = elements(topics, count).first() else {
                return Err(KafkaError::new(
                    KafkaErrorKind::UnknownTopic,
                    "the answer holds no topic",
                ));
            };
            facts(*topic)
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
///
/// `topic` is a valid description.
unsafe fn facts(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<TopicFacts, KafkaError> {
    // SAFETY: a valid description; everything read hangs off it and lives as long.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        let number = if error.is_null() { 0 } else { sys::rd_kafka_error_code(error) as i32 };
        if number != 0 {
            let reason = text(sys::rd_kafka_error_string(error));
            return Err(KafkaError::new(
                kind_of(number),
                format!("describing the topic: {reason}"),
            ));
        }
        let id = text(sys::rd_kafka_Uuid_base64str(sys::rd_kafka_TopicDescription_topic_id(topic)));
        if id.is_empty() || id == NO_TOPIC_ID {
            let message = "the brokers tell no topic id (Kafka 2.8 and later do)";
            return Err(KafkaError::new(KafkaErrorKind::Config, message));
        }
        let mut count = 0;
        let infos = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let number = |info: &*const sys::rd_kafka_TopicPartitionInfo_t| {
            PartitionId::new(sys::rd_kafka_TopicPartitionInfo_partition(*info))
        };
        let mut partitions: Vec<_> = elements(infos, count).iter().map(number).collect();
        partitions.sort_unstable();
        let copies = |info: &*const sys::rd_kafka_TopicPartitionInfo_t| {
            let mut count = 0;
            sys::rd_kafka_TopicPartitionInfo_replicas(*info, &raw mut count);
            count
        };
        let replication = elements(infos, count).iter().map(copies).min().unwrap_or(0);
        Ok(TopicFacts { id, partitions, replication })
    }
}

/// # Safety
///
/// `start` is null or points to `count` elements that live for `'a`.
unsafe fn elements<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if start.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for it.
    unsafe { slice::from_raw_parts(start, count) }
}
