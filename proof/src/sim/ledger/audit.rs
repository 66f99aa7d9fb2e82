//! The last word on a table: everything there is, read from the beginning.

use std::collections::{BTreeMap, BTreeSet};

use lakehouse::simulated::Servers;

use super::files::{contents, present};
use super::{Check, Ledger, violated};
use crate::sim::rows::FOREIGN;
use crate::sim::topic::Topic;

impl Ledger {
    /// Everything there is, from the beginning: the last word on a table.
    pub(in crate::sim) fn audit(&self, servers: &Servers, topic: &Topic) -> Check {
        let Some(view) = servers.table(&self.name) else {
            return violated("I6", format!("{} is gone", self.name));
        };
        for snapshot in view.snapshots.values() {
            for file in self.files(servers, snapshot)? {
                present(servers, &file)?;
            }
        }
        let Some(current) = view.current.and_then(|id| view.snapshots.get(&id)) else {
            return Ok(());
        };
        let (mut ours, mut foreign) = (BTreeMap::new(), BTreeSet::new());
        for row in self
            .files(servers, current)?
            .iter()
            .map(|file| contents(servers, file))
            .collect::<Check<Vec<_>>>()?
            .into_iter()
            .flatten()
        {
            let known = if row.partition == FOREIGN {
                !foreign.insert(row.offset)
            } else {
                ours.insert((row.partition, row.offset), row.value).is_some()
            };
            if known {
                return violated("I2", format!("{}: {row:?} is in the table twice", self.name));
            }
        }
        let ranges = self.position.iter().map(|(p, end)| (*p, (topic.first(*p), *end))).collect();
        let wanted = self.wanted(topic, &ranges, &mut [0; 4]);
        if let Some(lost) = wanted.keys().find(|key| !ours.contains_key(key)) {
            return violated(
                "I1",
                format!("{}: {lost:?} is below the position, but not in the table", self.name),
            );
        }
        if let Some(wrong) = ours.iter().find(|(key, value)| wanted.get(key) != Some(value)) {
            return violated(
                "I3",
                format!("{}: {wrong:?} should be {:?}", self.name, wanted.get(wrong.0)),
            );
        }
        if foreign != self.foreign_rows {
            return violated("I6", format!("{}: rows of others are missing", self.name));
        }
        self.leftovers(servers)
    }

    /// I7: what no table names is of a batch that was dropped.
    fn leftovers(&self, servers: &Servers) -> Check {
        for (location, _) in servers.data_objects(&self.name) {
            let known = [&self.named, &self.dropped, &self.abandoned];
            if !known.iter().any(|set| set.contains(&location)) {
                return violated("I7", format!("{}: nobody knows of {location}", self.name));
            }
        }
        Ok(())
    }
}
