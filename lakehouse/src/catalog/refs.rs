//! Branches and tags, read beside the metadata because iceberg-rust keeps them to itself.

use std::collections::BTreeMap;

use iceberg::TableUpdate;
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};
use serde::Deserialize;

/// The branches and tags of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refs {
    /// The snapshots that branches and tags other than main point at, by name.
    others: BTreeMap<String, i64>,
    /// What somebody asked to be kept of main.
    main: Keep,
}

/// How much of a branch its owner wants to be kept. A snapshot stays if either asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    /// So many of the newest.
    pub(crate) snapshots: Option<usize>,
    /// Those that are not older, in milliseconds.
    pub(crate) age_ms: Option<i64>,
}

impl Keep {
    fn of(reference: &SnapshotReference) -> Self {
        match reference.retention {
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, .. } => Self {
                snapshots: min_snapshots_to_keep.and_then(|count| usize::try_from(count).ok()),
                age_ms: max_snapshot_age_ms,
            },
            SnapshotRetention::Tag { .. } => Self::default(),
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    refs: Option<BTreeMap<String, SnapshotReference>>,
}

impl Refs {
    /// Reads them from the JSON of a table's metadata.
    pub(crate) fn from_metadata(json: &[u8]) -> serde_json::Result<Self> {
        let mut refs = serde_json::from_slice::<Metadata>(json)?.refs.unwrap_or_default();
        let main = refs.remove(MAIN_BRANCH).as_ref().map(Keep::of).unwrap_or_default();
        let others = refs.into_iter().map(|(name, reference)| (name, reference.snapshot_id));
        Ok(Self { others: others.collect(), main })
    }

    /// What they are once `changes` are made.
    pub(crate) fn after(&self, changes: &[TableUpdate]) -> Self {
        let Self { mut others, mut main } = self.clone();
        for change in changes {
            match change {
                TableUpdate::SetSnapshotRef { ref_name, reference } if ref_name == MAIN_BRANCH => {
                    main = Keep::of(reference);
                }
                TableUpdate::SetSnapshotRef { ref_name, reference } => {
                    others.insert(ref_name.clone(), reference.snapshot_id);
                }
                TableUpdate::RemoveSnapshotRef { ref_name } if ref_name == MAIN_BRANCH => {
                    main = Keep::default();
                }
                TableUpdate::RemoveSnapshotRef { ref_name } => {
                    others.remove(ref_name);
                }
                TableUpdate::RemoveSnapshots { snapshot_ids } => {
                    others.retain(|_, id| !snapshot_ids.contains(id));
                }
                _ => {}
            }
        }
        Self { others, main }
    }

    /// Where each of them points, but for main.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.others.values().copied()
    }

    /// What somebody asked to be kept of main.
    pub(crate) fn main(&self) -> Keep {
        self.main
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_is_told_from_the_others() {
        let json = br#"{"x":1,"refs":{
            "main":{"snapshot-id":1,"type":"branch","min-snapshots-to-keep":7,"max-snapshot-age-ms":8},
            "t":{"snapshot-id":2,"type":"tag"}}}"#;
        let refs = Refs::from_metadata(json).unwrap();
        assert_eq!(refs.iter().collect::<Vec<_>>(), [2]);
        assert_eq!(refs.main(), Keep { snapshots: Some(7), age_ms: Some(8) });
        assert_eq!(Refs::from_metadata(b"{}").unwrap(), Refs::default());
    }

    #[test]
    fn changes_are_followed() {
        let branch =
            |id, keep| SnapshotReference::new(id, SnapshotRetention::branch(keep, None, None));
        let set = |name: &str, reference| TableUpdate::SetSnapshotRef {
            ref_name: name.to_owned(),
            reference,
        };
        let refs =
            Refs::default().after(&[set("main", branch(1, Some(9))), set("b", branch(2, None))]);
        assert_eq!(refs.iter().collect::<Vec<_>>(), [2]);
        assert_eq!(refs.main().snapshots, Some(9));
        let removed = TableUpdate::RemoveSnapshots { snapshot_ids: vec![2] };
        let refs = refs.after(&[removed, set("main", branch(3, None))]);
        assert_eq!(refs, Refs::default());
    }
}
