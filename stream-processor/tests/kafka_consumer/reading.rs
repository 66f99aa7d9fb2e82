//! Records, positions, seeks, pauses; no group.

use std::time::{Duration, Instant};

use lakehouse::ids::Offset;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use stream_processor::kafka::{
    Batch, Consumer, ConsumerSettings, KafkaErrorKind, Probe, SourceIdentity, Watermarks,
};

use super::cluster::{Cluster, payload};
use super::{NoGroup, PATIENCE, TICK, TOPIC, offsets, on, p, read, read_until, reader, some};

fn identity(brokers: &str, topic: &str) -> Result<SourceIdentity, KafkaErrorKind> {
    let consumer = Consumer::new(&on(brokers), topic, Box::new(NoGroup)).unwrap();
    consumer.source(Duration::from_secs(10)).map_err(|error| error.kind())
}

#[test]
fn handles_cross_threads_as_the_pipeline_needs() {
    fn send<T: Send>() {}
    fn share<T: Send + Sync>() {}
    send::<Consumer>();
    send::<Batch>();
    share::<Probe>();
}

#[test]
fn a_record_keeps_its_bytes_its_place_and_its_time() {
    let cluster = Cluster::new(1);
    cluster.send(0, Some(b"{}"), 1_700_000_000_123);
    cluster.send(0, Some(b""), 1);
    cluster.send(0, None, 7);
    let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
    let mut found = Vec::new();
    while found.len() < 3 {
        for record in some(&mut consumer, 2).records() {
            let payload = record.payload.map(<[u8]>::to_vec);
            found.push((record.partition, record.offset.get(), record.timestamp_ms, payload));
        }
    }
    let expected = [
        (p(0), 0, Some(1_700_000_000_123), Some(b"{}".to_vec())),
        (p(0), 1, Some(1), Some(Vec::new())),
        (p(0), 2, Some(7), None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn partitions_come_whole_and_in_order_and_nothing_more() {
    let cluster = Cluster::new(3);
    for partition in 0..3 {
        cluster.fill(partition, 0, 2_000);
    }
    let mut consumer = reader(&cluster.brokers(), [(0, 0), (2, 500)]);
    let seen = read(&mut consumer, 3_500);
    assert_eq!(seen[&0], (0..2_000).collect::<Vec<_>>());
    assert_eq!(seen[&2], (500..2_000).collect::<Vec<_>>());
    assert_eq!(seen.len(), 2);
    assert_eq!(consumer.position(), offsets([(0, 2_000), (2, 2_000)]));
    assert!(consumer.poll(10, TICK).unwrap().is_empty());
}

#[test]
fn a_batch_outlives_its_consumer_and_moves_between_threads() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 10);
    let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
    let batch = some(&mut consumer, 10);
    consumer.close(Duration::from_secs(10)).unwrap();
    let first = std::thread::spawn(move || {
        let record = batch.records().next().unwrap();
        String::from_utf8(record.payload.unwrap().to_vec()).unwrap()
    });
    assert_eq!(first.join().unwrap(), payload(0, 0));
}

#[test]
fn a_position_starts_at_the_start_offset_and_follows_what_was_delivered() {
    let cluster = Cluster::new(2);
    cluster.fill(0, 0, 100);
    let mut consumer = reader(&cluster.brokers(), [(0, 40), (1, 0)]);
    assert_eq!(consumer.position(), offsets([(0, 40), (1, 0)]));
    let mut next = 40;
    while next < 100 {
        for record in some(&mut consumer, 7).records() {
            assert_eq!(record.offset.get(), next);
            next += 1;
        }
        assert_eq!(consumer.position(), offsets([(0, next), (1, 0)]));
    }
}

#[test]
fn after_a_seek_the_very_next_record_is_the_wanted_one() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 5_000);
    let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
    let mut dice = Dice(0x5eed);
    for _ in 0..200 {
        let target = dice.below(4_900);
        consumer.seek(&offsets([(0, target)]));
        assert_eq!(consumer.position(), offsets([(0, target)]));
        let mut next = target;
        while next < target + dice.below(90) + 1 {
            for record in some(&mut consumer, 20).records() {
                assert_eq!(record.offset.get(), next, "after a seek to {target}");
                next += 1;
            }
            assert_eq!(consumer.position(), offsets([(0, next)]));
        }
    }
}

#[test]
fn a_seek_leaves_other_partitions_and_strangers_alone() {
    let cluster = Cluster::new(2);
    cluster.fill(0, 0, 50);
    cluster.fill(1, 0, 50);
    let mut consumer = reader(&cluster.brokers(), [(0, 0), (1, 0)]);
    read(&mut consumer, 100);
    consumer.seek(&offsets([(0, 45), (9, 3)]));
    let seen = read(&mut consumer, 5);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(0, (45..50).collect())]);
    assert_eq!(consumer.position(), offsets([(0, 50), (1, 50)]));
}

#[test]
fn pausing_again_and_again_neither_loses_nor_repeats() {
    let cluster = Cluster::new(2);
    cluster.fill(0, 0, 6_000);
    cluster.fill(1, 0, 6_000);
    let mut consumer = reader(&cluster.brokers(), [(0, 0), (1, 0)]);
    let mut next = [0, 0];
    let mut dice = Dice(0xface);
    let started = Instant::now();
    while next != [6_000, 6_000] {
        assert!(started.elapsed() < PATIENCE, "stuck at {next:?}");
        let held = usize::try_from(dice.below(3)).unwrap();
        if held < 2 {
            consumer.pause(&[p(i32::try_from(held).unwrap())]).unwrap();
        }
        for _ in 0..dice.below(4) {
            for record in consumer.poll(300, Duration::from_millis(2)).unwrap().records() {
                let partition = usize::try_from(record.partition.get()).unwrap();
                assert_ne!(partition, held, "a record of a paused partition");
                assert_eq!(record.offset.get(), next[partition]);
                next[partition] += 1;
            }
        }
        consumer.resume(&[p(0), p(1)]).unwrap();
        for record in consumer.poll(300, TICK).unwrap().records() {
            let partition = usize::try_from(record.partition.get()).unwrap();
            assert_eq!(record.offset.get(), next[partition]);
            next[partition] += 1;
        }
    }
    assert_eq!(consumer.position(), offsets([(0, 6_000), (1, 6_000)]));
}

#[test]
fn a_paused_partition_can_be_sent_elsewhere() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 100);
    let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
    read(&mut consumer, 100);
    consumer.pause(&[p(0)]).unwrap();
    consumer.seek(&offsets([(0, 30)]));
    assert!(consumer.poll(10, TICK).unwrap().is_empty());
    consumer.resume(&[p(0)]).unwrap();
    assert_eq!(read(&mut consumer, 70)[&0], (30..100).collect::<Vec<_>>());
}

#[test]
fn assigning_again_replaces_the_assignment() {
    let cluster = Cluster::new(2);
    cluster.fill(0, 0, 20);
    cluster.fill(1, 0, 20);
    let mut consumer = reader(&cluster.brokers(), [(0, 0), (1, 0)]);
    read(&mut consumer, 40);
    consumer.assign(&offsets([(1, 15)])).unwrap();
    assert_eq!(consumer.position(), offsets([(1, 15)]));
    let seen = read(&mut consumer, 5);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(1, (15..20).collect())]);
}

#[test]
fn a_topic_is_known_by_its_id_and_partitions() {
    let cluster = Cluster::new(4);
    cluster.create("other", 1);
    let events = identity(&cluster.brokers(), TOPIC).unwrap();
    assert_eq!(events, identity(&cluster.brokers(), TOPIC).unwrap());
    assert_eq!(events.partitions, [p(0), p(1), p(2), p(3)]);
    assert!(!events.cluster.is_empty() && !events.topic_id.is_empty());
    let other = identity(&cluster.brokers(), "other").unwrap();
    assert_eq!(other.cluster, events.cluster);
    assert_ne!(other.topic_id, events.topic_id);
    assert_ne!(identity(&Cluster::new(4).brokers(), TOPIC).unwrap(), events);
}

#[test]
fn watermarks_are_asked_for_and_remembered() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 12);
    let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
    let expected = Watermarks { low: Offset::new(0), high: Offset::new(12) };
    assert_eq!(consumer.watermarks(p(0), PATIENCE).unwrap(), expected);
    read(&mut consumer, 12);
    assert_eq!(consumer.probe().cached_watermarks(p(0)), Some(expected));
    assert_eq!(consumer.probe().cached_watermarks(p(77)), None);
    let error = consumer.watermarks(p(77), Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::UnknownTopic);
}

#[test]
fn group_offsets_are_written_and_never_read_back() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 50);
    let settings = ConsumerSettings { group: Some("shoppers".to_owned()), ..on(cluster.brokers()) };
    let mut consumer = Consumer::new(&settings, TOPIC, Box::new(NoGroup)).unwrap();
    consumer.assign(&offsets([(0, 10)])).unwrap();
    read(&mut consumer, 40);
    consumer.commit_offsets(&offsets([(0, 37)]));
    let dashboard: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.brokers())
        .set("group.id", "shoppers")
        .create()
        .unwrap();
    let mut partition = rdkafka::TopicPartitionList::new();
    partition.add_partition(TOPIC, 0);
    let committed = |_: &_| {
        let found = dashboard.committed_offsets(partition.clone(), PATIENCE).unwrap();
        found.elements()[0].offset() == rdkafka::Offset::Offset(37)
    };
    read_until(&mut consumer, committed);
    consumer.assign(&offsets([(0, 49)])).unwrap();
    assert_eq!(read(&mut consumer, 1)[&0], [49]);
}

/// A tiny seeded generator: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % limit
    }
}
