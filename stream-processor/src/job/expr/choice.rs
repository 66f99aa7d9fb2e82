//! CASE, and what is made of it.

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Case;
use datafusion::sql::sqlparser::tokenizer::Span;

use super::{Typed, cast, refused};
use crate::job::error::Result;

/// `CASE WHEN … THEN … ELSE … END`, with one type for all results.
pub(super) fn case(branches: Vec<(Typed, Typed)>, otherwise: Typed, span: Span) -> Result<Typed> {
    let results = branches.iter().map(|(_, result)| result).chain([&otherwise]);
    let column_type = cast::common_type(results, span)?;
    let mut nullable = otherwise.nullable;
    let mut fallible = otherwise.fallible;
    let mut computed_float = otherwise.computed_float;
    let mut precision = otherwise.precision;
    let mut when_then_expr = Vec::new();
    for (when, then) in branches {
        nullable |= then.nullable;
        fallible |= when.fallible || then.fallible;
        computed_float |= then.computed_float;
        precision = precision.max(then.precision);
        let then = cast::widen(then, column_type)?;
        when_then_expr.push((Box::new(when.expr), Box::new(then.expr)));
    }
    let else_expr = Some(Box::new(cast::widen(otherwise, column_type)?.expr));
    let expr = Expr::Case(Case { expr: None, when_then_expr, else_expr });
    Ok(Typed {
        nullable,
        fallible,
        precision,
        computed_float,
        ..Typed::new(expr, column_type, span)
    })
}

/// The first value that is not null.
pub(super) fn coalesce(args: Vec<Typed>, span: Span) -> Result<Typed> {
    let column_type = cast::common_type(args.iter(), span)?;
    if let Some(arg) = args.iter().find(|arg| arg.fallible) {
        return Err(arg.error("COALESCE takes nothing that can fail on a row").hint("write CASE"));
    }
    let mut args = args.into_iter().rev();
    let Some(last) = args.next() else { return Err(refused("COALESCE of nothing", span)) };
    let mut result = cast::widen(last, column_type)?;
    for arg in args {
        let arg = cast::widen(arg, column_type)?;
        let filled = arg.clone().map_test(Expr::is_not_null);
        // Where it is taken it is not null.
        let value = Typed { nullable: false, ..arg };
        result = case(vec![(filled, value)], result, span)?;
    }
    Ok(result)
}
