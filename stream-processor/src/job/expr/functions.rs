//! The functions of the subset.

use datafusion::functions::expr_fn;
use datafusion::logical_expr::{self, Expr, Operator};
use datafusion::sql::sqlparser::ast::{
    DateTimeField, Expr as Sql, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned,
    TrimWhereField,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use lakehouse::spec::ColumnType;

use super::{Typed, choice, compare, numbers, refused, times};
use crate::job::error::{JobError, Result};

const NAMES: &[&str] = &[
    "ABS",
    "CHARACTER_LENGTH",
    "CHAR_LENGTH",
    "COALESCE",
    "CONCAT",
    "DATE_FORMAT",
    "DAYOFMONTH",
    "EXTRACT",
    "HOUR",
    "IF",
    "LEFT",
    "LOWER",
    "LTRIM",
    "MINUTE",
    "MOD",
    "MONTH",
    "NULLIF",
    "POSITION",
    "REPLACE",
    "RIGHT",
    "RTRIM",
    "SECOND",
    "SUBSTRING",
    "TRIM",
    "UPPER",
    "YEAR",
];
const UNREPEATABLE: &[&str] = &[
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NOW",
    "PROCTIME",
    "RAND",
    "RAND_INTEGER",
    "UNIX_TIMESTAMP",
    "UUID",
];
const AGGREGATES: &[&str] = &["AVG", "COUNT", "MAX", "MIN", "SUM", "LISTAGG", "COLLECT"];

/// A call as it was written: a name and plain arguments.
pub(super) struct Call<'a> {
    pub(super) name: String,
    pub(super) args: Vec<&'a Sql>,
    pub(super) span: Span,
}

impl<'a> Call<'a> {
    pub(super) fn new(function: &'a Function) -> Result<Self> {
        let span = function.name.span();
        let name = function.name.to_string().to_uppercase();
        known(&name, span)?;
        let plain = function.over.is_none()
            && function.filter.is_none()
            && function.null_treatment.is_none()
            && function.within_group.is_empty()
            && matches!(function.parameters, FunctionArguments::None);
        let FunctionArguments::List(list) = &function.args else {
            return Err(refused(&format!("{name} in this form"), span));
        };
        if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
            return Err(refused(&format!("{name} in this form"), span));
        }
        let args = list.args.iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
            _ => Err(refused("this argument", span)),
        });
        Ok(Self { args: args.collect::<Result<_>>()?, name, span })
    }
}

fn known(name: &str, span: Span) -> Result<()> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    let err = JobError::at(span, format!("the function {name} is not supported"));
    Err(if AGGREGATES.contains(&name) {
        err.hint("a job looks at one record at a time; aggregate when querying")
    } else if UNREPEATABLE.contains(&name) {
        err.hint("a row must follow from its record alone, or a replay would write another one")
    } else {
        err.suggest(name, NAMES.iter().copied())
    })
}

/// Types one call.
pub(super) fn call(name: &str, args: Vec<Typed>, span: Span) -> Result<Typed> {
    let count = args.len();
    let mut args = args.into_iter();
    match (name, count, args.next(), args.next(), args.next()) {
        ("UPPER", 1, Some(text), ..) => text_to_text(&text, "UPPER", expr_fn::upper),
        ("LOWER", 1, Some(text), ..) => text_to_text(&text, "LOWER", expr_fn::lower),
        ("TRIM", 1, Some(text), ..) => trim(&text, None, None),
        ("LTRIM", 1, Some(text), ..) => trim(&text, Some(TrimWhereField::Leading), None),
        ("RTRIM", 1, Some(text), ..) => trim(&text, Some(TrimWhereField::Trailing), None),
        ("CHAR_LENGTH" | "CHARACTER_LENGTH", 1, Some(text), ..) => {
            text.is(ColumnType::String, name)?;
            let expr = expr_fn::character_length(text.expr.clone());
            Ok(Typed::strict(expr, ColumnType::Int, span, &[&text]))
        }
        ("SUBSTRING", 2 | 3, Some(text), from, length) => substring(&text, from, length, span),
        ("LEFT", 2, Some(text), Some(length), _) => edge(&text, &length, "LEFT", expr_fn::left),
        ("RIGHT", 2, Some(text), Some(length), _) => edge(&text, &length, "RIGHT", expr_fn::right),
        ("REPLACE", 3, Some(text), Some(from), Some(to)) => replace(&text, &from, &to),
        ("CONCAT", 1.., Some(first), second, third) => {
            let rest = [second, third].into_iter().flatten().chain(args);
            concat([first].into_iter().chain(rest).collect(), span)
        }
        ("COALESCE", 1.., Some(first), second, third) => {
            let rest = [second, third].into_iter().flatten().chain(args);
            choice::coalesce([first].into_iter().chain(rest).collect(), span)
        }
        ("NULLIF", 2, Some(left), Some(right), _) => {
            let equal = compare::compare(left.clone(), Operator::Eq, right)?;
            choice::case(vec![(equal, Typed::null(span))], left, span)
        }
        ("IF", 3, Some(condition), Some(then), Some(otherwise)) => {
            condition.is(ColumnType::Boolean, "IF")?;
            choice::case(vec![(condition, then)], otherwise, span)
        }
        ("ABS", 1, Some(number), ..) => abs(number),
        ("MOD", 2, Some(left), Some(right), _) => {
            use datafusion::sql::sqlparser::ast::BinaryOperator;
            numbers::arithmetic(left, &BinaryOperator::Modulo, right)
        }
        ("YEAR", 1, Some(time), ..) => times::extract(&DateTimeField::Year, &time, span),
        ("MONTH", 1, Some(time), ..) => times::extract(&DateTimeField::Month, &time, span),
        ("DAYOFMONTH", 1, Some(time), ..) => times::extract(&DateTimeField::Day, &time, span),
        ("HOUR", 1, Some(time), ..) => times::extract(&DateTimeField::Hour, &time, span),
        ("MINUTE", 1, Some(time), ..) => times::extract(&DateTimeField::Minute, &time, span),
        ("SECOND", 1, Some(time), ..) => times::extract(&DateTimeField::Second, &time, span),
        ("DATE_FORMAT", 2, Some(time), Some(pattern), _) => times::date_format(&time, &pattern),
        _ => Err(JobError::at(span, format!("{name} does not take {count} arguments"))),
    }
}

fn text_to_text(text: &Typed, what: &str, function: impl FnOnce(Expr) -> Expr) -> Result<Typed> {
    text.is(ColumnType::String, what)?;
    let expr = function(text.expr.clone());
    Ok(Typed::strict(expr, ColumnType::String, text.span, &[text]))
}

/// [`text_to_text`] for functions that give a view into their input, a type of its own in Arrow.
fn text_to_view(text: &Typed, what: &str, function: impl FnOnce(Expr) -> Expr) -> Result<Typed> {
    text_to_text(text, what, |text| {
        logical_expr::cast(function(text), ColumnType::String.to_arrow())
    })
}

/// `TRIM([[BOTH | LEADING | TRAILING] 'c' FROM] text)`; spaces if no character is named.
pub(super) fn trim(
    text: &Typed,
    edge: Option<TrimWhereField>,
    what: Option<&Typed>,
) -> Result<Typed> {
    let character = what.map_or(Some(" "), compare::text_literal);
    let Some(character) = character.filter(|text| text.chars().count() == 1) else {
        return Err(what.unwrap_or(text).error("TRIM takes off one character that is written out"));
    };
    text_to_text(text, "TRIM", |text| {
        let args = vec![text, logical_expr::lit(character)];
        match edge {
            None | Some(TrimWhereField::Both) => expr_fn::trim(args),
            Some(TrimWhereField::Leading) => expr_fn::ltrim(args),
            Some(TrimWhereField::Trailing) => expr_fn::rtrim(args),
        }
    })
}

/// `SUBSTRING(text FROM start [FOR length])`, counted in characters from 1.
pub(super) fn substring(
    text: &Typed,
    from: Option<Typed>,
    length: Option<Typed>,
    span: Span,
) -> Result<Typed> {
    let Some(from) = from else { return Err(refused("SUBSTRING in this form", span)) };
    let start = integer_literal(&from, 1, "SUBSTRING's start")?;
    let length =
        length.map(|length| integer_literal(&length, 0, "SUBSTRING's length")).transpose()?;
    text_to_view(text, "SUBSTRING", |text| match length {
        Some(length) => {
            expr_fn::substring(text, logical_expr::lit(start), logical_expr::lit(length))
        }
        None => expr_fn::substr(text, logical_expr::lit(start)),
    })
}

fn edge(text: &Typed, length: &Typed, what: &str, of: fn(Expr, Expr) -> Expr) -> Result<Typed> {
    let length = integer_literal(length, 0, &format!("{what}'s length"))?;
    text_to_text(text, what, |text| of(text, logical_expr::lit(length)))
}

/// Numbers below `least` mean different things to the engines.
fn integer_literal(typed: &Typed, least: i64, what: &str) -> Result<i64> {
    match typed.literal.and_then(numbers::Exact::as_integer) {
        Some(value) if value >= least => Ok(value),
        _ => Err(typed.error(format!("{what} is an integer from {least}, written out"))),
    }
}

/// `POSITION(needle IN text)`, counted in characters from 1; 0 when absent.
pub(super) fn position(needle: &Typed, text: &Typed) -> Result<Typed> {
    needle.is(ColumnType::String, "POSITION")?;
    text.is(ColumnType::String, "POSITION")?;
    let expr = expr_fn::strpos(text.expr.clone(), needle.expr.clone());
    Ok(Typed::strict(expr, ColumnType::Int, needle.span, &[text, needle]))
}

fn replace(text: &Typed, from: &Typed, to: &Typed) -> Result<Typed> {
    for argument in [text, from, to] {
        argument.is(ColumnType::String, "REPLACE")?;
    }
    if compare::text_literal(from).is_none_or(str::is_empty) {
        return Err(from.error("REPLACE looks for a text that is written out and not empty"));
    }
    let expr = expr_fn::replace(text.expr.clone(), from.expr.clone(), to.expr.clone());
    Ok(Typed::strict(expr, ColumnType::String, text.span, &[text, from, to]))
}

/// `a || b`, and CONCAT: null when any part is null.
pub(super) fn concat(parts: Vec<Typed>, span: Span) -> Result<Typed> {
    let mut all: Option<Typed> = None;
    for part in parts {
        part.is(ColumnType::String, "`||`")?;
        all = Some(match all {
            None => part,
            Some(all) => Typed::binary(&all, Operator::StringConcat, &part, ColumnType::String),
        });
    }
    all.ok_or_else(|| JobError::at(span, "CONCAT takes at least one text"))
}

fn abs(number: Typed) -> Result<Typed> {
    let column_type = numbers::is_number(&number, "ABS")?;
    if matches!(column_type, ColumnType::Int | ColumnType::Long) {
        let span = number.span;
        let zero = numbers::literal("0", span)?;
        let negative = compare::compare(number.clone(), Operator::Lt, zero)?;
        return choice::case(vec![(negative, numbers::negate(number.clone())?)], number, span);
    }
    let expr = expr_fn::abs(number.expr.clone());
    Ok(Typed { expr, literal: None, ..number })
}
