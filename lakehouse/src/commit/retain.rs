//! Which snapshots a commit expires, so that the table's metadata stays small.

use std::collections::HashSet;

use iceberg::spec::TableMetadata;

use super::{facts, keys};
use crate::catalog::{Keep, Refs};

/// How many of main's snapshots stay for `--as-of` and for queries under way. Every commit reads and writes their summaries, so
/// it costs more with more of them.
pub(super) const SNAPSHOTS_KEPT: usize = 100;

/// Expired by one commit at most; after a lowered setting the rest follows with the next ones.
const EXPIRED_MAX: usize = 16;

/// How somebody asks for more of every branch that says nothing itself.
const COUNT_PROPERTY: &str = "history.expire.min-snapshots-to-keep";
const AGE_PROPERTY: &str = "history.expire.max-snapshot-age-ms";

/// Main's snapshots beyond the newest `kept`, the coming one included.
///
/// Only snapshots that this crate wrote, that no branch or tag reaches, and that have no statistics:
/// others belong to someone else. Who asks in the table for more of main to be kept gets more.
pub(super) fn expired(metadata: &TableMetadata, refs: &Refs, kept: usize, now_ms: i64) -> Vec<i64> {
    let asked = asked(metadata, refs);
    let kept = kept.max(2).max(asked.snapshots.unwrap_or(0));
    let old: Vec<_> = facts::ancestors(metadata).skip(kept - 1).collect();
    if old.is_empty() {
        return Vec::new();
    }
    let young_from = asked.age_ms.map_or(i64::MAX, |age| now_ms.saturating_sub(age));
    let reached = reached(metadata, refs);
    let ours = old.into_iter().rev().filter(|snapshot| {
        let id = snapshot.snapshot_id();
        snapshot.summary().additional_properties.contains_key(keys::ATTEMPT)
            && snapshot.timestamp_ms() < young_from
            && !reached.contains(&id)
            && metadata.statistics_for_snapshot(id).is_none()
            && metadata.partition_statistics_for_snapshot(id).is_none()
    });
    ours.map(|snapshot| snapshot.snapshot_id()).take(EXPIRED_MAX).collect()
}

/// What others want to be kept: the branch itself says so, or the table for all branches.
fn asked(metadata: &TableMetadata, refs: &Refs) -> Keep {
    let property = |key| metadata.properties().get(key);
    let count = || property(COUNT_PROPERTY).and_then(|text| text.parse().ok());
    let age = || property(AGE_PROPERTY).and_then(|text| text.parse().ok());
    let main = refs.main();
    Keep { snapshots: main.snapshots.or_else(count), age_ms: main.age_ms.or_else(age) }
}

fn reached(metadata: &TableMetadata, refs: &Refs) -> HashSet<i64> {
    let mut reached = HashSet::new();
    for start in refs.iter() {
        let mut next = Some(start);
        while let Some(id) = next.filter(|id| reached.insert(*id)) {
            next = metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
        }
    }
    reached
}
