//! SQL expression → typed `datafusion` expression.
//!
//! Owns the meaning of every operator and function of the subset, which is Flink's meaning: types are
//! derived by Flink's rules and every conversion is written into the expression here, so nothing is
//! left for `datafusion` to coerce. What the two engines would answer differently is refused.
//!
//! It also knows which expressions can fail on a row ([`Typed::fallible`]) and which may be null; the
//! plan relies on both.

mod cast;
mod choice;
mod compare;
mod functions;
mod numbers;
mod times;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{self, BinaryExpr, Expr, Operator};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Expr as Sql, Ident, Spanned, UnaryOperator, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use lakehouse::spec::ColumnType;

use super::SourceTable;
use super::error::{JobError, Result};
use super::{reserved, types};

/// An expression and what is known about its values.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) expr: Expr,
    /// `None` for a NULL that nothing has given a type yet.
    pub(super) column_type: Option<ColumnType>,
    pub(super) nullable: bool,
    /// Whether evaluating it can fail on a row.
    pub(super) fallible: bool,
    /// Digits after the seconds that a timestamp may have.
    precision: u8,
    /// The exact value of a number that was written out.
    literal: Option<numbers::Exact>,
    /// A float that was computed, so it might be NaN, which the engines order differently.
    computed_float: bool,
    span: Span,
}

impl Typed {
    fn new(expr: Expr, column_type: ColumnType, span: Span) -> Self {
        Self {
            expr,
            column_type: Some(column_type),
            nullable: false,
            fallible: false,
            precision: 0,
            literal: None,
            computed_float: false,
            span,
        }
    }

    /// `expr`, which is null when any of `inputs` is, and fails when any of them does.
    fn strict(expr: Expr, column_type: ColumnType, span: Span, inputs: &[&Typed]) -> Self {
        Self {
            nullable: inputs.iter().any(|input| input.nullable),
            fallible: inputs.iter().any(|input| input.fallible),
            ..Self::new(expr, column_type, span)
        }
    }

    /// `left op right`, of the type that is given.
    fn binary(left: &Self, op: Operator, right: &Self, column_type: ColumnType) -> Self {
        let (left_expr, right_expr) = (Box::new(left.expr.clone()), Box::new(right.expr.clone()));
        let expr = Expr::BinaryExpr(BinaryExpr::new(left_expr, op, right_expr));
        Self::strict(expr, column_type, left.span, &[left, right])
    }

    fn null(span: Span) -> Self {
        let expr = logical_expr::lit(ScalarValue::Null);
        Self { column_type: None, nullable: true, ..Self::new(expr, ColumnType::Boolean, span) }
    }

    fn error(&self, message: impl Into<String>) -> JobError {
        JobError::at(self.span, message)
    }

    /// Its type as Flink writes it.
    fn type_name(&self) -> String {
        self.column_type.map_or_else(|| "NULL".to_owned(), types::name)
    }

    fn is(&self, wanted: ColumnType, what: &str) -> Result<()> {
        if self.column_type == Some(wanted) {
            return Ok(());
        }
        let message = format!("{what} takes {}, found {}", types::name(wanted), self.type_name());
        Err(self.error(message))
    }
}

/// The names an expression can use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) source: &'a SourceTable,
    /// What the table is called in this statement.
    pub(super) table: &'a str,
}

impl Scope<'_> {
    /// Types an expression, or says what is wrong with it.
    pub(super) fn expr(&self, sql: &Sql) -> Result<Typed> {
        let span = sql.span();
        match sql {
            Sql::Nested(inner) => self.expr(inner),
            Sql::Identifier(name) => self.column(name),
            Sql::CompoundIdentifier(names) => match names.as_slice() {
                [table, name] if table.value == self.table => self.column(name),
                [table, ..] => {
                    Err(JobError::at(table.span, format!("unknown table `{}`", table.value))
                        .hint(format!("the source here is called `{}`", self.table)))
                }
                [] => Err(refused("an empty name", span)),
            },
            Sql::Value(value) => literal(&value.value, value.span),
            Sql::TypedString(text) => cast::typed_string(text),
            Sql::BinaryOp { left, op, right } => self.binary(left, op, right),
            Sql::UnaryOp { op, expr } => self.unary(*op, expr, span),
            Sql::IsNull(inner) => Ok(self.test(inner)?.map_test(Expr::is_null)),
            Sql::IsNotNull(inner) => Ok(self.test(inner)?.map_test(Expr::is_not_null)),
            Sql::IsTrue(inner) => Ok(self.boolean(inner, "IS TRUE")?.map_test(Expr::is_true)),
            Sql::IsFalse(inner) => Ok(self.boolean(inner, "IS FALSE")?.map_test(Expr::is_false)),
            Sql::IsNotTrue(inner) => {
                Ok(self.boolean(inner, "IS NOT TRUE")?.map_test(Expr::is_not_true))
            }
            Sql::IsNotFalse(inner) => {
                Ok(self.boolean(inner, "IS NOT FALSE")?.map_test(Expr::is_not_false))
            }
            Sql::IsUnknown(inner) => Ok(self.boolean(inner, "IS UNKNOWN")?.map_test(Expr::is_null)),
            Sql::IsNotUnknown(inner) => {
                Ok(self.boolean(inner, "IS NOT UNKNOWN")?.map_test(Expr::is_not_null))
            }
            Sql::IsDistinctFrom(left, right) => {
                compare::distinct(self.expr(left)?, self.expr(right)?, true)
            }
            Sql::IsNotDistinctFrom(left, right) => {
                compare::distinct(self.expr(left)?, self.expr(right)?, false)
            }
            Sql::Between { expr, negated, low, high } => {
                compare::between(&self.expr(expr)?, self.expr(low)?, self.expr(high)?, *negated)
            }
            Sql::InList { expr, list, negated } => {
                let list = list.iter().map(|item| self.expr(item)).collect::<Result<Vec<_>>>()?;
                compare::in_list(&self.expr(expr)?, list, *negated)
            }
            Sql::Like { negated, any: false, expr, pattern, escape_char: None } => {
                compare::like(&self.expr(expr)?, &self.expr(pattern)?, *negated)
            }
            Sql::Like { .. } => Err(refused("LIKE with ANY or ESCAPE", span)),
            Sql::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), span)
            }
            Sql::Cast { kind, expr, data_type, array: false, format: None } => {
                cast::cast(self.expr(expr)?, kind, data_type, span)
            }
            Sql::Function(function) => self.function(function),
            Sql::Substring { expr, substring_from, substring_for, .. } => {
                let from = substring_from.as_deref().map(|from| self.expr(from)).transpose()?;
                let count = substring_for.as_deref().map(|count| self.expr(count)).transpose()?;
                functions::substring(&self.expr(expr)?, from, count, span)
            }
            Sql::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                let what = trim_what.as_deref().map(|what| self.expr(what)).transpose()?;
                functions::trim(&self.expr(expr)?, *trim_where, what.as_ref())
            }
            Sql::Position { expr, r#in } => {
                functions::position(&self.expr(expr)?, &self.expr(r#in)?)
            }
            Sql::Extract { field, expr, .. } => times::extract(field, &self.expr(expr)?, span),
            _ => Err(refused("this expression", span)),
        }
    }

    /// Types a condition.
    pub(super) fn boolean(&self, sql: &Sql, what: &str) -> Result<Typed> {
        let typed = self.expr(sql)?;
        typed.is(ColumnType::Boolean, what)?;
        Ok(typed)
    }

    fn test(&self, sql: &Sql) -> Result<Typed> {
        let typed = self.expr(sql)?;
        match typed.column_type {
            Some(_) => Ok(typed),
            None => Err(typed.error("a bare NULL can't be tested")),
        }
    }

    fn column(&self, name: &Ident) -> Result<Typed> {
        if name.quote_style.is_none() && reserved::is_reserved(&name.value) {
            return Err(JobError::at(name.span, format!("`{}` is a reserved word", name.value))
                .hint("a column with such a name needs backticks"));
        }
        let columns = &self.source.columns;
        let Some(column) = columns.iter().find(|column| column.name == name.value) else {
            return Err(JobError::at(name.span, format!("unknown column `{}`", name.value))
                .suggest(&name.value, columns.iter().map(|column| column.name.as_str())));
        };
        let expr = Expr::Column(Column::new_unqualified(&column.name));
        let typed = Typed::new(expr, column.column_type, name.span);
        Ok(Typed { nullable: column.nullable, precision: column.precision, ..typed })
    }

    fn binary(&self, left: &Sql, op: &BinaryOperator, right: &Sql) -> Result<Typed> {
        let comparison = match op {
            BinaryOperator::Eq => Some(Operator::Eq),
            BinaryOperator::NotEq => Some(Operator::NotEq),
            BinaryOperator::Lt => Some(Operator::Lt),
            BinaryOperator::LtEq => Some(Operator::LtEq),
            BinaryOperator::Gt => Some(Operator::Gt),
            BinaryOperator::GtEq => Some(Operator::GtEq),
            _ => None,
        };
        if let Some(comparison) = comparison {
            return compare::compare(self.expr(left)?, comparison, self.expr(right)?);
        }
        match op {
            BinaryOperator::And | BinaryOperator::Or => {
                let (left, right) = (self.boolean(left, "AND/OR")?, self.boolean(right, "AND/OR")?);
                let and = *op == BinaryOperator::And;
                let operator = if and { Operator::And } else { Operator::Or };
                Ok(Typed::binary(&left, operator, &right, ColumnType::Boolean))
            }
            BinaryOperator::StringConcat => {
                functions::concat(vec![self.expr(left)?, self.expr(right)?], left.span())
            }
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => {
                numbers::arithmetic(self.expr(left)?, op, self.expr(right)?)
            }
            other => Err(refused(&format!("the operator `{other}`"), left.span())),
        }
    }

    fn unary(&self, op: UnaryOperator, inner: &Sql, span: Span) -> Result<Typed> {
        match op {
            UnaryOperator::Not => {
                let typed = self.boolean(inner, "NOT")?;
                let expr = logical_expr::not(typed.expr.clone());
                Ok(Typed::strict(expr, ColumnType::Boolean, span, &[&typed]))
            }
            UnaryOperator::Minus => numbers::negate(self.expr(inner)?),
            UnaryOperator::Plus => {
                let typed = self.expr(inner)?;
                numbers::is_number(&typed, "+")?;
                Ok(typed)
            }
            other => Err(refused(&format!("the operator `{other}`"), span)),
        }
    }

    fn case(
        &self,
        operand: Option<&Sql>,
        conditions: &[CaseWhen],
        otherwise: Option<&Sql>,
        span: Span,
    ) -> Result<Typed> {
        let operand = operand.map(|operand| self.expr(operand)).transpose()?;
        let mut branches = Vec::new();
        for CaseWhen { condition, result } in conditions {
            let when = match &operand {
                Some(operand) => {
                    compare::compare(operand.clone(), Operator::Eq, self.expr(condition)?)?
                }
                None => self.boolean(condition, "WHEN")?,
            };
            branches.push((when, self.expr(result)?));
        }
        let otherwise = match otherwise {
            Some(otherwise) => self.expr(otherwise)?,
            None => Typed::null(span),
        };
        choice::case(branches, otherwise, span)
    }

    fn function(&self, function: &ast::Function) -> Result<Typed> {
        let call = functions::Call::new(function)?;
        let args = call.args.iter().map(|arg| self.expr(arg)).collect::<Result<Vec<_>>>()?;
        functions::call(&call.name, args, call.span)
    }
}

impl Typed {
    /// A test that is never null itself.
    fn map_test(self, test: impl FnOnce(Expr) -> Expr) -> Self {
        let Self { expr, fallible, span, .. } = self;
        Self { fallible, ..Self::new(test(expr), ColumnType::Boolean, span) }
    }
}

fn literal(value: &Value, span: Span) -> Result<Typed> {
    match value {
        Value::Number(text, false) => numbers::literal(text, span),
        Value::SingleQuotedString(text) => {
            Ok(Typed::new(logical_expr::lit(text.as_str()), ColumnType::String, span))
        }
        Value::Boolean(value) => {
            Ok(Typed::new(logical_expr::lit(*value), ColumnType::Boolean, span))
        }
        Value::Null => Ok(Typed::null(span)),
        Value::DoubleQuotedString(text) => Err(refused("a text in double quotes", span)
            .hint(format!("texts are quoted like '{text}', names like `{text}`"))),
        _ => Err(refused("this literal", span)),
    }
}

fn refused(what: &str, span: Span) -> JobError {
    JobError::at(span, format!("{what} is not supported")).hint("docs/sql.md lists the subset")
}
