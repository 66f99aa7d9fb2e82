//! What the mock brokers can't do: transactions, static membership, topics that change under the reader.
//!
//! Runs against the brokers named by `STREAMFORGE_TEST_BROKERS`; without it there is nothing to check.

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lakehouse::ids::{Offset, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use stream_processor::kafka::{Consumer, ConsumerSettings, KafkaErrorKind, Rebalance};

use super::{NoGroup, PATIENCE, TICK, offsets, on, p};

/// A topic of its own on the real brokers.
struct Topic {
    brokers: String,
    name: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topic {
    fn new(test: &str, partitions: i32) -> Option<Self> {
        let brokers = env::var("STREAMFORGE_TEST_BROKERS").ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let admin = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        let topic = Self { brokers, name: format!("{test}-{now}"), admin };
        topic.create(partitions);
        Some(topic)
    }

    fn create(&self, partitions: i32) {
        let new = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        let created = self.admin.create_topics([&new], &AdminOptions::new());
        assert_eq!(wait(created).unwrap(), [Ok(self.name.clone())]);
        // The controller has made it; the broker's own view follows a little later.
        let started = Instant::now();
        while self.partitions_led() < usize::try_from(partitions).unwrap() {
            assert!(started.elapsed() < PATIENCE, "{} is not led after {PATIENCE:?}", self.name);
            std::thread::sleep(TICK);
        }
    }

    fn partitions_led(&self) -> usize {
        let known = self.admin.inner().fetch_metadata(Some(&self.name), PATIENCE).unwrap();
        let partitions = known.topics().iter().flat_map(MetadataTopic::partitions);
        partitions
            .filter(|partition| partition.error().is_none() && partition.leader() >= 0)
            .count()
    }

    fn delete(&self) {
        let deleted = self.admin.delete_topics(&[&self.name], &AdminOptions::new());
        assert_eq!(wait(deleted).unwrap(), [Ok(self.name.clone())]);
    }

    fn producer(&self, transactional: bool) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        if transactional {
            config.set("transactional.id", &self.name);
        }
        config.create().unwrap()
    }

    fn send(&self, producer: &BaseProducer, partition: i32, payload: &str) {
        producer
            .send(BaseRecord::<(), str>::to(&self.name).partition(partition).payload(payload))
            .unwrap();
    }

    fn settings(&self) -> ConsumerSettings {
        on(&self.brokers)
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Polls until `done`; returns what came.
#[track_caller]
fn payloads(
    consumer: &mut Consumer,
    mut done: impl FnMut(&mut Consumer, &[String]) -> bool,
) -> Vec<String> {
    let started = Instant::now();
    let mut seen = Vec::new();
    while !done(consumer, &seen) {
        assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?} only {seen:?}");
        match consumer.poll(10, TICK) {
            Ok(batch) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                seen.extend(batch.records().map(|record| record.payload.map(text).unwrap()));
            }
            Err(error) => assert_eq!(error.kind(), KafkaErrorKind::Retry, "{error}"),
        }
    }
    seen
}

#[test]
fn aborted_records_never_come_and_the_position_passes_their_markers() {
    let Some(topic) = Topic::new("transactions", 1) else { return };
    let producer = topic.producer(true);
    producer.init_transactions(PATIENCE).unwrap();
    for (text, commit) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        producer.begin_transaction().unwrap();
        topic.send(&producer, 0, text);
        topic.send(&producer, 0, text);
        if commit {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            // What was not sent is not aborted in the log.
            producer.flush(PATIENCE).unwrap();
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let mut consumer = Consumer::new(&topic.settings(), &topic.name, Box::new(NoGroup)).unwrap();
    let marks = consumer.watermarks(p(0), PATIENCE).unwrap();
    assert_eq!(marks.high.get(), 12, "four pairs and four markers");
    consumer.assign(&offsets([(0, 0)])).unwrap();
    let end = offsets([(0, 12)]);
    let seen = payloads(&mut consumer, |consumer, _| consumer.position() == end);
    assert_eq!(seen, ["a", "a", "c", "c"]);
    // Going on from there, and from in front of a marker, loses nothing.
    consumer.seek(&offsets([(0, 5)]));
    assert_eq!(payloads(&mut consumer, |consumer, _| consumer.position() == end), ["c", "c"]);
}

#[test]
fn a_pause_in_front_of_markers_neither_loses_nor_repeats() {
    let Some(topic) = Topic::new("pauses", 1) else { return };
    let producer = topic.producer(true);
    producer.init_transactions(PATIENCE).unwrap();
    for number in 0..200 {
        producer.begin_transaction().unwrap();
        topic.send(&producer, 0, &number.to_string());
        if number % 3 == 0 {
            producer.flush(PATIENCE).unwrap();
            producer.abort_transaction(PATIENCE).unwrap();
        } else {
            producer.commit_transaction(PATIENCE).unwrap();
        }
    }
    let mut consumer = Consumer::new(&topic.settings(), &topic.name, Box::new(NoGroup)).unwrap();
    consumer.assign(&offsets([(0, 0)])).unwrap();
    let end = offsets([(0, 400)]);
    let seen = payloads(&mut consumer, |consumer, _| {
        consumer.pause(&[p(0)]).unwrap();
        consumer.resume(&[p(0)]).unwrap();
        consumer.position() == end
    });
    let expected: Vec<_> =
        (0..200).filter(|number| number % 3 != 0).map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_recreated_topic_has_another_id() {
    let Some(topic) = Topic::new("recreated", 2) else { return };
    let consumer = Consumer::new(&topic.settings(), &topic.name, Box::new(NoGroup)).unwrap();
    let before = consumer.source(PATIENCE).unwrap();
    topic.delete();
    let started = Instant::now();
    while consumer.source(PATIENCE).map_err(|error| error.kind())
        != Err(KafkaErrorKind::UnknownTopic)
    {
        assert!(started.elapsed() < PATIENCE);
    }
    topic.create(2);
    let after = loop {
        assert!(started.elapsed() < PATIENCE);
        if let Ok(after) = consumer.source(PATIENCE) {
            break after;
        }
    };
    assert_eq!(before.cluster, after.cluster);
    assert_ne!(before.topic_id, after.topic_id);
}

/// Starts everything at its beginning and counts.
#[derive(Default)]
struct Counting {
    assigned: std::sync::Arc<std::sync::Mutex<Vec<PartitionId>>>,
    revocations: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Rebalance for Counting {
    fn assigned(&mut self, partitions: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        self.assigned.lock().unwrap().extend(partitions);
        partitions.iter().map(|partition| (*partition, Offset::new(0))).collect()
    }

    fn revoked(&mut self, _: &[PartitionId], _: bool) {
        self.revocations.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn a_static_member_that_restarts_keeps_its_partitions_and_disturbs_nobody() {
    let Some(topic) = Topic::new("static", 4) else { return };
    let start = |instance: &str| {
        let handler = Counting::default();
        let (assigned, revocations) = (handler.assigned.clone(), handler.revocations.clone());
        let settings = ConsumerSettings {
            group: Some(topic.name.clone()),
            instance_id: Some(instance.to_owned()),
            ..topic.settings()
        };
        let mut consumer = Consumer::new(&settings, &topic.name, Box::new(handler)).unwrap();
        consumer.subscribe().unwrap();
        (consumer, assigned, revocations)
    };
    let (mut one, ones, revoked) = start("one");
    payloads(&mut one, |_, _| ones.lock().unwrap().len() == 4);
    let (mut two, twos, _) = start("two");
    payloads(&mut one, |_, _| {
        two.poll(10, TICK).unwrap();
        twos.lock().unwrap().len() == 2
    });
    let mut before = twos.lock().unwrap().clone();
    before.sort_unstable();
    let disturbed = revoked.load(std::sync::atomic::Ordering::SeqCst);
    two.close(PATIENCE).unwrap();
    let (mut two, twos, _) = start("two");
    payloads(&mut one, |_, _| {
        two.poll(10, TICK).unwrap();
        twos.lock().unwrap().len() == 2
    });
    let mut after = twos.lock().unwrap().clone();
    after.sort_unstable();
    assert_eq!(before, after);
    assert_eq!(revoked.load(std::sync::atomic::Ordering::SeqCst), disturbed);
    assert_eq!(ones.lock().unwrap().len(), 4);
    // The same name twice: the older one is told that it's over.
    let (mut other, _, _) = start("two");
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE);
        let _ = other.poll(10, TICK);
        if two.poll(10, TICK).is_err_and(|error| error.kind() == KafkaErrorKind::Fatal) {
            break;
        }
    }
    two.close(Duration::from_secs(10)).unwrap();
}

#[test]
fn added_partitions_are_assigned_within_a_refresh() {
    let Some(topic) = Topic::new("growing", 1) else { return };
    let handler = Counting::default();
    let assigned = handler.assigned.clone();
    let settings = ConsumerSettings {
        group: Some(topic.name.clone()),
        extra: vec![("topic.metadata.refresh.interval.ms".to_owned(), "1000".to_owned())],
        ..topic.settings()
    };
    let mut consumer = Consumer::new(&settings, &topic.name, Box::new(handler)).unwrap();
    consumer.subscribe().unwrap();
    payloads(&mut consumer, |_, _| *assigned.lock().unwrap() == [p(0)]);
    let more = [NewPartitions::new(&topic.name, 3)];
    let grown = topic.admin.create_partitions(&more, &AdminOptions::new());
    assert_eq!(wait(grown).unwrap(), [Ok(topic.name.clone())]);
    let producer = topic.producer(false);
    topic.send(&producer, 2, "new");
    producer.flush(PATIENCE).unwrap();
    assert_eq!(payloads(&mut consumer, |_, seen| !seen.is_empty()), ["new"]);
    assert_eq!(consumer.position().len(), 3);
}
