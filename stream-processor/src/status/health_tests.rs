//! Each state a process can be in, and what `/readyz` says of it.

use super::super::{TableProgress, Unheard, Wait};
use super::*;

const PATIENCE: Duration = Duration::from_secs(40);

/// A process in its surroundings, one second after the other.
struct World {
    life: Life,
    reader: ReaderProgress,
    job: JobProgress,
    watch: Watch,
    now: Timestamp,
}

impl World {
    /// As it is at the very start.
    fn new() -> Self {
        Self {
            life: Life::default(),
            reader: ReaderProgress::default(),
            job: JobProgress { patience: PATIENCE, ..JobProgress::default() },
            watch: Watch::default(),
            now: Duration::ZERO,
        }
    }

    /// Running with two tables that stand at `at` in partitions 0 and 1, which end at `end`.
    fn running(at: i64, end: i64) -> Self {
        let mut world = Self::new();
        world.life.phase = Phase::Running;
        world.reader.joined = true;
        world.job.tables = vec![TableProgress::default(), TableProgress::default()];
        for partition in [0, 1] {
            world.reads(partition, end);
            world.ends(partition, end);
            world.stands(0, partition, at);
            world.stands(1, partition, at);
        }
        world
    }

    fn reads(&mut self, partition: i32, offset: i64) {
        self.reader.position.insert(PartitionId::new(partition), Offset::new(offset));
    }

    fn ends(&mut self, partition: i32, offset: i64) {
        self.reader.high.insert(PartitionId::new(partition), Offset::new(offset));
    }

    fn stands(&mut self, table: usize, partition: i32, offset: i64) {
        let table = self.job.tables.get_mut(table).expect("one of two");
        table.position.insert(PartitionId::new(partition), Offset::new(offset));
    }

    fn loses(&mut self, partition: i32) {
        self.reader.position.remove(&PartitionId::new(partition));
        self.reader.high.remove(&PartitionId::new(partition));
    }

    fn verdict(&self) -> Verdict {
        let Self { life, reader, job, .. } = self;
        self.watch.verdict(Facts { life, reader, job }, self.now)
    }

    /// Lets `seconds` pass in which nothing else happens.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            let Self { life, reader, job, watch, now } = self;
            watch.observe(Facts { life, reader, job }, *now);
        }
    }

    #[track_caller]
    fn check(&self, state: State, words: &str) {
        let verdict = self.verdict();
        assert_eq!(verdict.state, state, "{verdict:?}");
        assert!(verdict.reason.contains(words), "no `{words}` in {verdict:?}");
    }
}

#[test]
fn a_process_that_looks_at_its_servers_is_not_ready() {
    let mut world = World::new();
    world.pass(1);
    world.check(State::Starting, "looking at the topic");
    world.life.waits.insert(
        "the catalog at http://c:1".to_owned(),
        Wait { since: Duration::from_secs(1), cause: "connection refused".to_owned() },
    );
    world.pass(4);
    world.check(
        State::Starting,
        "waiting for the catalog at http://c:1 since 4 s: connection refused",
    );
    assert!(!world.verdict().state.is_ready());
}

#[test]
fn before_the_group_has_spoken_it_is_not_ready() {
    let mut world = World::new();
    world.life.phase = Phase::Running;
    world.pass(100);
    world.check(State::Starting, "consumer group");
}

#[test]
fn a_member_without_partitions_stands_by_and_is_ready() {
    let mut world = World::new();
    world.life.phase = Phase::Running;
    world.reader.joined = true;
    world.pass(100);
    world.check(State::Standby, "no partition is assigned");
    assert!(world.verdict().state.is_ready());
}

#[test]
fn a_member_without_partitions_and_without_a_broker_is_not_ready() {
    let mut world = World::new();
    world.life.phase = Phase::Running;
    world.reader.joined = true;
    world.reader.unheard = Some(unheard(0));
    world.pass(11);
    world.check(State::Unheard, "has not answered for 11 s: timed out");
}

fn unheard(since: u64) -> Unheard {
    Unheard {
        since: Duration::from_secs(since),
        partition: PartitionId::new(0),
        cause: "timed out".to_owned(),
    }
}

#[test]
fn an_idle_topic_is_ready_for_as_long_as_it_is_idle() {
    let mut world = World::running(10, 10);
    world.pass(1);
    world.check(State::CaughtUp, "every record is committed");
    world.pass(7_200);
    world.check(State::CaughtUp, "every record is committed");
}

#[test]
fn an_empty_topic_is_ready() {
    let mut world = World::running(0, 0);
    world.pass(1);
    world.check(State::CaughtUp, "every record");
}

#[test]
fn a_record_after_hours_of_silence_is_no_illness() {
    let mut world = World::running(10, 10);
    world.pass(7_200);
    world.ends(0, 11);
    world.pass(1);
    world.check(State::Committing, "committing");
    world.pass(39);
    world.check(State::Committing, "committing");
    world.pass(1);
    world.check(State::Stuck, "partition 0 has stood still for 41 s; records waiting in it: 1");
    world.stands(0, 0, 11);
    world.stands(1, 0, 11);
    world.pass(1);
    world.check(State::CaughtUp, "every record");
}

#[test]
fn at_start_records_that_wait_must_be_committed_first() {
    let mut world = World::running(10, 1_000_000);
    world.pass(5);
    world.check(State::Starting, "nothing was committed yet");
    world.stands(0, 0, 500);
    world.stands(1, 0, 500);
    world.pass(1);
    world.check(State::Starting, "nothing was committed yet");
    world.stands(0, 1, 500);
    world.stands(1, 1, 500);
    world.pass(1);
    world.check(State::Committing, "committing");
}

#[test]
fn ends_that_nobody_knows_are_not_taken_for_no_lag() {
    let mut world = World::running(10, 10);
    world.reader.high.clear();
    world.pass(1);
    world.check(State::Starting, "the end of partition 0 is not known yet");
}

#[test]
fn a_load_that_never_ends_is_ready_while_it_moves() {
    let mut world = World::running(10, 10);
    world.pass(1);
    for second in 0..300 {
        world.ends(0, 1_000_000);
        world.stands(0, 0, 11 + second);
        world.stands(1, 0, 11 + second);
        world.pass(1);
        world.check(State::Committing, "committing");
    }
}

#[test]
fn one_partition_that_stands_still_among_moving_ones_is_told() {
    let mut world = World::running(10, 10);
    world.pass(1);
    world.ends(0, 1_000_000);
    world.ends(1, 1_000_000);
    for second in 0..41 {
        world.stands(0, 0, 11 + second);
        world.stands(1, 0, 11 + second);
        world.pass(1);
    }
    world.check(State::Stuck, "partition 1 has stood still for 41 s");
}

#[test]
fn one_table_that_stands_still_beside_a_moving_one_is_told() {
    let mut world = World::running(10, 10);
    world.pass(1);
    world.ends(0, 1_000_000);
    for second in 0..41 {
        world.stands(0, 0, 11 + second);
        world.pass(1);
    }
    world.check(State::Stuck, "partition 0");
}

#[test]
fn a_table_far_ahead_may_wait_for_the_others() {
    let mut world = World::running(10, 1_000_000);
    world.stands(1, 0, 900_000);
    world.stands(1, 1, 900_000);
    world.pass(1);
    for second in 0..300 {
        world.stands(0, 0, 11 + second);
        world.stands(0, 1, 11 + second);
        world.pass(1);
        world.check(State::Committing, "committing");
    }
}

#[test]
fn a_catalog_that_is_down_while_records_wait_is_told_with_its_cause() {
    let mut world = World::running(10, 10);
    world.pass(100);
    world.ends(0, 50);
    let table = world.job.tables.first_mut().expect("one of two");
    table.name = "shop.sales".to_owned();
    table.committing = Some(world.now);
    world.pass(6);
    world.check(State::Committing, "a commit of shop.sales has been under way for 6 s");
    let table = world.job.tables.first_mut().expect("one of two");
    table.trouble = Some("the catalog did not answer".to_owned());
    world.pass(40);
    world.check(State::Stuck, "shop.sales has been under way for 46 s: the catalog did not answer");
}

#[test]
fn a_catalog_that_is_down_while_nothing_waits_is_no_illness() {
    let mut world = World::running(10, 10);
    world.pass(100);
    world.job.tables.first_mut().expect("one of two").committing = Some(world.now);
    world.pass(100);
    assert!(world.verdict().state.is_ready());
}

#[test]
fn a_broker_that_is_down_is_told_though_no_lag_is_known() {
    let mut world = World::running(10, 10);
    world.pass(100);
    world.reader.unheard = Some(unheard(100));
    world.pass(10);
    world.check(State::CaughtUp, "every record");
    world.pass(1);
    world.check(State::Unheard, "the broker of partition 0 has not answered for 11 s");
    world.reader.unheard = None;
    world.pass(1);
    world.check(State::CaughtUp, "every record");
}

#[test]
fn a_rebalance_does_not_make_a_healthy_process_look_ill() {
    let mut world = World::running(10, 10);
    world.pass(100);
    world.loses(0);
    world.pass(1);
    world.check(State::CaughtUp, "every record");
    // It comes back, another member has moved it on, and nothing is known of its end yet.
    world.reads(0, 5_000);
    world.stands(0, 0, 5_000);
    world.stands(1, 0, 5_000);
    world.pass(2);
    world.check(State::Committing, "committing");
    world.pass(40);
    world.check(State::Stuck, "records waiting in it: unknown");
    world.ends(0, 5_000);
    world.pass(1);
    world.check(State::CaughtUp, "every record");
}

#[test]
fn a_process_that_lost_all_partitions_stands_by() {
    let mut world = World::running(10, 10);
    world.pass(100);
    world.loses(0);
    world.loses(1);
    world.pass(1);
    world.check(State::Standby, "no partition");
    world.reader.joined = false;
    world.check(State::Starting, "consumer group");
}

#[test]
fn a_process_that_stops_is_not_ready() {
    let mut world = World::running(10, 10);
    world.pass(1);
    world.life.phase = Phase::Stopping;
    world.check(State::Stopping, "committing what is open");
    assert!(!world.verdict().state.is_ready());
}
