//! What becomes of a request on its way, and of the processes at its ends.

use lakehouse::simulated::{Call, How, Trouble, Waiting};

use super::fault::Fault;
use super::ledger::{By, Check, violated};
use super::world::{World, say};

/// A request whose sender does not listen any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orphan {
    /// The sender was told of a failure.
    Late,
    /// The sender is dead.
    Dead,
    /// It is held back until this worker's next process has read the table.
    AfterRestart(usize),
    /// That has happened.
    AfterRead,
}

impl World {
    /// One request reaches its server, or does not.
    pub(super) fn serve(&mut self) -> Check {
        let mut waiting = self.servers.waiting();
        waiting.retain(|op| !matches!(self.orphans.get(&op.id), Some(Orphan::AfterRestart(_))));
        let place = self.dice.below(waiting.len() as u64);
        let Some(op) = usize::try_from(place).ok().and_then(|place| waiting.get(place)) else {
            return Ok(());
        };
        // Most of the time the catalog serves those who listen, so that late requests are really late.
        if !op.heard && self.dice.one_in(2) {
            return Ok(());
        }
        if op.call == Call::Load && !op.heard {
            self.servers.lose(op.id);
            return Ok(());
        }
        let how = if op.heard { self.how(op.call) } else { How::Answered };
        self.perform(op, how)
    }

    fn trouble(&mut self) -> Option<Trouble> {
        let kinds = [
            (Fault::Unavailable, 60, Trouble::Unavailable),
            (Fault::Reset, 60, Trouble::Reset),
            (Fault::Malformed, 8, Trouble::Malformed),
        ];
        let mut found = None;
        for (fault, rate, trouble) in kinds {
            if self.wants(fault, rate) {
                found = Some(trouble);
            }
        }
        found
    }

    fn how(&mut self, call: Call) -> How {
        let trouble = self.trouble();
        let lost = self.wants(Fault::AnswerLost, 80);
        let late = self.wants(Fault::Late, 60);
        let twice = self.wants(Fault::Twice, 60);
        let store = self.wants(Fault::StoreError, 120);
        let second = self.dice.one_in(2);
        match (call, trouble) {
            (Call::Load, Some(trouble)) => How::Failed(trouble),
            (Call::Put, _) if store && late => How::Late(Trouble::Reset),
            (Call::Put, _) if store && second => How::AnswerLost(Trouble::Reset),
            (Call::Put, _) if store => How::Failed(Trouble::Unavailable),
            (Call::Put, _) if twice => How::TwiceSecondHeard,
            (Call::Load, None) | (Call::Put, _) => How::Answered,
            (_, trouble) if late => How::Late(trouble.unwrap_or(Trouble::Reset)),
            (_, trouble) if lost => How::AnswerLost(trouble.unwrap_or(Trouble::Reset)),
            (_, Some(trouble)) => How::Failed(trouble),
            (_, None) if twice && second => How::TwiceSecondHeard,
            (_, None) if twice => How::Twice,
            (_, None) => How::Answered,
        }
    }

    fn perform(&mut self, op: &Waiting, how: How) -> Check {
        let worker = self.workers.iter().position(|process| process.host == op.host);
        let orphan = self.orphans.remove(&op.id);
        // Ids that the catalog makes up follow from the seed, whoever asks.
        self.face(worker.unwrap_or_default());
        let performed = self.servers.perform(op.id, how);
        say!(
            self,
            "server: {:?} of {} from host {}{}: {how:?}, applied {} refused {}",
            op.call,
            if op.call == Call::Put { "a file" } else { &op.of },
            op.host,
            if op.heard { "" } else { " (nobody listens)" },
            performed.applied,
            performed.refused
        );
        if matches!(how, How::Late(_)) {
            self.orphans.insert(op.id, Orphan::Late);
        }
        let answered = matches!(how, How::Answered | How::Twice | How::TwiceSecondHeard);
        if let Some(process) = worker.and_then(|worker| self.workers.get_mut(worker))
            && op.heard
        {
            process
                .unheard
                .push((op.call, answered && (op.call != Call::Publish || performed.applied > 0)));
        }
        match op.call {
            Call::Load => {
                if matches!(how, How::Failed(_)) {
                    self.seen.one("catalog: load fails");
                } else if let Some(worker) = worker {
                    self.release_orphans(worker);
                }
                Ok(())
            }
            Call::Put => {
                self.stored(op, worker, how, orphan);
                Ok(())
            }
            Call::Create => {
                if how != How::Answered {
                    self.seen.one("catalog: create answered twice or not at all");
                }
                // Made or found: the checker sees the table from now on.
                if self.closed.is_none() { self.changed(op) } else { Ok(()) }
            }
            Call::Publish => {
                self.count_publish(op, how, orphan, performed.applied, worker);
                if performed.applied > 1 {
                    return violated("I2", format!("{}: one request was applied twice", op.of));
                }
                if performed.applied > 0 { self.changed(op) } else { Ok(()) }
            }
        }
    }

    /// A table was changed by one of us.
    fn changed(&mut self, op: &Waiting) -> Check {
        let Some(lane) = self.lane(&op.of) else { return Ok(()) };
        if let Some(closed) = self.closed.as_ref().filter(|closed| closed.covers(lane)) {
            if !closed.is_overwritten(op.base) {
                return violated("I9", format!("{} was changed although {}", op.of, closed.name()));
            }
            say!(self, "a commit decided before has put the property right");
            self.closed = None;
        }
        if self.saved.as_ref().is_some_and(|saved| saved.was_restored(lane)) {
            self.seen.one("restored from a backup: followed by a fresh start");
        }
        let Some(ledger) = self.ledgers.get_mut(lane) else { return Ok(()) };
        let raced = op.base.is_some_and(|base| base < ledger.branched);
        if raced {
            self.seen.one("foreign: branches changed between our read and our commit");
        }
        ledger.follow(&self.servers, &self.topic, By::Us { raced })
    }

    fn lane(&self, table: &str) -> Option<usize> {
        self.ledgers.iter().position(|ledger| ledger.name == table)
    }

    fn count_publish(
        &mut self,
        op: &Waiting,
        how: How,
        orphan: Option<Orphan>,
        applied: u32,
        worker: Option<usize>,
    ) {
        let name = match (how, orphan, applied > 0) {
            (_, Some(Orphan::Late), true) => "publish told as failed, applied later",
            (_, Some(Orphan::Late), false) => "publish told as failed, refused later by the fence",
            (_, Some(Orphan::AfterRead), true) => {
                "publish of a dead process applied after its successor had read the table"
            }
            (_, Some(Orphan::AfterRead), false) => {
                "publish of a dead process refused after its successor had read the table"
            }
            (_, Some(_), true) => "publish of a dead process applied later",
            (_, Some(_), false) => "publish of a dead process refused by the fence",
            (_, None, _) if !op.heard && worker.is_some() => "publish hangs until the deadline",
            (How::AnswerLost(Trouble::Unavailable), None, true) => "publish applied, then told 503",
            (How::AnswerLost(Trouble::Malformed), None, true) => "publish applied, then told 400",
            (How::AnswerLost(_), None, true) => "publish applied, answer lost",
            (How::Failed(Trouble::Unavailable), ..) => "publish not applied, 503",
            (How::Failed(Trouble::Malformed), ..) => "publish not applied, 400",
            (How::Failed(Trouble::Reset), ..) => "publish not applied, reset",
            (How::Twice, None, true) => "publish sent twice, the second refused",
            (How::TwiceSecondHeard, None, true) => {
                "publish sent twice, a conflict with oneself told"
            }
            _ => return,
        };
        self.seen.one(&format!("catalog: {name}"));
    }

    fn stored(&mut self, op: &Waiting, worker: Option<usize>, how: How, orphan: Option<Orphan>) {
        self.seen.one(match (how, orphan) {
            (_, Some(Orphan::Late)) => "store: put told as failed, stored later",
            (How::AnswerLost(_), _) => "store: put stored, answer lost",
            (How::Failed(_), _) => "store: put fails",
            (How::TwiceSecondHeard, _) => "store: put repeated",
            _ => "store: put",
        });
        if !op.of.contains("/data/") {
            self.seen.one("store: metadata waits");
            return;
        }
        let location = format!("file:///{}", op.of);
        let table = op.of.split('/').nth(2).unwrap_or_default();
        let Some(lane) = self.ledgers.iter().position(|ledger| ledger.name == table) else {
            return;
        };
        let flying = worker.and_then(|worker| self.workers.get_mut(worker)?.flying.get_mut(lane));
        match (flying, self.ledgers.get_mut(lane)) {
            (Some(flying), _) if op.heard => drop(flying.insert(location)),
            (_, Some(ledger)) => drop(ledger.abandoned.insert(location)),
            _ => {}
        }
    }

    /// The successor of a dead process has read a table: what its predecessor sent may arrive now.
    fn release_orphans(&mut self, worker: usize) {
        for orphan in self.orphans.values_mut() {
            if *orphan == Orphan::AfterRestart(worker) {
                *orphan = Orphan::AfterRead;
            }
        }
    }
}
