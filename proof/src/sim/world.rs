//! The one world of a seed: servers, topic, processes, and the adversary who chooses what happens next.
//!
//! Single-threaded: no runtime, no sleep, no port. What happens follows from the plan alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{ClusterId, Source, TopicId};
use lakehouse::simulated::{Dice, NAMESPACE, Servers, Simulation};
use lakehouse::spec::{Column, ColumnType, TableSpec};
use stream_processor::pipeline::{Action, Event};

use super::disaster::{Closed, Saved};
use super::fault::{Fault, Seen};
use super::group::Move;
use super::job::name;
use super::ledger::{Check, Ledger};
use super::network::Orphan;
use super::plan::{Plan, Temper};
use super::process::{Life, Process};
use super::topic::Topic;
use super::trace::Trace;

/// The first instant of the world. Later than now: iceberg reads the real clock where a table is made.
const EPOCH_MS: i64 = 4_102_444_800_000;
/// Longer than any deadline of a commit or a start.
const LEAP: Duration = Duration::from_secs(31);

pub(super) struct World {
    pub(super) temper: Temper,
    pub(super) dice: Dice,
    pub(super) clock: Simulation,
    pub(super) servers: Servers,
    pub(super) topic: Topic,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) specs: Vec<TableSpec>,
    pub(super) workers: Vec<Process>,
    /// Who may read a partition, as the group sees it.
    pub(super) owner: BTreeMap<i32, usize>,
    pub(super) moves: Vec<Move>,
    pub(super) members: BTreeSet<usize>,
    pub(super) source: Source,
    pub(super) now: Duration,
    pub(super) turn: u32,
    pub(super) hosts: u32,
    pub(super) orphans: BTreeMap<u64, Orphan>,
    pub(super) closed: Option<Closed>,
    pub(super) saved: Option<Saved>,
    pub(super) restored: bool,
    /// What a process may say when it stops.
    pub(super) reasons: BTreeSet<&'static str>,
    pub(super) foreign: i64,
    pub(super) seen: Seen,
    pub(super) trace: Trace,
}

macro_rules! say {
    ($world:expr, $($what:tt)*) => {
        $world.trace.say(format_args!("{:>5} {}", $world.turn, format_args!($($what)*)))
    };
}
pub(super) use say;

impl World {
    pub(super) fn new(plan: &Plan, readable: bool) -> Self {
        let mut dice = Dice::new(plan.seed);
        let temper = Temper::of(plan, &mut dice);
        let servers = Servers::new(plan.seed);
        let waits = if temper.has(Fault::MetadataWaits) { 3 } else { 0 };
        let fails = if temper.has(Fault::StoreReads) { 40 } else { 0 };
        servers.set_store(waits, fails);
        let names = match temper.lanes {
            2 => vec!["rows", "rejected_events"],
            _ => vec!["rows", "more_rows", "rejected_events"],
        };
        let lanes = names.len();
        let mut topic = Topic::default();
        for partition in 0..temper.partitions {
            let first = if partition % 2 == 0 { 0 } else { 7 };
            topic.add_partition(first);
        }
        let ledgers = names.iter().enumerate();
        let source = source("topic-1", "cluster");
        let mut world = Self {
            clock: Simulation::begin(plan.seed),
            ledgers: ledgers.map(|(lane, name)| Ledger::new(name, lane, lanes)).collect(),
            specs: names.iter().map(|name| spec(name)).collect(),
            workers: Vec::new(),
            owner: BTreeMap::new(),
            moves: Vec::new(),
            members: BTreeSet::new(),
            source: source.clone(),
            now: Duration::ZERO,
            turn: 0,
            hosts: 0,
            orphans: BTreeMap::new(),
            closed: None,
            saved: None,
            restored: false,
            reasons: BTreeSet::new(),
            foreign: 0,
            seen: Seen::default(),
            trace: Trace::new(readable),
            temper,
            dice,
            servers,
            topic,
        };
        for _ in 0..world.temper.workers {
            world.workers.push(Process::new(0, lanes, source.clone()));
        }
        if world.temper.workers == 8 {
            world.seen.one("eight workers");
        }
        world
    }

    /// Lets the adversary play, then lets one worker finish, and looks at everything once more.
    pub(super) fn run(&mut self, turns: u32) -> Check {
        for _ in 0..turns {
            self.turn += 1;
            self.misfortune()?;
            // Many workers take as many turns for the same way.
            for _ in 0..=self.workers.len() / 2 {
                self.progress()?;
            }
            self.watch()?;
        }
        self.drain()?;
        for ledger in &self.ledgers {
            ledger.audit(&self.servers, &self.topic)?;
        }
        Ok(())
    }

    pub(super) fn any_worker(&mut self) -> usize {
        usize::try_from(self.dice.below(self.workers.len() as u64)).unwrap_or_default()
    }

    pub(super) fn wants(&mut self, fault: Fault, thousandths: u64) -> bool {
        self.temper.wants(fault, thousandths, &mut self.dice)
    }

    pub(super) fn wall_ms(&self) -> i64 {
        EPOCH_MS + i64::try_from(self.now.as_millis()).unwrap_or_default()
    }

    /// Something goes wrong, or nothing does.
    fn misfortune(&mut self) -> Check {
        let worker = self.any_worker();
        if self.wants(Fault::Crash, 7) {
            self.crash(worker);
        }
        if self.wants(Fault::Stop, 1) {
            self.stop(worker);
        }
        if self.wants(Fault::Zombie, 5) {
            self.zombie(worker);
        }
        if self.wants(Fault::Rebalance, 10) {
            self.rebalance();
        }
        if self.wants(Fault::Partition, 1) && self.topic.partitions() < 8 {
            let partition = self.topic.add_partition(0);
            say!(self, "topic: partition {partition} is added");
            self.seen.one("topic: partition added");
        }
        if self.wants(Fault::Clock, 4) {
            self.jump(worker);
        }
        if self.wants(Fault::Hang, 3) {
            say!(self, "nothing is answered for {}s", LEAP.as_secs());
            self.now += LEAP;
        }
        self.others()?;
        self.disaster()
    }

    fn jump(&mut self, worker: usize) {
        let by = self.dice.below(240_000).cast_signed() - 120_000;
        let by = if self.dice.one_in(8) { by * 30 } else { by };
        let Some(process) = self.workers.get_mut(worker) else { return };
        process.skew_ms += by;
        say!(self, "worker {worker}: its clock jumps by {by} ms");
        self.seen.one(if by < 0 { "clock: back" } else { "clock: forward" });
    }

    /// Something goes on.
    fn progress(&mut self) -> Check {
        let worker = self.any_worker();
        match self.dice.below(100) {
            0..42 => self.serve(),
            42..82 => self.step(worker),
            82..89 => {
                self.read(worker);
                Ok(())
            }
            89..92 => {
                self.produce();
                Ok(())
            }
            92..97 => {
                self.time();
                Ok(())
            }
            _ => {
                self.coordinate(worker);
                Ok(())
            }
        }
    }

    pub(super) fn read(&mut self, worker: usize) {
        let most = 1 + self.dice.below(14).cast_signed();
        let apart = self.dice.one_in(2);
        if let Some(process) = self.workers.get_mut(worker)
            && process.life == Life::Running
            && !process.paused
        {
            process.read(&self.topic, most, apart);
        }
    }

    fn produce(&mut self) {
        let poison = self.wants(Fault::Poison, 150);
        for partition in 0..self.topic.partitions() {
            if self.dice.one_in(2) {
                let count = self.dice.below(20);
                self.topic.append(partition, count, poison, &mut self.dice);
            }
        }
        self.seen.more("topic: poison only", u64::from(poison));
        self.seen.one("topic: holes");
    }

    /// Time passes: a little, or until somebody's pause is over.
    pub(super) fn time(&mut self) {
        let little = Duration::from_millis(self.dice.below(400));
        let soon = self.now + Duration::from_secs(6);
        let wake = self.clock.next_wake().filter(|wake| *wake < soon && self.dice.one_in(2));
        self.now = wake.map_or(self.now + little, |wake| wake.max(self.now));
    }

    pub(super) fn face(&self, worker: usize) {
        let skew = self.workers.get(worker).map_or(0, |process| process.skew_ms);
        self.clock.set(self.now, self.wall_ms() + skew);
    }

    /// One worker does one thing.
    pub(super) fn step(&mut self, worker: usize) -> Check {
        self.face(worker);
        let now = self.now;
        let Some(process) = self.workers.get_mut(worker) else { return Ok(()) };
        if process.paused {
            return Ok(());
        }
        if process.life == Life::Down {
            if self.dice.one_in(8) {
                self.start(worker);
            }
            return Ok(());
        }
        if !process.actions.is_empty() {
            return self.act(worker);
        }
        process.last = None;
        if let Some(done) = process.poll() {
            return self.done(worker, done);
        }
        if process.life != Life::Running {
            return Ok(());
        }
        if !process.granted.is_empty() && !process.assigning && !process.stopping {
            say!(self, "worker {worker}: asks where {:?} stand", process.granted.front());
            process.take_grant();
            // The questions go out.
            return match process.poll() {
                Some(done) => self.done(worker, done),
                None => Ok(()),
            };
        }
        if self.dice.one_in(4) || !process.take(now) {
            process.event(Event::Tick, now);
        }
        Ok(())
    }

    /// A worker does its next action, unless it dies before, or after.
    fn act(&mut self, worker: usize) -> Check {
        // What is seldom done is died at more often, or a thousand seeds would not meet it.
        let next = self.workers.get(worker).and_then(|process| process.actions.front());
        let common = |next: &Action| {
            matches!(next, Action::Append(_) | Action::Seal(_) | Action::CommitGroup(_))
        };
        let rate = if next.is_some_and(common) { 6 } else { 80 };
        if self.wants(Fault::Crash, rate) {
            self.crash(worker);
            return Ok(());
        }
        let now = self.now;
        let Some(process) = self.workers.get_mut(worker) else { return Ok(()) };
        if let Some(action) = process.actions.front() {
            say!(self, "worker {worker}: {}", name(action));
            process.act(now);
        }
        if self.wants(Fault::Crash, rate) {
            self.crash(worker);
            return Ok(());
        }
        self.acted(worker)
    }

    pub(super) fn start(&mut self, worker: usize) {
        if self.closed.as_ref().is_some_and(|closed| !closed.lets_start()) {
            return;
        }
        self.hosts += 1;
        let (host, lanes) = (self.hosts, self.ledgers.len());
        let first = (0..self.topic.partitions()).map(|p| self.first(p)).collect();
        let mut process = Process::new(host, lanes, self.source.clone());
        process.skew_ms = self.workers.get(worker).map_or(0, |old| old.skew_ms);
        let lakehouse = self.servers.lakehouse(host, self.temper.snapshots_kept);
        process.start(lakehouse, self.specs.clone(), first);
        say!(self, "worker {worker}: starts as host {host}");
        if let Some(place) = self.workers.get_mut(worker) {
            *place = process;
        }
    }

    pub(super) fn first(&self, partition: i32) -> (PartitionId, Offset) {
        (PartitionId::new(partition), Offset::new(self.topic.first(partition)))
    }

    /// Asks a worker to end in order.
    pub(super) fn stop(&mut self, worker: usize) {
        let now = self.now;
        let Some(process) = self.workers.get_mut(worker) else { return };
        if process.life == Life::Running && !process.paused && process.actions.is_empty() {
            say!(self, "worker {worker}: is asked to stop");
            process.stopping = true;
            process.event(Event::Stop, now);
            self.leave(worker);
        }
    }

    /// What has to be looked at after every turn.
    pub(super) fn watch(&mut self) -> Check {
        for location in self.servers.take_deleted() {
            say!(self, "{location} is deleted");
            for ledger in &self.ledgers {
                ledger.deleted(&location)?;
            }
        }
        self.settle_moves();
        Ok(())
    }
}

pub(super) fn source(topic: &str, cluster: &str) -> Source {
    Source { cluster: ClusterId::new(cluster), topic: TopicId::new(topic) }
}

fn spec(name: &str) -> TableSpec {
    let column =
        |name: &str, column_type, nullable| Column { name: name.to_owned(), column_type, nullable };
    TableSpec {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        columns: vec![
            column("partition", ColumnType::Int, false),
            column("offset", ColumnType::Long, false),
            column("value", ColumnType::Long, true),
            column("at", ColumnType::Timestamptz, true),
        ],
        partition_day: Some("at".to_owned()),
    }
}
