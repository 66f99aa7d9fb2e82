//! What the janitor records in a table before it deletes, and what that means to a commit.
//!
//! A process may be stopped for days between storing a file and committing it. So the janitor does not rely on the age
//! of files alone. It first makes a snapshot, pinned to the very table whose files it looked at: a commit that is under
//! way then meets another table, and has to read again. That snapshot says which files may be gone by their age, so
//! who reads again knows whether its own are among them.

use std::collections::HashMap;

use iceberg::spec::TableMetadata;

use super::snapshot::{self, Append, ManifestCache};
use super::{Counts, UploadedFile, facts, keys, shell};
use crate::catalog::{Answer, FencedCatalog};
use crate::position::{Position, Ranges};
use crate::{Error, Kind, Result};

/// Records that files stored before `swept_ms` may be gone unless the table names them.
///
/// # Errors
///
/// - [`Kind::Refused`]: the table has no position that can be believed; it is not ours to tidy.
/// - [`Kind::Retry`]: a file of the snapshot was not written.
pub(crate) async fn record(fenced: FencedCatalog, swept_ms: i64) -> Result<Answer> {
    let position = position(fenced.base().metadata())?;
    let swept_ms = swept(fenced.base().metadata())?.map_or(swept_ms, |before| before.max(swept_ms));
    let append = Append {
        files: &[],
        position: &position,
        ranges: &Ranges::default(),
        counts: Counts::default(),
        attempt: shell::uuid(),
        // To expire one would leave over its list, and the next pass would begin with that.
        snapshots_kept: usize::MAX,
    };
    let swept = HashMap::from([(keys::SWEPT.to_owned(), swept_ms.to_string())]);
    let cache = ManifestCache::default();
    let more = |builder: iceberg::spec::TableMetadataBuilder| builder.set_properties(swept);
    Ok(snapshot::publish_with(fenced, &append, &cache, more).await?.answer)
}

/// The position of the table, whatever topic it belongs to.
///
/// # Errors
///
/// [`Kind::Refused`]: there is none, or it can't be believed.
pub(crate) fn position(metadata: &TableMetadata) -> Result<Position> {
    let none = || {
        Error::new(Kind::Refused, "the table has no position: it is none of ours")
            .with("property", keys::POSITION)
    };
    let stored = metadata.properties().get(keys::POSITION).ok_or_else(none)?;
    let stored = Position::from_json(stored)?;
    facts::position(metadata, stored.source())?.ok_or_else(none)
}

/// Refuses files that a janitor may have deleted before they were in the table.
///
/// # Errors
///
/// [`Kind::Refused`]: one of them is that old.
pub(super) fn check(metadata: &TableMetadata, files: &[UploadedFile]) -> Result<()> {
    let Some(swept_ms) = swept(metadata)? else { return Ok(()) };
    match files.iter().find(|file| file.stored_ms < swept_ms) {
        None => Ok(()),
        Some(file) => Err(Error::new(
            Kind::Refused,
            "the batch lay so long that its files may have been tidied away",
        )
        .with("file", &file.location)
        .with("stored", file.stored_ms)
        .with("tidied up to", swept_ms)
        .advising("start again: the records are read anew")),
    }
}

fn swept(metadata: &TableMetadata) -> Result<Option<i64>> {
    let Some(text) = metadata.properties().get(keys::SWEPT) else { return Ok(None) };
    let swept = text.parse().map_err(|err| {
        Error::new(Kind::Corrupt, "the property is no time")
            .with("property", keys::SWEPT)
            .with("value", text)
            .because(err)
    });
    swept.map(Some)
}
