//! Brokers that change, refuse, or are old; producers that compress.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka_sys::rd_kafka_resp_err_t as Code;
use stream_processor::kafka::{Consumer, Fetching, KafkaErrorKind};

use super::cluster::{Cluster, Request};
use super::group::member_until;
use super::{NoGroup, PATIENCE, TOPIC, fault, fetching, offsets, on, read, reader, some};

#[test]
fn every_codec_of_a_producer_is_read() {
    const RECORDS: usize = 400;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let cluster = Cluster::new(1);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", cluster.brokers())
            .set("compression.type", codec)
            .set("linger.ms", "20")
            .create()
            .unwrap();
        let payload = |number: usize| format!("{number} {}", "purchase ".repeat(number % 50));
        for number in 0..RECORDS {
            let text = payload(number);
            let record: BaseRecord<'_, (), str> = BaseRecord::to(TOPIC).partition(0).payload(&text);
            producer.send(record).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
        let mut seen = 0;
        while seen < RECORDS {
            for record in some(&mut consumer, 70).records() {
                assert_eq!(record.offset.get(), i64::try_from(seen).unwrap());
                assert_eq!(record.payload, Some(payload(seen).as_bytes()), "{codec}");
                seen += 1;
            }
        }
    }
}

#[test]
fn a_partition_that_gets_another_leader_is_read_on() {
    let cluster = Cluster::of(3, 2);
    let mut consumer = reader(&cluster.brokers(), [(0, 0), (1, 0)]);
    for round in 0..6 {
        cluster.lead(0, 1 + round % 3);
        cluster.lead(1, 1 + (round + 1) % 3);
        let first = i64::from(round) * 50;
        cluster.fill(0, first, 50);
        cluster.fill(1, first, 50);
        let seen = read(&mut consumer, 100);
        let expected: Vec<i64> = (first..first + 50).collect();
        assert_eq!((&seen[&0], &seen[&1]), (&expected, &expected));
    }
}

#[test]
fn a_fetch_that_is_refused_is_tried_again() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 20);
    let reasons = [
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Code::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    ];
    cluster.refuse(Request::Fetch, &reasons);
    let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
    assert_eq!(read(&mut consumer, 20)[&0], (0..20).collect::<Vec<_>>());
}

#[test]
fn brokers_that_are_too_old_for_us_are_read_all_the_same() {
    let cluster = Cluster::new(2);
    cluster.age(Request::Fetch, 11);
    cluster.fill(0, 0, 300);
    cluster.fill(1, 0, 300);
    let mut consumer = reader(&cluster.brokers(), [(0, 100), (1, 0)]);
    let seen = read(&mut consumer, 500);
    assert_eq!(seen[&0], (100..300).collect::<Vec<_>>());
    assert_eq!(seen[&1], (0..300).collect::<Vec<_>>());
    assert_eq!(consumer.position(), offsets([(0, 300), (1, 300)]));
    consumer.seek(&offsets([(0, 290)]));
    assert_eq!(read(&mut consumer, 10)[&0], (290..300).collect::<Vec<_>>());
}

#[test]
fn a_group_on_brokers_that_are_too_old_for_us_is_read_all_the_same() {
    let cluster = Cluster::new(4);
    cluster.age(Request::Fetch, 11);
    for partition in 0..4 {
        cluster.fill(partition, 0, 200);
    }
    member_until(&cluster, 800);
}

/// librdkafka waits for the topic, for ever.
#[test]
fn a_topic_that_is_not_there_is_named_as_such_when_it_is_read() {
    if fetching() == Fetching::Librdkafka {
        return;
    }
    let cluster = Cluster::new(1);
    let mut consumer = Consumer::new(&on(cluster.brokers()), "nowhere", Box::new(NoGroup)).unwrap();
    consumer.assign(&offsets([(0, 0)])).unwrap();
    assert_eq!(fault(&mut consumer).kind(), KafkaErrorKind::UnknownTopic);
}
