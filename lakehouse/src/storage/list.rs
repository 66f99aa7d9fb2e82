//! What lies in a folder of the store.
//!
//! For those who prove, and for the janitor: whether every file that a table names is there, and which files no table
//! names. It must never leave anything out, not even what a killed process left half-written.

use std::path::{Path as DiskPath, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{Place, Store, failed};
use crate::{Error, Kind, Result};

/// One file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// As [`Store::key`] spells its place.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970, by the store's clock.
    pub modified_ms: i64,
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
            .map_ok(|meta| StoredFile {
                key: meta.location.to_string(),
                bytes: meta.size,
                modified_ms: meta.last_modified.timestamp_millis(),
            })
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

/// Removing, for the janitor alone.
impl Store {
    /// A location of the file that [`list`](Self::list) calls `key`.
    pub(crate) fn location(&self, key: &str) -> String {
        match &self.place {
            Place::Disk => format!("/{key}"),
            Place::Bucket { name, .. } => format!("s3://{name}/{key}"),
        }
    }

    /// Removes a file that was listed. That it is gone already is as good.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the store failed.
    /// - [`Kind::Config`]: the store refuses us.
    pub(crate) async fn remove(&self, file: &StoredFile) -> Result<()> {
        let location = self.location(&file.key);
        if self.place.is_disk() && location.contains('#') {
            // The client does not take the names of what a killed put has left.
            return match std::fs::remove_file(&location) {
                Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::new(Kind::Retry, "the file stays")
                        .with("location", location)
                        .because(err))
                }
                _ => Ok(()),
            };
        }
        match self.objects.delete(&self.path(&location)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(err) => Err(failed("the file stays", &location, &err)),
        }
    }
}

fn since_1970_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
                let modified_ms = since_1970_ms(meta.modified()?);
                files.push(StoredFile { key, bytes: meta.len(), modified_ms });
            }
        }
    }
    Ok(files)
}
