//! The way back: snapshot → data files → Arrow, and on to SQL.
//!
//! Owns the listing of a snapshot's files and their decoding, by arrow-avro: a reader that shares no
//! code with this crate's writer, so that what it reads was truly written. It must never read past a
//! delete file or a file of another format in silence: rows would come back, or be missing.

use futures::stream::{self, StreamExt, TryStreamExt};
use iceberg::spec::{DataContentType, DataFile, DataFileFormat, ManifestFile, SnapshotRef};
use iceberg::table::Table;

use crate::ids::SnapshotId;
use crate::{Error, Kind, Result};

mod file_schema;
mod inventory;
mod prune;
mod read;
mod sql;

#[cfg(test)]
mod tests;

pub(crate) use inventory::inventory;
pub use inventory::{Inventory, NamedFile, Role};
pub use read::{FileReader, read_file};
pub use sql::AvroTable;

/// Manifests loaded at a time.
const MANIFESTS_AT_ONCE: usize = 8;

/// One data file of a snapshot.
#[derive(Clone, Debug)]
pub struct DataFileRef {
    /// Where it lies.
    pub location: String,
    /// Rows in it, as recorded.
    pub rows: u64,
    /// Its length in bytes, as recorded.
    pub bytes: u64,
    /// Counts and bounds.
    pub(crate) file: DataFile,
}

/// The data files of a snapshot, in the order of its manifests; of the current one when `snapshot` is
/// `None`, and none when the table has no snapshot.
///
/// # Errors
///
/// - [`Kind::Refused`]: the snapshot is unknown, or it has delete files or files that aren't Avro.
/// - [`Kind::Retry`]: a manifest was not read.
pub(crate) async fn data_files(
    table: &Table,
    snapshot: Option<SnapshotId>,
) -> Result<Vec<DataFileRef>> {
    let Some(snapshot) = find(table, snapshot)? else { return Ok(Vec::new()) };
    let list = table.manifest_list_reader(snapshot).load().await;
    let list = list.map_err(|err| unread(snapshot).because(err))?;
    let manifests = list.entries().to_vec();
    stream::iter(manifests)
        .map(|manifest| async move { live_files(table, snapshot, &manifest).await })
        .buffered(MANIFESTS_AT_ONCE)
        .try_concat()
        .await
}

fn find(table: &Table, id: Option<SnapshotId>) -> Result<Option<&SnapshotRef>> {
    let Some(id) = id else { return Ok(table.metadata().current_snapshot()) };
    let found = table.metadata().snapshot_by_id(id.get());
    found.map(Some).ok_or_else(|| {
        Error::new(Kind::Refused, "the table has no such snapshot, or no longer")
            .with("snapshot", id)
    })
}

async fn live_files(
    table: &Table,
    snapshot: &SnapshotRef,
    manifest: &ManifestFile,
) -> Result<Vec<DataFileRef>> {
    let loaded = manifest.load_manifest(table.file_io()).await;
    let loaded = loaded.map_err(|err| unread(snapshot).because(err))?;
    let live = loaded.entries().iter().filter(|entry| entry.is_alive());
    live.map(|entry| readable(entry.data_file())).collect()
}

fn readable(file: &DataFile) -> Result<DataFileRef> {
    let refused = |message| Error::new(Kind::Refused, message).with("file", file.file_path());
    if file.content_type() != DataContentType::Data {
        return Err(refused("the snapshot has delete files, which are not applied here"));
    }
    if file.file_format() != DataFileFormat::Avro {
        return Err(refused("the snapshot has a data file that is not Avro")
            .with("format", file.file_format()));
    }
    Ok(DataFileRef {
        location: file.file_path().to_owned(),
        rows: file.record_count(),
        bytes: file.file_size_in_bytes(),
        file: file.clone(),
    })
}

fn unread(snapshot: &SnapshotRef) -> Error {
    Error::new(Kind::Retry, "the snapshot's files can't be listed")
        .with("snapshot", snapshot.snapshot_id())
}
