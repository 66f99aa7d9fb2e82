//! Groups: who reads what, and that a hand-over neither loses nor repeats.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lakehouse::ids::{Offset, PartitionId};
use rdkafka_sys::rd_kafka_resp_err_t as Code;
use stream_processor::kafka::{Consumer, ConsumerSettings, KafkaErrorKind, Rebalance};

use super::cluster::{Cluster, Request};
use super::{PATIENCE, TICK, TOPIC, fault, offsets, on, p, read};

const PARTITIONS: i32 = 4;

/// Stands for the table: the offsets written, by partition.
type Table = Arc<Mutex<BTreeMap<PartitionId, Vec<i64>>>>;

/// Starts where the table ends, and notes what happened.
#[derive(Clone, Default)]
struct FromTable {
    table: Table,
    held: Arc<Mutex<Vec<PartitionId>>>,
    revocations: Arc<Mutex<Vec<bool>>>,
}

impl FromTable {
    fn on(table: &Table) -> Self {
        Self { table: Arc::clone(table), ..Self::default() }
    }

    fn held(&self) -> Vec<PartitionId> {
        let mut held = self.held.lock().unwrap().clone();
        held.sort_unstable();
        held
    }
}

impl Rebalance for FromTable {
    fn assigned(&mut self, partitions: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        self.held.lock().unwrap().extend(partitions);
        let table = self.table.lock().unwrap();
        let end = |partition| table.get(partition).map_or(0, |offsets| offsets.last().unwrap() + 1);
        partitions.iter().map(|partition| (*partition, Offset::new(end(partition)))).collect()
    }

    fn revoked(&mut self, partitions: &[PartitionId], lost: bool) {
        self.held.lock().unwrap().retain(|partition| !partitions.contains(partition));
        self.revocations.lock().unwrap().push(lost);
    }
}

fn settings(cluster: &Cluster) -> ConsumerSettings {
    ConsumerSettings {
        group: Some("processors".to_owned()),
        session_timeout: Duration::from_secs(2),
        ..on(cluster.brokers())
    }
}

fn member(cluster: &Cluster, handler: impl Rebalance + 'static) -> Consumer {
    let mut consumer = Consumer::new(&settings(cluster), TOPIC, Box::new(handler)).unwrap();
    consumer.subscribe().unwrap();
    consumer
}

/// Polls, and writes what comes into the table at once.
fn step(consumer: &mut Consumer, table: &Table) {
    match consumer.poll(37, Duration::from_millis(20)) {
        Ok(batch) => {
            let mut table = table.lock().unwrap();
            for record in batch.records() {
                table.entry(record.partition).or_default().push(record.offset.get());
            }
        }
        Err(error) => assert_eq!(error.kind(), KafkaErrorKind::Retry, "{error}"),
    }
}

#[track_caller]
fn wait(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}");
    }
}

/// Runs a member until its table holds so many records, of every partition from the first on.
pub(crate) fn member_until(cluster: &Cluster, count: usize) {
    let table = Table::default();
    let mut consumer = member(cluster, FromTable::on(&table));
    let written = |table: &Table| table.lock().unwrap().values().map(Vec::len).sum::<usize>();
    let started = Instant::now();
    while written(&table) < count {
        assert!(started.elapsed() < PATIENCE, "only {} of {count}", written(&table));
        step(&mut consumer, &table);
    }
    for offsets in table.lock().unwrap().values() {
        assert_eq!(*offsets, (0..i64::try_from(offsets.len()).unwrap()).collect::<Vec<_>>());
    }
}

#[test]
fn the_handler_says_where_to_start() {
    let cluster = Cluster::new(PARTITIONS);
    let table: Table = Table::default();
    for partition in 0..PARTITIONS {
        cluster.fill(partition, 0, 20);
        table.lock().unwrap().insert(p(partition), vec![i64::from(partition)]);
    }
    let handler = FromTable::on(&table);
    let mut consumer = member(&cluster, handler.clone());
    let seen = read(&mut consumer, 70);
    for partition in 0..PARTITIONS {
        assert_eq!(seen[&partition], (i64::from(partition) + 1..20).collect::<Vec<_>>());
    }
    assert_eq!(handler.held(), [p(0), p(1), p(2), p(3)]);
    consumer.close(Duration::from_secs(10)).unwrap();
    assert_eq!(handler.held(), [], "closing gives the partitions back");
    assert_eq!(*handler.revocations.lock().unwrap(), [false]);
}

#[test]
fn a_partition_without_a_start_is_not_read() {
    struct OnlyOne;
    impl Rebalance for OnlyOne {
        fn assigned(&mut self, _: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
            super::offsets([(1, 3), (99, 0)])
        }
        fn revoked(&mut self, _: &[PartitionId], _: bool) {}
    }
    let cluster = Cluster::new(PARTITIONS);
    (0..PARTITIONS).for_each(|partition| cluster.fill(partition, 0, 5));
    let mut consumer = member(&cluster, OnlyOne);
    assert_eq!(read(&mut consumer, 2).into_iter().collect::<Vec<_>>(), [(1, vec![3, 4])]);
    assert!(consumer.poll(10, Duration::from_millis(300)).unwrap().is_empty());
    consumer.close(Duration::from_secs(10)).unwrap();
}

#[test]
fn hand_overs_under_load_neither_lose_nor_repeat() {
    let cluster = Cluster::new(PARTITIONS);
    let table: Table = Table::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let producing = scope.spawn(|| {
            let mut next = 0;
            while !stop.load(Ordering::SeqCst) {
                (0..PARTITIONS).for_each(|partition| cluster.fill(partition, next, 50));
                next += 50;
                thread::sleep(Duration::from_millis(5));
            }
            next
        });
        let first = FromTable::on(&table);
        let mut steady = member(&cluster, first.clone());
        wait(|| {
            step(&mut steady, &table);
            first.held().len() == 4
        });
        for _ in 0..3 {
            let second = FromTable::on(&table);
            let mut guest = member(&cluster, second.clone());
            wait(|| {
                step(&mut steady, &table);
                step(&mut guest, &table);
                first.held().len() == 2 && second.held().len() == 2
            });
            for _ in 0..30 {
                step(&mut steady, &table);
                step(&mut guest, &table);
            }
            guest.close(Duration::from_secs(10)).unwrap();
            assert_eq!(second.held(), []);
            wait(|| {
                step(&mut steady, &table);
                first.held().len() == 4
            });
        }
        stop.store(true, Ordering::SeqCst);
        let end = producing.join().unwrap();
        let complete = |table: &BTreeMap<PartitionId, Vec<i64>>| {
            (0..PARTITIONS).all(|partition| table[&p(partition)].last() == Some(&(end - 1)))
        };
        wait(|| {
            step(&mut steady, &table);
            complete(&table.lock().unwrap())
        });
        for (partition, offsets) in table.lock().unwrap().iter() {
            assert_eq!(*offsets, (0..end).collect::<Vec<_>>(), "partition {partition}");
        }
        assert!(first.revocations.lock().unwrap().len() >= 3);
    });
}

#[test]
fn a_member_that_stays_away_too_long_loses_its_partitions_and_gets_them_back() {
    let cluster = Cluster::new(PARTITIONS);
    let table: Table = Table::default();
    (0..PARTITIONS).for_each(|partition| cluster.fill(partition, 0, 500));
    let handler = FromTable::on(&table);
    let patience = Duration::from_secs(2);
    let settings = ConsumerSettings { max_poll_interval: patience, ..settings(&cluster) };
    let mut consumer = Consumer::new(&settings, TOPIC, Box::new(handler.clone())).unwrap();
    consumer.subscribe().unwrap();
    wait(|| {
        step(&mut consumer, &table);
        table.lock().unwrap().values().map(Vec::len).sum::<usize>() > 100
    });
    thread::sleep(patience * 2);
    let complete = || table.lock().unwrap().values().map(Vec::len).sum::<usize>() >= 2_000;
    wait(|| {
        step(&mut consumer, &table);
        complete()
    });
    for (partition, offsets) in table.lock().unwrap().iter() {
        assert_eq!(*offsets, (0..500).collect::<Vec<_>>(), "partition {partition}");
    }
    assert!(handler.revocations.lock().unwrap().contains(&true), "the partitions were lost");
}

#[test]
fn pauses_do_not_outlive_the_assignment() {
    let cluster = Cluster::new(PARTITIONS);
    let table: Table = Table::default();
    (0..PARTITIONS).for_each(|partition| cluster.fill(partition, 0, 100));
    let first = FromTable::on(&table);
    let mut steady = member(&cluster, first.clone());
    wait(|| {
        step(&mut steady, &table);
        first.held().len() == 4
    });
    steady.pause(&[p(0), p(1), p(2), p(3)]).unwrap();
    let second = FromTable::on(&table);
    let mut guest = member(&cluster, second.clone());
    wait(|| {
        step(&mut steady, &table);
        step(&mut guest, &table);
        second.held().len() == 2
    });
    let moved = second.held();
    guest.close(Duration::from_secs(10)).unwrap();
    wait(|| {
        step(&mut steady, &table);
        first.held().len() == 4
    });
    (0..PARTITIONS).for_each(|partition| cluster.fill(partition, 100, 10));
    let done = |table: &Table, partition: &PartitionId| {
        table.lock().unwrap().get(partition).map_or(0, Vec::len) == 110
    };
    wait(|| {
        step(&mut steady, &table);
        moved.iter().all(|partition| done(&table, partition))
    });
    steady.resume(&[p(0), p(1), p(2), p(3)]).unwrap();
    wait(|| {
        step(&mut steady, &table);
        (0..PARTITIONS).all(|partition| done(&table, &p(partition)))
    });
}

#[test]
fn a_panic_in_the_handler_comes_out_of_the_poll() {
    struct Panics;
    impl Rebalance for Panics {
        fn assigned(&mut self, _: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
            panic!("no table")
        }
        fn revoked(&mut self, _: &[PartitionId], _: bool) {}
    }
    let cluster = Cluster::new(1);
    let mut consumer = member(&cluster, Panics);
    let started = Instant::now();
    let panic = loop {
        assert!(started.elapsed() < PATIENCE);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(consumer.poll(1, TICK)))) {
            break panic;
        }
    };
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"no table"));
}

/// A member with a name, which has read ten records of partition 0. A commit that must be sent again rests for longer
/// than a heartbeat takes.
fn named(cluster: &Cluster, handler: &FromTable) -> Consumer {
    cluster.fill(0, 0, 10);
    let rest = |name: &str| (name.to_owned(), "2500".to_owned());
    let settings = ConsumerSettings {
        instance_id: Some("one".to_owned()),
        extra: vec![rest("retry.backoff.ms"), rest("retry.backoff.max.ms")],
        ..settings(cluster)
    };
    let mut consumer = Consumer::new(&settings, TOPIC, Box::new(handler.clone())).unwrap();
    consumer.subscribe().unwrap();
    written(&mut consumer, handler, 10);
    consumer
}

/// Reads until so many records of partition 0 are in the table, each once.
#[track_caller]
fn written(consumer: &mut Consumer, handler: &FromTable, count: i64) {
    let table = &handler.table;
    let end = |table: &Table| table.lock().unwrap().get(&p(0)).and_then(|all| all.last().copied());
    wait(|| {
        step(consumer, table);
        end(table) == Some(count - 1)
    });
    assert_eq!(table.lock().unwrap()[&p(0)], (0..count).collect::<Vec<_>>());
}

const FENCED: Code = Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;

/// A commit is to be sent again. Before it is, the member becomes another, for `reasons`.
#[track_caller]
fn taken_for_its_own_rival(reasons: impl FnOnce(&Cluster)) {
    let cluster = Cluster::new(1);
    let handler = FromTable::default();
    let mut consumer = named(&cluster, &handler);
    let probe = consumer.probe();
    let later = Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    cluster.refuse(Request::OffsetCommit, &[later, FENCED]);
    consumer.commit_offsets(&offsets([(0, 10)]));
    reasons(&cluster);
    wait(|| {
        step(&mut consumer, &handler.table);
        handler.held().is_empty()
    });
    // Now it is nobody, and what it would say does not hide who said the other.
    consumer.commit_offsets(&offsets([(0, 10)]));
    cluster.fill(0, 10, 10);
    written(&mut consumer, &handler, 20);
    assert_eq!(*handler.revocations.lock().unwrap(), [true]);
    assert_eq!(probe.watermarks(p(0), PATIENCE).unwrap().high, Offset::new(20));
    drop(probe);
    consumer.close(Duration::from_secs(10)).unwrap();
    assert_eq!(*handler.revocations.lock().unwrap(), [true, false]);
}

const STRANGER: Code = Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;

#[test]
fn a_member_that_lost_its_place_is_no_rival_of_itself() {
    taken_for_its_own_rival(|cluster| cluster.refuse(Request::Heartbeat, &[STRANGER]));
}

#[test]
fn a_member_that_was_forgotten_while_it_joined_is_no_rival_of_itself() {
    taken_for_its_own_rival(|cluster| {
        cluster.refuse(Request::Heartbeat, &[Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS]);
        cluster.refuse(Request::JoinGroup, &[STRANGER]);
    });
}

#[track_caller]
fn gives_up(reason: impl FnOnce(&Cluster, &mut Consumer)) {
    let cluster = Cluster::new(1);
    let handler = FromTable::default();
    let mut consumer = named(&cluster, &handler);
    reason(&cluster, &mut consumer);
    let error = fault(&mut consumer);
    assert_eq!(error.kind(), KafkaErrorKind::Fatal, "{error}");
}

#[test]
fn a_member_whose_place_a_rival_took_gives_up() {
    gives_up(|cluster, consumer| {
        cluster.refuse(Request::OffsetCommit, &[FENCED]);
        consumer.commit_offsets(&offsets([(0, 10)]));
    });
    gives_up(|cluster, _| cluster.refuse(Request::Heartbeat, &[FENCED]));
}

#[test]
fn closing_is_bounded_when_the_brokers_are_gone() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0, 10);
    let mut consumer = member(&cluster, FromTable::default());
    read(&mut consumer, 10);
    cluster.set_up(false);
    let started = Instant::now();
    // Whether it ends in time is the network's business; that it ends is ours.
    let _ = consumer.close(Duration::from_secs(3));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn subscribing_needs_a_group() {
    let cluster = Cluster::new(1);
    let settings = on(cluster.brokers());
    let mut consumer = Consumer::new(&settings, TOPIC, Box::new(FromTable::default())).unwrap();
    assert_eq!(consumer.subscribe().unwrap_err().kind(), KafkaErrorKind::Config);
}
