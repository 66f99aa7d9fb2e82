//! One append: manifests, manifest list, summary, and the publish that makes them visible together.
//!
//! Owns what lies between a permit and the catalog. It must never name a file of an earlier try, nor
//! delete one: whether a try was lost is not known here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use futures::future::{BoxFuture, try_join_all};
use iceberg::spec::{
    MAIN_BRANCH, Manifest, ManifestContentType, ManifestFile, ManifestListWriter, ManifestWriter,
    ManifestWriterBuilder, Operation, Snapshot, Summary, TableMetadataBuilder,
};
use uuid::Uuid;

use super::merge::{self, Candidate, Plan};
use super::summary::{self, Added};
use super::{Counts, UploadedFile, keys, retain, shell};
use crate::catalog::{Answer, Base, FencedCatalog, from_iceberg};
use crate::position::{Position, Ranges};
use crate::{Error, Kind, Result};

/// Files of the manifests that are read at a time when some are folded: they are held twice for a moment.
const READ_AT_ONCE: u32 = 256;

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
    let manifests = write_manifests(base, id, sequence, append.files, held).await?;
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

/// Names for the manifests of one snapshot.
struct ManifestNames {
    prefix: String,
    next: u32,
}

impl ManifestNames {
    fn new(base: &Base) -> Self {
        let prefix = format!("{}/metadata/{}-m", base.metadata().location(), shell::uuid());
        Self { prefix, next: 0 }
    }

    fn next(&mut self) -> String {
        self.next += 1;
        format!("{}{}.avro", self.prefix, self.next - 1)
    }
}

/// Writes a manifest of the new files and, where a tier is full, one of its manifests' files.
async fn write_manifests(
    base: &Base,
    snapshot: i64,
    sequence: i64,
    files: &[UploadedFile],
    mut held: Vec<ManifestFile>,
) -> Result<Vec<ManifestFile>> {
    // What holds deleted entries only says nothing about this snapshot.
    held.retain(|manifest| manifest.has_added_files() || manifest.has_existing_files());
    let spec = base.metadata().default_partition_spec_id();
    let candidates: Vec<_> = held.iter().map(|manifest| candidate(manifest, spec)).collect();
    let added = u32::try_from(files.len()).unwrap_or(u32::MAX);
    let Plan { fold, with_new } = merge::plan(&candidates, added);

    let mut names = ManifestNames::new(base);
    let mut written = Vec::new();
    let mut new = manifest_writer(base, snapshot, names.next())?;
    for file in files {
        new.add_file(file.data.clone(), INHERITED).map_err(unwritten)?;
    }
    if fold.is_empty() {
        if !files.is_empty() {
            written.push(new.write_manifest_file().await.map_err(unwritten)?);
        }
    } else {
        let mut folded = if with_new {
            new
        } else {
            if !files.is_empty() {
                written.push(new.write_manifest_file().await.map_err(unwritten)?);
            }
            manifest_writer(base, snapshot, names.next())?
        };
        let taken: Vec<_> = fold.iter().filter_map(|place| held.get(*place)).collect();
        for some in
            merge::portions(&taken, READ_AT_ONCE, |manifest| candidate(manifest, spec).files)
        {
            add_live_files(&mut folded, base, some).await?;
        }
        written.push(folded.write_manifest_file().await.map_err(unwritten)?);
        crate::faults::point("commit.folded");
    }
    for manifest in &mut written {
        // As the list's writer would, so that the cache holds what the list says.
        manifest.sequence_number = sequence;
        if manifest.min_sequence_number < 0 {
            manifest.min_sequence_number = sequence;
        }
    }
    let kept = held.into_iter().enumerate().filter(|(place, _)| !fold.contains(place));
    written.extend(kept.map(|(_, manifest)| manifest));
    Ok(written)
}

/// A new file's sequence number is the one its snapshot gets.
const INHERITED: i64 = -1;

fn unwritten(err: iceberg::Error) -> Error {
    from_iceberg(err, "the manifest can't be written")
}

fn candidate(manifest: &ManifestFile, spec: i32) -> Candidate {
    let count = |files: Option<u32>| files.unwrap_or(0);
    Candidate {
        files: count(manifest.added_files_count)
            .saturating_add(count(manifest.existing_files_count)),
        bytes: manifest.manifest_length,
        ours: manifest.content == ManifestContentType::Data
            && manifest.partition_spec_id == spec
            && manifest.key_metadata.is_none(),
    }
}

fn manifest_writer(base: &Base, snapshot: i64, location: String) -> Result<ManifestWriter> {
    let metadata = base.metadata();
    let output = base.table.file_io().new_output(location).map_err(unwritten)?;
    let schema = metadata.current_schema().clone();
    let spec = metadata.default_partition_spec().as_ref().clone();
    Ok(ManifestWriterBuilder::new(output, Some(snapshot), schema, spec).build_v2_data())
}

/// Adds the files of `manifests` that are not deleted; a folded manifest goes on saying where they came into the table.
async fn add_live_files(
    folded: &mut ManifestWriter,
    base: &Base,
    manifests: &[&ManifestFile],
) -> Result<()> {
    // A loop, and boxes: the compiler can't see that a stream of borrowing closures is `Send`.
    let mut reads: Vec<BoxFuture<'_, Result<Manifest>>> = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        reads.push(Box::pin(read_manifest(base, manifest)));
    }
    for manifest in try_join_all(reads).await? {
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let origin =
                entry.snapshot_id().zip(entry.sequence_number()).zip(entry.file_sequence_number);
            let ((snapshot, sequence), file_sequence) = origin.ok_or_else(|| {
                Error::new(Kind::Corrupt, "a manifest's entry does not say when its file was added")
                    .with("file", entry.file_path())
            })?;
            folded
                .add_existing_file(
                    entry.data_file().clone(),
                    snapshot,
                    sequence,
                    Some(file_sequence),
                )
                .map_err(unwritten)?;
        }
    }
    Ok(())
}

async fn read_manifest(base: &Base, manifest: &ManifestFile) -> Result<Manifest> {
    manifest.load_manifest(base.table.file_io()).await.map_err(|err| {
        from_iceberg(err, "a manifest can't be read").with("file", &manifest.manifest_path)
    })
}
