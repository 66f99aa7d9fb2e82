//! What goes wrong, and what the caller hears.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stream_processor::kafka::{Consumer, ConsumerSettings, KafkaErrorKind};

use super::cluster::Cluster;
use super::{NoGroup, PATIENCE, TICK, TOPIC, fault, offsets, on, p, proxy, read, reader};

/// The mock brokers keep 5 MiB a partition.
const TRIMMING: (usize, i64) = (100 * 1024, 100);

fn settings(extra: &[(&str, &str)]) -> ConsumerSettings {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    ConsumerSettings { extra: extra.iter().map(own).collect(), ..on("127.0.0.1:1") }
}

#[track_caller]
fn refused(extra: &[(&str, &str)], named: &str) {
    let error = Consumer::new(&settings(extra), TOPIC, Box::new(NoGroup)).err().unwrap();
    assert_eq!(error.kind(), KafkaErrorKind::Config);
    assert!(error.to_string().contains(named), "{error}");
}

#[test]
fn a_start_below_the_first_offset_is_reported_and_nothing_is_skipped() {
    let cluster = Cluster::new(2);
    let (size, count) = TRIMMING;
    for offset in 0..count {
        cluster.send(0, Some(&vec![b'x'; size]), offset);
    }
    cluster.fill(1, 0, 5);
    let mut consumer = reader(&cluster.brokers(), [(0, 0), (1, 0)]);
    let expected = KafkaErrorKind::OffsetOutOfRange {
        partition: p(0),
        offset: lakehouse::ids::Offset::new(0),
    };
    assert_eq!(fault(&mut consumer).kind(), expected);
    assert_eq!(fault(&mut consumer).kind(), expected, "it repeats itself");
    assert_eq!(consumer.position()[&p(0)].get(), 0);
}

#[test]
fn a_start_above_the_last_offset_is_reported() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 5);
    let mut consumer = reader(&cluster.brokers(), [(0, 6)]);
    let expected = KafkaErrorKind::OffsetOutOfRange {
        partition: p(0),
        offset: lakehouse::ids::Offset::new(6),
    };
    assert_eq!(fault(&mut consumer).kind(), expected);
    assert_eq!(consumer.position(), offsets([(0, 6)]));
}

#[test]
fn a_start_at_the_end_waits_for_the_next_record() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 5);
    let mut consumer = reader(&cluster.brokers(), [(0, 5)]);
    assert!(consumer.poll(10, TICK).unwrap().is_empty());
    cluster.fill(0, 5, 1);
    assert_eq!(read(&mut consumer, 1)[&0], [5]);
}

#[test]
fn bytes_damaged_on_the_wire_are_read_again() {
    let mut left = None;
    let cluster = Cluster::behind(1, |target| {
        let (port, counter) = proxy::start(target, b"record 0@7", 2);
        left = Some(counter);
        port
    });
    // One record a batch: behind a large damaged batch librdkafka 2.12.1 parses garbage, and may abort.
    for offset in 0..15 {
        cluster.fill(0, offset, 1);
    }
    let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
    let error = fault(&mut consumer);
    assert!(
        matches!(error.kind(), KafkaErrorKind::Corrupt { partition, .. } if partition == p(0)),
        "{error}"
    );
    let behind = consumer.position()[&p(0)].get();
    assert!(behind <= 7, "the position stepped over damaged bytes: {behind}");
    let seen = read(&mut consumer, usize::try_from(15 - behind).unwrap());
    assert_eq!(seen[&0], (behind..15).collect::<Vec<_>>());
    assert_eq!(left.unwrap().load(Ordering::SeqCst), 0, "both damages were met");
}

#[test]
fn a_broker_that_comes_back_costs_nothing() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 1_000);
    let mut consumer = reader(&cluster.brokers(), [(0, 0)]);
    let first = consumer.poll(10, PATIENCE).unwrap().len();
    cluster.set_up(false);
    let started = Instant::now();
    let mut next = i64::try_from(first).unwrap();
    while started.elapsed() < Duration::from_secs(2) {
        match consumer.poll(10, TICK) {
            Ok(batch) => next += i64::try_from(batch.len()).unwrap(),
            Err(error) => assert_eq!(error.kind(), KafkaErrorKind::Retry, "{error}"),
        }
    }
    cluster.set_up(true);
    cluster.fill(0, 1_000, 10);
    let seen = read(&mut consumer, usize::try_from(1_010 - next).unwrap());
    assert_eq!(seen[&0], (next..1_010).collect::<Vec<_>>());
}

#[test]
fn a_missing_topic_is_named_as_such() {
    let cluster = Cluster::new(1);
    let consumer = Consumer::new(&on(cluster.brokers()), "nowhere", Box::new(NoGroup)).unwrap();
    let error = consumer.source(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::UnknownTopic, "{error}");
    let error = consumer.watermarks(p(0), PATIENCE).unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::UnknownTopic, "{error}");
}

#[test]
fn silent_brokers_cost_the_time_out_and_no_more() {
    let consumer = Consumer::new(&settings(&[]), TOPIC, Box::new(NoGroup)).unwrap();
    let started = Instant::now();
    let error = consumer.source(Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::Retry, "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    consumer.close(Duration::from_secs(10)).unwrap();
}

#[test]
fn properties_that_exactly_once_rests_on_can_not_be_changed() {
    refused(&[("enable.auto.commit", "true")], "enable.auto.commit");
    refused(&[("auto.offset.reset", "earliest")], "auto.offset.reset");
    refused(&[("check.crcs", "false")], "check.crcs");
    refused(&[("isolation.level", "read_uncommitted")], "isolation.level");
    refused(&[("client.dns.lookup", "use_all_dns_ips"), ("group.id", "other")], "group.id");
}

#[test]
fn other_names_for_protected_properties_are_found_out() {
    refused(&[("max.partition.fetch.bytes", "10")], "max.partition.fetch.bytes");
    refused(&[("metadata.broker.list", "elsewhere:1")], "metadata.broker.list");
}

#[test]
fn a_bad_property_is_named_and_a_secret_is_not_told() {
    refused(&[("no.such.property", "1")], "no.such.property");
    refused(&[("socket.timeout.ms", "soon")], "socket.timeout.ms");
    let error =
        Consumer::new(&settings(&[("ssl.key.location", "canary\0")]), TOPIC, Box::new(NoGroup));
    assert!(!error.err().unwrap().to_string().contains("canary"));
}

#[test]
fn harmless_properties_are_taken() {
    let settings = settings(&[("socket.timeout.ms", "5000"), ("fetch.max.bytes", "9000000")]);
    assert!(Consumer::new(&settings, TOPIC, Box::new(NoGroup)).is_ok());
}
