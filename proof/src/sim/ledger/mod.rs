//! What must be true of one table after every change: I1 to I7 and I9 of the exactly-once protocol.
//!
//! It knows the topic and what each record must become, and follows the table change by change, by the files
//! that the manifests name and the bytes that the store holds. It must never ask the product what is right.

mod audit;
mod files;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::sim::rows::Row;
use crate::sim::topic::{Record, Topic, expected};
use files::{contents, offsets, ranges};
use lakehouse::simulated::{DataFileView, Servers, SnapshotView, TableView};

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Violation {
    /// `I1` to `I9`.
    pub(in crate::sim) invariant: &'static str,
    pub(in crate::sim) what: String,
}

pub(in crate::sim) type Check<T = ()> = Result<T, Violation>;

pub(in crate::sim) fn violated<T>(invariant: &'static str, what: impl Into<String>) -> Check<T> {
    Err(Violation { invariant, what: what.into() })
}

/// Who changed the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum By {
    Us {
        /// Branches were changed after the table was read for this commit. No requirement of the catalog's protocol can
        /// notice that, so what the commit says of main's retention, and of snapshots to expire, stands.
        raced: bool,
    },
    /// Another client: rows may move from file to file.
    Foreign,
}

const POSITION: &str = "streamforge.position";
const OURS: &str = "streamforge.";

type Offsets = BTreeMap<i32, i64>;

/// The table as it has to be. A clone is a backup.
#[derive(Clone)]
pub(in crate::sim) struct Ledger {
    pub(in crate::sim) name: String,
    lane: usize,
    lanes: usize,
    view: Option<Arc<TableView>>,
    pub(in crate::sim) position: Offsets,
    /// Every row of ours that the table holds.
    rows: BTreeMap<(i32, i64), i64>,
    foreign_rows: BTreeSet<i64>,
    /// The files of main's snapshot.
    live: BTreeSet<String>,
    /// Files that were in the table at some time.
    pub(in crate::sim) named: BTreeSet<String>,
    /// Files whose batch was dropped: they must stay out.
    pub(in crate::sim) dropped: BTreeSet<String>,
    /// Files of processes that died, or of a future that a restore has undone: they may stay out.
    pub(in crate::sim) abandoned: BTreeSet<String>,
    attempts: BTreeSet<String>,
    /// When others changed a branch last: states that were handed out before have lower numbers.
    pub(in crate::sim) branched: u64,
    pub(in crate::sim) commits: u64,
}

impl Ledger {
    pub(in crate::sim) fn new(name: &str, lane: usize, lanes: usize) -> Self {
        Self {
            name: name.to_owned(),
            lane,
            lanes,
            view: None,
            position: Offsets::new(),
            rows: BTreeMap::new(),
            foreign_rows: BTreeSet::new(),
            live: BTreeSet::new(),
            named: BTreeSet::new(),
            dropped: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            attempts: BTreeSet::new(),
            branched: 0,
            commits: 0,
        }
    }

    /// Follows a change that was just made.
    pub(in crate::sim) fn follow(&mut self, servers: &Servers, topic: &Topic, by: By) -> Check {
        let Some(new) = servers.table(&self.name) else {
            // A request to make it failed.
            return if self.view.is_none() {
                Ok(())
            } else {
                violated("I6", format!("{} is gone", self.name))
            };
        };
        let old = self.view.replace(Arc::clone(&new));
        let ours = matches!(by, By::Us { .. });
        let before = old.as_ref().and_then(|old| old.current);
        if let (By::Us { raced }, Some(old)) = (by, &old) {
            self.others_survive(old, &new, raced)?;
        }
        let Some((id, snapshot)) = new.current.and_then(|id| Some((id, new.snapshots.get(&id)?)))
        else {
            return Ok(());
        };
        if Some(id) == before {
            return self.same_position(&new);
        }
        if ours && snapshot.parent != before {
            return violated(
                "I4",
                format!(
                    "{}: main moved from {before:?} to a child of {:?}",
                    self.name, snapshot.parent
                ),
            );
        }
        let files = self.files(servers, snapshot)?;
        if snapshot.summary.contains_key(POSITION) && ours {
            self.commit(servers, topic, &new, id, snapshot, &files)?;
        } else {
            self.foreign(servers, &files)?;
        }
        self.live = files.into_iter().map(|file| file.location).collect();
        self.same_position(&new)
    }

    fn same_position(&self, view: &TableView) -> Check {
        let stored = view.properties.get(POSITION).map(|text| offsets(text)).transpose()?;
        if stored.unwrap_or_default() != self.position {
            return violated(
                "I4",
                format!(
                    "{}: the property says {:?}, the snapshots {:?}",
                    self.name,
                    view.properties.get(POSITION),
                    self.position
                ),
            );
        }
        Ok(())
    }

    /// Checks a commit of ours against what the topic holds.
    fn commit(
        &mut self,
        servers: &Servers,
        topic: &Topic,
        view: &TableView,
        id: i64,
        snapshot: &SnapshotView,
        files: &[DataFileView],
    ) -> Check {
        self.commits += 1;
        let get = |key: &str| snapshot.summary.get(key).map_or("", String::as_str);
        let number = |key: &str| get(key).parse::<u64>().unwrap_or(0);
        let name = &self.name;
        if !self.attempts.insert(get("streamforge.attempt").to_owned()) {
            return violated(
                "I2",
                format!("{name}: attempt {} landed twice", get("streamforge.attempt")),
            );
        }
        let (moved, ranges) = (offsets(get(POSITION))?, ranges(get("streamforge.ranges"))?);
        self.contiguous(topic, &moved, &ranges)?;
        if view.properties.get("streamforge.sequence") != Some(&snapshot.sequence.to_string()) {
            return violated("I4", format!("{name}: the recorded sequence is not the snapshot's"));
        }
        let (added, old): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| !self.live.contains(&file.location));
        if old.len() != self.live.len() {
            return violated(
                "I6",
                format!(
                    "{name}: files vanished from the table: {} of {}",
                    self.live.len() - old.len(),
                    self.live.len()
                ),
            );
        }
        let mut fresh = Vec::new();
        for file in added {
            if file.snapshot != Some(id) {
                return violated(
                    "I7",
                    format!("{name}: {} is said to be of another snapshot", file.location),
                );
            }
            if self.dropped.contains(&file.location) {
                return violated(
                    "I7",
                    format!("{name}: {} belongs to a batch that was dropped", file.location),
                );
            }
            if !self.named.insert(file.location.clone()) {
                return violated(
                    "I7",
                    format!("{name}: {} comes back into the table", file.location),
                );
            }
            fresh.extend(contents(servers, file)?);
        }
        let mut sums = [0_u64; 4];
        let wanted = self.wanted(topic, &ranges, &mut sums);
        let told =
            ["read", "written", "filtered", "rejected"].map(|key| number(&format!("{OURS}{key}")));
        if told != sums {
            return violated(
                "I1",
                format!(
                    "{name}: ranges {ranges:?} hold {sums:?} (read, written, filtered, rejected), the snapshot says {told:?}"
                ),
            );
        }
        if number("added-records") != told[1] {
            return violated("I4", format!("{name}: added-records is not what was written"));
        }
        self.take(fresh, wanted)?;
        self.position = moved;
        Ok(())
    }

    /// I4: each range starts where the table ended; nothing else moves.
    fn contiguous(
        &self,
        topic: &Topic,
        moved: &Offsets,
        ranges: &BTreeMap<i32, (i64, i64)>,
    ) -> Check {
        let mut next = self.position.clone();
        for (partition, (start, end)) in ranges {
            if next.insert(*partition, *end) != Some(*start) || end < start {
                return violated(
                    "I4",
                    format!(
                        "{}: partition {partition}: {start}..{end} follows {:?}",
                        self.name,
                        self.position.get(partition)
                    ),
                );
            }
        }
        for (partition, offset) in moved {
            match next.get(partition) {
                Some(held) if held == offset => {}
                // A pin: the table knows of the partition from now on.
                None if *offset == topic.first(*partition) => {}
                held => {
                    return violated(
                        "I4",
                        format!(
                            "{}: partition {partition} should stand at {held:?}, but is at {offset}",
                            self.name
                        ),
                    );
                }
            }
        }
        match next.keys().find(|partition| !moved.contains_key(partition)) {
            Some(lost) => {
                violated("I4", format!("{}: the position lost partition {lost}", self.name))
            }
            None => Ok(()),
        }
    }

    /// The rows of these ranges, and how many records were read, written, filtered and rejected.
    fn wanted(
        &self,
        topic: &Topic,
        ranges: &BTreeMap<i32, (i64, i64)>,
        sums: &mut [u64; 4],
    ) -> BTreeMap<(i32, i64), i64> {
        let mut wanted = BTreeMap::new();
        let [read, written, filtered, rejected] = sums;
        for (partition, (start, end)) in ranges {
            for offset in *start..*end {
                let record = topic.record(*partition, offset);
                *read += u64::from(record != Record::Hole);
                match (expected(record, self.lane, self.lanes), record) {
                    (Some(value), _) => {
                        *written += 1;
                        wanted.insert((*partition, offset), value);
                    }
                    (None, Record::Hole) => {}
                    (None, Record::Broken) => *rejected += 1,
                    (None, Record::Number(_)) => *filtered += 1,
                }
            }
        }
        wanted
    }

    /// Takes the rows of a commit in: they must be the wanted ones, each once, and new.
    fn take(&mut self, fresh: Vec<Row>, mut wanted: BTreeMap<(i32, i64), i64>) -> Check {
        for row in fresh {
            let key = (row.partition, row.offset);
            if self.rows.contains_key(&key) {
                return violated("I2", format!("{}: {key:?} is in the table twice", self.name));
            }
            match wanted.remove(&key) {
                None => {
                    return violated(
                        "I2",
                        format!("{}: {key:?} is not of this commit's ranges", self.name),
                    );
                }
                Some(value) if value != row.value => {
                    return violated(
                        "I3",
                        format!("{}: {key:?} should be {value}, but is {}", self.name, row.value),
                    );
                }
                Some(value) => drop(self.rows.insert(key, value)),
            }
        }
        match wanted.keys().next() {
            Some(lost) => {
                violated("I1", format!("{}: {lost:?} is in no file of its commit", self.name))
            }
            None => Ok(()),
        }
    }

    fn files(&self, servers: &Servers, snapshot: &SnapshotView) -> Check<Vec<DataFileView>> {
        let lost =
            |what: String| Violation { invariant: "I5", what: format!("{}: {what}", self.name) };
        let manifests = servers.files(snapshot).map_err(lost)?;
        let files: Vec<_> = manifests.iter().flat_map(|files| files.iter().cloned()).collect();
        let names: BTreeSet<_> = files.iter().map(|file| &file.location).collect();
        if names.len() != files.len() {
            return violated("I2", format!("{}: a file is named twice", self.name));
        }
        Ok(files)
    }

    /// I5: nothing that is, was, or may still be named has gone.
    pub(in crate::sim) fn deleted(&self, location: &str) -> Check {
        if self.live.contains(location) {
            return violated("I5", format!("{}: {location} was deleted", self.name));
        }
        Ok(())
    }

    /// The files of main's snapshot.
    pub(in crate::sim) fn live(&self) -> &BTreeSet<String> {
        &self.live
    }

    /// Forgets what it saw last, after the table's metadata was put back.
    pub(in crate::sim) fn look_again(&mut self, servers: &Servers) {
        self.view = servers.table(&self.name);
    }
}
