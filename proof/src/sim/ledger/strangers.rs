//! I6: what is not ours is as it was.

use std::collections::{BTreeMap, BTreeSet};

use lakehouse::simulated::{DataFileView, Servers, TableView};
use serde_json::Value;

use super::files::contents;
use super::{Check, Ledger, OURS, POSITION, violated};
use crate::sim::rows::FOREIGN;

impl Ledger {
    /// I6: what is not ours is as it was.
    pub(super) fn others_survive(&self, old: &TableView, new: &TableView, raced: bool) -> Check {
        let theirs = |view: &TableView| -> BTreeMap<String, String> {
            let properties = view.properties.iter().filter(|(key, _)| !key.starts_with(OURS));
            properties.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        if old.uuid != new.uuid {
            return violated("I6", format!("{}: another table is in its place", self.name));
        }
        if theirs(old) != theirs(new) {
            return violated("I6", format!("{}: a property of others changed", self.name));
        }
        let refs = |view: &TableView| -> BTreeMap<String, Value> {
            let mut refs = view.refs.clone();
            if let Some(main) = refs.get_mut("main").and_then(Value::as_object_mut) {
                main.remove("snapshot-id");
            }
            refs
        };
        // The first snapshot makes the branch.
        if !raced && old.current.is_some() && refs(old) != refs(new) {
            return violated(
                "I6",
                format!("{}: branches were {:?} and are {:?}", self.name, old.refs, new.refs),
            );
        }
        let held = reached(old);
        for (id, snapshot) in &old.snapshots {
            let expirable =
                snapshot.summary.contains_key(POSITION) && (raced || !held.contains(id));
            if !new.snapshots.contains_key(id) && !expirable {
                return violated(
                    "I6",
                    format!("{}: snapshot {id} of others was expired", self.name),
                );
            }
        }
        Ok(())
    }

    /// A change by others: files may come and go, the rows of ours may not.
    pub(super) fn foreign(&mut self, servers: &Servers, files: &[DataFileView]) -> Check {
        let rewritten = self.live.iter().any(|old| !files.iter().any(|file| file.location == *old));
        let mut foreign = BTreeSet::new();
        let mut ours = BTreeMap::new();
        for file in files {
            if !rewritten && self.live.contains(&file.location) {
                continue;
            }
            self.named.insert(file.location.clone());
            for row in contents(servers, file)? {
                if row.partition == FOREIGN {
                    foreign.insert(row.offset);
                } else {
                    ours.insert((row.partition, row.offset), row.value);
                }
            }
        }
        if rewritten && (ours != self.rows || foreign != self.foreign_rows) {
            return violated(
                "I6",
                format!("{}: the rewrite by others saw other rows than there were", self.name),
            );
        }
        self.foreign_rows.extend(foreign);
        Ok(())
    }
}

/// What branches and tags other than main reach.
fn reached(view: &TableView) -> BTreeSet<i64> {
    let mut reached = BTreeSet::new();
    for (_, reference) in view.refs.iter().filter(|(name, _)| *name != "main") {
        let mut next = reference.get("snapshot-id").and_then(Value::as_i64);
        while let Some(id) = next.filter(|id| reached.insert(*id)) {
            next = view.snapshots.get(&id).and_then(|snapshot| snapshot.parent);
        }
    }
    reached
}
