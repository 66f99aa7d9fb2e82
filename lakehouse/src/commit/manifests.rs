//! The manifests of one snapshot: those of its parent, one of the new files, and what is folded on the way.
//!
//! Owns which manifests a snapshot names, and what the list says of them. It must never delete a manifest: earlier snapshots name it.

use iceberg::io::OutputFile;
use iceberg::spec::{ManifestContentType, ManifestFile, ManifestWriter, ManifestWriterBuilder};

use super::fold::Fold;
use super::merge::{self, Candidate, Plan};
use super::{UploadedFile, shell};
use crate::catalog::{Base, from_iceberg};
use crate::{Error, Result};

/// A new file's sequence number is the one its snapshot gets.
const INHERITED: i64 = -1;

/// Writes a manifest of the new files and, where a tier is full, one of its manifests' files.
pub(super) async fn write(
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

    let mut names = Names::new(base);
    let mut written = Vec::new();
    if !with_new && !files.is_empty() {
        let output = names.next(base)?;
        let new = writer(base, snapshot, output, files)?;
        written.push(new.write_manifest_file().await.map_err(unwritten)?);
    }
    if !fold.is_empty() {
        let folded = Fold {
            base,
            snapshot,
            new: if with_new { files } else { &[] },
            held: fold.iter().filter_map(|place| held.get(*place)).collect(),
        };
        // Boxed: a fold is rare, and would make every commit's future as large as its own.
        written.push(Box::pin(folded.write(names.next(base)?)).await?);
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

/// Names for the manifests of one snapshot.
struct Names {
    prefix: String,
    next: u32,
}

impl Names {
    fn new(base: &Base) -> Self {
        let prefix = format!("{}/metadata/{}-m", base.metadata().location(), shell::uuid());
        Self { prefix, next: 0 }
    }

    fn next(&mut self, base: &Base) -> Result<OutputFile> {
        self.next += 1;
        let location = format!("{}{}.avro", self.prefix, self.next - 1);
        base.table.file_io().new_output(location).map_err(unwritten)
    }
}

fn candidate(manifest: &ManifestFile, spec: i32) -> Candidate {
    Candidate {
        files: files(manifest),
        bytes: manifest.manifest_length,
        ours: manifest.content == ManifestContentType::Data
            && manifest.partition_spec_id == spec
            && manifest.key_metadata.is_none(),
    }
}

/// Live files that the list says are in it.
pub(super) fn files(manifest: &ManifestFile) -> u32 {
    let count = |files: Option<u32>| files.unwrap_or(0);
    count(manifest.added_files_count).saturating_add(count(manifest.existing_files_count))
}

pub(super) fn unwritten(err: iceberg::Error) -> Error {
    from_iceberg(err, "the manifest can't be written")
}

/// The library's writer, with the new files in it.
pub(super) fn writer(
    base: &Base,
    snapshot: i64,
    output: OutputFile,
    files: &[UploadedFile],
) -> Result<ManifestWriter> {
    let metadata = base.metadata();
    let schema = metadata.current_schema().clone();
    let spec = metadata.default_partition_spec().as_ref().clone();
    let mut writer =
        ManifestWriterBuilder::new(output, Some(snapshot), schema, spec).build_v2_data();
    for file in files {
        writer.add_file(file.data.clone(), INHERITED).map_err(unwritten)?;
    }
    Ok(writer)
}
