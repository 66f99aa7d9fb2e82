//! Disasters after which nothing may be committed, until an operator has mended them.

use lakehouse::simulated::{Backup, Call, TableView};
use serde_json::json;

use super::edits::{change_schema, change_spec, forget, put, roll_back, set};
use super::fault::Fault;
use super::ledger::{Check, Ledger};
use super::others::{broken, kept};
use super::process::Life;
use super::world::{World, say, source};

/// A state of the tables or the topic in which we must refuse to commit.
pub(super) struct Closed {
    fault: Fault,
    /// The table that is concerned; none is all of them.
    lane: Option<usize>,
    backup: Option<Backup>,
    since: u32,
    /// States of tables that were handed out before have lower numbers.
    states: u64,
    refused: bool,
}

/// Turns after which an operator has mended it.
const MENDED_AFTER: u32 = 60;
const MENDED_AT_LAST: u32 = 250;

/// The cases: what they are called, and what the reason must say.
const CASES: [(Fault, &str, &[&str]); 9] = [
    (Fault::Dropped, "table dropped", &["was dropped under the running job"]),
    (Fault::Replaced, "table replaced", &["was replaced under the running job"]),
    (Fault::RolledBack, "table rolled back", &["rolled back, replaced or restored"]),
    (
        Fault::PositionRemoved,
        "position removed",
        &["position property was removed", "has rows but no position"],
    ),
    (Fault::PositionForged, "position forged", &["rolled back, replaced or restored"]),
    (
        Fault::SchemaChanged,
        "schema changed",
        &["schema was changed under the running job", "does not fit the job"],
    ),
    (
        Fault::SpecChanged,
        "partitions changed",
        &["partitions were changed", "does not fit the job"],
    ),
    (Fault::TopicChanged, "topic made again", &["filled from another topic"]),
    (Fault::ClusterChanged, "another cluster", &["filled from another Kafka cluster"]),
];

impl Closed {
    pub(super) fn covers(&self, lane: usize) -> bool {
        self.lane.is_none_or(|closed| closed == lane)
    }

    pub(super) fn name(&self) -> &'static str {
        CASES.iter().find(|case| case.0 == self.fault).map_or("?", |case| case.1)
    }

    /// A table that is missing would be made anew, so nobody starts before it is back.
    pub(super) fn lets_start(&self) -> bool {
        !matches!(self.fault, Fault::Dropped | Fault::Replaced)
    }

    /// Whether a commit can't help it: a property is not part of the fence, so what was decided before it was
    /// edited is still published, and puts the property right.
    pub(super) fn is_overwritten(&self, base: Option<u64>) -> bool {
        let property = matches!(self.fault, Fault::PositionRemoved | Fault::PositionForged);
        property && base.is_some_and(|base| base < self.states)
    }

    /// A process stopped and said why.
    pub(super) fn heard(&mut self, text: &str) {
        let case = CASES.iter().find(|case| case.0 == self.fault);
        self.refused |= case.is_some_and(|case| case.2.iter().any(|reason| text.contains(reason)));
    }
}

/// A backup of a table, and what was true of it.
pub(super) struct Saved {
    lane: usize,
    backup: Backup,
    ledger: Ledger,
    restored: bool,
}

impl Saved {
    pub(super) fn was_restored(&self, lane: usize) -> bool {
        self.restored && self.lane == lane
    }
}

impl World {
    pub(super) fn any_lane(&mut self) -> usize {
        usize::try_from(self.dice.below(self.ledgers.len() as u64)).unwrap_or_default()
    }

    pub(super) fn table(&self, lane: usize) -> String {
        self.ledgers.get(lane).map(|ledger| ledger.name.clone()).unwrap_or_default()
    }

    /// Something an operator has to mend.
    pub(super) fn disaster(&mut self) -> Check {
        self.mend();
        self.restore_or_save();
        let place = usize::try_from(self.dice.below(CASES.len() as u64)).unwrap_or_default();
        let Some((fault, name, reasons)) = CASES.get(place).copied() else { return Ok(()) };
        if !self.wants(fault, 4) || self.closed.is_some() {
            return Ok(());
        }
        let ready = self.ledgers.iter().all(|ledger| !ledger.position.is_empty());
        let opening = self.workers.iter().any(|process| process.life == Life::Opening);
        let making = self.servers.waiting().iter().any(|op| op.call == Call::Create);
        if !ready || opening || making {
            return Ok(());
        }
        let lane = self.any_lane();
        let states = self.servers.handed_out();
        let closed = match fault {
            Fault::TopicChanged | Fault::ClusterChanged => {
                self.change_topic(fault);
                Closed { fault, lane: None, backup: None, since: self.turn, states, refused: false }
            }
            _ => {
                let table = self.table(lane);
                let backup = self.servers.back_up(&table);
                if !self.break_table(&table, fault)? {
                    return Ok(());
                }
                let backup = Some(backup);
                Closed { fault, lane: Some(lane), backup, since: self.turn, states, refused: false }
            }
        };
        say!(self, "disaster: {name} ({})", self.table(lane));
        self.reasons.extend(reasons);
        self.closed = Some(closed);
        Ok(())
    }

    /// Everybody dies, and finds another topic under the name.
    fn change_topic(&mut self, fault: Fault) {
        for worker in 0..self.workers.len() {
            self.bury(worker);
        }
        for op in self.servers.waiting() {
            self.servers.lose(op.id);
        }
        self.orphans.clear();
        self.source = match fault {
            Fault::TopicChanged => source("topic-2", "cluster"),
            _ => source("topic-1", "another cluster"),
        };
    }

    fn break_table(&mut self, table: &str, fault: Fault) -> Check<bool> {
        let Some(view) = self.servers.table(table) else { return Ok(false) };
        let wall_ms = self.wall_ms();
        self.face(0);
        let done = match fault {
            Fault::Dropped => {
                self.servers.drop_table(table);
                Ok(true)
            }
            Fault::Replaced => self.servers.edit(table, wall_ms, |json| {
                put(json, "table-uuid", json!("00000000-0000-4000-8000-000000000001"));
            }),
            Fault::RolledBack => {
                // To where our position was another one.
                let position = view.properties.get(POSITION);
                let mut at = view.current;
                while let Some(id) = at {
                    let snapshot = view.snapshots.get(&id);
                    let said = snapshot.and_then(|snapshot| snapshot.summary.get(POSITION));
                    if said.is_some() && said != position {
                        break;
                    }
                    at = snapshot.and_then(|snapshot| snapshot.parent);
                }
                let Some(id) = at else { return Ok(false) };
                self.servers.edit(table, wall_ms, |json| roll_back(json, id, wall_ms))
            }
            Fault::PositionRemoved => {
                self.servers.edit(table, wall_ms, |json| forget(json, "properties", POSITION))
            }
            Fault::PositionForged => {
                let forged = r#"{"cluster":"cluster","topics":{"topic-1":{"0":1}}}"#;
                if view.properties.get(POSITION).is_some_and(|position| position == forged) {
                    return Ok(false);
                }
                let kept = view.current.map(|current| kept(&view, current)).unwrap_or_default();
                // Where our own snapshot is gone nothing contradicts the property.
                let keyed = |id: &i64| {
                    view.snapshots.get(id).is_some_and(|s| s.summary.contains_key(POSITION))
                };
                if !ancestors(&view).iter().any(keyed) || kept.is_empty() {
                    return Ok(false);
                }
                self.servers
                    .edit(table, wall_ms, |json| set(json, "properties", POSITION, json!(forged)))
            }
            Fault::SchemaChanged => self.servers.edit(table, wall_ms, change_schema),
            _ => self.servers.edit(table, wall_ms, change_spec),
        };
        done.or_else(|what| broken(&what))
    }

    /// An operator mends what was broken.
    fn mend(&mut self) {
        let Some(closed) = &self.closed else { return };
        let age = self.turn - closed.since;
        if (closed.refused && age > MENDED_AFTER) || age > MENDED_AT_LAST {
            self.reopen();
        }
    }

    pub(super) fn reopen(&mut self) {
        let Some(closed) = self.closed.take() else { return };
        say!(self, "mended: {}", closed.name());
        if closed.refused {
            self.seen.one(&format!("fail-closed: {}", closed.name()));
        }
        if let (Some(lane), Some(backup)) = (closed.lane, &closed.backup) {
            self.face(0);
            let name = self.table(lane);
            self.servers.restore(&name, backup);
            if let Some(ledger) = self.ledgers.get_mut(lane) {
                ledger.look_again(&self.servers);
            }
        } else {
            for worker in 0..self.workers.len() {
                self.bury(worker);
            }
            self.source = source("topic-1", "cluster");
        }
    }

    /// Keeps a copy of a table, or puts it back much later, as a restore of an older dump does.
    fn restore_or_save(&mut self) {
        if !self.wants(Fault::Restored, 3) || self.closed.is_some() {
            return;
        }
        match self.saved.take() {
            None => {
                let lane = self.any_lane();
                let Some(ledger) = self.ledgers.get(lane).filter(|l| !l.position.is_empty()) else {
                    return;
                };
                let (ledger, backup) = (ledger.clone(), self.servers.back_up(&ledger.name));
                self.saved = Some(Saved { lane, backup, ledger, restored: false });
            }
            Some(mut saved) if !saved.restored => {
                say!(self, "disaster: {} is restored from a backup", saved.ledger.name);
                self.face(0);
                self.servers.restore(&saved.ledger.name, &saved.backup);
                let mut ledger = saved.ledger.clone();
                ledger.look_again(&self.servers);
                // The backup's branches are in the place of newer ones.
                ledger.branched = self.servers.handed_out();
                let objects = self.servers.data_objects(&ledger.name);
                ledger.abandoned.extend(objects.into_iter().map(|(location, _)| location));
                if let Some(place) = self.ledgers.get_mut(saved.lane) {
                    *place = ledger;
                }
                self.reasons.extend(["restored", "has lost its position in partition"]);
                self.restored = true;
                saved.restored = true;
                self.saved = Some(saved);
            }
            Some(saved) => self.saved = Some(saved),
        }
    }
}

const POSITION: &str = "streamforge.position";

fn ancestors(view: &TableView) -> Vec<i64> {
    let mut found = Vec::new();
    let mut next = view.current;
    while let Some((id, snapshot)) = next.and_then(|id| Some((id, view.snapshots.get(&id)?))) {
        found.push(id);
        next = snapshot.parent;
    }
    found
}
