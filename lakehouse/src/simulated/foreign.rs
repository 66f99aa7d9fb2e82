//! Other clients of the same tables: engines that add and rewrite files, people that edit metadata.
//!
//! They know nothing of our keys, and share no code with our commit.

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Literal, MAIN_BRANCH, ManifestFile,
    ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot, Struct, Summary, TableMetadata,
};
use serde_json::Value;

use super::{NAMESPACE, Servers, WAREHOUSE, at_once, ident, lock, seam};

/// A snapshot that another engine makes of one new data file.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The file's name; it must be new.
    pub name: String,
    /// Rows in it.
    pub rows: u64,
    /// Its bytes.
    pub bytes: bytes::Bytes,
    /// Whether it takes the place of every file that is there, as `optimize` does.
    pub replaces: bool,
    /// Whether the engine keeps the totals of the summary.
    pub totals: bool,
    /// What its clock says.
    pub wall_ms: i64,
}

/// A table's metadata at some time, as a backup holds it.
#[derive(Clone)]
pub struct Backup(Option<TableMetadata>);

impl Servers {
    /// Commits as another engine does. Returns where the file lies, or `None` when there is no table.
    ///
    /// # Errors
    ///
    /// Iceberg refuses the snapshot.
    pub fn foreign(&self, table: &str, foreign: &Foreign) -> Result<Option<String>, String> {
        let ident = ident(table);
        let Some((held, metadata)) = self.held(&ident) else { return Ok(None) };
        let location = format!("{WAREHOUSE}/{NAMESPACE}/{table}/data/{}", foreign.name);
        self.store(&location, foreign.bytes.clone());
        let kept = match metadata.current_snapshot() {
            Some(snapshot) if !foreign.replaces => self.manifests(snapshot.manifest_list())?,
            _ => Vec::new(),
        };
        let made = self.snapshot(&metadata, &location, foreign, kept);
        let built = made.and_then(|snapshot| {
            metadata.into_builder(Some(held)).set_branch_snapshot(snapshot, MAIN_BRANCH)?.build()
        });
        let changes = built.map_err(|err| err.to_string())?.changes;
        let applied = self.shared.memory.apply(&ident, &[], changes);
        applied.map(|_| Some(location)).map_err(|err| err.to_string())
    }

    /// Edits a table's metadata as JSON and puts it in place, as another client's commit does.
    ///
    /// # Errors
    ///
    /// The edit makes no valid metadata.
    pub fn edit(
        &self,
        table: &str,
        wall_ms: i64,
        edit: impl FnOnce(&mut Value),
    ) -> Result<bool, String> {
        let ident = ident(table);
        let Some((_, metadata)) = self.held(&ident) else { return Ok(false) };
        let updated = metadata.last_updated_ms().max(wall_ms);
        let mut json = serde_json::to_value(&metadata).map_err(|err| err.to_string())?;
        edit(&mut json);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("last-updated-ms".to_owned(), updated.into());
        }
        let edited = serde_json::from_value(json).map_err(|err| err.to_string())?;
        self.shared.memory.replace(&ident, Some(edited));
        Ok(true)
    }

    /// A backup of the table as it is.
    pub fn back_up(&self, table: &str) -> Backup {
        Backup(self.held(&ident(table)).map(|(_, metadata)| metadata))
    }

    /// Makes the table what the backup holds; a backup of nothing takes it away.
    pub fn restore(&self, table: &str, backup: &Backup) {
        lock(&self.shared.seen).remove(&ident(table));
        self.shared.memory.replace(&ident(table), backup.0.clone());
    }

    /// Takes the table away.
    pub fn drop_table(&self, table: &str) {
        self.restore(table, &Backup(None));
    }

    fn store(&self, location: &str, bytes: bytes::Bytes) {
        let path = super::objects::path(location);
        let put = self.put(&path, &bytes.into(), &object_store::PutMode::Create);
        assert!(put.is_ok(), "{location} is taken");
    }

    fn snapshot(
        &self,
        metadata: &TableMetadata,
        file: &str,
        foreign: &Foreign,
        kept: Vec<ManifestFile>,
    ) -> iceberg::Result<Snapshot> {
        let id = seam::bits().unwrap_or_default() >> 1;
        let id = id.cast_signed();
        let sequence = metadata.next_sequence_number();
        let folder = format!("{}/metadata", metadata.location());
        let output = self.shared.file_io.new_output(format!("{folder}/theirs-{id}-m0.avro"))?;
        let spec = metadata.default_partition_spec().as_ref().clone();
        let schema = metadata.current_schema().clone();
        let mut manifest =
            ManifestWriterBuilder::new(output, Some(id), schema, spec).build_v2_data();
        manifest.add_file(data_file(metadata, file, foreign)?, sequence)?;
        let manifest = at_once(manifest.write_manifest_file())?;
        let list = format!("{folder}/snap-theirs-{id}.avro");
        let output = at_once(self.shared.file_io.new_output(&list)?.writer())?;
        let parent = metadata.current_snapshot_id();
        let mut writer = ManifestListWriter::v2(output, id, parent, sequence);
        writer.add_manifests([manifest].into_iter().chain(kept))?;
        at_once(writer.close())?;
        Ok(Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(sequence)
            .with_timestamp_ms(foreign.wall_ms.max(metadata.last_updated_ms()))
            .with_manifest_list(list)
            .with_summary(summary(metadata, foreign))
            .with_schema_id(metadata.current_schema_id())
            .build())
    }
}

fn data_file(
    metadata: &TableMetadata,
    location: &str,
    foreign: &Foreign,
) -> iceberg::Result<DataFile> {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(location.to_owned())
        .file_format(DataFileFormat::Avro)
        .partition(Struct::from_iter([Some(Literal::date(20_000))]))
        .partition_spec_id(metadata.default_partition_spec_id())
        .record_count(foreign.rows)
        .file_size_in_bytes(foreign.bytes.len() as u64)
        .build()
        .map_err(|err| {
            iceberg::Error::new(iceberg::ErrorKind::DataInvalid, "no data file").with_source(err)
        })
}

fn summary(metadata: &TableMetadata, foreign: &Foreign) -> Summary {
    let operation = if foreign.replaces { Operation::Replace } else { Operation::Append };
    let mut properties = std::collections::HashMap::from([
        ("added-data-files".to_owned(), "1".to_owned()),
        ("added-records".to_owned(), foreign.rows.to_string()),
    ]);
    let before = metadata.current_snapshot().map(|s| &s.summary().additional_properties);
    if foreign.totals {
        for (key, more) in [("total-data-files", 1), ("total-records", foreign.rows)] {
            let held = match before {
                Some(_) if foreign.replaces => Some(0),
                Some(summary) => summary.get(key).and_then(|text| text.parse::<u64>().ok()),
                None => Some(0),
            };
            if let Some(held) = held {
                properties.insert(key.to_owned(), (held + more).to_string());
            }
        }
    }
    Summary { operation, additional_properties: properties }
}
