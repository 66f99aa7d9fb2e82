//! Everything that a table's retained metadata names.
//!
//! It only grows: what an earlier state named stays in it, and what can't change is read once, so reading the table
//! again after somebody moved it takes as long as what they added. It must never pass over anything unread.

use std::collections::HashSet;

use futures::stream::{self, StreamExt, TryStreamExt};
use iceberg::spec::{Manifest, ManifestList};
use serde::Deserialize;
use uuid::Uuid;

use super::choose;
use crate::catalog::{Base, inflate};
use crate::storage::Store;
use crate::{Error, Kind, Result};

/// Files read at a time.
const READS_AT_ONCE: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Named {
    /// File names without their folders: each holds a UUID, and a folder may be spelled in several ways.
    names: HashSet<String>,
    /// Manifest lists and manifests that were read.
    read: HashSet<String>,
}

impl Named {
    pub(super) fn names(&self) -> &HashSet<String> {
        &self.names
    }

    /// Adds what `base` names: every snapshot of every branch and tag, deleted entries too.
    ///
    /// # Errors
    ///
    /// - [`Kind::Corrupt`]: a named file is missing or broken.
    /// - [`Kind::Retry`]: the store failed.
    pub(super) async fn learn(&mut self, base: &Base, store: &Store) -> Result<()> {
        let metadata = base.metadata();
        self.add(base.location());
        for log in metadata.metadata_log() {
            self.add(&log.metadata_file);
        }
        for file in metadata.statistics_iter() {
            self.add(&file.statistics_path);
        }
        for file in metadata.partition_statistics_iter() {
            self.add(&file.statistics_path);
        }
        let lists: Vec<String> =
            metadata.snapshots().map(|snapshot| snapshot.manifest_list().to_owned()).collect();
        let version = metadata.format_version();
        let manifests = self.read_new(store, lists, |bytes| {
            let list = ManifestList::parse_with_version(bytes, version)?;
            Ok(list.consume_entries().into_iter().map(|manifest| manifest.manifest_path).collect())
        });
        let manifests = manifests.await?;
        let files = self.read_new(store, manifests, |bytes| {
            let (entries, _) = Manifest::parse_avro(bytes)?.into_parts();
            Ok(entries.iter().map(|entry| entry.file_path().to_owned()).collect())
        });
        for file in files.await? {
            self.add(&file);
        }
        Ok(())
    }

    /// Reads those of `locations` that were not read before, and gathers what they name.
    async fn read_new(
        &mut self,
        store: &Store,
        locations: Vec<String>,
        parse: impl Fn(&[u8]) -> iceberg::Result<Vec<String>>,
    ) -> Result<Vec<String>> {
        let mut new = Vec::new();
        for location in locations {
            self.add(&location);
            if self.read.insert(location.clone()) {
                new.push(location);
            }
        }
        let parse = &parse;
        let read = stream::iter(new).map(|location| async move {
            let bytes = store.read(&location).await?;
            parse(&bytes).map_err(|err| {
                Error::new(Kind::Corrupt, "a file of the metadata is not readable")
                    .with("file", &location)
                    .because(err)
            })
        });
        let found: Vec<Vec<String>> = read.buffer_unordered(READS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    fn add(&mut self, location: &str) {
        self.names.insert(choose::name(location).to_owned());
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    table_uuid: Uuid,
}

/// Makes sure that an unnamed metadata file is an old one of this table. After a table was dropped and made anew, the
/// earlier one's files lie in the same folder, and may be all that is left of it.
///
/// # Errors
///
/// - [`Kind::Refused`]: it is another table's, or does not say.
/// - [`Kind::Retry`]: the store failed.
pub(super) async fn check_table(store: &Store, key: &str, uuid: Uuid) -> Result<()> {
    let refused = |what: &str| {
        Error::new(Kind::Refused, what)
            .with("file", key)
            .advising("move the earlier table's files elsewhere, or delete them by hand")
    };
    let location = store.location(key);
    let bytes = match store.read(&location).await {
        Ok(bytes) => inflate(bytes.into())?,
        // A commit has deleted it meanwhile.
        Err(_) if store.size(&location).await?.is_none() => return Ok(()),
        Err(err) => return Err(err),
    };
    match serde_json::from_slice::<Metadata>(&bytes) {
        Ok(metadata) if metadata.table_uuid == uuid => Ok(()),
        Ok(_) => Err(refused("files of an earlier table lie in the table's folder")),
        Err(err) => Err(refused("a metadata file does not say whose it is").because(err)),
    }
}
