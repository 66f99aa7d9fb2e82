//! Functions of time. All of them read the clock of UTC.

use datafusion::functions::expr_fn;
use datafusion::logical_expr;
use datafusion::sql::sqlparser::ast::DateTimeField;
use datafusion::sql::sqlparser::tokenizer::Span;
use lakehouse::spec::ColumnType;

use super::{Typed, compare, refused};
use crate::job::error::Result;

/// `EXTRACT(field FROM time)`.
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

/// `DATE_FORMAT(time, 'yyyy-MM-dd HH:mm:ss.SSS')`.
pub(super) fn date_format(time: &Typed, pattern: &Typed) -> Result<Typed> {
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
