//! The kinds of fault: what can be switched off one by one, and what must be seen to happen.

use std::collections::BTreeMap;

/// A kind of fault, as the adversary decides on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Crash,
    Stop,
    Zombie,
    Rebalance,
    Release,
    Partition,
    Poison,
    AnswerLost,
    Unavailable,
    Reset,
    Malformed,
    Twice,
    Late,
    Hang,
    AfterRestart,
    StoreError,
    StoreReads,
    MetadataWaits,
    Clock,
    ForeignAppend,
    ForeignOptimize,
    ForeignProperty,
    ForeignExpire,
    ForeignBranch,
    ForeignRetention,
    Dropped,
    Replaced,
    RolledBack,
    Restored,
    PositionRemoved,
    PositionForged,
    SchemaChanged,
    SpecChanged,
    TopicChanged,
    ClusterChanged,
}

impl Fault {
    pub(super) const ALL: [Self; 35] = [
        Self::Crash,
        Self::Stop,
        Self::Zombie,
        Self::Rebalance,
        Self::Release,
        Self::Partition,
        Self::Poison,
        Self::AnswerLost,
        Self::Unavailable,
        Self::Reset,
        Self::Malformed,
        Self::Twice,
        Self::Late,
        Self::Hang,
        Self::AfterRestart,
        Self::StoreError,
        Self::StoreReads,
        Self::MetadataWaits,
        Self::Clock,
        Self::ForeignAppend,
        Self::ForeignOptimize,
        Self::ForeignProperty,
        Self::ForeignExpire,
        Self::ForeignBranch,
        Self::ForeignRetention,
        Self::Dropped,
        Self::Replaced,
        Self::RolledBack,
        Self::Restored,
        Self::PositionRemoved,
        Self::PositionForged,
        Self::SchemaChanged,
        Self::SpecChanged,
        Self::TopicChanged,
        Self::ClusterChanged,
    ];
}

/// What must have happened at least once over all seeds, or the adversary was asleep.
pub(super) const REQUIRED: [&str; 79] = [
    "crash: before append",
    "crash: after append",
    "crash: before seal",
    "crash: after seal",
    "crash: before the open files are dropped",
    "crash: after the open files were dropped",
    "crash: before the reload",
    "crash: after the reload",
    "crash: before the seek",
    "crash: after the seek",
    "crash: before the group is told",
    "crash: after the group was told",
    "crash: before hold or resume",
    "crash: after hold or resume",
    "crash: before release",
    "crash: after release",
    "crash: while the tables are opened",
    "crash: a load under way",
    "crash: a create under way",
    "crash: a publish under way",
    "crash: a put under way",
    "crash: a load answered, not yet heard",
    "crash: a publish applied, not yet heard",
    "crash: a put stored, not yet heard",
    "catalog: publish conflicts with another writer",
    "catalog: publish applied, answer lost",
    "catalog: publish not applied, 503",
    "catalog: publish not applied, reset",
    "catalog: publish not applied, 400",
    "catalog: publish applied, then told 503",
    "catalog: publish applied, then told 400",
    "catalog: publish sent twice, the second refused",
    "catalog: publish sent twice, a conflict with oneself told",
    "catalog: publish told as failed, applied later",
    "catalog: publish told as failed, refused later by the fence",
    "catalog: publish of a dead process applied later",
    "catalog: publish of a dead process refused by the fence",
    "catalog: publish of a dead process applied after its successor had read the table",
    "catalog: publish of a dead process refused after its successor had read the table",
    "catalog: publish hangs until the deadline",
    "catalog: load fails",
    "catalog: create answered twice or not at all",
    "store: put stored, answer lost",
    "store: put fails",
    "store: put told as failed, stored later",
    "store: put repeated",
    "store: read fails",
    "store: metadata waits",
    "worker: stopped in order",
    "worker: zombie wakes up",
    "worker: zombie's commit is fenced",
    "worker: fenced and rewound",
    "worker: recognises its own lost commit",
    "group: partitions move",
    "group: handed on before the release",
    "group: a partition comes back unsettled",
    "topic: partition added",
    "topic: poison only",
    "topic: holes",
    "clock: forward",
    "clock: back",
    "foreign: append",
    "foreign: optimize",
    "foreign: properties",
    "foreign: expire down to one",
    "foreign: branch with a retention",
    "foreign: retention on main",
    "eight workers",
    "restored from a backup: followed by a fresh start",
    "restored from a backup: refused by who has seen more",
    "fail-closed: table dropped",
    "fail-closed: table replaced",
    "fail-closed: table rolled back",
    "fail-closed: position removed",
    "fail-closed: position forged",
    "fail-closed: schema changed",
    "fail-closed: partitions changed",
    "fail-closed: topic made again",
    "fail-closed: another cluster",
];

/// How often something was seen to happen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(BTreeMap<String, u64>);

impl Seen {
    pub(super) fn one(&mut self, name: &str) {
        self.more(name, 1);
    }

    pub(super) fn more(&mut self, name: &str, count: u64) {
        match self.0.get_mut(name) {
            Some(held) => *held += count,
            None => drop(self.0.insert(name.to_owned(), count)),
        }
    }

    pub(super) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            self.more(name, *count);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }
}
