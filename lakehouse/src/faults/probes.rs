//! Inner parts laid open for the proof: a REST client that is told anything, and the bounds of a file.
//!
//! They only call what the product calls. They must never decide anything that it decides.

use std::sync::Arc;

use iceberg::spec::{
    MAIN_BRANCH, Operation, Snapshot, Summary, TableMetadata, TableMetadataBuilder,
};
use iceberg::{NamespaceIdent, TableCreation, TableIdent};

use crate::avro::TableSchema;
use crate::catalog::{self, Answer, Base, Catalog, CatalogSettings, Change};
use crate::datafile::EncodedFile;
use crate::spec::{Column, ColumnType, TableSpec};
use crate::storage::{Secret, Store};
use crate::{Error, Kind, Result};

/// The snapshot that a probe's publish asks for.
pub const WANTED_SNAPSHOT: i64 = 4_242;
const LOCATION: &str = "file:///nowhere/rows";
const METADATA: &str =
    "file:///nowhere/rows/metadata/00001-00000000-0000-4000-8000-000000000000.metadata.json";

/// What a client takes an answer to a publish for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was applied.
    Committed,
    /// The table is another one by now.
    Conflict,
    /// Nothing is known, what to do about it, and what is said of it.
    Unknown(Kind, String),
}

/// A client of a REST catalog, with a table that it once read.
pub struct RestProbe {
    catalog: Arc<dyn Catalog>,
    ident: TableIdent,
    base: Base,
}

impl RestProbe {
    /// Connects, and reads the table once: the server must answer soundly meanwhile, as [`sound_table`].
    ///
    /// # Errors
    ///
    /// It did not.
    pub async fn open(uri: &str, token: &str) -> Result<Self> {
        let store = Store::open("file:///nowhere", None)?;
        let settings = CatalogSettings::Rest {
            uri: uri.to_owned(),
            warehouse: None,
            token: Some(Secret::new(token)),
        };
        let catalog = catalog::open(&settings, store.warehouse(), &store).await?;
        let ident = TableIdent::new(NamespaceIdent::new("n".to_owned()), "rows".to_owned());
        let base = catalog.load(&ident).await?;
        let base = base.ok_or_else(|| Error::new(Kind::Refused, "the server has no table"))?;
        Ok(Self { catalog, ident, base })
    }

    /// Reads the table: its current snapshot, or `None` when there is no table.
    ///
    /// # Errors
    ///
    /// As the product's own reading.
    pub async fn load(&self) -> Result<Option<Option<i64>>> {
        let base = self.catalog.load(&self.ident).await?;
        Ok(base.map(|base| base.metadata().current_snapshot_id()))
    }

    /// Publishes snapshot [`WANTED_SNAPSHOT`].
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`]: the change could not be made; nothing was sent.
    pub async fn publish(&self) -> Result<Heard> {
        let builder = self.base.metadata().clone().into_builder(Some(METADATA.to_owned()));
        let built = with_snapshot(builder).and_then(TableMetadataBuilder::build).map_err(unmade)?;
        let change = Change { requirements: Vec::new(), built };
        Ok(match self.catalog.publish(&self.base, change).await {
            Answer::Committed(_) => Heard::Committed,
            Answer::Conflict => Heard::Conflict,
            Answer::Unknown(err) => {
                let because = std::error::Error::source(&err);
                let because = because.map(|source| format!(": {source}")).unwrap_or_default();
                Heard::Unknown(err.kind(), format!("{err}{because}"))
            }
        })
    }
}

/// What a sound server answers about the table: before the publish, or after it.
///
/// # Errors
///
/// [`Kind::Bug`]: no table could be made.
pub fn sound_table(published: bool) -> Result<String> {
    let spec = TableSpec {
        namespace: "n".to_owned(),
        name: "rows".to_owned(),
        columns: vec![Column {
            name: "id".to_owned(),
            column_type: ColumnType::Long,
            nullable: false,
        }],
        partition_day: None,
    };
    let creation = TableCreation::builder()
        .name(spec.name.clone())
        .location(LOCATION.to_owned())
        .schema(crate::avro::iceberg_schema(&spec)?)
        .build();
    let made = TableMetadataBuilder::from_table_creation(creation)
        .and_then(TableMetadataBuilder::build)
        .map_err(unmade)?;
    let metadata: TableMetadata = if published {
        let builder = made.metadata.into_builder(None);
        with_snapshot(builder).and_then(TableMetadataBuilder::build).map_err(unmade)?.metadata
    } else {
        made.metadata
    };
    let table = serde_json::json!({ "metadata-location": METADATA, "metadata": metadata });
    Ok(table.to_string())
}

fn with_snapshot(builder: TableMetadataBuilder) -> iceberg::Result<TableMetadataBuilder> {
    let summary = Summary { operation: Operation::Append, additional_properties: [].into() };
    let snapshot = Snapshot::builder()
        .with_snapshot_id(WANTED_SNAPSHOT)
        .with_sequence_number(1)
        // Far in the future: no table is refused for having been changed later.
        .with_timestamp_ms(4_000_000_000_000)
        .with_manifest_list(format!("{LOCATION}/metadata/snap.avro"))
        .with_summary(summary)
        .with_schema_id(0)
        .build();
    builder.set_branch_snapshot(snapshot, MAIN_BRANCH)
}

fn unmade(err: iceberg::Error) -> Error {
    Error::new(Kind::Bug, "the probe's table can't be made").because(err)
}

/// What a manifest would say of one column of a file.
#[derive(Clone, Debug)]
pub struct ColumnFacts {
    /// Its field id.
    pub id: i32,
    /// Values, null or not.
    pub values: Option<u64>,
    /// Nulls among them.
    pub nulls: Option<u64>,
    /// NaNs among them.
    pub nans: Option<u64>,
    /// The lower bound, as the specification's "Binary single-value serialization" has it.
    pub lower: Option<Vec<u8>>,
    /// The upper bound.
    pub upper: Option<Vec<u8>>,
}

/// What a manifest would say of the columns of `file`.
///
/// # Errors
///
/// [`Kind::Bug`]: it can't be said.
pub fn column_facts(file: &EncodedFile, schema: &TableSchema) -> Result<Vec<ColumnFacts>> {
    let entry = file.to_data_file("file:///nowhere/x.avro", schema, 0)?;
    let bytes = |datum: Option<&iceberg::spec::Datum>| {
        datum.map(iceberg::spec::Datum::to_bytes).transpose().map_err(unmade)
    };
    let facts = schema.columns().iter().map(|column| {
        let id = column.id;
        Ok(ColumnFacts {
            id,
            values: entry.value_counts().get(&id).copied(),
            nulls: entry.null_value_counts().get(&id).copied(),
            nans: entry.nan_value_counts().get(&id).copied(),
            lower: bytes(entry.lower_bounds().get(&id))?.map(|bytes| bytes.to_vec()),
            upper: bytes(entry.upper_bounds().get(&id))?.map(|bytes| bytes.to_vec()),
        })
    });
    facts.collect()
}
