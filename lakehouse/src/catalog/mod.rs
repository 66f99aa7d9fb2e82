//! One compare-and-swap on one table, in `SQLite` or behind REST.
//!
//! Owns what a catalog answers: read a table, make it, and publish a change on exactly the base that
//! was read. It must never retry a publish and never call one refused that may have been applied:
//! that is decided above, by reading again.
//!
//! Both catalogs are spoken to directly. iceberg-rust's own clients reload the table and apply a change
//! to whatever is current, their `TableCommit` can't be built elsewhere, and neither has time-outs; what
//! is left of them here is two SQL statements and four requests. The database is the one that
//! `iceberg-catalog-sql`, Java's `JdbcCatalog` and pyiceberg open.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::{Schema, TableMetadata, TableMetadataBuildResult, UnboundPartitionSpec};
use iceberg::table::Table;
use iceberg::{TableIdent, TableRequirement};

use crate::storage::{Secret, Store};
use crate::{Error, Kind, Result};

mod fenced;
mod refs;
mod rest;
mod sqlite;

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(any(test, feature = "faults"))]
pub(crate) mod memory;
#[cfg(test)]
mod rest_server;
#[cfg(test)]
mod tests;

pub(crate) use fenced::FencedCatalog;
pub(crate) use refs::{Keep, Refs};
pub use sqlite::CATALOG_NAME as SQLITE_CATALOG_NAME;
pub(crate) use sqlite::inflate;

/// Which catalog holds the tables.
#[derive(Clone)]
pub enum CatalogSettings {
    /// A `SQLite` database file on this machine; any number of processes may share it.
    Sqlite {
        /// The database file; it is made when it is not there.
        path: PathBuf,
    },
    /// An Iceberg REST catalog.
    Rest {
        /// Such as `http://iceberg-catalog-svc:8181`, without `/v1` and without credentials.
        uri: String,
        /// What the server calls its warehouse, when it holds several.
        warehouse: Option<String>,
        /// A bearer token.
        token: Option<Secret>,
    },
}

impl fmt::Debug for CatalogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => f.debug_struct("Sqlite").field("path", path).finish(),
            Self::Rest { uri, warehouse, token } => f
                .debug_struct("Rest")
                .field("uri", &rest::without_credentials(uri))
                .field("warehouse", warehouse)
                .field("token", token)
                .finish(),
        }
    }
}

/// Opens the catalog; `warehouse` is where a `SQLite` catalog puts new tables.
pub(crate) async fn open(
    settings: &CatalogSettings,
    warehouse: &str,
    store: &Store,
) -> Result<Arc<dyn Catalog>> {
    Ok(match settings {
        CatalogSettings::Sqlite { path } => {
            Arc::new(sqlite::SqliteCatalog::open(path, warehouse, store.file_io()).await?)
        }
        CatalogSettings::Rest { uri, warehouse, token } => Arc::new(
            rest::RestCatalog::open(
                uri,
                warehouse.as_deref(),
                token.clone(),
                store.file_io(),
                rest::TIMEOUTS,
            )
            .await?,
        ),
    })
}

/// A table as it was read: what a change is made for, and what it is pinned to.
///
/// Deliberately without `Debug`: iceberg prints the store's credentials.
#[derive(Clone)]
pub(crate) struct Base {
    /// The table, with a handle on its files.
    pub(crate) table: Table,
    /// Its branches and tags, which iceberg-rust keeps to itself.
    pub(crate) refs: Refs,
}

impl Base {
    pub(crate) fn metadata(&self) -> &TableMetadata {
        self.table.metadata()
    }

    /// The metadata file this was read from; it is never written twice.
    pub(crate) fn location(&self) -> &str {
        self.table.metadata_location().unwrap_or_default()
    }
}

/// A table to be made.
pub(crate) struct Creation {
    pub(crate) schema: Schema,
    pub(crate) partition: UnboundPartitionSpec,
    pub(crate) properties: BTreeMap<String, String>,
}

/// A change, and what must still hold for it.
pub(crate) struct Change {
    pub(crate) requirements: Vec<TableRequirement>,
    /// The updates, and the metadata that they make of the base.
    pub(crate) built: TableMetadataBuildResult,
}

/// What is known after a publish.
pub(crate) enum Answer {
    /// It was applied; this is the table now.
    Committed(Base),
    /// The table is not the base any more. It may be our own earlier success: read again.
    Conflict,
    /// Everything else. It may have been applied, or be applied later: read again.
    Unknown(Error),
}

/// A catalog, as far as a sink needs one.
#[async_trait]
pub(crate) trait Catalog: Send + Sync {
    /// Reads the table; `None` when it, or its namespace, is not there.
    async fn load(&self, ident: &TableIdent) -> Result<Option<Base>>;

    /// Makes the namespace and the table where they are missing, and reads what is there then.
    async fn create(&self, ident: &TableIdent, creation: &Creation) -> Result<Base>;

    /// Publishes `change` if the table is still `base`.
    async fn publish(&self, base: &Base, change: Change) -> Answer;
}

/// Makes the handle that reading and writing manifests needs.
pub(crate) fn table(
    ident: &TableIdent,
    file_io: &iceberg::io::FileIO,
    location: String,
    metadata: TableMetadata,
) -> Result<Table> {
    let runtime = iceberg::Runtime::try_current()
        .map_err(|err| Error::new(Kind::Bug, "a table needs a tokio runtime").because(err))?;
    Table::builder()
        .identifier(ident.clone())
        .file_io(file_io.clone())
        .metadata_location(location)
        .metadata(metadata)
        .runtime(runtime)
        .disable_cache()
        .build()
        .map_err(|err| Error::new(Kind::Corrupt, "the table can't be used").because(err))
}

/// Keeps kind and words of our own error under one of iceberg's, which would say them twice.
pub(crate) fn from_iceberg(err: iceberg::Error, message: &str) -> Error {
    let own = std::error::Error::source(&err).and_then(|source| source.downcast_ref::<Error>());
    if let Some(own) = own {
        return Error::new(own.kind(), format!("{message}: {own}"));
    }
    let corrupt = err.kind() == iceberg::ErrorKind::DataInvalid;
    Error::new(if corrupt { Kind::Corrupt } else { Kind::Retry }, message).because(err)
}
