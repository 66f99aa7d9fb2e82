//! The Kafka consumer against librdkafka's own in-process brokers, fetching by itself. The tests next to this folder do the
//! same with librdkafka fetching.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod brokers;
mod cluster;
mod faults;
mod group;
mod proxy;
mod reading;
mod real;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lakehouse::ids::{Offset, PartitionId};
use stream_processor::kafka::{Batch, Consumer, ConsumerSettings, Fetching, KafkaError, Rebalance};

const TOPIC: &str = "events";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(50);

/// Who fetches in this test program.
fn fetching() -> Fetching {
    if module_path!().starts_with("kafka_consumer_on_librdkafka") {
        Fetching::Librdkafka
    } else {
        Fetching::Own
    }
}

fn on(brokers: impl Into<String>) -> ConsumerSettings {
    ConsumerSettings { fetching: fetching(), ..ConsumerSettings::new(brokers) }
}

fn p(number: i32) -> PartitionId {
    PartitionId::new(number)
}

fn offsets<const N: usize>(offsets: [(i32, i64); N]) -> BTreeMap<PartitionId, Offset> {
    offsets.into_iter().map(|(partition, offset)| (p(partition), Offset::new(offset))).collect()
}

/// For consumers without a group.
struct NoGroup;

impl Rebalance for NoGroup {
    fn assigned(&mut self, partitions: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        panic!("assigned {partitions:?} without a group")
    }

    fn revoked(&mut self, partitions: &[PartitionId], _: bool) {
        panic!("revoked {partitions:?} without a group")
    }
}

/// A consumer that reads from these offsets on.
fn reader<const N: usize>(brokers: &str, starts: [(i32, i64); N]) -> Consumer {
    let mut consumer = Consumer::new(&on(brokers), TOPIC, Box::new(NoGroup)).unwrap();
    consumer.assign(&offsets(starts)).unwrap();
    consumer
}

/// The next records, of which there must be some.
#[track_caller]
fn some(consumer: &mut Consumer, max: usize) -> Batch {
    let batch = consumer.poll(max, PATIENCE).unwrap();
    assert!(!batch.is_empty(), "nothing within {PATIENCE:?}");
    batch
}

/// Polls until `enough` of the offsets seen so far, by partition. Passing faults are waited out.
#[track_caller]
fn read_until(
    consumer: &mut Consumer,
    mut enough: impl FnMut(&BTreeMap<i32, Vec<i64>>) -> bool,
) -> BTreeMap<i32, Vec<i64>> {
    let started = Instant::now();
    let mut seen: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    while !enough(&seen) {
        assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?} only {seen:?}");
        if let Ok(batch) = consumer.poll(100, TICK) {
            for record in batch.records() {
                seen.entry(record.partition.get()).or_default().push(record.offset.get());
            }
        }
    }
    seen
}

#[track_caller]
fn read(consumer: &mut Consumer, count: usize) -> BTreeMap<i32, Vec<i64>> {
    read_until(consumer, |seen| seen.values().map(Vec::len).sum::<usize>() >= count)
}

/// Polls until something goes wrong for good.
#[track_caller]
fn fault(consumer: &mut Consumer) -> KafkaError {
    use stream_processor::kafka::KafkaErrorKind::Retry;
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "no fault after {PATIENCE:?}");
        match consumer.poll(100, TICK) {
            Err(error) if error.kind() != Retry => return error,
            _ => {}
        }
    }
}
