//! Branches and tags, read beside the metadata because iceberg-rust keeps them to itself.

use std::collections::BTreeMap;

use iceberg::TableUpdate;
use iceberg::spec::MAIN_BRANCH;
use serde::Deserialize;

/// The snapshots that branches and tags other than main point at, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refs(BTreeMap<String, i64>);

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    refs: Option<BTreeMap<String, Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "snapshot-id")]
    snapshot_id: i64,
}

impl Refs {
    /// Reads them from the JSON of a table's metadata.
    pub(crate) fn from_metadata(json: &[u8]) -> serde_json::Result<Self> {
        let refs = serde_json::from_slice::<Metadata>(json)?.refs.unwrap_or_default();
        let others = refs.into_iter().filter(|(name, _)| name != MAIN_BRANCH);
        Ok(Self(others.map(|(name, reference)| (name, reference.snapshot_id)).collect()))
    }

    /// What they are once `changes` are made.
    pub(crate) fn after(&self, changes: &[TableUpdate]) -> Self {
        let mut refs = self.0.clone();
        for change in changes {
            match change {
                TableUpdate::SetSnapshotRef { ref_name, reference } if ref_name != MAIN_BRANCH => {
                    refs.insert(ref_name.clone(), reference.snapshot_id);
                }
                TableUpdate::RemoveSnapshotRef { ref_name } => {
                    refs.remove(ref_name);
                }
                TableUpdate::RemoveSnapshots { snapshot_ids } => {
                    refs.retain(|_, id| !snapshot_ids.contains(id));
                }
                _ => {}
            }
        }
        Self(refs)
    }

    /// Where each of them points.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Refs;

    #[test]
    fn main_is_left_out() {
        let json = br#"{"x":1,"refs":{"main":{"snapshot-id":1,"type":"branch"},"t":{"snapshot-id":2,"type":"tag"}}}"#;
        let refs = Refs::from_metadata(json).unwrap();
        assert_eq!(refs.iter().collect::<Vec<_>>(), [2]);
        assert_eq!(Refs::from_metadata(b"{}").unwrap(), Refs::default());
    }
}
