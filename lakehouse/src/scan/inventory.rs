//! Every file that a table's retained metadata names.
//!
//! Owns the walk from the metadata file over each snapshot's manifest list and manifests to the data files, with
//! what is recorded of each. It must never stop at a broken file: what can't be read is told, and the walk goes on.

use std::collections::{BTreeMap, HashMap};

use futures::stream::{self, StreamExt};
use iceberg::spec::{
    DataContentType, DataFileFormat, Manifest, ManifestFile, ManifestList, SnapshotRef,
};

use crate::catalog::Base;
use crate::storage::Store;
use crate::{Error, Kind, Result};

/// Files read at a time.
const READS_AT_ONCE: usize = 8;

/// What a file is to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The metadata file that the catalog names.
    Metadata,
    /// A snapshot's list of manifests.
    ManifestList,
    /// A list of data files.
    Manifest,
    /// Rows.
    Data,
    /// Rows that don't count any more.
    Deletes,
    /// Somebody's statistics.
    Statistics,
}

/// A file, and what the metadata records of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Where it lies.
    pub location: String,
    /// What it is.
    pub role: Role,
    /// Its length, where it is recorded.
    pub bytes: Option<u64>,
    /// Rows in it, where they are recorded.
    pub rows: Option<u64>,
    /// Whether it is an Avro file.
    pub avro: bool,
}

/// What a table's retained metadata names.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Every file that a retained snapshot needs, each once.
    pub files: Vec<NamedFile>,
    /// Earlier metadata files, which nobody needs but which are not left over either.
    pub log: Vec<String>,
    /// Files that can't be read, or that contradict each other, and why.
    pub broken: BTreeMap<String, String>,
    /// Manifests of the current snapshot.
    pub manifests: usize,
    /// Data files of the current snapshot.
    pub live_files: u64,
    /// Rows in them, as recorded.
    pub live_rows: u64,
}

/// Walks the metadata of `base`.
pub(crate) async fn inventory(base: &Base, store: &Store) -> Result<Inventory> {
    let metadata = base.metadata();
    let mut found = Inventory::default();
    found.add(base.location(), Role::Metadata, None, None, false);
    found.log = metadata.metadata_log().iter().map(|log| log.metadata_file.clone()).collect();
    for file in metadata.statistics_iter() {
        let bytes = u64::try_from(file.file_size_in_bytes).ok();
        found.add(&file.statistics_path, Role::Statistics, bytes, None, false);
    }
    for file in metadata.partition_statistics_iter() {
        let bytes = u64::try_from(file.file_size_in_bytes).ok();
        found.add(&file.statistics_path, Role::Statistics, bytes, None, false);
    }

    let snapshots: Vec<_> = metadata.snapshots().cloned().collect();
    let mut lists = stream::iter(snapshots)
        .map(|snapshot| async move { (manifest_list(base, store, &snapshot).await, snapshot) })
        .buffered(READS_AT_ONCE);
    let mut manifests: HashMap<String, ManifestFile> = HashMap::new();
    let mut current = Vec::new();
    while let Some((list, snapshot)) = lists.next().await {
        found.add(snapshot.manifest_list(), Role::ManifestList, None, None, true);
        let Some(list) = found.sound(snapshot.manifest_list(), list)? else { continue };
        if metadata.current_snapshot_id() == Some(snapshot.snapshot_id()) {
            found.manifests = list.entries().len();
            current = list.entries().iter().map(|m| m.manifest_path.clone()).collect();
        }
        for manifest in list.consume_entries() {
            let bytes = u64::try_from(manifest.manifest_length).ok();
            found.add(&manifest.manifest_path, Role::Manifest, bytes, None, true);
            manifests.entry(manifest.manifest_path.clone()).or_insert(manifest);
        }
    }

    let mut loaded = stream::iter(manifests.into_values())
        .map(|manifest| async move { (read_manifest(store, &manifest).await, manifest) })
        .buffer_unordered(READS_AT_ONCE);
    while let Some((entries, manifest)) = loaded.next().await {
        let Some(entries) = found.sound(&manifest.manifest_path, entries)? else { continue };
        let is_current = current.contains(&manifest.manifest_path);
        found.add_entries(&manifest, &entries, is_current);
    }
    found.files.sort_by(|one, other| (one.role, &one.location).cmp(&(other.role, &other.location)));
    found.files.dedup();
    found.contradictions();
    Ok(found)
}

impl Inventory {
    fn add(
        &mut self,
        location: &str,
        role: Role,
        bytes: Option<u64>,
        rows: Option<u64>,
        avro: bool,
    ) {
        self.files.push(NamedFile { location: location.to_owned(), role, bytes, rows, avro });
    }

    /// Notes a broken file. A store that is away is an error: it says nothing about the file.
    fn sound<T>(&mut self, location: &str, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(err) if err.kind() == Kind::Corrupt => {
                let cause = std::error::Error::source(&err).map(|cause| format!(": {cause}"));
                let why = format!("{err}{}", cause.unwrap_or_default());
                self.broken.insert(location.to_owned(), why);
                Ok(None)
            }
            Err(err) => Err(err.with("file", location)),
        }
    }

    fn add_entries(&mut self, manifest: &ManifestFile, entries: &Manifest, is_current: bool) {
        let live: Vec<_> = entries.entries().iter().filter(|entry| entry.is_alive()).collect();
        let counted = manifest.added_files_count.zip(manifest.existing_files_count);
        let counted = counted.map(|(added, existing)| added as usize + existing as usize);
        if counted.is_some_and(|counted| counted != live.len()) {
            let why = format!("{counted:?} live files by its list, {} in it", live.len());
            self.broken.insert(manifest.manifest_path.clone(), why);
        }
        for entry in live {
            let file = entry.data_file();
            let is_data = file.content_type() == DataContentType::Data;
            let role = if is_data { Role::Data } else { Role::Deletes };
            let (bytes, rows) = (file.file_size_in_bytes(), file.record_count());
            let avro = file.file_format() == DataFileFormat::Avro;
            self.add(file.file_path(), role, Some(bytes), Some(rows), avro);
            if is_current && is_data {
                self.live_files += 1;
                self.live_rows += rows;
            }
        }
    }

    /// One file must not be recorded in two ways.
    fn contradictions(&mut self) {
        for (one, next) in self.files.iter().zip(self.files.iter().skip(1)) {
            if one.location == next.location {
                let why = format!("recorded as {one:?} and as {next:?}");
                self.broken.insert(one.location.clone(), why);
            }
        }
    }
}

async fn manifest_list(base: &Base, store: &Store, snapshot: &SnapshotRef) -> Result<ManifestList> {
    let bytes = store.read(snapshot.manifest_list()).await?;
    let list = ManifestList::parse_with_version(&bytes, base.metadata().format_version());
    list.map_err(|err| corrupt("the manifest list is not readable", err))
}

async fn read_manifest(store: &Store, manifest: &ManifestFile) -> Result<Manifest> {
    let bytes = store.read(&manifest.manifest_path).await?;
    Manifest::parse_avro(&bytes).map_err(|err| corrupt("the manifest is not readable", err))
}

fn corrupt(message: &str, err: iceberg::Error) -> Error {
    Error::new(Kind::Corrupt, message).because(err)
}
