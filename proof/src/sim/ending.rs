//! The end of a seed: the faults stop, and one worker must bring every table to the topic's end.

use super::ledger::{Check, violated};
use super::network::Orphan;
use super::process::{Life, Process};
use super::world::{World, say};

/// One worker alone must be done by then.
const DRAIN_TURNS: u32 = 40_000;

impl World {
    /// No more faults: one worker must bring every table to the topic's end, and stop.
    pub(super) fn drain(&mut self) -> Check {
        say!(self, "no more faults");
        self.seen.more("store: read fails", self.servers.reads_failed());
        self.temper.calm();
        self.servers.set_store(0, 0);
        self.reopen();
        for worker in 0..self.workers.len() {
            self.bury(worker);
        }
        self.workers.truncate(1);
        for orphan in self.orphans.values_mut() {
            if matches!(orphan, Orphan::AfterRestart(_)) {
                *orphan = Orphan::AfterRestart(0);
            }
        }
        self.members.clear();
        self.owner.clear();
        self.moves.clear();
        self.start(0);
        let mut stopping = false;
        for _ in 0..DRAIN_TURNS {
            self.turn += 1;
            match self.dice.below(8) {
                0..3 => self.serve()?,
                3 => self.time(),
                4 => self.read(0),
                _ => self.step(0)?,
            }
            self.watch()?;
            let down = self.workers.iter().all(|process| process.life == Life::Down);
            if stopping && down {
                return Ok(());
            }
            if down {
                return violated("I8", "the last worker stopped though nothing is wrong");
            }
            if !stopping
                && self.caught_up()
                && self.workers.iter().all(Process::idle)
                && self.servers.waiting().is_empty()
            {
                self.stop(0);
                stopping = true;
            }
        }
        let at: Vec<_> =
            self.ledgers.iter().map(|ledger| (&ledger.name, &ledger.position)).collect();
        violated("I8", format!("one worker alone is not done after {DRAIN_TURNS} turns: {at:?}"))
    }

    fn caught_up(&self) -> bool {
        (0..self.topic.partitions()).all(|p| {
            self.ledgers.iter().all(|ledger| ledger.position.get(&p) == Some(&self.topic.end(p)))
        })
    }
}
