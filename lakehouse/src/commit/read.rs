//! One table to query, as it was when it was opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::SnapshotRef;

use crate::avro::TableSchema;
use crate::catalog::Base;
use crate::ids::SnapshotId;
use crate::scan::{AvroTable, DataFileRef, Inventory, data_files, inventory};
use crate::storage::Store;
use crate::{Error, Kind, Result};

/// A table at one of its snapshots. It does not see later commits.
#[derive(Clone)]
pub struct ReadTable {
    base: Base,
    store: Store,
    snapshot: Option<SnapshotId>,
}

/// A point in a table's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// This snapshot.
    Snapshot(SnapshotId),
    /// The snapshot that was current then, in milliseconds since 1970.
    TimeMs(i64),
}

/// One retained snapshot of main.
#[derive(Clone, Debug)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// The one before it, which may be gone.
    pub parent: Option<SnapshotId>,
    /// When it was made, in milliseconds since 1970.
    pub time_ms: i64,
    /// Its place in the order of all changes.
    pub sequence: i64,
    /// Such as `append`.
    pub operation: String,
    /// What its writer recorded.
    pub summary: BTreeMap<String, String>,
}

/// A branch or a tag.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct Branch {
    /// The snapshot it points at.
    #[serde(rename = "snapshot-id")]
    pub snapshot: SnapshotId,
    /// What its owner asked to be kept, as the metadata spells it.
    #[serde(flatten)]
    pub retention: BTreeMap<String, serde_json::Value>,
}

impl ReadTable {
    pub(super) fn new(base: Base, store: Store) -> Self {
        let snapshot = base.metadata().current_snapshot_id().map(SnapshotId::new);
        Self { base, store, snapshot }
    }

    /// The store that holds its files.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The snapshot that is read, or `None` when the table has none.
    pub fn snapshot(&self) -> Option<SnapshotId> {
        self.snapshot
    }

    /// Where the table's files are.
    pub fn location(&self) -> &str {
        self.base.metadata().location()
    }

    /// The table's properties.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let properties = self.base.metadata().properties().iter();
        properties.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Main's retained snapshots, newest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        super::facts::ancestors(self.base.metadata()).map(info).collect()
    }

    /// Every retained snapshot, main's and others', in the order of their numbers.
    pub fn retained(&self) -> Vec<SnapshotInfo> {
        let mut all: Vec<_> = self.base.metadata().snapshots().map(info).collect();
        all.sort_by_key(|snapshot| (snapshot.sequence, snapshot.id));
        all
    }

    /// Branches and tags by name, main included.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`]: the metadata has another form than Iceberg's.
    pub fn branches(&self) -> Result<BTreeMap<String, Branch>> {
        #[derive(serde::Deserialize)]
        struct Metadata {
            #[serde(default)]
            refs: BTreeMap<String, Branch>,
        }
        // iceberg-rust keeps them to itself, but writes them.
        let metadata = serde_json::to_value(self.base.metadata())
            .and_then(serde_json::from_value::<Metadata>)
            .map_err(|err| Error::new(Kind::Bug, "the branches can't be read").because(err))?;
        Ok(metadata.refs)
    }

    /// The sequence number of the newest change.
    pub fn last_sequence(&self) -> i64 {
        self.base.metadata().last_sequence_number()
    }

    /// The metadata file that this was read from.
    pub fn metadata_location(&self) -> &str {
        self.base.location()
    }

    /// Every file that some retained snapshot needs.
    ///
    /// # Errors
    ///
    /// [`Kind::Retry`]: the store failed. A file that is missing or broken is not an error, but told.
    pub async fn inventory(&self) -> Result<Inventory> {
        inventory(&self.base, &self.store).await
    }

    /// The same table at another point of its history.
    ///
    /// # Errors
    ///
    /// [`Kind::Refused`]: that snapshot is not, or no longer, retained.
    pub fn as_of(&self, point: AsOf) -> Result<Self> {
        let metadata = self.base.metadata();
        let gone = |what: &str| Error::new(Kind::Refused, what);
        let id = match point {
            AsOf::Snapshot(id) => {
                metadata.snapshot_by_id(id.get()).map(|_| id).ok_or_else(|| {
                    gone("the table has no such snapshot, or no longer").with("snapshot", id)
                })?
            }
            AsOf::TimeMs(time) => super::facts::ancestors(metadata)
                .find(|snapshot| snapshot.timestamp_ms() <= time)
                .map(|snapshot| SnapshotId::new(snapshot.snapshot_id()))
                .ok_or_else(|| gone("no retained snapshot is that old").with("time", time))?,
        };
        Ok(Self { snapshot: Some(id), ..self.clone() })
    }

    /// The columns, as they were at the snapshot.
    ///
    /// # Errors
    ///
    /// [`Kind::Refused`]: a column is of a type that can't be read here.
    pub fn schema(&self) -> Result<Arc<TableSchema>> {
        let metadata = self.base.metadata();
        let snapshot = self.snapshot.and_then(|id| metadata.snapshot_by_id(id.get()));
        let schema = match snapshot {
            Some(snapshot) => snapshot.schema(metadata).map_err(|err| {
                Error::new(Kind::Corrupt, "the snapshot's schema is missing").because(err)
            })?,
            None => metadata.current_schema().clone(),
        };
        TableSchema::new(&schema, None).map(Arc::new)
    }

    /// The data files of the snapshot.
    ///
    /// # Errors
    ///
    /// - [`Kind::Refused`]: the snapshot has files that can't be read here.
    /// - [`Kind::Retry`]: a manifest was not read.
    pub async fn files(&self) -> Result<Vec<DataFileRef>> {
        match self.snapshot {
            None => Ok(Vec::new()),
            snapshot => data_files(&self.base.table, snapshot).await,
        }
    }

    /// The table for `DataFusion`.
    ///
    /// # Errors
    ///
    /// As [`schema`](Self::schema) and [`files`](Self::files).
    pub async fn provider(&self) -> Result<AvroTable> {
        Ok(AvroTable::new(self.store.clone(), self.schema()?, self.files().await?))
    }
}

fn info(snapshot: &SnapshotRef) -> SnapshotInfo {
    let summary = snapshot.summary();
    SnapshotInfo {
        id: SnapshotId::new(snapshot.snapshot_id()),
        parent: snapshot.parent_snapshot_id().map(SnapshotId::new),
        time_ms: snapshot.timestamp_ms(),
        sequence: snapshot.sequence_number(),
        operation: summary.operation.as_str().to_owned(),
        summary: summary.additional_properties.clone().into_iter().collect(),
    }
}
