//! Decides what belongs to which commit, and in which order things happen.
//!
//! A pure machine: it reads facts and returns what to do; the shell does it. It owns the ranges that are
//! open, in flight and committed for every sink table. It must never read a clock, wait, or touch a row:
//! a chunk of records reaches it as numbers only.
//!
//! Each sink table is a function of the input and moves on its own `Lane`. The reader stands at the
//! smallest of their positions; a lane lets pass what its table already holds.

#[cfg(test)]
mod crowd;
mod lane;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::BTreeMap;
use std::time::Duration;

use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{Range, Ranges};

pub use lane::{Blueprint, Counts};

use lane::Lane;

/// Next offset to read, by partition.
pub type Starts = BTreeMap<PartitionId, Offset>;

/// Time since the process started; only differences count.
pub type Timestamp = Duration;

/// Counts the rewinds: a chunk read before the last one is stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u32);

impl Generation {
    fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// When a lane's open part becomes a commit, and how much may wait in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows in one commit of one table.
    pub rows_max: u64,
    /// Encoded bytes in one commit of one table.
    pub bytes_max: usize,
    /// Age of the oldest row that is not committed.
    pub age_max: Duration,
    /// Age of the oldest record that is not committed, where no row came of any; not below the other age.
    pub heartbeat: Duration,
    /// Encoded bytes open or in flight over all tables; beyond it no chunk is taken.
    pub budget_bytes: usize,
}

/// What is known of a chunk of records once it was decoded and transformed.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The rewind count at the time it was read.
    pub generation: Generation,
    /// What it covers; the starts are where the reader stood, not the first records seen.
    pub ranges: Ranges,
    /// What each lane would add to its table, in lane order.
    pub counts: Vec<Counts>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The reader was given partitions; one map of table positions for each lane.
    Assigned(Vec<Starts>),
    /// The reader is about to lose partitions and waits for [`Action::Released`].
    Revoked(Vec<PartitionId>),
    /// A chunk came down the pipe.
    Chunk(Facts),
    /// The open files of each lane now hold so many bytes. Follows every [`Action::Append`].
    Weighed(Vec<usize>),
    /// Time passed.
    Tick,
    /// A sealed batch is in its table, which now stands at these offsets.
    Committed(usize, Starts),
    /// The lane's commit in flight met other writers, and got through so much later. Comes before the commit's end,
    /// with a random number: all chance that this machine has.
    Crowded(usize, Duration, u64),
    /// Another writer moved a lane's table: its batch was dropped.
    Fenced(usize),
    /// The answer to [`Action::Reload`].
    Repositioned(Vec<Starts>),
    /// No record follows for now: what is open waits for no company.
    Flush,
    /// Finish what is open, take no more.
    Stop,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Append the chunk's rows to the open files of the lanes marked true.
    Append(Vec<bool>),
    /// The chunk is stale or not wanted; forget it.
    Discard,
    /// Close a lane's open files and commit them under this blueprint.
    Seal(Blueprint),
    /// Throw away the open files of every lane.
    DropOpen,
    /// Read the position of every table again.
    Reload,
    /// Read on from here; chunks of earlier generations are stale.
    Seek(Generation, Starts),
    /// Tell the consumer group how far every table is.
    CommitGroup(Starts),
    /// Take no chunk until [`Action::Resume`].
    Hold,
    /// Take chunks again.
    Resume,
    /// The revoked partitions are settled.
    Released,
    /// All is committed; the process may end.
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// A lane was fenced: wait until nothing is in flight, so that a reload is the last word.
    Draining,
    /// The positions are being read again.
    Reloading,
    Finished,
}

/// The machine. One for a process.
#[derive(Debug)]
pub struct Pipeline {
    limits: Limits,
    generation: Generation,
    phase: Phase,
    next: Starts,
    lanes: Vec<Lane>,
    /// Partitions that leave, until none of their records is open or in flight.
    releasing: Vec<PartitionId>,
    /// Nothing came since [`Event::Flush`].
    flushing: bool,
    stopping: bool,
    holding: bool,
    told_group: Starts,
}

impl Pipeline {
    /// A machine with `lanes` sink tables and no partition yet.
    pub fn new(lanes: usize, limits: Limits) -> Self {
        Self {
            limits,
            generation: Generation::default(),
            phase: Phase::Running,
            next: Starts::new(),
            lanes: (0..lanes).map(Lane::new).collect(),
            releasing: Vec::new(),
            flushing: false,
            stopping: false,
            holding: false,
            told_group: Starts::new(),
        }
    }

    /// Takes in one event and says what to do, in order.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            // Answered alone: nothing may be sealed before the rows are in the files and weighed.
            Event::Chunk(facts) => return vec![self.chunk(&facts, now)],
            Event::Assigned(starts) => self.assigned(&starts, &mut actions),
            Event::Revoked(partitions) => self.releasing.extend(partitions),
            Event::Weighed(bytes) => self.weighed(&bytes),
            Event::Tick => {}
            Event::Committed(lane, position) => self.committed(lane, position, &mut actions),
            Event::Crowded(lane, lost, chance) => self.crowded(lane, lost, chance),
            Event::Fenced(lane) => self.fenced(lane, &mut actions),
            Event::Repositioned(starts) => self.repositioned(&starts, &mut actions),
            Event::Flush => self.flushing = true,
            Event::Stop => self.stopping = true,
        }
        self.rewind_if_broken(&mut actions);
        self.settle(now, &mut actions);
        actions
    }

    /// Where the reader stands, by partition.
    pub fn reader(&self) -> &Starts {
        &self.next
    }

    fn assigned(&mut self, starts: &[Starts], actions: &mut Vec<Action>) {
        let arriving = smallest(starts);
        // A partition that comes back before its last batch was settled: what is open may overlap.
        let again = arriving.keys().any(|p| self.next.contains_key(p));
        if again && !self.releasing.is_empty() {
            self.releasing.retain(|p| !arriving.contains_key(p));
            self.release(actions);
        }
        self.next.extend(arriving);
        for (lane, starts) in self.lanes.iter_mut().zip(starts) {
            lane.stand_at(starts);
        }
        if again {
            self.drain(actions);
        }
    }

    fn release(&mut self, actions: &mut Vec<Action>) {
        for partition in std::mem::take(&mut self.releasing) {
            self.next.remove(&partition);
            self.lanes.iter_mut().for_each(|lane| lane.forget(partition));
        }
        actions.push(Action::Released);
    }

    fn chunk(&mut self, facts: &Facts, now: Timestamp) -> Action {
        if self.phase != Phase::Running || facts.generation != self.generation || self.stopping {
            return Action::Discard;
        }
        if facts.ranges.iter().any(|(p, _)| !self.next.contains_key(&p)) {
            return Action::Discard;
        }
        let contiguous =
            |(p, range): (PartitionId, Range)| self.next.get(&p) == Some(&range.start());
        if !facts.ranges.iter().all(contiguous) {
            self.phase = Phase::Draining;
            return Action::Discard;
        }
        self.flushing = false;
        for (partition, range) in facts.ranges.iter() {
            self.next.insert(partition, range.end());
        }
        let take = self
            .lanes
            .iter_mut()
            .zip(&facts.counts)
            .map(|(lane, counts)| lane.take(&facts.ranges, *counts, now))
            .collect();
        Action::Append(take)
    }

    fn weighed(&mut self, bytes: &[usize]) {
        for (lane, bytes) in self.lanes.iter_mut().zip(bytes) {
            lane.weigh(*bytes);
        }
    }

    fn committed(&mut self, lane: usize, position: Starts, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        lane.landed(position);
        let group: Starts = self
            .next
            .keys()
            .filter_map(|p| {
                let least = self.lanes.iter().map(|lane| lane.committed(*p)).min().flatten();
                least.map(|offset| (*p, offset))
            })
            .collect();
        if group != self.told_group && !group.is_empty() {
            self.told_group.clone_from(&group);
            actions.push(Action::CommitGroup(group));
        }
    }

    fn crowded(&mut self, lane: usize, lost: Duration, chance: u64) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.crowded(&self.limits, lost, chance);
        }
    }

    fn fenced(&mut self, lane: usize, actions: &mut Vec<Action>) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.dropped();
        }
        self.drain(actions);
    }

    fn drain(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::Running || self.phase == Phase::Reloading {
            self.phase = Phase::Draining;
        }
        self.drop_open(actions);
    }

    fn rewind_if_broken(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::Draining {
            self.drop_open(actions);
        }
    }

    fn drop_open(&mut self, actions: &mut Vec<Action>) {
        if self.lanes.iter().any(|lane| !lane.is_empty()) {
            self.lanes.iter_mut().for_each(Lane::drop_open);
            actions.push(Action::DropOpen);
        }
    }

    fn repositioned(&mut self, starts: &[Starts], actions: &mut Vec<Action>) {
        if self.phase != Phase::Reloading {
            return;
        }
        let held = |starts: &Starts| -> Starts {
            starts
                .iter()
                .filter(|(p, _)| self.next.contains_key(p))
                .map(|(p, o)| (*p, *o))
                .collect()
        };
        let starts: Vec<Starts> = starts.iter().map(held).collect();
        for (lane, starts) in self.lanes.iter_mut().zip(&starts) {
            lane.stand_at(starts);
        }
        self.next.extend(smallest(&starts));
        self.generation = self.generation.next();
        self.phase = Phase::Running;
        actions.push(Action::Seek(self.generation, self.next.clone()));
    }

    /// Whatever the event was: seal what is due, and move on where nothing is in flight any more.
    fn settle(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        for lane in &mut self.lanes {
            let flush =
                self.stopping || self.flushing || self.releasing.iter().any(|p| lane.has_open(*p));
            if let Some(blueprint) = lane.seal_if_due(&self.limits, flush, now) {
                actions.push(Action::Seal(blueprint));
            }
        }
        let busy = |p: &PartitionId| self.lanes.iter().any(|lane| lane.is_busy_with(*p));
        if !self.releasing.is_empty() && !self.releasing.iter().any(busy) {
            self.release(actions);
        }
        if self.lanes.iter().all(Lane::is_settled) {
            self.settled(actions);
        }
        self.hold_or_resume(actions);
    }

    fn settled(&mut self, actions: &mut Vec<Action>) {
        if self.stopping && self.phase != Phase::Finished {
            self.phase = Phase::Finished;
            actions.push(Action::Finished);
        }
        if self.phase == Phase::Draining {
            self.phase = Phase::Reloading;
            actions.push(Action::Reload);
        }
    }

    fn hold_or_resume(&mut self, actions: &mut Vec<Action>) {
        let waiting: usize = self.lanes.iter().map(Lane::bytes).sum();
        let stuck = self.lanes.iter().any(|lane| lane.is_full(&self.limits));
        let hold = waiting >= self.limits.budget_bytes || stuck;
        if hold != self.holding {
            self.holding = hold;
            actions.push(if hold { Action::Hold } else { Action::Resume });
        }
    }
}

/// The smallest position of each partition over all lanes.
pub fn smallest(lanes: &[Starts]) -> Starts {
    let mut least = Starts::new();
    for (partition, offset) in lanes.iter().flatten() {
        let entry = least.entry(*partition).or_insert(*offset);
        *entry = (*entry).min(*offset);
    }
    least
}
