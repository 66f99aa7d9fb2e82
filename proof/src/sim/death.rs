//! How a process ends: killed anywhere, or by itself, and then for a reason.

use lakehouse::Kind;
use lakehouse::simulated::Call;

use super::fault::Fault;
use super::job::name;
use super::ledger::{Check, violated};
use super::network::Orphan;
use super::process::{Life, Process};
use super::world::{World, say};

impl World {
    /// Kills a process, wherever it stands.
    pub(super) fn crash(&mut self, worker: usize) {
        let Some(process) = self.workers.get(worker) else { return };
        if process.life == Life::Down {
            return;
        }
        say!(self, "worker {worker}: dies");
        if let Some(action) = process.actions.front() {
            self.seen.one(&format!("crash: before {}", place(name(action), false)));
        }
        if let Some(last) = process.last {
            self.seen.one(&format!("crash: after {}", place(last, true)));
        }
        if process.life == Life::Opening {
            self.seen.one("crash: while the tables are opened");
        }
        for (call, done) in &process.unheard {
            match call {
                Call::Load if *done => self.seen.one("crash: a load answered, not yet heard"),
                Call::Publish if *done => self.seen.one("crash: a publish applied, not yet heard"),
                Call::Put if *done => self.seen.one("crash: a put stored, not yet heard"),
                _ => {}
            }
        }
        let host = process.host;
        for op in self.servers.waiting().iter().filter(|op| op.host == host && op.heard) {
            self.seen.one(match op.call {
                Call::Load => "crash: a load under way",
                Call::Create => "crash: a create under way",
                Call::Publish => "crash: a publish under way",
                Call::Put => "crash: a put under way",
            });
        }
        self.bury(worker);
    }

    /// A process is gone; what it has sent is still on its way, or was lost.
    pub(super) fn bury(&mut self, worker: usize) {
        let lanes = self.ledgers.len();
        let Some(place) = self.workers.get_mut(worker) else { return };
        let (host, skew_ms) = (place.host, place.skew_ms);
        let old = std::mem::replace(place, Process::new(0, lanes, self.source.clone()));
        place.skew_ms = skew_ms;
        let life = old.life;
        for (ledger, sent) in self.ledgers.iter_mut().zip(&old.flying) {
            ledger.abandoned.extend(sent.iter().cloned());
        }
        drop(old);
        self.leave(worker);
        if life == Life::Down {
            return;
        }
        for op in self.servers.waiting().iter().filter(|op| op.host == host) {
            if self.orphans.contains_key(&op.id) {
                continue;
            }
            let held = self.wants(Fault::AfterRestart, 300);
            if op.call == Call::Load || self.dice.one_in(3) {
                self.servers.lose(op.id);
            } else if held {
                self.orphans.insert(op.id, Orphan::AfterRestart(worker));
            } else {
                self.orphans.insert(op.id, Orphan::Dead);
            }
        }
    }

    /// A process ended by itself: there must be a reason.
    pub(super) fn stopped(&mut self, worker: usize, err: &anyhow::Error) -> Check {
        let text = format!("{err:#}");
        // Behind the parenthesis are numbers that iceberg makes up.
        let shown = text.split(" (").next().unwrap_or_default();
        say!(self, "worker {worker}: stops: {shown}");
        let kind = err.chain().find_map(|cause| cause.downcast_ref::<lakehouse::Error>());
        let kind = kind.map(lakehouse::Error::kind);
        let passing = kind == Some(Kind::Retry) || text.contains("400 Bad Request");
        let said = self.reasons.iter().find(|reason| text.contains(**reason)).copied();
        if !passing && said.is_none() {
            return violated(
                "I9",
                format!("worker {worker} stopped for a reason that there is not: {text}"),
            );
        }
        if !passing {
            if self.saved.is_some() && (text.contains("restored") || text.contains("went back")) {
                self.seen.one("restored from a backup: refused by who has seen more");
            }
            if let Some(closed) = self.closed.as_mut() {
                closed.heard(&text);
            }
        }
        self.bury(worker);
        Ok(())
    }
}

fn place(action: &str, after: bool) -> &str {
    match (action, after) {
        ("drop open", false) => "the open files are dropped",
        ("drop open", true) => "the open files were dropped",
        ("reload", _) => "the reload",
        ("seek", _) => "the seek",
        ("commit group", false) => "the group is told",
        ("commit group", true) => "the group was told",
        ("released", _) => "release",
        (other, _) => other,
    }
}
