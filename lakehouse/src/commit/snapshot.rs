//! One append: manifests, manifest list, summary, and the publish that makes them visible together.
//!
//! Owns what lies between a permit and the catalog. It must never name a file of an earlier try, nor
//! delete one: whether a try was lost is not known here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use iceberg::spec::{
    MAIN_BRANCH, ManifestFile, ManifestListWriter, Operation, Snapshot, Summary,
    TableMetadataBuilder,
};
use uuid::Uuid;

use super::summary::{self, Added};
use super::{Counts, UploadedFile, keys, manifests, retain, shell};
use crate::Result;
use crate::catalog::{Answer, Base, FencedCatalog, from_iceberg};
use crate::position::{Position, Ranges};

/// What one snapshot adds and records.
pub(super) struct Append<'a> {
    pub(super) files: &'a [UploadedFile],
    pub(super) position: &'a Position,
    pub(super) ranges: &'a Ranges,
    pub(super) counts: Counts,
    pub(super) attempt: Uuid,
    pub(super) snapshots_kept: usize,
}

/// The manifests of the snapshot written or read last, so that they are not read back for the next.
#[derive(Default)]
pub(super) struct ManifestCache(Mutex<Option<(i64, Vec<ManifestFile>)>>);

impl ManifestCache {
    fn get(&self, snapshot: i64) -> Option<Vec<ManifestFile>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().filter(|(id, _)| *id == snapshot).map(|(_, manifests)| manifests.clone())
    }

    fn put(&self, snapshot: i64, manifests: Vec<ManifestFile>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((snapshot, manifests));
    }
}

/// A snapshot whose files are stored, but that no table names yet.
pub(super) struct Prepared {
    pub(super) snapshot: Snapshot,
    pub(super) manifests: Vec<ManifestFile>,
}

/// The answer to a publish, and what was published.
pub(super) struct Published {
    pub(super) answer: Answer,
    pub(super) snapshot: i64,
    pub(super) manifests: usize,
}

/// Writes the metadata of `append` on top of what `fenced` read, and publishes it once.
pub(super) async fn publish(
    fenced: FencedCatalog,
    append: &Append<'_>,
    cache: &ManifestCache,
) -> Result<Published> {
    publish_with(fenced, append, cache, Ok).await
}

/// The same, with what `more` changes in the same step.
pub(super) async fn publish_with(
    fenced: FencedCatalog,
    append: &Append<'_>,
    cache: &ManifestCache,
    more: impl FnOnce(TableMetadataBuilder) -> iceberg::Result<TableMetadataBuilder>,
) -> Result<Published> {
    let base = fenced.base();
    let Prepared { snapshot, manifests } = prepare(base, append, cache).await?;
    let properties = HashMap::from([
        (keys::POSITION.to_owned(), append.position.to_json()),
        (keys::SEQUENCE.to_owned(), snapshot.sequence_number().to_string()),
    ]);
    let now_ms = shell::now_ms();
    let expired = retain::expired(base.metadata(), &base.refs, append.snapshots_kept, now_ms);
    let id = snapshot.snapshot_id();
    // Servers before Iceberg 1.9 take one snapshot id for each removal.
    let expire = |builder: TableMetadataBuilder, id: &i64| builder.remove_snapshots(&[*id]);
    crate::faults::point("commit.before-publish");
    let answer = fenced
        .publish(|builder| {
            // Keeps the retention that others may have set on the branch.
            let builder = builder.set_branch_snapshot(snapshot, MAIN_BRANCH)?;
            let builder = more(builder.set_properties(properties)?)?;
            Ok(expired.iter().fold(builder, expire))
        })
        .await?;
    let count = manifests.len();
    if matches!(answer, Answer::Committed(_)) {
        cache.put(id, manifests);
    }
    Ok(Published { answer, snapshot: id, manifests: count })
}

pub(super) async fn prepare(
    base: &Base,
    append: &Append<'_>,
    cache: &ManifestCache,
) -> Result<Prepared> {
    let metadata = base.metadata();
    let parent = metadata.current_snapshot_id();
    let id = new_snapshot_id(base);
    let sequence = metadata.next_sequence_number();
    let held = held_manifests(base, cache).await?;
    let manifests = manifests::write(base, id, sequence, append.files, held).await?;
    crate::faults::point("commit.manifest-written");

    let name = shell::uuid();
    let location = format!("{}/metadata/snap-{id}-1-{name}.avro", metadata.location());
    let unwritten = |err| from_iceberg(err, "the manifest list can't be written");
    let output = base.table.file_io().new_output(&location).map_err(unwritten)?;
    let output = output.writer().await.map_err(unwritten)?;
    let mut list = ManifestListWriter::v2(output, id, parent, sequence);
    list.add_manifests(manifests.iter().cloned()).map_err(unwritten)?;
    list.close().await.map_err(unwritten)?;
    crate::faults::point("commit.list-written");

    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(sequence)
        // A clock that runs behind other writers' would be refused by the catalog.
        .with_timestamp_ms(shell::now_ms().max(metadata.last_updated_ms()))
        .with_manifest_list(location)
        .with_summary(summarise(base, append))
        .with_schema_id(metadata.current_schema_id())
        .build();
    Ok(Prepared { snapshot, manifests })
}

fn new_snapshot_id(base: &Base) -> i64 {
    loop {
        let id = shell::snapshot_id();
        if base.metadata().snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

fn summarise(base: &Base, append: &Append<'_>) -> Summary {
    let parent = base.metadata().current_snapshot();
    let days: BTreeSet<_> = append.files.iter().map(|file| file.day).collect();
    let added = Added {
        files: append.files.len() as u64,
        records: append.files.iter().map(|file| file.rows).sum(),
        bytes: append.files.iter().map(|file| file.bytes).sum(),
        partitions: days.len() as u64,
    };
    let counts = append.counts;
    let own = [
        (keys::POSITION, append.position.to_json()),
        (keys::ATTEMPT, append.attempt.to_string()),
        (keys::RANGES, append.ranges.to_json()),
        (keys::READ, counts.read.to_string()),
        (keys::WRITTEN, counts.written.to_string()),
        (keys::FILTERED, counts.filtered.to_string()),
        (keys::REJECTED, counts.rejected.to_string()),
    ];
    let parent = parent.map(|snapshot| &snapshot.summary().additional_properties);
    let mut properties = summary::counts(parent, added);
    properties.extend(own.map(|(key, value)| (key.to_owned(), value)));
    let additional_properties = properties.into_iter().collect();
    Summary { operation: Operation::Append, additional_properties }
}

async fn held_manifests(base: &Base, cache: &ManifestCache) -> Result<Vec<ManifestFile>> {
    let Some(snapshot) = base.metadata().current_snapshot() else { return Ok(Vec::new()) };
    if let Some(manifests) = cache.get(snapshot.snapshot_id()) {
        return Ok(manifests);
    }
    let list = base.table.manifest_list_reader(snapshot).load().await.map_err(|err| {
        from_iceberg(err, "the manifest list can't be read").with("file", snapshot.manifest_list())
    })?;
    let manifests: Vec<_> = list.consume_entries().into_iter().collect();
    cache.put(snapshot.snapshot_id(), manifests.clone());
    Ok(manifests)
}
