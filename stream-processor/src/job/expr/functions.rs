//! The functions of the subset.

use datafusion::functions::expr_fn;
use datafusion::logical_expr::{self, Expr, Operator};
use datafusion::sql::sqlparser::ast::{
    DateTimeField, Expr as Sql, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned,
    TrimWhereField,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use lakehouse::spec::ColumnType;

use super::{Typed, case, cast, compare, numbers, refused};
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
            coalesce([first].into_iter().chain(rest).collect(), span)
        }
        ("NULLIF", 2, Some(left), Some(right), _) => {
            let equal = compare::compare(left.clone(), Operator::Eq, right)?;
            case(vec![(equal, Typed::null(span))], left, span)
        }
        ("IF", 3, Some(condition), Some(then), Some(otherwise)) => {
            condition.is(ColumnType::Boolean, "IF")?;
            case(vec![(condition, then)], otherwise, span)
        }
        ("ABS", 1, Some(number), ..) => abs(number),
        ("MOD", 2, Some(left), Some(right), _) => {
            use datafusion::sql::sqlparser::ast::BinaryOperator;
            numbers::arithmetic(left, &BinaryOperator::Modulo, right)
        }
        ("YEAR", 1, Some(time), ..) => extract(&DateTimeField::Year, &time, span),
        ("MONTH", 1, Some(time), ..) => extract(&DateTimeField::Month, &time, span),
        ("DAYOFMONTH", 1, Some(time), ..) => extract(&DateTimeField::Day, &time, span),
        ("HOUR", 1, Some(time), ..) => extract(&DateTimeField::Hour, &time, span),
        ("MINUTE", 1, Some(time), ..) => extract(&DateTimeField::Minute, &time, span),
        ("SECOND", 1, Some(time), ..) => extract(&DateTimeField::Second, &time, span),
        ("DATE_FORMAT", 2, Some(time), Some(pattern), _) => date_format(&time, &pattern),
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

fn coalesce(args: Vec<Typed>, span: Span) -> Result<Typed> {
    let column_type = cast::common_type(args.iter(), span)?;
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

fn abs(number: Typed) -> Result<Typed> {
    let column_type = numbers::is_number(&number, "ABS")?;
    if matches!(column_type, ColumnType::Int | ColumnType::Long) {
        let span = number.span;
        let zero = numbers::literal("0", span)?;
        let negative = compare::compare(number.clone(), Operator::Lt, zero)?;
        return case(vec![(negative, numbers::negate(number.clone())?)], number, span);
    }
    let expr = expr_fn::abs(number.expr.clone());
    Ok(Typed { expr, literal: None, ..number })
}

/// `EXTRACT(field FROM time)`, in UTC.
pub(super) fn extract(field: &DateTimeField, time: &Typed, span: Span) -> Result<Typed> {
    let is_date = time.column_type == Some(ColumnType::Date);
    let part = match field {
        DateTimeField::Year => "year",
        DateTimeField::Month => "month",
        DateTimeField::Day => "day",
        DateTimeField::Hour if !is_date => "hour",
        DateTimeField::Minute if !is_date => "minute",
        DateTimeField::Second if !is_date => "second",
        other => return Err(refused(&format!("EXTRACT({other})"), span)),
    };
    is_time(time, "EXTRACT")?;
    let expr = expr_fn::date_part(logical_expr::lit(part), time.expr.clone());
    let expr = logical_expr::cast(expr, ColumnType::Long.to_arrow());
    Ok(Typed::strict(expr, ColumnType::Long, span, &[time]))
}

fn is_time(typed: &Typed, what: &str) -> Result<()> {
    match typed.column_type {
        Some(ColumnType::Date | ColumnType::Timestamp | ColumnType::Timestamptz) => Ok(()),
        _ => {
            Err(typed
                .error(format!("{what} takes a timestamp or date, found {}", typed.type_name())))
        }
    }
}

/// `DATE_FORMAT(time, 'yyyy-MM-dd HH:mm:ss.SSS')`, in UTC.
fn date_format(time: &Typed, pattern: &Typed) -> Result<Typed> {
    if !matches!(time.column_type, Some(ColumnType::Timestamp | ColumnType::Timestamptz)) {
        return Err(
            time.error(format!("DATE_FORMAT takes a timestamp, found {}", time.type_name()))
        );
    }
    let format = compare::text_literal(pattern).and_then(chrono_format).ok_or_else(|| {
        pattern
            .error("this pattern is not supported")
            .hint("use yyyy, MM, dd, HH, mm, ss, SSS and any of `-/:._ ` between them")
    })?;
    let expr = expr_fn::to_char(time.expr.clone(), logical_expr::lit(format));
    Ok(Typed::strict(expr, ColumnType::String, time.span, &[time]))
}

/// Java's pattern letters → chrono's.
fn chrono_format(pattern: &str) -> Option<String> {
    const PARTS: &[(&str, &str)] = &[
        ("yyyy", "%Y"),
        ("MM", "%m"),
        ("dd", "%d"),
        ("HH", "%H"),
        ("mm", "%M"),
        ("SSS", "%3f"),
        ("ss", "%S"),
    ];
    let mut rest = pattern;
    let mut format = String::new();
    while let Some(first) = rest.chars().next() {
        let part = PARTS.iter().find_map(|(java, chrono)| {
            // A longer run of the letter means something else.
            let after = rest.strip_prefix(java)?;
            (!after.starts_with(first)).then_some((after, *chrono))
        });
        match part {
            Some((after, chrono)) => {
                format.push_str(chrono);
                rest = after;
            }
            None if "-/:._ ".contains(first) => {
                format.push(first);
                rest = rest.strip_prefix(first).unwrap_or_default();
            }
            None => return None,
        }
    }
    Some(format)
}
