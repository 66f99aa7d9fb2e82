//! The one way to change a table: on the very base that was checked, once.

use std::sync::Arc;

use iceberg::spec::{MAIN_BRANCH, TableMetadataBuilder};
use iceberg::{TableIdent, TableRequirement};

use super::{Answer, Base, Catalog, Change};
use crate::{Error, Kind, Result};

/// A table that was read, and the right to change it once, if nobody else does first.
///
/// Publishing consumes it, so a second try has to read again; and every publish is pinned to what was
/// read here: the table's uuid, main's snapshot, the schema and the partition spec. A request that
/// the network delivers late finds main moved, and is refused by the catalog.
pub(crate) struct FencedCatalog {
    catalog: Arc<dyn Catalog>,
    base: Base,
}

impl FencedCatalog {
    /// Reads the table, or `None` when there is none.
    pub(crate) async fn read(
        catalog: &Arc<dyn Catalog>,
        ident: &TableIdent,
    ) -> Result<Option<Self>> {
        let base = catalog.load(ident).await?;
        Ok(base.map(|base| Self { catalog: Arc::clone(catalog), base }))
    }

    /// What was read.
    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// Publishes what `make` makes of the base.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`]: the change contradicts the base. Nothing was sent.
    pub(crate) async fn publish(
        self,
        make: impl FnOnce(TableMetadataBuilder) -> iceberg::Result<TableMetadataBuilder>,
    ) -> Result<Answer> {
        let location = self.base.location().to_owned();
        let builder = self.base.metadata().clone().into_builder(Some(location));
        let built = make(builder).and_then(TableMetadataBuilder::build).map_err(|err| {
            Error::new(Kind::Bug, "the change does not fit its base").because(err)
        })?;
        let change = Change { requirements: self.fence(), built };
        Ok(self.catalog.publish(&self.base, change).await)
    }

    fn fence(&self) -> Vec<TableRequirement> {
        let metadata = self.base.metadata();
        vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: metadata.current_snapshot_id(),
            },
            TableRequirement::CurrentSchemaIdMatch {
                current_schema_id: metadata.current_schema_id(),
            },
            TableRequirement::LastAssignedFieldIdMatch {
                last_assigned_field_id: metadata.last_column_id(),
            },
            TableRequirement::DefaultSpecIdMatch {
                default_spec_id: metadata.default_partition_spec_id(),
            },
        ]
    }
}
