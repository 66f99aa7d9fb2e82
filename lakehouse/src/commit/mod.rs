//! Rows and position into the table in one step, or not at all.
//!
//! Owns the loop of the exactly-once protocol: read the table, check it, let [`decide`] say whether the
//! batch may be appended, publish on exactly what was read, and read again after anything but a plain
//! yes or no. It must never delete a file, and never publish a second time without reading in
//! between: an error says nothing about the outcome, only the table does.
//!
//! [`Lakehouse`] opens the catalog and the store; [`SinkTable`] is one table to append to;
//! [`ReadTable`] is one to query.
//!
//! [`decide`]: crate::position::decide

use std::sync::Arc;

use iceberg::{NamespaceIdent, TableIdent};

use crate::catalog::{self, Answer, Catalog, CatalogSettings, FencedCatalog};
use crate::faults::{Bug, made};
use crate::spec::TableSpec;
use crate::storage::{S3Settings, Store};
use crate::{Error, Kind, Result};

mod evolve;
mod facts;
mod fold;
mod handover;
mod keys;
mod manifests;
mod merge;
mod read;
mod retain;
mod retry;
pub(crate) mod shell;
mod sink;
mod snapshot;
mod summary;
pub(crate) mod sweep;
mod types;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use evolve::creation;
pub use handover::Handover;
pub use read::{AsOf, Branch, ReadTable, SnapshotInfo};
pub use shell::{pause, uuid as attempt_id};
pub use sink::SinkTable;
pub use types::{CommitOutcome, CommitReport, CommitRequest, Counts, Made, UploadedFile};

/// Where the tables are.
#[derive(Clone, Debug)]
pub struct LakehouseSettings {
    /// Which catalog names them.
    pub catalog: CatalogSettings,
    /// `file:///absolute/folder` or `s3://bucket/prefix`.
    pub warehouse: String,
    /// How to reach S3; needed for an `s3://` warehouse.
    pub s3: Option<S3Settings>,
    /// How many of main's snapshots stay; older ones of ours are expired by the commits.
    pub snapshots_kept: usize,
}

impl LakehouseSettings {
    /// Settings with the defaults for everything else.
    pub fn new(catalog: CatalogSettings, warehouse: impl Into<String>) -> Self {
        let (warehouse, snapshots_kept) = (warehouse.into(), retain::SNAPSHOTS_KEPT);
        Self { catalog, warehouse, s3: None, snapshots_kept }
    }
}

/// A catalog and the store that its tables' files are in. Clones share both.
#[derive(Clone)]
pub struct Lakehouse {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) store: Store,
    snapshots_kept: usize,
    pauses: retry::Pauses,
}

impl Lakehouse {
    /// Opens the store and the catalog; a `SQLite` database is made when there is none.
    ///
    /// # Errors
    ///
    /// - [`Kind::Config`]: an address, a path or a credential is wrong, or the bucket is missing.
    /// - [`Kind::Retry`]: the store or the catalog does not answer.
    pub async fn open(settings: &LakehouseSettings) -> Result<Self> {
        let store = Store::open(&settings.warehouse, settings.s3.as_ref())?;
        store.check().await?;
        if made(Bug::S12TableLogged) {
            store.log_with_credentials(settings.s3.as_ref());
        }
        let catalog = catalog::open(&settings.catalog, store.warehouse(), &store).await?;
        let snapshots_kept = settings.snapshots_kept;
        Ok(Self { catalog, store, snapshots_kept, pauses: retry::PAUSES })
    }

    /// On servers that the simulator plays.
    #[cfg(feature = "faults")]
    pub(crate) fn simulated(
        catalog: Arc<dyn Catalog>,
        store: Store,
        snapshots_kept: usize,
    ) -> Self {
        Self { catalog, store, snapshots_kept, pauses: retry::PAUSES }
    }

    /// The table that `spec` describes: made if it is missing, evolved if it is compatible. It is
    /// never dropped, and no column of it either.
    ///
    /// # Errors
    ///
    /// - [`Kind::Refused`]: the table differs in a way that can't be bridged; each difference is named.
    /// - [`Kind::Retry`]: the catalog failed for as long as it is tried.
    /// - [`Kind::Config`]: the catalog or the store refuses us.
    pub async fn ensure(&self, spec: &TableSpec) -> Result<SinkTable> {
        let ident = ident(&spec.namespace, &spec.name)?;
        let creation = evolve::creation(spec)?;
        let mut retry = retry::Retry::new(retry::SETTLE_TIME, self.pauses);
        let mut made = Made::Found;
        loop {
            let pause = match self.ensure_once(&ident, spec, &creation, &mut made).await {
                Ok(Ensured::Ready(table)) => return Ok(table),
                Ok(Ensured::Moved) => retry.after_conflict(),
                Ok(Ensured::Unknown(err)) => retry.after_unknown(err),
                Err(err) if err.kind() == Kind::Retry => retry.after_unknown(err),
                Err(err) => return Err(err),
            };
            retry.wait(pause, "the table was not made ready in time").await?;
        }
    }

    async fn ensure_once(
        &self,
        ident: &TableIdent,
        spec: &TableSpec,
        creation: &catalog::Creation,
        made: &mut Made,
    ) -> Result<Ensured> {
        if self.catalog.load(ident).await?.is_none() {
            *made = Made::Created;
            self.catalog.create(ident, creation).await?;
            crate::faults::point("ensure.created");
            tracing::info!(table = %ident, "table created");
        }
        let Some(fenced) = FencedCatalog::read(&self.catalog, ident).await? else {
            return Ok(Ensured::Moved);
        };
        let evolution = evolve::plan(fenced.base().metadata(), spec)?;
        let columns = evolution.columns_property();
        let known = fenced.base().metadata().properties().get(keys::COLUMNS) == Some(&columns);
        if evolution.schema.is_none() && known {
            let sink = SinkTable::new(self, fenced.base(), spec, &evolution.columns, *made)?;
            return Ok(Ensured::Ready(sink));
        }
        if *made == Made::Found && evolution.schema.is_some() {
            *made = Made::Evolved;
        }
        let answer = fenced
            .publish(|builder| {
                let builder = match evolution.schema {
                    Some(schema) => builder.add_current_schema(schema)?,
                    None => builder,
                };
                builder.set_properties([(keys::COLUMNS.to_owned(), columns)].into())
            })
            .await?;
        Ok(match answer {
            Answer::Committed(base) => {
                tracing::info!(table = %ident, "table fitted to the job");
                crate::faults::point("ensure.evolved");
                Ensured::Ready(SinkTable::new(self, &base, spec, &evolution.columns, *made)?)
            }
            Answer::Conflict => Ensured::Moved,
            // A plain refusal is final; it will be met again.
            Answer::Unknown(err) if err.kind() != Kind::Retry => return Err(err),
            Answer::Unknown(err) => Ensured::Unknown(err),
        })
    }

    /// The table to query, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the catalog does not answer.
    /// - [`Kind::Corrupt`]: the table's metadata is not readable.
    pub async fn table(&self, namespace: &str, name: &str) -> Result<Option<ReadTable>> {
        let base = self.catalog.load(&ident(namespace, name)?).await?;
        Ok(base.map(|base| ReadTable::new(base, self.store.clone())))
    }
}

enum Ensured {
    Ready(SinkTable),
    Moved,
    Unknown(Error),
}

pub(crate) fn ident(namespace: &str, name: &str) -> Result<TableIdent> {
    // Both become folders and path segments.
    for part in [namespace, name] {
        if part.is_empty() || part.starts_with('.') || part.contains(['/', '\\', '\u{1f}']) {
            return Err(Error::new(Kind::Config, "this can't name a table").with("name", part));
        }
    }
    Ok(TableIdent::new(NamespaceIdent::new(namespace.to_owned()), name.to_owned()))
}
