//! A snapshot's files as a table in `DataFusion`.
//!
//! Owns the plan: files that the filters rule out by their bounds are dropped, the rest is dealt out to
//! the session's partitions. A partition holds one file in memory at a time.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::prune::FileBounds;
use super::{DataFileRef, read_file};
use crate::avro::TableSchema;
use crate::storage::Store;

/// One snapshot of a table, for SQL.
#[derive(Clone)]
pub struct AvroTable {
    store: Store,
    schema: Arc<TableSchema>,
    files: Vec<DataFileRef>,
}

impl fmt::Debug for AvroTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AvroTable").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl AvroTable {
    /// A table of `files`, all of one snapshot, read as rows of `schema`.
    pub fn new(store: Store, schema: Arc<TableSchema>, files: Vec<DataFileRef>) -> Self {
        Self { store, schema, files }
    }

    /// The files that may hold rows `filters` want.
    fn kept(&self, state: &dyn Session, filters: &[Expr]) -> DataFusionResult<Vec<DataFileRef>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(self.files.clone());
        };
        let names = DFSchema::try_from(self.schema.arrow().clone())?;
        let filter = state.create_physical_expr(filter, &names)?;
        // A filter that bounds can't decide keeps every file.
        let Ok(predicate) = PruningPredicate::try_new(filter, self.schema.arrow().clone()) else {
            return Ok(self.files.clone());
        };
        let keep = predicate.prune(&FileBounds { schema: &self.schema, files: &self.files })?;
        let files = self.files.iter().zip(keep);
        Ok(files.filter(|(_, keep)| *keep).map(|(file, _)| file.clone()).collect())
    }
}

#[async_trait]
impl TableProvider for AvroTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        self.schema.arrow().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            None => self.schema.arrow().clone(),
            Some(columns) => Arc::new(self.schema.arrow().project(columns)?),
        };
        let files = self.kept(state, filters)?;
        let partitions = deal(files, state.config().target_partitions()).into_iter().map(|files| {
            Arc::new(Share {
                store: self.store.clone(),
                table: self.schema.clone(),
                files,
                projection: projection.cloned(),
                schema: schema.clone(),
            }) as Arc<dyn PartitionStream>
        });
        let partitions = partitions.collect();
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        // Bounds drop files, never rows: every filter is applied again above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

/// Deals the files out by size, the next one always to the lightest share; at least one share.
fn deal(mut files: Vec<DataFileRef>, shares: usize) -> Vec<Vec<DataFileRef>> {
    let mut dealt = vec![(0, Vec::new()); shares.clamp(1, files.len().max(1))];
    files.sort_by_key(|file| std::cmp::Reverse(file.bytes));
    for file in files {
        if let Some((bytes, share)) = dealt.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            *bytes += file.bytes;
            share.push(file);
        }
    }
    dealt.into_iter().map(|(_, files)| files).collect()
}

/// Some files, one after another.
struct Share {
    store: Store,
    table: Arc<TableSchema>,
    files: Vec<DataFileRef>,
    projection: Option<Vec<usize>>,
    schema: SchemaRef,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl PartitionStream for Share {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (store, table) = (self.store.clone(), self.table.clone());
        let projection = self.projection.clone();
        let files = stream::iter(self.files.clone());
        let batches = files
            .then(move |file| {
                let (store, table) = (store.clone(), table.clone());
                let projection = projection.clone();
                async move {
                    let bytes = store.read(&file.location).await?;
                    let reader = read_file(bytes, &table, projection.as_deref())
                        .map_err(|err| err.with("file", &file.location))?;
                    Ok(stream::iter(reader))
                }
            })
            .try_flatten()
            .map_err(|err: crate::Error| DataFusionError::External(Box::new(err)));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}
