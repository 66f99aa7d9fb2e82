//! A mock cluster with the knobs that the `rdkafka` crate doesn't show.

#![allow(unsafe_code, reason = "librdkafka's mock brokers are C")]

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka_sys as sys;

use super::{PATIENCE, TOPIC};

pub(crate) struct Cluster {
    host: *mut sys::rd_kafka_t,
    mock: *mut sys::rd_kafka_mock_cluster_t,
    producer: BaseProducer,
}

/// Kinds of requests, by their number in Kafka's protocol.
#[derive(Clone, Copy)]
pub(crate) enum Request {
    Fetch = 1,
    OffsetCommit = 8,
    JoinGroup = 11,
    Heartbeat = 12,
}

// SAFETY: librdkafka's clients and mock clusters may be used from any thread.
unsafe impl Sync for Cluster {}

impl Cluster {
    /// One broker, and the topic with so many partitions.
    pub(crate) fn new(partitions: i32) -> Self {
        Self::start(1, partitions, |_, _| ())
    }

    /// As [`Self::new`], of several brokers.
    pub(crate) fn of(brokers: i32, partitions: i32) -> Self {
        Self::start(brokers, partitions, |_, _| ())
    }

    /// As [`Self::new`], but the broker tells its clients to come to another port.
    pub(crate) fn behind(partitions: i32, port: impl FnOnce(u16) -> u16) -> Self {
        Self::start(1, partitions, |mock, bootstrap| {
            let port = port(bootstrap.rsplit(':').next().unwrap().parse().unwrap());
            // SAFETY: a valid cluster and a C string.
            unsafe {
                sys::rd_kafka_mock_broker_set_host_port(
                    mock,
                    1,
                    c"127.0.0.1".as_ptr(),
                    port.into(),
                );
            }
        })
    }

    fn start(
        brokers: i32,
        partitions: i32,
        prepare: impl FnOnce(*mut sys::rd_kafka_mock_cluster_t, &str),
    ) -> Self {
        let mut reason = [0 as c_char; 512];
        // SAFETY: a conf that the client takes over, and a buffer of the length given.
        let host = unsafe {
            let conf = sys::rd_kafka_conf_new();
            let kind = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            sys::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len())
        };
        assert!(!host.is_null());
        // SAFETY: a valid client.
        let mock = unsafe { sys::rd_kafka_mock_cluster_new(host, brokers) };
        assert!(!mock.is_null());
        // SAFETY: a valid cluster.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(mock, 0) };
        let bootstrap = bootstrap(mock);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("linger.ms", "0")
            .create()
            .unwrap();
        prepare(mock, &bootstrap);
        let cluster = Self { host, mock, producer };
        cluster.create(TOPIC, partitions);
        cluster
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        let topic = CString::new(topic).unwrap();
        // SAFETY: a valid cluster and a C string.
        let code =
            unsafe { sys::rd_kafka_mock_topic_create(self.mock, topic.as_ptr(), partitions, 1) };
        assert_eq!(code as i32, 0);
    }

    pub(crate) fn brokers(&self) -> String {
        bootstrap(self.mock)
    }

    /// Cuts all connections and takes no new ones, or takes them again.
    pub(crate) fn set_up(&self, up: bool) {
        // SAFETY: a valid cluster.
        let code = unsafe {
            if up {
                sys::rd_kafka_mock_broker_set_up(self.mock, -1)
            } else {
                sys::rd_kafka_mock_broker_set_down(self.mock, -1)
            }
        };
        assert_eq!(code as i32, 0);
    }

    /// Gives the partition another leader.
    pub(crate) fn lead(&self, partition: i32, broker: i32) {
        let topic = CString::new(TOPIC).unwrap();
        // SAFETY: a valid cluster and a C string.
        let code = unsafe {
            sys::rd_kafka_mock_partition_set_leader(self.mock, topic.as_ptr(), partition, broker)
        };
        assert_eq!(code as i32, 0);
    }

    /// Pretends to be a broker that knows this request up to a version only.
    pub(crate) fn age(&self, request: Request, version: i16) {
        // SAFETY: a valid cluster.
        let code =
            unsafe { sys::rd_kafka_mock_set_apiversion(self.mock, request as i16, 0, version) };
        assert_eq!(code as i32, 0);
    }

    /// Answers the next requests of a kind with these errors, in turn.
    pub(crate) fn refuse(&self, request: Request, errors: &[sys::rd_kafka_resp_err_t]) {
        // SAFETY: a valid cluster and so many errors.
        unsafe {
            sys::rd_kafka_mock_push_request_errors_array(
                self.mock,
                request as i16,
                errors.len(),
                errors.as_ptr(),
            );
        }
    }

    /// Sends one record and waits until it is in the log.
    pub(crate) fn send(&self, partition: i32, payload: Option<&[u8]>, timestamp_ms: i64) {
        self.queue(partition, payload, timestamp_ms);
        self.flush();
    }

    /// Sends `count` records that name their place, counted from `first`.
    pub(crate) fn fill(&self, partition: i32, first: i64, count: i64) {
        for offset in first..first + count {
            self.queue(partition, Some(payload(partition, offset).as_bytes()), offset);
        }
        self.flush();
    }

    fn queue(&self, partition: i32, payload: Option<&[u8]>, timestamp_ms: i64) {
        let mut record: BaseRecord<'_, (), [u8]> =
            BaseRecord::to(TOPIC).partition(partition).timestamp(timestamp_ms);
        record.payload = payload;
        while let Err((_, back)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(10));
            record = back;
        }
    }

    fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SAFETY: ours, and destroyed once, the cluster before the client that hosts it.
        unsafe {
            sys::rd_kafka_mock_cluster_destroy(self.mock);
            sys::rd_kafka_destroy(self.host);
        }
    }
}

pub(crate) fn payload(partition: i32, offset: i64) -> String {
    format!("record {partition}@{offset}")
}

fn bootstrap(mock: *mut sys::rd_kafka_mock_cluster_t) -> String {
    // SAFETY: a valid cluster, which owns the string.
    unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(mock)) }
        .to_str()
        .unwrap()
        .to_owned()
}
