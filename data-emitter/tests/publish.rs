//! What the emitter publishes, read back from librdkafka's in-process broker.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use data_emitter::{
    Compression, EmitError, EmitterSettings, Fraction, Generator, GeneratorSettings, NextRecord,
    Pace, Summary, Unlimited, emit,
};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "activity";
const PARTITIONS: i32 = 4;
/// Few enough for the broker's memory: 5 MiB a partition.
const EVENTS: u64 = 10_000;

fn broker() -> MockCluster<'static, DefaultProducerContext> {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    broker
}

fn settings(brokers: String) -> EmitterSettings {
    let share = Fraction::new(0.02).unwrap();
    let generator = GeneratorSettings {
        late: share,
        duplicates: share,
        out_of_order: share,
        malformed: share,
        ..GeneratorSettings::new(3, 1_748_736_000_000)
    };
    EmitterSettings {
        events: Some(EVENTS),
        ..EmitterSettings::new(brokers, TOPIC.to_owned(), generator)
    }
}

async fn publish(settings: &EmitterSettings) -> Summary {
    emit(settings, Arc::new(Unlimited), |_| (), &CancellationToken::new()).await.unwrap()
}

/// Key, payload and timestamp of a record.
type Read = (Vec<u8>, Option<Vec<u8>>, Option<i64>);

/// Reads `count` records from the beginning of every partition.
fn read_back(brokers: &str, count: u64) -> BTreeMap<(i32, i64), Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .create()
        .unwrap();
    let mut start = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        start.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&start).unwrap();
    let mut records = BTreeMap::new();
    while (records.len() as u64) < count {
        let record = consumer.poll(Duration::from_secs(10)).expect("a record in time").unwrap();
        let content = (
            record.key().unwrap().to_vec(),
            record.payload().map(<[u8]>::to_vec),
            record.timestamp().to_millis(),
        );
        records.insert((record.partition(), record.offset()), content);
    }
    records
}

#[tokio::test]
async fn the_topic_holds_what_the_seed_says_at_every_offset() {
    for compression in Compression::ALL {
        let broker = broker();
        let settings = EmitterSettings { compression, ..settings(broker.bootstrap_servers()) };
        let summary = publish(&settings).await;
        assert_eq!((summary.delivered, summary.failed, summary.misplaced), (EVENTS, 0, 0));
        assert_eq!((summary.undelivered(), summary.partition_count), (0, PARTITIONS));

        let mut read = read_back(&settings.brokers, EVENTS);
        for placed in Generator::new(&settings.generator)
            .partitioned(PARTITIONS)
            .take(usize::try_from(EVENTS).unwrap())
        {
            let first = summary.partitions[&placed.partition].first_offset.unwrap();
            let offset = first + i64::try_from(placed.index).unwrap();
            let emission = placed.emission;
            let expected = (emission.key.to_vec(), emission.payload, Some(emission.timestamp_ms));
            assert_eq!(read.remove(&(placed.partition, offset)).unwrap(), expected);
        }
        assert!(read.is_empty());
    }
}

#[tokio::test]
async fn the_summary_tells_how_many_records_were_of_which_kind() {
    let broker = broker();
    let summary = publish(&settings(broker.bootstrap_servers())).await;
    let mut expected = data_emitter::Tally::default();
    let stream = Generator::new(&settings(String::new()).generator);
    stream.take(usize::try_from(EVENTS).unwrap()).for_each(|record| expected.add(&record));
    assert_eq!(summary.sent, expected);
    assert_eq!(
        summary.partitions.values().map(|partition| partition.delivered).sum::<u64>(),
        EVENTS
    );
}

#[tokio::test]
async fn a_second_run_continues_behind_the_first_without_being_misplaced() {
    let broker = broker();
    let settings = settings(broker.bootstrap_servers());
    let first = publish(&settings).await;
    let second = publish(&EmitterSettings { events: Some(100), ..settings }).await;
    assert_eq!(second.misplaced, 0);
    for (partition, account) in second.partitions {
        let length = i64::try_from(first.partitions[&partition].delivered).unwrap();
        assert_eq!(account.first_offset, Some(length));
    }
}

#[tokio::test]
async fn a_full_queue_only_slows_the_stream_down() {
    let broker = broker();
    let settings = EmitterSettings {
        properties: "queue.buffering.max.messages=100".parse().unwrap(),
        events: Some(2_000),
        ..settings(broker.bootstrap_servers())
    };
    let summary = publish(&settings).await;
    assert_eq!((summary.delivered, summary.misplaced), (2_000, 0));
}

/// Lets records pass in small groups, as a slow consumer would.
#[derive(Default)]
struct Reluctant {
    asked: AtomicU64,
    refused: AtomicU64,
}

impl Pace for Reluctant {
    fn admits(&self, _: &NextRecord) -> bool {
        let admitted = self.asked.fetch_add(1, Ordering::Relaxed) % 50 != 49;
        self.refused.fetch_add(u64::from(!admitted), Ordering::Relaxed);
        admitted
    }
}

#[tokio::test]
async fn a_pace_holds_the_stream_back_and_loses_nothing() {
    let broker = broker();
    let settings = EmitterSettings { events: Some(5_000), ..settings(broker.bootstrap_servers()) };
    let pace = Arc::new(Reluctant::default());
    let stop = CancellationToken::new();
    let summary = emit(&settings, pace.clone(), |_| (), &stop).await.unwrap();
    assert_eq!((summary.delivered, summary.misplaced), (5_000, 0));
    assert!(pace.refused.load(Ordering::Relaxed) >= 100);
}

#[tokio::test]
async fn a_cancelled_emitter_delivers_what_it_sent_and_tells_how_much() {
    let broker = broker();
    let settings = EmitterSettings {
        events: None,
        rate: "2000".parse().unwrap(),
        ..settings(broker.bootstrap_servers())
    };
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let after_some = move |progress: data_emitter::Progress| {
        if progress.delivered >= 500 {
            cancel.cancel();
        }
    };
    let summary = emit(&settings, Arc::new(Unlimited), after_some, &stop).await.unwrap();
    assert!(summary.sent.records >= 500, "{summary:?}");
    assert_eq!(summary.undelivered(), 0);
}

#[tokio::test]
async fn retried_requests_neither_lose_nor_repeat_nor_move_records() {
    let broker = broker();
    let settings = settings(broker.bootstrap_servers());
    let passing = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3];
    broker.request_errors(RDKafkaApiKey::Produce, &passing);
    let summary = publish(&settings).await;
    assert_eq!((summary.delivered, summary.misplaced), (EVENTS, 0));
    assert_eq!(read_back(&settings.brokers, EVENTS).len() as u64, EVENTS);
}

#[tokio::test]
async fn records_that_a_broker_never_takes_are_counted_as_undelivered() {
    let broker = broker();
    let settings = EmitterSettings {
        events: Some(50),
        flush_timeout: Duration::from_secs(5),
        properties: "message.timeout.ms=500".parse().unwrap(),
        ..settings(broker.bootstrap_servers())
    };
    let lasting = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 1_000];
    broker.request_errors(RDKafkaApiKey::Produce, &lasting);
    let summary = publish(&settings).await;
    assert_eq!((summary.undelivered(), summary.delivered), (50, 0));
    assert_eq!(summary.failed, 50);
    assert!(summary.last_failure.is_some());
}

#[tokio::test]
async fn an_emitter_without_a_broker_stops_when_told() {
    let settings = settings("127.0.0.1:1".to_owned());
    let stop = CancellationToken::new();
    stop.cancel();
    let summary = emit(&settings, Arc::new(Unlimited), |_| (), &stop).await.unwrap();
    assert_eq!(summary, Summary::default());
}

#[tokio::test]
async fn a_setting_that_librdkafka_does_not_know_is_named() {
    let settings = EmitterSettings {
        properties: "no.such.setting=1".parse().unwrap(),
        ..settings("127.0.0.1:1".to_owned())
    };
    let stop = CancellationToken::new();
    let error = emit(&settings, Arc::new(Unlimited), |_| (), &stop).await.unwrap_err();
    assert!(matches!(error, EmitError::Settings { .. }));
    assert!(error.to_string().contains("no.such.setting"), "{error}");
}
