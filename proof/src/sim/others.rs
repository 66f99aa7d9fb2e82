//! Other clients of the tables: engines that append and optimize, people who expire and branch.

use std::collections::BTreeSet;

use lakehouse::simulated::{Foreign, TableView};
use serde_json::{Value, json};

use super::edits::{expire, forget, set};
use super::fault::Fault;
use super::ledger::{By, Check, violated};
use super::rows::{FOREIGN, Row, decode, encode};
use super::world::{World, say};

impl World {
    /// Clients that know nothing of us.
    pub(super) fn others(&mut self) -> Check {
        let lane = self.any_lane();
        let kinds = [
            (Fault::ForeignAppend, 6),
            (Fault::ForeignOptimize, 2),
            (Fault::ForeignProperty, 4),
            (Fault::ForeignExpire, 2),
            (Fault::ForeignBranch, 2),
            (Fault::ForeignRetention, 2),
        ];
        for (fault, rate) in kinds {
            if !self.wants(fault, rate) || self.closed.is_some() {
                continue;
            }
            // Before our first commit there is nothing to hide.
            if self.ledgers.get(lane).is_none_or(|ledger| ledger.position.is_empty()) {
                continue;
            }
            let name = self.table(lane);
            let done = match fault {
                Fault::ForeignAppend => self.foreign_file(lane, false)?,
                Fault::ForeignOptimize => self.foreign_file(lane, true)?,
                other => self.foreign_edit(&name, other)?,
            };
            if let Some(done) = done {
                say!(self, "others: {done} on {name}");
                self.seen.one(&format!("foreign: {done}"));
                if let Some(ledger) = self.ledgers.get_mut(lane) {
                    if matches!(fault, Fault::ForeignBranch | Fault::ForeignRetention) {
                        ledger.branched = self.servers.handed_out();
                    }
                    ledger.follow(&self.servers, &self.topic, By::Foreign)?;
                }
            }
        }
        Ok(())
    }

    fn foreign_file(&mut self, lane: usize, replaces: bool) -> Check<Option<&'static str>> {
        let Some(ledger) = self.ledgers.get(lane) else { return Ok(None) };
        let mut rows = Vec::new();
        if replaces {
            for location in ledger.live() {
                let bytes = self.servers.object(location).unwrap_or_default();
                rows.extend(decode(&bytes).unwrap_or_default());
            }
            if rows.is_empty() {
                return Ok(None);
            }
        } else {
            for _ in 0..=self.dice.below(3) {
                self.foreign += 1;
                rows.push(Row { partition: FOREIGN, offset: self.foreign, value: 0 });
            }
        }
        self.foreign += 1;
        let foreign = Foreign {
            name: format!("theirs-{}", self.foreign),
            rows: rows.len() as u64,
            bytes: encode(&rows),
            replaces,
            totals: !self.dice.one_in(3),
            wall_ms: self.wall_ms(),
        };
        self.clock.set(self.now, foreign.wall_ms);
        let name = self.table(lane);
        match self.servers.foreign(&name, &foreign) {
            Ok(done) => Ok(done.map(|_| if replaces { "optimize" } else { "append" })),
            Err(what) => broken(&what),
        }
    }

    fn foreign_edit(&mut self, table: &str, fault: Fault) -> Check<Option<&'static str>> {
        let Some(view) = self.servers.table(table) else { return Ok(None) };
        let Some(current) = view.current else { return Ok(None) };
        self.foreign += 1;
        let (wall_ms, number) = (self.wall_ms(), self.foreign);
        let snapshots: Vec<i64> = view.snapshots.keys().copied().collect();
        let place = usize::try_from(self.dice.below(snapshots.len() as u64)).unwrap_or_default();
        let any = snapshots.get(place).copied().unwrap_or(current);
        let branches: Vec<String> =
            view.refs.keys().filter(|name| *name != "main").cloned().collect();
        self.face(0);
        let (what, done) = match fault {
            Fault::ForeignProperty => ("properties", self.servers.edit(table, wall_ms, |json| {
                set(json, "properties", "theirs.note", json!(number.to_string()));
            })),
            Fault::ForeignExpire => {
                let kept = kept(&view, current);
                ("expire down to one", self.servers.edit(table, wall_ms, |json| expire(json, &kept)))
            }
            Fault::ForeignBranch => ("branch with a retention", self.servers.edit(table, wall_ms, |json| {
                match branches.first().filter(|_| branches.len() > 2) {
                    Some(old) => forget(json, "refs", old),
                    None => set(json, "refs", &format!("audit-{number}"), json!({
                        "type": "branch", "snapshot-id": any,
                        "min-snapshots-to-keep": 3, "max-snapshot-age-ms": 1_000_000, "max-ref-age-ms": 9_000_000 + number,
                    })),
                }
            })),
            _ => ("retention on main", self.servers.edit(table, wall_ms, |json| {
                set(json, "refs", "main", json!({
                    "type": "branch", "snapshot-id": current,
                    "min-snapshots-to-keep": 2 + number % 5, "max-snapshot-age-ms": 1_000_000 + number,
                }));
            })),
        };
        match done {
            Ok(done) => Ok(done.then_some(what)),
            Err(what) => broken(&what),
        }
    }
}

pub(super) fn broken<T>(what: &str) -> Check<T> {
    violated("harness", what)
}

/// What `expire_snapshots` leaves: main's snapshot, and what branches and tags reach.
pub(super) fn kept(view: &TableView, current: i64) -> BTreeSet<i64> {
    let mut kept = BTreeSet::from([current]);
    for (_, reference) in view.refs.iter().filter(|(name, _)| *name != "main") {
        let mut next = reference.get("snapshot-id").and_then(Value::as_i64);
        while let Some(id) = next.filter(|id| view.snapshots.contains_key(id) && kept.insert(*id)) {
            next = view.snapshots.get(&id).and_then(|snapshot| snapshot.parent);
        }
    }
    kept
}
