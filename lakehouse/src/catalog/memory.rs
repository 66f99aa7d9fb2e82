//! A catalog in this process, for tests and the simulator: what a REST server does, without the wire.
//!
//! Like a server it checks the requirements against the table as it *is*, and applies the updates to
//! that, so a change that slips through the fence does its harm here as well.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use iceberg::io::FileIO;
use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use iceberg::{TableCreation, TableIdent, TableRequirement, TableUpdate};

use super::{Answer, Base, Catalog, Change, Creation, Refs, table};
use crate::{Error, Kind, Result};

pub(crate) struct MemoryCatalog {
    file_io: FileIO,
    tables: Mutex<HashMap<TableIdent, (String, TableMetadata)>>,
}

impl MemoryCatalog {
    pub(crate) fn new(file_io: FileIO) -> Self {
        Self { file_io, tables: Mutex::default() }
    }

    pub(crate) fn get(&self, ident: &TableIdent) -> Option<(String, TableMetadata)> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(ident).cloned()
    }

    /// Puts `metadata` there, as a restore from a backup does, or takes the table away.
    pub(crate) fn replace(&self, ident: &TableIdent, metadata: Option<TableMetadata>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        match metadata {
            Some(metadata) => tables.insert(ident.clone(), (location(&metadata), metadata)),
            None => tables.remove(ident),
        };
    }

    pub(crate) fn make(&self, ident: &TableIdent, creation: TableCreation) -> iceberg::Result<()> {
        let metadata = TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.entry(ident.clone()).or_insert_with(|| (location(&metadata), metadata));
        Ok(())
    }

    /// `Ok(None)` is a conflict.
    pub(crate) fn apply(
        &self,
        ident: &TableIdent,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> iceberg::Result<Option<(String, TableMetadata)>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((held, metadata)) = tables.get(ident).cloned() else { return Ok(None) };
        if requirements.iter().any(|requirement| requirement.check(Some(&metadata)).is_err()) {
            return Ok(None);
        }
        let mut builder = metadata.into_builder(Some(held));
        for update in updates {
            builder = update.apply(builder)?;
        }
        let metadata = builder.build()?.metadata;
        let changed = (location(&metadata), metadata);
        tables.insert(ident.clone(), changed.clone());
        Ok(Some(changed))
    }

    fn base(&self, ident: &TableIdent, held: (String, TableMetadata)) -> Result<Base> {
        let (location, metadata) = held;
        let corrupt = |err| Error::new(Kind::Corrupt, "not readable").because(err);
        let json = serde_json::to_vec(&metadata).map_err(corrupt)?;
        let refs = Refs::from_metadata(&json).map_err(corrupt)?;
        Ok(Base { table: table(ident, &self.file_io, location, metadata)?, refs })
    }
}

fn location(metadata: &TableMetadata) -> String {
    format!("{}/metadata/{}.metadata.json", metadata.location(), crate::commit::shell::uuid())
}

pub(crate) fn table_creation(ident: &TableIdent, creation: &Creation) -> TableCreation {
    TableCreation::builder()
        .name(ident.name().to_owned())
        .location(format!("file:///memory/{}/{}", ident.namespace().join("."), ident.name()))
        .schema(creation.schema.clone())
        .partition_spec(creation.partition.clone())
        .properties(creation.properties.clone())
        .build()
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Option<Base>> {
        self.get(ident).map(|held| self.base(ident, held)).transpose()
    }

    async fn create(&self, ident: &TableIdent, creation: &Creation) -> Result<Base> {
        let made = self.make(ident, table_creation(ident, creation));
        made.map_err(|err| Error::new(Kind::Config, "bad request").because(err))?;
        let gone = || Error::new(Kind::Retry, "the table is gone again");
        self.load(ident).await?.ok_or_else(gone)
    }

    async fn publish(&self, base: &Base, change: Change) -> Answer {
        let ident = base.table.identifier();
        match self.apply(ident, &change.requirements, change.built.changes) {
            Ok(None) => Answer::Conflict,
            Ok(Some(held)) => match self.base(ident, held) {
                Ok(base) => Answer::Committed(base),
                Err(err) => Answer::Unknown(err),
            },
            Err(err) => Answer::Unknown(Error::new(Kind::Config, "bad request").because(err)),
        }
    }
}
