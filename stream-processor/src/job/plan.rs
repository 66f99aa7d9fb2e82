//! `INSERT INTO … SELECT` → [`SinkPlan`].

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::sql::sqlparser::ast::Expr as Sql;
use lakehouse::spec::{Column, ColumnType, TableSpec};

use super::error::{JobError, Result};
use super::expr::{Scope, Typed};
use super::statements::{Insert, SelectItem};
use super::{Origin, SinkPlan, SourceTable};

/// A WHERE clause in the order it is evaluated.
///
/// What can fail on a row runs last, and only on rows that passed what can't; so whether a row is
/// rejected follows from the row, not from its neighbours or from what was skipped before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Conditions that can't fail, as one.
    pub(crate) safe: Option<Expr>,
    /// Conditions that can, in the order of the file.
    pub(crate) fallible: Vec<Expr>,
}

/// What every row that passes a filter has: one of `values` in the text column at `column`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefilter {
    /// Index into the source's columns; its origin is JSON.
    pub(crate) column: usize,
    /// Sorted, without duplicates.
    pub(crate) values: Vec<String>,
}

/// Checks and plans one statement.
pub(super) fn sink(insert: &Insert, source: &SourceTable) -> Result<SinkPlan> {
    let [catalog, namespace, name] = insert.table.as_slice() else {
        return Err(JobError::at(insert.span, "a sink is named catalog.namespace.table")
            .hint("such as iceberg_data_lake.marketing_events.processed_conversions"));
    };
    if insert.from.value != source.name {
        return Err(JobError::at(
            insert.from.span,
            format!("unknown table `{}`", insert.from.value),
        )
        .suggest(&insert.from.value, [source.name.as_str()].into_iter()));
    }
    let table = insert.from_alias.as_ref().unwrap_or(&insert.from);
    let scope = Scope { source, table: &table.value };
    let mut columns: Vec<Column> = Vec::new();
    let mut projection = Vec::new();
    let mut fallible = false;
    for item in &insert.items {
        let (column, typed) = output(item, &scope)?;
        if columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name)) {
            return Err(JobError::at(item.span, format!("column `{}` twice", column.name))
                .hint("give one another name: … AS name"));
        }
        columns.push(column);
        fallible |= typed.fallible;
        projection.push(typed.expr);
    }
    let (filter, prefilter) = match &insert.filter {
        Some(condition) => filter(condition, &scope)?,
        None => (Filter::default(), None),
    };
    let partition_day = columns
        .iter()
        .find(|column| column.column_type == ColumnType::Timestamptz)
        .map(|column| column.name.clone());
    let (namespace, name) = (namespace.value.clone(), name.value.clone());
    fallible |= !filter.fallible.is_empty();
    Ok(SinkPlan {
        catalog: catalog.value.clone(),
        table: TableSpec { namespace, name, columns, partition_day },
        sql: insert.sql.clone(),
        projection,
        filter,
        prefilter,
        fallible,
    })
}

fn output(item: &SelectItem, scope: &Scope<'_>) -> Result<(Column, Typed)> {
    let typed = scope.expr(&item.expr)?;
    let name = match (&item.alias, &item.expr) {
        (Some(alias), _) | (None, Sql::Identifier(alias)) => alias.value.clone(),
        (None, Sql::CompoundIdentifier(names)) => {
            names.last().map_or_else(String::new, |name| name.value.clone())
        }
        _ => {
            return Err(JobError::at(item.span, "an expression in the SELECT list needs a name")
                .hint("add: AS name"));
        }
    };
    let Some(column_type) = typed.column_type else {
        return Err(
            JobError::at(item.span, "the type of NULL is unknown here").hint("CAST(NULL AS type)")
        );
    };
    Ok((Column { name, column_type, nullable: typed.nullable }, typed))
}

fn filter(condition: &Sql, scope: &Scope<'_>) -> Result<(Filter, Option<Prefilter>)> {
    let mut conjuncts = Vec::new();
    split(condition, &mut conjuncts);
    let mut filter = Filter::default();
    let mut prefilter = None;
    for conjunct in conjuncts {
        let typed = scope.boolean(conjunct, "WHERE")?;
        if typed.fallible {
            filter.fallible.push(typed.expr);
            continue;
        }
        if prefilter.is_none() {
            prefilter = Prefilter::of(&typed.expr, scope.source);
        }
        filter.safe = Some(match filter.safe {
            Some(so_far) => so_far.and(typed.expr),
            None => typed.expr,
        });
    }
    Ok((filter, prefilter))
}

/// The parts of `a AND b AND c`.
fn split<'a>(condition: &'a Sql, into: &mut Vec<&'a Sql>) {
    use datafusion::sql::sqlparser::ast::BinaryOperator;
    match condition {
        Sql::Nested(inner) => split(inner, into),
        Sql::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(left, into);
            split(right, into);
        }
        other => into.push(other),
    }
}

impl Prefilter {
    /// What `column = 'text'` or `column IN ('text', …)` demands of a record.
    fn of(condition: &Expr, source: &SourceTable) -> Option<Self> {
        let (column, values) = match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                match (left.as_ref(), right.as_ref()) {
                    (Expr::Column(column), value) | (value, Expr::Column(column)) => {
                        (column, vec![text(value)?])
                    }
                    _ => return None,
                }
            }
            Expr::InList(list) if !list.negated => {
                let Expr::Column(column) = list.expr.as_ref() else { return None };
                (column, list.list.iter().map(text).collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        };
        let column = source.columns.iter().position(|known| {
            known.name == column.name
                && known.origin == Origin::Json
                && known.column_type == ColumnType::String
        })?;
        let mut values = values;
        values.sort_unstable();
        values.dedup();
        Some(Self { column, values })
    }
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text.clone()),
        _ => None,
    }
}
