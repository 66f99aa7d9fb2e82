//! A seeded adversary drives workers over tables in memory: crashes, rebalances, lost answers, rivals.
//!
//! What is checked at every commit: the rows in the files are exactly the records of the ranges that the
//! commit names. Together with the fence (a start must equal the table's position) that is exactly-once.

#![allow(clippy::struct_excessive_bools, reason = "the shell's state is what it is")]

use std::collections::VecDeque;

use super::*;

const PARTITIONS: i32 = 3;
const LANES: usize = 2;
const LIMITS: Limits = Limits {
    rows_max: 40,
    bytes_max: 400,
    age_max: Duration::from_secs(1),
    heartbeat: Duration::from_secs(3),
    budget_bytes: 1_000,
};

fn p(number: i32) -> PartitionId {
    PartitionId::new(number)
}

/// Numbers that look random and follow from a seed alone.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// Records that a lane's files hold: partition and offset.
type Rows = Vec<(PartitionId, i64)>;

/// A sink table: where it stands, and every record it was given.
#[derive(Default)]
struct Table {
    position: Starts,
    rows: Rows,
}

impl Table {
    fn commit(&mut self, ranges: &Ranges, rows: &Rows) -> bool {
        if ranges.iter().any(|(p, range)| self.position.get(&p) != Some(&range.start())) {
            return false;
        }
        for (p, range) in ranges.iter() {
            self.position.insert(p, range.end());
        }
        self.rows.extend(rows);
        true
    }
}

struct Chunk {
    facts: Facts,
    rows: Rows,
}

enum Queued {
    Assigned(Vec<Starts>),
    Revoked(Vec<PartitionId>),
    Chunk(Chunk),
}

/// One process: the machine, and the dull parts around it.
struct Worker {
    machine: Pipeline,
    generation: Generation,
    reader: Starts,
    pipe: VecDeque<Queued>,
    open: Vec<Rows>,
    in_flight: Vec<Option<(Ranges, Rows)>>,
    reloading: bool,
    /// Where the tables stood when the reader was last told: no chunk may lie across.
    cuts: Vec<Starts>,
    reread: Vec<Starts>,
    holding: bool,
    releasing: bool,
    finished: bool,
}

impl Worker {
    fn new() -> Self {
        Self {
            machine: Pipeline::new(LANES, LIMITS),
            generation: Generation::default(),
            reader: Starts::new(),
            pipe: VecDeque::new(),
            open: vec![Rows::new(); LANES],
            in_flight: vec![None; LANES],
            reloading: false,
            cuts: vec![Starts::new(); LANES],
            reread: Vec::new(),
            holding: false,
            releasing: false,
            finished: false,
        }
    }

    fn step(&mut self, event: Event, rows: &Rows, now: Timestamp) {
        for action in self.machine.step(event, now) {
            match action {
                Action::Append(lanes) => {
                    for (open, take) in self.open.iter_mut().zip(lanes) {
                        if take {
                            open.extend(rows);
                        }
                    }
                    let bytes = self.open.iter().map(|rows| rows.len() * 10).collect();
                    self.step(Event::Weighed(bytes), rows, now);
                }
                Action::Discard | Action::CommitGroup(_) => {}
                Action::Seal(blueprint) => {
                    let rows = std::mem::take(&mut self.open[blueprint.lane]);
                    assert_eq!(rows.len() as u64, blueprint.counts.read, "the balance is off");
                    let mut named: Rows = Vec::new();
                    for (p, range) in blueprint.ranges.iter() {
                        named.extend(
                            (range.start().get()..range.end().get()).map(|offset| (p, offset)),
                        );
                    }
                    let mut held = rows.clone();
                    held.sort_unstable();
                    assert_eq!(held, named, "files and ranges differ");
                    let flying = self.in_flight[blueprint.lane].replace((blueprint.ranges, rows));
                    assert!(flying.is_none(), "two commits of one table in flight");
                }
                Action::DropOpen => self.open.iter_mut().for_each(Vec::clear),
                Action::Reload => self.reloading = true,
                Action::Seek(generation, starts) => {
                    self.generation = generation;
                    self.pipe.retain(|queued| !matches!(queued, Queued::Chunk(_)));
                    for (cuts, table) in self.cuts.iter_mut().zip(std::mem::take(&mut self.reread))
                    {
                        cuts.extend(table);
                    }
                    for (p, offset) in starts {
                        if self.reader.contains_key(&p) {
                            self.reader.insert(p, offset);
                        }
                    }
                }
                Action::Hold => self.holding = true,
                Action::Resume => self.holding = false,
                Action::Released => self.releasing = false,
                Action::Finished => self.finished = true,
            }
        }
    }
}

#[derive(Default, Debug)]
struct Seen {
    fenced: u64,
    crashed: u64,
    landed: u64,
    unseen: u64,
    revoked: u64,
    held: u64,
    caught_up: u64,
}

struct World {
    dice: Dice,
    now: Timestamp,
    ends: Starts,
    tables: Vec<Table>,
    workers: Vec<Worker>,
    seen: Seen,
}

impl World {
    fn new(seed: u64, workers: usize) -> Self {
        let zero: Starts = (0..PARTITIONS).map(|number| (p(number), Offset::new(0))).collect();
        let table = || Table { position: zero.clone(), rows: Rows::new() };
        let mut world = Self {
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now: Duration::ZERO,
            ends: zero.clone(),
            tables: (0..LANES).map(|_| table()).collect(),
            workers: (0..workers).map(|_| Worker::new()).collect(),
            seen: Seen::default(),
        };
        (0..workers).for_each(|worker| world.assign(worker));
        world
    }

    fn positions(&self, held: &Starts) -> Vec<Starts> {
        let of = |table: &Table| held.keys().map(|p| (*p, table.position[p])).collect();
        self.tables.iter().map(of).collect()
    }

    /// Every partition, whether a rival has it or not: the fence must bear that.
    fn assign(&mut self, worker: usize) {
        let all: Starts = self.ends.clone();
        let tables = self.positions(&all);
        let worker = &mut self.workers[worker];
        worker.reader = smallest(&tables);
        worker.cuts.clone_from(&tables);
        worker.pipe.push_back(Queued::Assigned(tables));
    }

    fn crash(&mut self, worker: usize) {
        // A commit on its way lands or not; nobody hears of it.
        for lane in 0..LANES {
            if let Some((ranges, rows)) = self.workers[worker].in_flight[lane].take()
                && self.dice.one_in(2)
                && self.tables[lane].commit(&ranges, &rows)
            {
                self.seen.unseen += 1;
            }
        }
        self.seen.crashed += 1;
        self.workers[worker] = Worker::new();
        self.assign(worker);
    }

    fn revoke(&mut self, worker: usize) {
        let w = &mut self.workers[worker];
        if w.reader.is_empty() || w.releasing {
            return;
        }
        let gone: Vec<PartitionId> = w.reader.keys().copied().take(2).collect();
        for p in &gone {
            w.reader.remove(p);
        }
        w.releasing = true;
        w.pipe.push_back(Queued::Revoked(gone));
        self.seen.revoked += 1;
    }

    /// Reads a few records of each partition, cut where some table stands.
    fn poll(&mut self, worker: usize) {
        if self.workers[worker].pipe.len() > 4 {
            return;
        }
        let held: Vec<(PartitionId, Offset)> =
            self.workers[worker].reader.iter().map(|(p, o)| (*p, *o)).collect();
        for (p, start) in held {
            let wanted = start.get() + i64::try_from(self.dice.below(12)).unwrap();
            let mut end = wanted.min(self.ends[&p].get());
            for cut in self.workers[worker].cuts.iter().filter_map(|table| table.get(&p)) {
                if start < *cut && cut.get() < end {
                    end = cut.get();
                    self.seen.caught_up += 1;
                }
            }
            if end <= start.get() {
                continue;
            }
            let mut ranges = Ranges::default();
            ranges.extend(p, start, Offset::new(end)).unwrap();
            let rows: Rows = (start.get()..end).map(|offset| (p, offset)).collect();
            let read = rows.len() as u64;
            let counts = vec![Counts { read, written: read, ..Counts::default() }; LANES];
            let worker = &mut self.workers[worker];
            worker.reader.insert(p, Offset::new(end));
            let facts = Facts { generation: worker.generation, ranges, counts };
            worker.pipe.push_back(Queued::Chunk(Chunk { facts, rows }));
        }
    }

    fn take(&mut self, worker: usize) {
        let now = self.now;
        let worker = &mut self.workers[worker];
        if worker.holding {
            self.seen.held += 1;
            return;
        }
        match worker.pipe.pop_front() {
            None => {}
            Some(Queued::Assigned(starts)) => {
                worker.step(Event::Assigned(starts), &Rows::new(), now);
            }
            Some(Queued::Revoked(gone)) => worker.step(Event::Revoked(gone), &Rows::new(), now),
            Some(Queued::Chunk(chunk)) => worker.step(Event::Chunk(chunk.facts), &chunk.rows, now),
        }
    }

    fn answer(&mut self, worker: usize) {
        let now = self.now;
        if self.workers[worker].reloading {
            self.workers[worker].reloading = false;
            let starts = self.positions(&self.workers[worker].machine.next.clone());
            self.workers[worker].reread.clone_from(&starts);
            self.workers[worker].step(Event::Repositioned(starts), &Rows::new(), now);
        }
        let lane = usize::try_from(self.dice.below(LANES as u64)).unwrap();
        if let Some((ranges, rows)) = self.workers[worker].in_flight[lane].take() {
            let event = if self.tables[lane].commit(&ranges, &rows) {
                self.seen.landed += 1;
                Event::Committed(lane, self.tables[lane].position.clone())
            } else {
                self.seen.fenced += 1;
                Event::Fenced(lane)
            };
            self.workers[worker].step(event, &Rows::new(), now);
        }
    }

    fn tick(&mut self, worker: usize) {
        let now = self.now;
        self.workers[worker].step(Event::Tick, &Rows::new(), now);
    }

    fn turn(&mut self) {
        let worker = usize::try_from(self.dice.below(self.workers.len() as u64)).unwrap();
        match self.dice.below(100) {
            0 => self.crash(worker),
            1 => self.revoke(worker),
            2 if !self.workers[worker].releasing => self.assign(worker),
            3..10 => {
                let p = p(i32::try_from(self.dice.below(3)).unwrap());
                let more = i64::try_from(self.dice.below(30)).unwrap();
                self.ends.insert(p, Offset::new(self.ends[&p].get() + more));
            }
            10..40 => self.poll(worker),
            40..70 => self.take(worker),
            70..85 => self.answer(worker),
            _ => {
                self.now += Duration::from_millis(self.dice.below(400));
                self.tick(worker);
            }
        }
    }

    /// No more faults: one worker with all partitions must bring every table to the end, and stop.
    fn drain(&mut self) {
        self.workers.truncate(1);
        self.crash(0);
        for turn in 0.. {
            assert!(turn < 100_000, "never done");
            self.now += Duration::from_millis(50);
            self.poll(0);
            self.take(0);
            self.answer(0);
            self.tick(0);
            if self.tables.iter().all(|table| table.position == self.ends) {
                break;
            }
        }
        let now = self.now;
        self.workers[0].step(Event::Stop, &Rows::new(), now);
        assert!(self.workers[0].finished, "nothing is open, so the stop is at once");
    }

    fn check(&mut self) {
        for table in &mut self.tables {
            table.rows.sort_unstable();
            let all: Rows = self
                .ends
                .iter()
                .flat_map(|(p, end)| (0..end.get()).map(|offset| (*p, offset)))
                .collect();
            assert_eq!(table.rows, all, "lost or duplicated");
        }
    }
}

fn simulate(seed: u64, workers: usize) -> Seen {
    let mut world = World::new(seed, workers);
    for _ in 0..3_000 {
        world.turn();
    }
    world.drain();
    world.check();
    world.seen
}

#[test]
fn no_record_is_lost_or_doubled_whatever_the_adversary_does() {
    let mut total = Seen::default();
    for seed in 1..=150 {
        println!("seed {seed}");
        let seen = simulate(seed, 1 + usize::try_from(seed % 3).unwrap());
        total.fenced += seen.fenced;
        total.crashed += seen.crashed;
        total.landed += seen.landed;
        total.unseen += seen.unseen;
        total.revoked += seen.revoked;
        total.held += seen.held;
        total.caught_up += seen.caught_up;
    }
    println!("{total:?}");
    let Seen { fenced, crashed, landed, unseen, revoked, held, caught_up } = total;
    for (fault, count) in [
        ("fenced", fenced),
        ("crashed", crashed),
        ("landed", landed),
        ("unseen", unseen),
        ("revoked", revoked),
        ("held", held),
        ("caught up", caught_up),
    ] {
        assert!(count > 0, "the adversary never caused: {fault}");
    }
}

#[test]
fn the_same_seed_takes_the_same_way() {
    assert_eq!(format!("{:?}", simulate(7, 3)), format!("{:?}", simulate(7, 3)));
}
