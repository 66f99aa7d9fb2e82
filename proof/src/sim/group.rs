//! The consumer group: who reads what, and how partitions move.
//!
//! It must never be trusted: two processes may read one partition at a time, and the fence has to bear it.

use lakehouse::ids::PartitionId;

use super::fault::Fault;
use super::process::Life;
use super::world::{World, say};

/// Partitions on their way from one worker to another.
#[derive(Debug)]
pub(super) struct Move {
    partitions: Vec<i32>,
    from: usize,
    host: u32,
    to: usize,
}

impl World {
    /// A process takes part.
    pub(super) fn join(&mut self, worker: usize) {
        self.members.insert(worker);
        self.hand_out(worker);
        if self.dice.one_in(2) {
            self.rebalance();
        }
    }

    /// A process does not take part any more.
    pub(super) fn leave(&mut self, worker: usize) {
        self.members.remove(&worker);
        self.owner.retain(|_, owner| *owner != worker);
    }

    /// Gives partitions that nobody reads.
    fn hand_out(&mut self, worker: usize) {
        let moving: Vec<i32> =
            self.moves.iter().flat_map(|m| m.partitions.iter().copied()).collect();
        let free = (0..self.topic.partitions())
            .filter(|p| !self.owner.contains_key(p) && !moving.contains(p));
        let free: Vec<i32> = free.collect();
        self.give(worker, &free);
    }

    fn give(&mut self, worker: usize, partitions: &[i32]) {
        if partitions.is_empty() {
            return;
        }
        let starts = partitions.iter().map(|p| self.first(*p)).collect();
        let Some(process) = self.workers.get_mut(worker) else { return };
        let unsettled = |p: &i32| process.reader.contains_key(&PartitionId::new(*p));
        if process.releasing || partitions.iter().any(unsettled) {
            self.seen.one("group: a partition comes back unsettled");
        }
        process.granted.push_back(starts);
        self.owner.extend(partitions.iter().map(|p| (*p, worker)));
        say!(self, "group: worker {worker} is given {partitions:?}");
    }

    /// Moves some partitions of one member to another.
    pub(super) fn rebalance(&mut self) {
        let members: Vec<usize> = self.members.iter().copied().collect();
        let any = |dice: &mut lakehouse::simulated::Dice| {
            usize::try_from(dice.below(members.len() as u64))
                .ok()
                .and_then(|i| members.get(i))
                .copied()
        };
        let (Some(from), Some(to)) = (any(&mut self.dice), any(&mut self.dice)) else { return };
        let held: Vec<i32> =
            self.owner.iter().filter(|(_, owner)| **owner == from).map(|(p, _)| *p).collect();
        let some = held.into_iter().filter(|_| self.dice.one_in(2)).collect::<Vec<_>>();
        let Some(process) = self.workers.get_mut(from) else { return };
        let ready = process.granted.is_empty() && !process.assigning && !process.releasing;
        if some.is_empty() || !ready || process.life != Life::Running {
            return;
        }
        say!(self, "group: {some:?} move from worker {from} to {to}");
        process.revoke(some.iter().map(|p| PartitionId::new(*p)).collect());
        let host = process.host;
        self.owner.retain(|p, _| !some.contains(p));
        self.moves.push(Move { partitions: some, from, host, to });
        self.seen.one("group: partitions move");
    }

    /// Hands on what was released, or what was waited for long enough.
    pub(super) fn settle_moves(&mut self) {
        for moved in std::mem::take(&mut self.moves) {
            let from = self.workers.get(moved.from);
            let holds = from.is_some_and(|process| process.host == moved.host && process.releasing);
            let expelled = !self.members.contains(&moved.from);
            let early = self.wants(Fault::Release, 20);
            if holds && !early && !expelled {
                self.moves.push(moved);
                continue;
            }
            if holds {
                self.seen.one("group: handed on before the release");
            }
            if self.members.contains(&moved.to) {
                self.give(moved.to, &moved.partitions);
            }
        }
    }

    /// A worker is not run for a long time, and its partitions go to others.
    pub(super) fn zombie(&mut self, worker: usize) {
        let Some(process) = self.workers.get_mut(worker) else { return };
        if process.life != Life::Running || process.paused {
            return;
        }
        process.paused = true;
        say!(self, "worker {worker}: is stopped, and expelled from the group");
        self.leave(worker);
    }

    /// The coordinator looks at one worker.
    pub(super) fn coordinate(&mut self, worker: usize) {
        let member = self.members.contains(&worker);
        let Some(process) = self.workers.get_mut(worker) else { return };
        if process.life != Life::Running || process.stopping {
            return;
        }
        if process.paused {
            if self.dice.one_in(3) {
                process.paused = false;
                say!(self, "worker {worker}: goes on, and knows of nothing");
                self.seen.one("worker: zombie wakes up");
            }
        } else if member {
            self.hand_out(worker);
        } else if process.granted.is_empty() && !process.assigning && !process.releasing {
            let lost: Vec<PartitionId> = process.reader.keys().copied().collect();
            say!(self, "worker {worker}: is told that it lost {lost:?}");
            if !lost.is_empty() {
                process.revoke(lost);
            }
            self.join(worker);
        }
    }
}
