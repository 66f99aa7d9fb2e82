//! I6: what others put into a table is still there.
//!
//! Pure, but for taking the baseline. Foreign is what does not carry this project's marks.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use lakehouse::commit::{Branch, ReadTable, SnapshotInfo};

/// Marks of our own snapshots and properties.
const OURS: &str = "streamforge.";
const MAIN: &str = "main";

/// What others had put into a table at some moment. It survives our commits, and only its owners take it away: take
/// another baseline when they do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// Snapshots that are not ours.
    pub snapshots: BTreeSet<i64>,
    /// Properties that are not ours.
    pub properties: BTreeMap<String, String>,
    /// Branches and tags; of main only what its owner asked to be kept.
    pub branches: BTreeMap<String, Branch>,
    /// How many rows a SQL condition finds, such as those of another writer.
    pub rows: BTreeMap<String, u64>,
}

impl Baseline {
    /// What is foreign in `table` now. Rows are the caller's to add: only it knows which are foreign.
    ///
    /// # Errors
    ///
    /// The branches can't be read.
    pub fn take(table: &ReadTable) -> Result<Self> {
        Ok(Self::of(&table.retained(), table.properties(), table.branches()?))
    }

    /// The same with rows: `condition` finds `count` of them.
    #[must_use]
    pub fn with_rows(mut self, condition: impl Into<String>, count: u64) -> Self {
        self.rows.insert(condition.into(), count);
        self
    }

    pub(super) fn of(
        retained: &[SnapshotInfo],
        mut properties: BTreeMap<String, String>,
        branches: BTreeMap<String, Branch>,
    ) -> Self {
        let ours = |one: &SnapshotInfo| one.summary.keys().any(|key| key.starts_with(OURS));
        let foreign = retained.iter().filter(|one| !ours(one));
        properties.retain(|key, _| !key.starts_with(OURS));
        Self {
            snapshots: foreign.map(|one| one.id.get()).collect(),
            properties,
            branches,
            rows: BTreeMap::new(),
        }
    }

    /// What of it `now` lacks.
    pub(super) fn lost(&self, now: &Self) -> Vec<String> {
        let gone = self.snapshots.difference(&now.snapshots);
        let mut wrong: Vec<_> =
            gone.map(|id| format!("I6: foreign snapshot {id} is gone")).collect();
        for (key, value) in &self.properties {
            match now.properties.get(key) {
                Some(kept) if kept == value => {}
                kept => {
                    wrong.push(format!("I6: foreign property {key} was {value}, and is {kept:?}"));
                }
            }
        }
        for (name, branch) in &self.branches {
            let kept = now.branches.get(name).is_some_and(|kept| {
                kept.retention == branch.retention
                    && (name == MAIN || kept.snapshot == branch.snapshot)
            });
            if !kept {
                let now = now.branches.get(name);
                wrong.push(format!("I6: branch {name} was {branch:?}, and is {now:?}"));
            }
        }
        for (condition, count) in &self.rows {
            let kept = now.rows.get(condition).copied().unwrap_or_default();
            if kept != *count {
                wrong.push(format!("I6: {count} rows were WHERE {condition}, and {kept} are"));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use lakehouse::ids::SnapshotId;

    use super::*;

    fn branch(snapshot: i64, kept: u64) -> Branch {
        let retention = [("min-snapshots-to-keep".to_owned(), kept.into())].into();
        Branch { snapshot: SnapshotId::new(snapshot), retention }
    }

    fn baseline() -> Baseline {
        Baseline {
            snapshots: [1, 2].into(),
            properties: [("owner".to_owned(), "analysts".to_owned())].into(),
            branches: [(MAIN.to_owned(), branch(2, 5)), ("tag".to_owned(), branch(1, 1))].into(),
            rows: [("kafka_partition = -1".to_owned(), 3)].into(),
        }
    }

    #[track_caller]
    fn check(name: &str, change: impl FnOnce(&mut Baseline), words: &[&str]) {
        let mut now = baseline();
        change(&mut now);
        let wrong = baseline().lost(&now);
        assert_eq!(wrong.len(), words.len(), "{name}: {wrong:?}");
        for (wrong, word) in wrong.iter().zip(words) {
            assert!(wrong.contains(word), "{name}: {wrong}");
        }
    }

    #[test]
    fn what_others_put_there_survives() {
        check("all is there", |_| {}, &[]);
        check("more is fine", |now| now.snapshots.extend([9]), &[]);
        check("main moves on", |now| drop(now.branches.insert(MAIN.to_owned(), branch(7, 5))), &[]);
        check("a snapshot", |now| now.snapshots.retain(|id| *id != 1), &["snapshot 1 is gone"]);
        check("a property", |now| now.properties.clear(), &["owner was analysts, and is None"]);
        check("a tag", |now| drop(now.branches.remove("tag")), &["branch tag"]);
        let moved = |now: &mut Baseline| drop(now.branches.insert("tag".to_owned(), branch(2, 1)));
        check("a tag that moved", moved, &["branch tag"]);
        let reset = |now: &mut Baseline| drop(now.branches.insert(MAIN.to_owned(), branch(7, 1)));
        check("main's retention", reset, &["branch main"]);
        check(
            "rows",
            |now| now.rows.clear(),
            &["3 rows were WHERE kafka_partition = -1, and 0 are"],
        );
    }
}
