//! Which snapshots a commit expires, so that the table's metadata stays small.

use std::collections::HashSet;

use iceberg::spec::TableMetadata;

use super::{facts, keys};
use crate::catalog::Refs;

/// How many of main's snapshots stay for `--as-of` and for queries under way.
pub(super) const SNAPSHOTS_KEPT: usize = 200;

/// Expired by one commit at most; after a lowered setting the rest follows with the next ones.
const EXPIRED_MAX: usize = 16;

/// Main's snapshots beyond the newest `kept`, the coming one included.
///
/// Only snapshots that this crate wrote, that no branch or tag reaches, and that have no statistics:
/// others belong to someone else.
pub(super) fn expired(metadata: &TableMetadata, refs: &Refs, kept: usize) -> Vec<i64> {
    let old: Vec<_> = facts::ancestors(metadata).skip(kept.max(2) - 1).collect();
    if old.is_empty() {
        return Vec::new();
    }
    let reached = reached(metadata, refs);
    let ours = old.into_iter().rev().filter(|snapshot| {
        let id = snapshot.snapshot_id();
        snapshot.summary().additional_properties.contains_key(keys::ATTEMPT)
            && !reached.contains(&id)
            && metadata.statistics_for_snapshot(id).is_none()
            && metadata.partition_statistics_for_snapshot(id).is_none()
    });
    ours.map(|snapshot| snapshot.snapshot_id()).take(EXPIRED_MAX).collect()
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
