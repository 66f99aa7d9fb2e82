//! Comparisons, and what is made of them: IN, BETWEEN, LIKE.

use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{self, Expr, Operator};
use lakehouse::spec::ColumnType;

use super::{Typed, cast, numbers};
use crate::job::error::{JobError, Result};

/// `left op right`, unknown when either side is null.
pub(super) fn compare(left: Typed, op: Operator, right: Typed) -> Result<Typed> {
    for side in [&left, &right] {
        if side.column_type.is_none() {
            return Err(side.error("a comparison with NULL is never true").hint("use IS NULL"));
        }
    }
    let ordering = !matches!(op, Operator::Eq | Operator::NotEq);
    if ordering && left.column_type == Some(ColumnType::Boolean) {
        return Err(left.error(format!("BOOLEAN has no order for `{op}`")));
    }
    let (left, right) = same_type(left, right)?;
    Ok(Typed::binary(&left, op, &right, ColumnType::Boolean))
}

/// `IS [NOT] DISTINCT FROM`, which takes NULL for a value.
pub(super) fn distinct(left: Typed, right: Typed, distinct: bool) -> Result<Typed> {
    let (left, right) = same_type(left, right)?;
    let op = if distinct { Operator::IsDistinctFrom } else { Operator::IsNotDistinctFrom };
    let test = Typed::binary(&left, op, &right, ColumnType::Boolean);
    Ok(Typed { nullable: false, ..test })
}

/// `[NOT] BETWEEN low AND high`.
pub(super) fn between(typed: &Typed, low: Typed, high: Typed, negated: bool) -> Result<Typed> {
    let above = compare(typed.clone(), Operator::GtEq, low)?;
    let below = compare(typed.clone(), Operator::LtEq, high)?;
    let inside = Typed::binary(&above, Operator::And, &below, ColumnType::Boolean);
    Ok(negate_if(negated, inside))
}

/// `[NOT] IN (…)`.
pub(super) fn in_list(typed: &Typed, list: Vec<Typed>, negated: bool) -> Result<Typed> {
    // A set of texts or integers is looked up; everything else is a tree of comparisons.
    let hashable =
        matches!(typed.column_type, Some(ColumnType::String | ColumnType::Int | ColumnType::Long))
            && list.iter().all(|item| matches!(item.expr, Expr::Literal(..)));
    let mut equal = Vec::new();
    let mut items = Vec::new();
    for item in list {
        equal.push(compare(typed.clone(), Operator::Eq, item.clone())?);
        items.push(item);
    }
    if hashable
        && !items.is_empty()
        && items.iter().all(|item| item.column_type == typed.column_type)
    {
        let items = items.into_iter().map(|item| item.expr).collect();
        let expr = typed.expr.clone().in_list(items, negated);
        return Ok(Typed::strict(expr, ColumnType::Boolean, typed.span, &[typed]));
    }
    // In pairs of pairs: a chain would be as deep as the list is long, and the stack would not hold it.
    while equal.len() > 1 {
        let mut pairs = equal.into_iter();
        let mut halved = Vec::new();
        while let Some(one) = pairs.next() {
            halved.push(match pairs.next() {
                Some(other) => Typed::binary(&one, Operator::Or, &other, ColumnType::Boolean),
                None => one,
            });
        }
        equal = halved;
    }
    let Some(any) = equal.pop() else { return Err(typed.error("IN takes at least one value")) };
    Ok(negate_if(negated, any))
}

/// `[NOT] LIKE 'pattern'`.
pub(super) fn like(typed: &Typed, pattern: &Typed, negated: bool) -> Result<Typed> {
    typed.is(ColumnType::String, "LIKE")?;
    pattern.is(ColumnType::String, "LIKE")?;
    let Some(text) = text_literal(pattern) else {
        return Err(pattern.error("LIKE takes a pattern that is written out"));
    };
    if text.contains('\\') {
        return Err(pattern.error("a backslash in a LIKE pattern is not supported"));
    }
    if text.is_empty() {
        // Flink 2.1 lets every text pass.
        return Err(pattern.error("an empty LIKE pattern is not supported").hint("write = ''"));
    }
    let expr = Expr::Like(Like::new(
        negated,
        Box::new(typed.expr.clone()),
        Box::new(pattern.expr.clone()),
        None,
        false,
    ));
    Ok(Typed::strict(expr, ColumnType::Boolean, typed.span, &[typed]))
}

/// The text, if it was written out.
pub(super) fn text_literal(typed: &Typed) -> Option<&str> {
    match &typed.expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

fn negate_if(negated: bool, typed: Typed) -> Typed {
    if negated { Typed { expr: logical_expr::not(typed.expr.clone()), ..typed } } else { typed }
}

/// Both sides in one type that keeps every value apart.
fn same_type(left: Typed, right: Typed) -> Result<(Typed, Typed)> {
    let mixed_float = |a: &Typed, b: &Typed| {
        a.column_type == Some(ColumnType::Float)
            && !matches!(b.column_type, Some(ColumnType::Float | ColumnType::Double) | None)
    };
    if mixed_float(&left, &right) || mixed_float(&right, &left) {
        return Err(left
            .error("FLOAT compares only with FLOAT and DOUBLE")
            .hint("CAST it to DOUBLE"));
    }
    // A number that is written out takes the type of the other side when it has such a value.
    let fits = |literal: &Typed, other: &Typed| {
        let exact = matches!(
            other.column_type,
            Some(ColumnType::Int | ColumnType::Long | ColumnType::Decimal { .. })
        );
        let value = literal.literal.filter(|_| exact).zip(other.column_type);
        value.is_some_and(|(literal, column_type)| literal.as_type(column_type).is_some())
    };
    let target = if fits(&right, &left) {
        left.column_type
    } else if fits(&left, &right) {
        right.column_type
    } else {
        None
    };
    let target = match target {
        Some(target) => target,
        None => cast::common_type([&left, &right].into_iter(), left.span)
            .map_err(|_| incomparable(&left, &right))?,
    };
    let (left, right) = (cast::widen(left, target)?, cast::widen(right, target)?);
    if matches!(target, ColumnType::Float | ColumnType::Double) {
        return Ok((ordered_float(&left, target)?, ordered_float(&right, target)?));
    }
    Ok((left, right))
}

/// Arrow tells -0.0 from 0.0, Flink does not; adding zero makes them one.
fn ordered_float(typed: &Typed, column_type: ColumnType) -> Result<Typed> {
    if typed.computed_float {
        return Err(typed
            .error("a computed DOUBLE can't be compared")
            .hint("compare the column itself; the engines order NaN differently"));
    }
    let zero = match column_type {
        ColumnType::Float => logical_expr::lit(0.0_f32),
        _ => logical_expr::lit(0.0_f64),
    };
    Ok(Typed { expr: typed.expr.clone() + zero, ..typed.clone() })
}

fn incomparable(left: &Typed, right: &Typed) -> JobError {
    let message = format!("{} can't be compared with {}", left.type_name(), right.type_name());
    let err = right.error(message);
    let sides = [(left, right), (right, left)];
    let quoted_number = sides.iter().any(|(text, number)| {
        text_literal(text).is_some() && numbers::is_number(number, "=").is_ok()
    });
    let is_time = |typed: &Typed| {
        matches!(
            typed.column_type,
            Some(ColumnType::Timestamp | ColumnType::Timestamptz | ColumnType::Date)
        )
    };
    if quoted_number {
        err.hint("write numbers without quotes")
    } else if is_time(left) || is_time(right) {
        err.hint("write CAST(TIMESTAMP '2025-01-31 00:00:00' AS TIMESTAMP_LTZ(3)), or DATE '2025-01-31' for a DATE")
    } else {
        err.hint("CAST one side")
    }
}
