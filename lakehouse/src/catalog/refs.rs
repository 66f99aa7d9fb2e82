//! Branches and tags, read beside the metadata because iceberg-rust keeps them to itself.

use std::collections::BTreeMap;

use iceberg::spec::MAIN_BRANCH;
use serde::Deserialize;

/// The snapshots that branches and tags other than main point at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refs(Vec<i64>);

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
        Ok(Self(others.map(|(_, reference)| reference.snapshot_id).collect()))
    }

    /// Where each of them points.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Refs;

    #[test]
    fn main_is_left_out() {
        let json = br#"{"x":1,"refs":{"main":{"snapshot-id":1,"type":"branch"},"t":{"snapshot-id":2,"type":"tag"}}}"#;
        assert_eq!(Refs::from_metadata(json).ok(), Some(Refs(vec![2])));
        assert_eq!(Refs::from_metadata(b"{}").ok(), Some(Refs::default()));
    }
}
