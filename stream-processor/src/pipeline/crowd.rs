//! Workers of one table that don't know of each other, over a table in memory that takes one commit at a time.
//!
//! What is measured: the share of the publishes that meet another writer, and how long rows wait.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(20);
const LIMITS: Limits = Limits {
    rows_max: u64::MAX,
    bytes_max: usize::MAX,
    age_max: INTERVAL,
    heartbeat: Duration::from_secs(10),
    budget_bytes: usize::MAX,
};

/// Numbers that look random and follow from a seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: Duration) -> Duration {
        bound.mul_f64((self.roll() >> 40) as f64 / (1_u64 << 24) as f64)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Tick,
    Rows,
    Read,
    Publish { read: Timestamp, base: u64 },
}

struct Worker {
    machine: Pipeline,
    next: i64,
    /// When the oldest row came that is not sealed.
    oldest: Option<Timestamp>,
    /// When the last commit landed: nothing is sealed before.
    landed: Timestamp,
    flying: Option<Ranges>,
    first_read: Option<Timestamp>,
    conflicts: u32,
}

/// How a table is shared.
#[derive(Clone, Copy)]
struct Crowd {
    workers: usize,
    /// From reading the table to the publish; the longest takes three times as long.
    window: Duration,
    /// Whether the machines hear of the others.
    told: bool,
    /// A chunk comes so often.
    every: Duration,
    seed: u64,
}

#[derive(Debug, Default)]
struct Seen {
    commits: u64,
    conflicts: u64,
    /// The longest that a row waited to be sealed while nothing was in flight.
    waited_max: Duration,
}

impl Seen {
    fn wasted(&self) -> f64 {
        self.conflicts as f64 / (self.commits + self.conflicts) as f64
    }
}

struct World {
    crowd: Crowd,
    dice: Dice,
    now: Timestamp,
    queue: BinaryHeap<Reverse<(Timestamp, u64, usize, Happening)>>,
    queued: u64,
    workers: Vec<Worker>,
    /// Counts the table's commits.
    version: u64,
    seen: Seen,
}

impl World {
    fn new(crowd: Crowd) -> Self {
        let dice = Dice(crowd.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let (queue, workers) = (BinaryHeap::new(), Vec::new());
        let (now, version, seen) = (Duration::ZERO, 0, Seen::default());
        let mut world = Self { crowd, dice, now, queue, queued: 0, workers, version, seen };
        for worker in 0..crowd.workers {
            let mut machine = Pipeline::new(1, LIMITS);
            let starts = [(partition(worker), Offset::new(0))].into();
            machine.step(Event::Assigned(vec![starts]), Duration::ZERO);
            world.workers.push(Worker {
                machine,
                next: 0,
                oldest: None,
                landed: Duration::ZERO,
                flying: None,
                first_read: None,
                conflicts: 0,
            });
            // A group's workers are given their partitions in the same moment.
            let phase = world.dice.below(TICK);
            world.after(phase, worker, Happening::Tick);
            world.after(phase, worker, Happening::Rows);
        }
        world
    }

    fn after(&mut self, pause: Duration, worker: usize, what: Happening) {
        self.queued += 1;
        self.queue.push(Reverse((self.now + pause, self.queued, worker, what)));
    }

    fn run(&mut self, until: Timestamp) -> Seen {
        while let Some(Reverse((at, _, worker, what))) = self.queue.pop() {
            self.now = at;
            match what {
                Happening::Tick => {
                    self.step(worker, Event::Tick);
                    self.after(TICK, worker, Happening::Tick);
                }
                Happening::Rows => {
                    self.rows(worker);
                    let pause = self.crowd.every / 2 + self.dice.below(self.crowd.every);
                    self.after(pause, worker, Happening::Rows);
                }
                Happening::Read => {
                    // Most take about as long as the shortest, few much longer.
                    let (one, two) =
                        (self.dice.below(self.crowd.window), self.dice.below(self.crowd.window));
                    let base = self.version;
                    let window = self.crowd.window + one.min(two) + one.min(two);
                    let read = self.now;
                    self.workers[worker].first_read.get_or_insert(read);
                    self.after(window, worker, Happening::Publish { read, base });
                }
                Happening::Publish { read, base } => self.publish(worker, read, base),
            }
            if at > until {
                break;
            }
        }
        std::mem::take(&mut self.seen)
    }

    fn rows(&mut self, worker: usize) {
        let w = &mut self.workers[worker];
        let mut ranges = Ranges::default();
        let end = w.next + 5;
        ranges.extend(partition(worker), Offset::new(w.next), Offset::new(end)).unwrap();
        w.next = end;
        w.oldest.get_or_insert(self.now);
        let counts = vec![Counts { read: 5, written: 5, ..Counts::default() }];
        let facts = Facts { generation: Generation::default(), ranges, counts };
        let taken = w.machine.step(Event::Chunk(facts), self.now);
        assert_eq!(taken, [Action::Append(vec![true])]);
        self.step(worker, Event::Weighed(vec![50]));
    }

    fn step(&mut self, worker: usize, event: Event) {
        let now = self.now;
        for action in self.workers[worker].machine.step(event, now) {
            let Action::Seal(blueprint) = action else { continue };
            let w = &mut self.workers[worker];
            let since = w.oldest.take().unwrap();
            if w.landed < since + INTERVAL {
                self.seen.waited_max = self.seen.waited_max.max(now.saturating_sub(since));
            }
            assert!(w.flying.replace(blueprint.ranges).is_none(), "two commits at a time");
            let upload = self.dice.below(Duration::from_millis(5));
            self.after(upload, worker, Happening::Read);
        }
    }

    fn publish(&mut self, worker: usize, read: Timestamp, base: u64) {
        let w = &mut self.workers[worker];
        if base != self.version {
            self.seen.conflicts += 1;
            w.conflicts += 1;
            // As the commit loop pauses.
            let most = Duration::from_millis(20) * (1 << (w.conflicts - 1).min(5));
            let pause = self.dice.below(most.min(Duration::from_millis(500)));
            return self.after(pause, worker, Happening::Read);
        }
        self.version += 1;
        self.seen.commits += 1;
        w.landed = self.now;
        let ranges = w.flying.take().unwrap();
        let lost = w.first_read.take().map_or(Duration::ZERO, |first| read.saturating_sub(first));
        let met = std::mem::take(&mut w.conflicts) > 0;
        if met && self.crowd.told {
            let chance = self.dice.roll();
            self.step(worker, Event::Crowded(0, lost, chance));
        }
        let position = ranges.iter().map(|(p, range)| (p, range.end())).collect();
        self.step(worker, Event::Committed(0, position));
    }
}

fn partition(worker: usize) -> PartitionId {
    PartitionId::new(i32::try_from(worker).unwrap())
}

/// Ten seconds to settle, then half a minute that counts; over several seeds.
fn settled(workers: usize, window_ms: u64, told: bool) -> Seen {
    let mut total = Seen::default();
    for seed in 1..=SEEDS {
        let window = Duration::from_millis(window_ms);
        let every = Duration::from_millis(40);
        let mut world = World::new(Crowd { workers, window, told, every, seed });
        world.run(Duration::from_secs(10));
        let seen = world.run(Duration::from_secs(40));
        total.commits += seen.commits;
        total.conflicts += seen.conflicts;
        total.waited_max = total.waited_max.max(seen.waited_max);
    }
    let wasted = total.wasted();
    println!("{workers} workers, {window_ms} ms, told: {told}: {wasted:.3} wasted, {total:?}");
    total
}

/// The shares of these seeds are always the same.
const SEEDS: u64 = 12;

#[test]
fn eight_workers_that_hear_of_each_other_hardly_meet() {
    for window_ms in [5, 10, 20] {
        let (deaf, told) = (settled(8, window_ms, false), settled(8, window_ms, true));
        assert!(deaf.wasted() > 0.20, "{:.3} wasted by those that don't hear", deaf.wasted());
        assert!(told.wasted() < 0.10, "{:.3} wasted", told.wasted());
        assert!(told.wasted() < deaf.wasted() / 3.0, "{:.3} wasted", told.wasted());
    }
}

#[test]
fn no_row_waits_longer_than_the_interval_in_a_crowd() {
    for workers in [2, 4, 8] {
        let seen = settled(workers, 20, true);
        assert!(seen.conflicts > 0, "they never met");
        // The clock is looked at every tick.
        assert!(seen.waited_max <= INTERVAL + TICK, "{:?}", seen.waited_max);
    }
}

#[test]
fn who_is_alone_commits_once_an_interval() {
    let alone = settled(1, 20, true);
    assert_eq!(alone.conflicts, 0);
    let most = 30 * SEEDS;
    assert!((most * 95 / 100..=most).contains(&alone.commits), "{} commits", alone.commits);
}
