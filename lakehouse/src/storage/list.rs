//! What lies in a folder of the store.
//!
//! For those who prove: whether every file that a table names is there, and which files no table names. It
//! must never leave anything out, not even what a killed process left half-written.

use std::path::{Path as DiskPath, PathBuf};

use futures::TryStreamExt;
use object_store::ObjectStore;

use super::{Store, failed};
use crate::{Error, Kind, Result};

/// One file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// As [`Store::key`] spells its place.
    pub key: String,
    /// Its length.
    pub bytes: u64,
}

impl Store {
    /// The one name of a place, however its location is spelled: `file:///a`, `file:/a` and `/a` are one file.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`]: the location lies outside this store.
    pub fn key(&self, location: &str) -> Result<String> {
        Ok(self.path(location)?.to_string())
    }

    /// Every file below `location`, in no order; none when there is no such folder.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the store failed.
    /// - [`Kind::Config`]: the store refuses us, or the location is not its own.
    pub async fn list(&self, location: &str) -> Result<Vec<StoredFile>> {
        let path = self.path(location)?;
        let found = self.objects.list(Some(&path));
        let files = found
            .map_ok(|meta| StoredFile { key: meta.location.to_string(), bytes: meta.size })
            .try_collect();
        let mut files: Vec<_> =
            files.await.map_err(|err| failed("the folder was not listed", location, &err))?;
        if self.place.is_disk() {
            let unread = |err: std::io::Error| {
                Error::new(Kind::Retry, "the folder can't be listed")
                    .with("location", location)
                    .because(err)
            };
            // The client passes over files that a put left beside their place.
            files.extend(walk(&PathBuf::from(format!("/{path}"))).map_err(unread)?);
            files.sort_by(|one, other| one.key.cmp(&other.key));
            files.dedup_by(|one, other| one.key == other.key);
        }
        Ok(files)
    }
}

fn walk(folder: &DiskPath) -> std::io::Result<Vec<StoredFile>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let meta = match std::fs::symlink_metadata(&path) {
                // Somebody who writes beside us has taken it away.
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => continue,
                meta => meta?,
            };
            if meta.is_dir() {
                folders.push(path);
            } else {
                let key = path.to_string_lossy().trim_start_matches('/').to_owned();
                files.push(StoredFile { key, bytes: meta.len() });
            }
        }
    }
    Ok(files)
}
