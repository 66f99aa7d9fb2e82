//! A plan's expressions, ready to evaluate over decoded batches.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{DFSchema, exec_err};
use datafusion::error::DataFusionError;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::SinkPlan;

type Result<T> = std::result::Result<T, DataFusionError>;

/// One sink's expressions, bound to the columns of a schema.
#[derive(Clone, Debug)]
pub(crate) struct Evaluable {
    /// Each runs on the rows that the ones before let pass.
    pub(crate) filters: Vec<Arc<dyn PhysicalExpr>>,
    /// One for each column of the table, each of exactly its type.
    pub(crate) projection: Vec<Arc<dyn PhysicalExpr>>,
}

impl Evaluable {
    /// Binds `plan` to batches of the schema `input`.
    ///
    /// # Errors
    ///
    /// `datafusion` has no evaluation for an expression, or gives it another type than the plan does.
    pub(crate) fn new(plan: &SinkPlan, input: &SchemaRef) -> Result<Self> {
        let names = DFSchema::try_from(Arc::clone(input))?;
        let props = ExecutionProps::new();
        let bind = |expr: &Expr| create_physical_expr(expr, &names, &props);
        let filters = plan.filter.safe.iter().chain(&plan.filter.fallible).map(bind);
        let filters = filters.collect::<Result<_>>()?;
        let projection: Vec<_> = plan.projection.iter().map(bind).collect::<Result<_>>()?;
        for (column, expr) in plan.table.columns.iter().zip(&projection) {
            let (wanted, found) = (column.column_type.to_arrow(), expr.data_type(input)?);
            if wanted != found {
                return exec_err!("`{}` is planned as {wanted}, evaluated as {found}", column.name);
            }
        }
        Ok(Self { filters, projection })
    }
}
