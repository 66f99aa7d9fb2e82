//! What a process hears of what it has begun, and what must be true then.

use stream_processor::pipeline::{Event, Starts};
use stream_processor::sink::Landed;

use super::ledger::{Check, violated};
use super::process::Done;
use super::world::{World, say};

impl World {
    pub(super) fn acted(&mut self, worker: usize) -> Check {
        let Some(process) = self.workers.get_mut(worker) else { return Ok(()) };
        if let Some(told) = process.told_group.take() {
            self.group_told(&told)?;
        }
        let Some(process) = self.workers.get_mut(worker) else { return Ok(()) };
        if process.finished {
            say!(self, "worker {worker}: stopped in order");
            self.seen.one("worker: stopped in order");
            self.bury(worker);
        }
        Ok(())
    }

    /// The group must never be told more than every table holds.
    fn group_told(&mut self, told: &Starts) -> Check {
        for (ledger, (partition, offset)) in
            self.ledgers.iter().flat_map(|ledger| told.iter().map(move |at| (ledger, at)))
        {
            let held = ledger.position.get(&partition.get()).copied();
            if !self.restored && held < Some(offset.get()) {
                let name = &ledger.name;
                return violated(
                    "I1",
                    format!(
                        "the group was told {partition}: {offset}, but {name} stands at {held:?}"
                    ),
                );
            }
        }
        Ok(())
    }

    pub(super) fn done(&mut self, worker: usize, done: Done) -> Check {
        let now = self.now;
        let Some(process) = self.workers.get_mut(worker) else { return Ok(()) };
        match done {
            Done::Opened(Ok((sinks, at))) => {
                say!(self, "worker {worker}: ready, tables at {at:?}");
                process.opened(sinks);
                self.join(worker);
            }
            Done::Assigned(Ok(tables)) => {
                say!(self, "worker {worker}: reads {tables:?}");
                process.assigned(tables);
            }
            Done::Reloaded(Ok(starts)) => {
                say!(self, "worker {worker}: reads again from {starts:?}");
                process.reloaded(starts, now);
            }
            Done::Landed(lane, Ok(landed)) => return self.landed(worker, lane, landed),
            Done::Opened(Err(err))
            | Done::Assigned(Err(err))
            | Done::Reloaded(Err(err))
            | Done::Landed(_, Err(err)) => return self.stopped(worker, &err),
        }
        Ok(())
    }

    fn landed(&mut self, worker: usize, lane: usize, landed: Landed) -> Check {
        let now = self.now;
        let (Some(process), Some(ledger)) =
            (self.workers.get_mut(worker), self.ledgers.get_mut(lane))
        else {
            return Ok(());
        };
        let sent = process.flying.get_mut(lane).map(std::mem::take).unwrap_or_default();
        match landed {
            Landed::Committed { position, report } => {
                say!(self, "worker {worker}: {} committed, at {position:?}", ledger.name);
                let ahead =
                    position.iter().find(|(p, at)| ledger.position.get(&p.get()) < Some(&at.get()));
                if let Some((partition, at)) = ahead.filter(|_| !self.restored) {
                    return violated(
                        "I1",
                        format!(
                            "{} was told committed up to {partition}: {at}, but is not there",
                            ledger.name
                        ),
                    );
                }
                if report.is_none() {
                    self.seen.one("worker: recognises its own lost commit");
                }
                if let Some(report) = report.filter(|report| report.conflicts > 0) {
                    let conflicts = u64::from(report.conflicts);
                    self.seen.more("catalog: publish conflicts with another writer", conflicts);
                    process.event(Event::Crowded(lane, report.lost, self.dice.bits()), now);
                }
                // Files of tries whose answer was lost.
                ledger.abandoned.extend(sent);
                process.event(Event::Committed(lane, position), now);
            }
            Landed::Fenced => {
                say!(self, "worker {worker}: {} fenced", ledger.name);
                ledger.dropped.extend(sent);
                self.seen.one("worker: fenced and rewound");
                if !self.members.contains(&worker) {
                    self.seen.one("worker: zombie's commit is fenced");
                }
                process.event(Event::Fenced(lane), now);
            }
        }
        Ok(())
    }
}
