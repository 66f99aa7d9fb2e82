//! Deletes what nobody will ever name: files of killed processes and lost tries, folded manifests, lists of expired
//! snapshots, old metadata.
//!
//! The only place of this project that deletes files of a table. It must never delete one that any retained metadata
//! names, one that is younger than the retention, one that another engine made, nor anything at all while some file
//! of the metadata can't be read. `choose` decides, without touching a thing.
//!
//! The order makes it safe without any lock (decision 9): list; read the table; choose; record in the table what is
//! about to go, pinned to the table that was read; delete. Whoever names a file reads the table after that, or fails.

mod choose;
mod named;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::catalog::{Answer, Base, FencedCatalog};
use crate::commit::{Lakehouse, shell, sweep};
use crate::storage::StoredFile;
use crate::{Error, Kind, Result};

pub use choose::Choice;
use named::Named;

/// Longer than any commit takes from its first upload, an outage of half a day included.
pub const RETENTION: Duration = Duration::from_hours(24);
/// Below this a slow upload could pass for a leftover.
pub const RETENTION_MIN: Duration = Duration::from_hours(1);
/// Deleted in one pass of one table; the rest is left to the next one.
pub const FILES_MAX: usize = 10_000;

/// How often the table may be moved under us before a pass gives up. Each try takes about as long as a commit.
const TRIES_MAX: u32 = 20;
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How a table is to be tidied.
#[derive(Clone, Copy, Debug)]
pub struct Tidying {
    retention: Duration,
    files_max: usize,
    delete: bool,
}

impl Tidying {
    /// Looks for files that have been there for `retention`; deletes `files_max` of them if `delete`.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`]: the retention is below [`RETENTION_MIN`].
    pub fn new(retention: Duration, files_max: usize, delete: bool) -> Result<Self> {
        if retention < RETENTION_MIN {
            return Err(Error::new(Kind::Config, "the retention is too short to be safe")
                .with("seconds", retention.as_secs())
                .with("least", RETENTION_MIN.as_secs()));
        }
        Ok(Self { retention, files_max, delete })
    }
}

/// What a pass found and did.
#[derive(Clone, Debug, Default)]
pub struct Tidied {
    /// What became of every file in the table's folder.
    pub choice: Choice,
    /// How many of the leftovers were deleted.
    pub deleted: usize,
    /// Bytes in them.
    pub deleted_bytes: u64,
}

impl Lakehouse {
    /// Looks for leftovers in the folder of a table, and deletes them if it is asked to.
    ///
    /// # Errors
    ///
    /// Nothing was deleted, unless the error says that a deletion failed:
    /// - [`Kind::Refused`]: there is no such table, it is none of ours, or an earlier table's files lie in its folder.
    /// - [`Kind::Corrupt`]: a file that the metadata names is missing or broken.
    /// - [`Kind::Conflict`]: others moved the table all the time.
    /// - [`Kind::Retry`]: catalog or store failed. Try again later.
    pub async fn tidy(&self, namespace: &str, name: &str, how: &Tidying) -> Result<Tidied> {
        let ident = crate::commit::ident(namespace, name)?;
        let read = || async {
            let fenced = FencedCatalog::read(&self.catalog, &ident).await?;
            fenced.ok_or_else(|| {
                Error::new(Kind::Refused, "there is no such table").with("table", &ident)
            })
        };
        let first = read().await?;
        // Whatever comes into the folder after this is not looked at.
        let files = self.store.list(first.base().metadata().location()).await?;
        let cutoff = Cutoff::of(&files, how.retention);
        let mut named = Named::default();
        let mut fenced = first;
        for _ in 0..TRIES_MAX {
            sweep::position(fenced.base().metadata())?;
            named.learn(fenced.base(), &self.store).await?;
            let choice = self.choose(fenced.base(), &files, &named, cutoff, how.files_max).await?;
            if choice.leftovers.is_empty() || !how.delete {
                return Ok(Tidied { choice, ..Tidied::default() });
            }
            match sweep::record(fenced, cutoff.swept_ms).await? {
                Answer::Committed(_) => return self.delete(choice).await,
                Answer::Conflict => {}
                // Whether it was applied shows when the table is read: if so, nothing is lost by doing it again.
                Answer::Unknown(err) if err.kind() == Kind::Retry => {
                    tracing::debug!(error = %err, "will read again");
                }
                Answer::Unknown(err) => return Err(err),
            }
            shell::pause(shell::jitter(PAUSE_MAX)).await;
            fenced = read().await?;
        }
        Err(Error::new(Kind::Conflict, "others moved the table all the time; nothing was deleted")
            .with("table", &ident)
            .with("tries", TRIES_MAX))
    }

    async fn choose(
        &self,
        base: &Base,
        files: &[StoredFile],
        named: &Named,
        cutoff: Cutoff,
        files_max: usize,
    ) -> Result<Choice> {
        let folder = self.store.key(base.metadata().location())?;
        let choice = choose::choose(files, named.names(), &folder, cutoff.leftover_ms, files_max);
        for key in &choice.unnamed_metadata {
            named::check_table(&self.store, key, base.metadata().uuid()).await?;
        }
        Ok(choice)
    }

    async fn delete(&self, choice: Choice) -> Result<Tidied> {
        let mut tidied = Tidied { choice, ..Tidied::default() };
        for file in &tidied.choice.leftovers {
            self.store.remove(file).await.map_err(|err| {
                err.with("deleted before it", tidied.deleted).with("file", &file.key)
            })?;
            tidied.deleted += 1;
            tidied.deleted_bytes += file.bytes;
        }
        Ok(tidied)
    }
}

/// What is old.
#[derive(Clone, Copy, Debug)]
struct Cutoff {
    /// What was stored before is old enough to go.
    leftover_ms: i64,
    /// What a process believes to have stored before must not be named any more. Later by half of the retention, for
    /// its clock may be another than the store's.
    swept_ms: i64,
}

impl Cutoff {
    /// As seen from now; or from the newest file, if that is earlier: a clock that runs ahead makes nothing old.
    fn of(files: &[StoredFile], retention: Duration) -> Self {
        let newest = files.iter().map(|file| file.modified_ms).max().unwrap_or(0);
        let now = shell::now_ms().min(newest);
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let back = |by: i64| now.saturating_sub(by);
        Self { leftover_ms: back(retention), swept_ms: back(retention / 2) }
    }
}
