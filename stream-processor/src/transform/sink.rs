//! One sink's expressions over one batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::SinkRows;
use crate::job::{Evaluable, SinkPlan};

type Result<T> = std::result::Result<T, DataFusionError>;

#[derive(Clone, Debug)]
pub(super) struct Sink {
    exprs: Evaluable,
    schema: SchemaRef,
}

impl Sink {
    pub(super) fn new(plan: &SinkPlan, input: &SchemaRef) -> Result<Self> {
        Ok(Self { exprs: Evaluable::new(plan, input)?, schema: plan.table.arrow_schema() })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The sink's rows out of `input`; an error if an expression fails on any of them.
    pub(super) fn rows(&self, input: &SinkRows) -> Result<SinkRows> {
        let mut rows = input.clone();
        for filter in &self.exprs.filters {
            let count = rows.batch.num_rows();
            let passes = filter.evaluate(&rows.batch)?.into_array(count)?;
            let passes = without_nulls(passes.as_boolean());
            if passes.true_count() < count {
                rows = SinkRows {
                    batch: filter_record_batch(&rows.batch, &passes)?,
                    places: rows.places.filter(&passes)?,
                };
            }
        }
        let SinkRows { batch, places } = rows;
        if places.is_empty() {
            return Ok(SinkRows {
                batch: RecordBatch::new_empty(Arc::clone(&self.schema)),
                places,
            });
        }
        let count = batch.num_rows();
        let project = |expr: &Arc<dyn PhysicalExpr>| -> Result<ArrayRef> {
            expr.evaluate(&batch)?.into_array(count)
        };
        let columns = self.exprs.projection.iter().map(project).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok(SinkRows { batch, places })
    }
}

/// A condition that is unknown does not hold.
fn without_nulls(passes: &BooleanArray) -> BooleanArray {
    match passes.nulls() {
        Some(_) => prep_null_mask_filter(passes),
        None => passes.clone(),
    }
}
