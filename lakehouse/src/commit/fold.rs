//! Several manifests in one.
//!
//! Owns that nothing of what is said of a file changes on the way, nor where it came into the table. Entries are copied as
//! bytes; where a manifest is not laid out as ours are (another engine wrote it), all of them are read and written by the
//! library instead.

use bytes::Bytes;
use futures::future::{BoxFuture, try_join_all};
use iceberg::io::{FileIO, OutputFile};
use iceberg::spec::{Datum, FieldSummary, Manifest, ManifestFile, StructType};

use super::UploadedFile;
use super::manifests::{files, unwritten, writer};
use super::merge;
use crate::catalog::{Base, from_iceberg};
use crate::manifest::{Copied, Copier};
use crate::{Error, Kind, Result};

/// Files of the manifests that are read at a time.
const READ_AT_ONCE: u32 = 256;
/// No more than this is set aside on the word of a list.
const MORE_MAX: usize = 64 << 20;
/// A place in memory: the folder has nothing else.
const IN_MEMORY: &str = "memory:///manifest.avro";

/// What becomes one manifest.
pub(super) struct Fold<'a> {
    pub(super) base: &'a Base,
    /// The snapshot it is made for.
    pub(super) snapshot: i64,
    /// Files that come into the table with it.
    pub(super) new: &'a [UploadedFile],
    pub(super) held: Vec<&'a ManifestFile>,
}

impl Fold<'_> {
    /// Writes it to `output`.
    pub(super) async fn write(self, output: OutputFile) -> Result<ManifestFile> {
        match self.copied().await? {
            Some((file, mut manifest)) => {
                output.location().clone_into(&mut manifest.manifest_path);
                output.write(file).await.map_err(unwritten)?;
                Ok(manifest)
            }
            None => self.decoded(output).await,
        }
    }

    /// The manifest with its entries copied; `None` if that can't be done to the last byte.
    pub(super) async fn copied(&self) -> Result<Option<(Bytes, ManifestFile)>> {
        let Self { base, snapshot, new, .. } = *self;
        let memory = FileIO::new_with_memory();
        let first = memory.new_output(IN_MEMORY).map_err(unwritten)?;
        let first = writer(base, snapshot, first, new)?.write_manifest_file().await;
        let mut told = first.map_err(unwritten)?;
        let first = memory.new_input(IN_MEMORY).map_err(unwritten)?.read().await;
        let more = self.held.iter().map(|manifest| manifest.manifest_length).sum::<i64>();
        let more = usize::try_from(more).unwrap_or(0).min(MORE_MAX);
        let Some(mut copier) = Copier::new(&first.map_err(unwritten)?, more) else {
            return Ok(None);
        };
        for portion in self.portions() {
            let reads = portion.iter().map(|manifest| bytes_of(base, manifest));
            for (manifest, bytes) in portion.iter().zip(try_join_all(reads).await?) {
                if copier.add(manifest, &bytes).is_none() {
                    return Ok(None);
                }
            }
        }
        let Copied { file, files, min_sequence } = copier.finish();
        let metadata = base.metadata();
        let types = metadata.default_partition_type();
        if self.tell(&mut told, files, min_sequence, types).is_none() {
            return Ok(None);
        }
        told.manifest_length = i64::try_from(file.len()).unwrap_or(i64::MAX);
        Ok(Some((file.into(), told)))
    }

    /// What the list will say of the copied entries, from what it said of them before.
    fn tell(
        &self,
        told: &mut ManifestFile,
        copied: u32,
        min_sequence: Option<i64>,
        types: &StructType,
    ) -> Option<()> {
        let (mut rows, mut named) = (0_u64, 0_u32);
        for manifest in &self.held {
            rows = rows.checked_add(manifest.added_rows_count?)?;
            rows = rows.checked_add(manifest.existing_rows_count?)?;
            named = named.checked_add(files(manifest))?;
            let parts = manifest.partitions.as_deref()?;
            widen(told.partitions.as_mut()?, parts, types)?;
        }
        if named != copied {
            return None;
        }
        told.existing_files_count = Some(copied);
        told.existing_rows_count = Some(rows);
        told.min_sequence_number = min_sequence.unwrap_or(told.min_sequence_number);
        Some(())
    }

    /// The same by the library, entry by entry.
    pub(super) async fn decoded(&self, output: OutputFile) -> Result<ManifestFile> {
        let mut folded = writer(self.base, self.snapshot, output, self.new)?;
        for portion in self.portions() {
            // A loop, and boxes: the compiler can't see that a stream of borrowing closures is `Send`.
            let mut reads: Vec<BoxFuture<'_, Result<Manifest>>> = Vec::with_capacity(portion.len());
            for manifest in portion {
                reads.push(Box::pin(entries_of(self.base, manifest)));
            }
            for manifest in try_join_all(reads).await? {
                for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                    let origin = entry
                        .snapshot_id()
                        .zip(entry.sequence_number())
                        .zip(entry.file_sequence_number);
                    let ((snapshot, sequence), file_sequence) = origin.ok_or_else(|| {
                        let untold = "a manifest's entry does not say when its file was added";
                        Error::new(Kind::Corrupt, untold).with("file", entry.file_path())
                    })?;
                    let file = entry.data_file().clone();
                    folded
                        .add_existing_file(file, snapshot, sequence, Some(file_sequence))
                        .map_err(unwritten)?;
                }
            }
        }
        folded.write_manifest_file().await.map_err(unwritten)
    }

    fn portions(&self) -> Vec<&[&ManifestFile]> {
        merge::portions(&self.held, READ_AT_ONCE, |manifest| files(manifest))
    }
}

/// Makes each summary hold for the files of another manifest, too; `None` if what stands there can't be compared.
fn widen(summaries: &mut [FieldSummary], more: &[FieldSummary], types: &StructType) -> Option<()> {
    if summaries.len() != more.len() || summaries.len() != types.fields().len() {
        return None;
    }
    for ((summary, more), field) in summaries.iter_mut().zip(more).zip(types.fields()) {
        let value = |bytes: &[u8]| {
            Datum::try_from_bytes(bytes, field.field_type.as_primitive_type()?.clone()).ok()
        };
        summary.contains_null |= more.contains_null;
        summary.contains_nan = Some(summary.contains_nan? | more.contains_nan?);
        for (bound, other, lower) in [
            (&mut summary.lower_bound, &more.lower_bound, true),
            (&mut summary.upper_bound, &more.upper_bound, false),
        ] {
            let Some(other) = other else { continue };
            let wider = match bound.as_deref() {
                None => true,
                Some(bound) => {
                    let order = value(other)?.partial_cmp(&value(bound)?)?;
                    if lower { order.is_lt() } else { order.is_gt() }
                }
            };
            if wider {
                *bound = Some(other.clone());
            }
        }
    }
    Some(())
}

fn unread(err: iceberg::Error, manifest: &ManifestFile) -> Error {
    from_iceberg(err, "a manifest can't be read").with("file", &manifest.manifest_path)
}

async fn bytes_of(base: &Base, manifest: &ManifestFile) -> Result<Bytes> {
    let input = base.table.file_io().new_input(&manifest.manifest_path);
    input.map_err(|err| unread(err, manifest))?.read().await.map_err(|err| unread(err, manifest))
}

async fn entries_of(base: &Base, manifest: &ManifestFile) -> Result<Manifest> {
    let loaded = manifest.load_manifest(base.table.file_io()).await;
    loaded.map_err(|err| unread(err, manifest))
}
