//! What the checker reads: a table in plain words, taken from its metadata and manifests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::TableIdent;
use iceberg::spec::{ManifestFile, ManifestStatus, TableMetadata};
use serde_json::Value;

use super::{Seen, Servers, at_once, ident, lock};
use crate::catalog::Refs;

/// A table as it is.
#[derive(Clone, Debug)]
pub struct TableView {
    /// Its identity.
    pub uuid: String,
    /// Main's snapshot.
    pub current: Option<i64>,
    /// The highest sequence number it has given out.
    pub sequence: i64,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// Every retained snapshot.
    pub snapshots: BTreeMap<i64, SnapshotView>,
    /// Branches and tags as JSON: target and retention.
    pub refs: BTreeMap<String, Value>,
}

/// One retained snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotView {
    /// The one before it, which may be gone.
    pub parent: Option<i64>,
    /// Its place in the order of all changes.
    pub sequence: i64,
    /// Such as `append`.
    pub operation: String,
    /// What its writer recorded.
    pub summary: BTreeMap<String, String>,
    /// Where its list of manifests lies.
    pub manifest_list: String,
}

/// A data file as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFileView {
    /// Where it lies.
    pub location: String,
    /// Rows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// The snapshot that brought it.
    pub snapshot: Option<i64>,
}

/// What a manifest names; it is never written twice.
pub(super) type ManifestCache = HashMap<String, Arc<Vec<DataFileView>>>;

impl Servers {
    /// The table, or `None` when there is none.
    pub fn table(&self, table: &str) -> Option<Arc<TableView>> {
        let ident = ident(table);
        let (location, metadata) = self.held(&ident)?;
        Some(self.seen(&ident, &location, &metadata).shown)
    }

    /// The data files that a retained snapshot holds, by manifest; an error names what is missing.
    ///
    /// # Errors
    ///
    /// A manifest or the list of them is not there.
    pub fn files(&self, snapshot: &SnapshotView) -> Result<Vec<Arc<Vec<DataFileView>>>, String> {
        let list = self.manifests(&snapshot.manifest_list)?;
        list.iter().map(|manifest| self.entries(manifest)).collect()
    }

    pub(super) fn manifests(&self, list: &str) -> Result<Vec<ManifestFile>, String> {
        let bytes = self.object(list).ok_or_else(|| format!("{list} is not there"))?;
        let list = iceberg::spec::ManifestList::parse_with_version(
            &bytes,
            iceberg::spec::FormatVersion::V2,
        );
        Ok(list.map_err(|err| err.to_string())?.consume_entries().into_iter().collect())
    }

    fn entries(&self, manifest: &ManifestFile) -> Result<Arc<Vec<DataFileView>>, String> {
        if let Some(known) = lock(&self.shared.manifests).get(&manifest.manifest_path) {
            return Ok(Arc::clone(known));
        }
        let loaded = at_once(manifest.load_manifest(&self.shared.file_io));
        let loaded = loaded.map_err(|err| format!("{}: {err}", manifest.manifest_path))?;
        let live =
            loaded.entries().iter().filter(|entry| entry.status() != ManifestStatus::Deleted);
        let entries = live.map(|entry| DataFileView {
            location: entry.file_path().to_owned(),
            rows: entry.record_count(),
            bytes: entry.file_size_in_bytes(),
            snapshot: entry.snapshot_id(),
        });
        let entries = Arc::new(entries.collect::<Vec<_>>());
        let path = manifest.manifest_path.clone();
        lock(&self.shared.manifests).insert(path, Arc::clone(&entries));
        Ok(entries)
    }

    pub(super) fn seen(
        &self,
        ident: &TableIdent,
        location: &str,
        metadata: &TableMetadata,
    ) -> Seen {
        let mut seen = lock(&self.shared.seen);
        if let Some(known) = seen.get(ident).filter(|known| known.location == location) {
            return known.clone();
        }
        let json = serde_json::to_vec(metadata).unwrap_or_default();
        let refs = Refs::from_metadata(&json).unwrap_or_default();
        let shown = Arc::new(show(metadata, &json));
        let fresh = Seen { location: location.to_owned(), refs, shown };
        seen.insert(ident.clone(), fresh.clone());
        fresh
    }
}

fn show(metadata: &TableMetadata, json: &[u8]) -> TableView {
    #[derive(serde::Deserialize)]
    struct Metadata {
        #[serde(default)]
        refs: BTreeMap<String, Value>,
    }
    let refs = serde_json::from_slice::<Metadata>(json).map(|m| m.refs).unwrap_or_default();
    let snapshot = |snapshot: &iceberg::spec::SnapshotRef| SnapshotView {
        parent: snapshot.parent_snapshot_id(),
        sequence: snapshot.sequence_number(),
        operation: snapshot.summary().operation.as_str().to_owned(),
        summary: snapshot.summary().additional_properties.clone().into_iter().collect(),
        manifest_list: snapshot.manifest_list().to_owned(),
    };
    TableView {
        uuid: metadata.uuid().to_string(),
        current: metadata.current_snapshot_id(),
        sequence: metadata.last_sequence_number(),
        properties: metadata.properties().clone().into_iter().collect(),
        snapshots: metadata.snapshots().map(|s| (s.snapshot_id(), snapshot(s))).collect(),
        refs,
    }
}
