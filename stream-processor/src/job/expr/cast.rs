//! Conversions: those that are asked for, and those that Flink makes on its own.
//!
//! A conversion stands here only if both engines give the same value for every input.

use datafusion::common::ScalarValue;
use datafusion::logical_expr;
use datafusion::sql::sqlparser::ast::{CastKind, DataType, TypedString, Value};
use datafusion::sql::sqlparser::tokenizer::Span;
use lakehouse::spec::ColumnType;

use super::numbers::{DOUBLE_DIGITS_EXACT, digits};
use super::{Typed, refused};
use crate::decode;
use crate::job::TimestampStyle;
use crate::job::error::{JobError, Result};
use crate::job::types::{self, DECIMAL_DIGITS_MAX, SqlType};

/// `CAST(x AS type)` and `TRY_CAST(x AS type)`.
pub(super) fn cast(typed: Typed, kind: &CastKind, to: &DataType, span: Span) -> Result<Typed> {
    let try_cast = match kind {
        CastKind::Cast => false,
        CastKind::TryCast => true,
        _ => return Err(refused("this way to cast", span).hint("write CAST(x AS type)")),
    };
    let SqlType { column_type: target, precision } = SqlType::parse(to, typed.span)?;
    let Some(from) = typed.column_type else { return widen(typed, target) };
    let to_time = matches!(target, ColumnType::Timestamp | ColumnType::Timestamptz);
    if to_time && typed.precision > precision {
        let message = format!("CAST from {} digits of a second to {precision}", typed.precision);
        return Err(typed.error(message + " is not supported").hint("keep the digits"));
    }
    match conversion(from, target) {
        Conversion::Same => Ok(typed),
        Conversion::Safe => Ok(Typed { precision, ..convert(&typed, target) }),
        Conversion::MayOverflow if try_cast => {
            let expr = logical_expr::try_cast(typed.expr.clone(), target.to_arrow());
            let converted = Typed::strict(expr, target, typed.span, &[&typed]);
            Ok(Typed { nullable: true, ..converted })
        }
        Conversion::MayOverflow => {
            let message = format!("{} may not fit into {}", types::name(from), types::name(target));
            Err(typed.error(message).hint("TRY_CAST gives NULL for what does not fit"))
        }
        Conversion::None => {
            let (from, target) = (types::name(from), types::name(target));
            Err(typed
                .error(format!("CAST from {from} to {target} is not supported"))
                .hint("docs/sql.md lists the conversions on which the engines agree"))
        }
    }
}

enum Conversion {
    Same,
    /// Every value converts.
    Safe,
    /// Some values do not fit.
    MayOverflow,
    /// The engines differ, or there is no meaning.
    None,
}

fn conversion(from: ColumnType, to: ColumnType) -> Conversion {
    use ColumnType::{Date, Decimal, Double, Float, Int, Long, String, Timestamp, Timestamptz};
    match (from, to) {
        (from, to) if from == to => Conversion::Same,
        (Int | Long | Decimal { .. }, Decimal { precision, scale }) => {
            let Some((whole, fraction)) = digits(from) else { return Conversion::None };
            // Rounding half up can carry into one more digit.
            let needed = whole + u8::from(scale < fraction);
            if needed <= precision - scale { Conversion::Safe } else { Conversion::MayOverflow }
        }
        (Decimal { precision, scale }, Int) if precision - scale <= 9 => Conversion::Safe,
        (Decimal { precision, scale }, Long) if precision - scale <= 18 => Conversion::Safe,
        (Decimal { precision, .. }, Double) if precision <= DOUBLE_DIGITS_EXACT => Conversion::Safe,
        (Int, Long | Double)
        | (Long | Float, Double)
        | (Int | Long | Decimal { .. } | Date, String)
        | (Timestamptz, Timestamp | Date)
        | (Timestamp, Timestamptz | Date)
        | (Date, Timestamp | Timestamptz) => Conversion::Safe,
        _ => Conversion::None,
    }
}

/// Makes `typed` a value of a type that holds every value of its own.
pub(super) fn widen(typed: Typed, target: ColumnType) -> Result<Typed> {
    let Some(from) = typed.column_type else {
        let value = ScalarValue::try_from(&target.to_arrow())
            .map_err(|err| typed.error(err.to_string()))?;
        let null = Typed::new(logical_expr::lit(value), target, typed.span);
        return Ok(Typed { nullable: true, ..null });
    };
    if from == target {
        return Ok(typed);
    }
    if let Some(value) = typed.literal.and_then(|exact| exact.as_type(target)) {
        let literal = Typed::new(logical_expr::lit(value), target, typed.span);
        return Ok(Typed { literal: typed.literal, ..literal });
    }
    match conversion(from, target) {
        Conversion::Same | Conversion::Safe => Ok(convert(&typed, target)),
        Conversion::MayOverflow | Conversion::None => {
            let message =
                format!("{} does not turn into {}", types::name(from), types::name(target));
            Err(typed.error(message).hint("CAST one side so that both have one type"))
        }
    }
}

fn convert(typed: &Typed, target: ColumnType) -> Typed {
    let expr = logical_expr::cast(typed.expr.clone(), target.to_arrow());
    let computed_float = typed.computed_float;
    Typed { computed_float, ..Typed::strict(expr, target, typed.span, &[typed]) }
}

/// The one type that Flink gives several results.
pub(super) fn common_type<'a>(
    all: impl Iterator<Item = &'a Typed>,
    span: Span,
) -> Result<ColumnType> {
    let mut common: Option<ColumnType> = None;
    for typed in all {
        let Some(next) = typed.column_type else { continue };
        common = Some(match common {
            None => next,
            Some(so_far) => wider(so_far, next).ok_or_else(|| {
                let (so_far, next) = (types::name(so_far), types::name(next));
                typed
                    .error(format!("{so_far} and {next} have no common type"))
                    .hint("CAST one side")
            })?,
        });
    }
    common.ok_or_else(|| {
        JobError::at(span, "the type of NULL is unknown here").hint("CAST(NULL AS type)")
    })
}

fn wider(left: ColumnType, right: ColumnType) -> Option<ColumnType> {
    use ColumnType::{Decimal, Double, Float, Int, Long};
    match (left, right) {
        (left, right) if left == right => Some(left),
        (Int, Long) | (Long, Int) => Some(Long),
        (Float | Double | Int | Long | Decimal { .. }, Double)
        | (Double, Float | Int | Long | Decimal { .. }) => Some(Double),
        _ => {
            let ((left_whole, left_scale), (right_whole, right_scale)) =
                (digits(left)?, digits(right)?);
            let scale = left_scale.max(right_scale);
            let precision = left_whole.max(right_whole) + scale;
            (precision <= DECIMAL_DIGITS_MAX).then_some(Decimal { precision, scale })
        }
    }
}

/// `TIMESTAMP '…'` and `DATE '…'`.
pub(super) fn typed_string(text: &TypedString) -> Result<Typed> {
    let span = text.value.span;
    let Value::SingleQuotedString(value) = &text.value.value else {
        return Err(refused("this literal", span));
    };
    let wrong = || JobError::at(span, format!("'{value}' is not a {}", text.data_type));
    match text.data_type {
        DataType::Date => {
            let days = decode::parse_date(value.as_bytes()).ok_or_else(wrong)?;
            let literal = logical_expr::lit(ScalarValue::Date32(Some(days)));
            Ok(Typed::new(literal, ColumnType::Date, span))
        }
        DataType::Timestamp(None, _) => {
            let micros = decode::parse_timestamp(value.as_bytes(), TimestampStyle::Sql, 6, false)
                .ok_or_else(|| wrong().hint("write TIMESTAMP '2025-01-31 23:59:59'"))?;
            let literal = logical_expr::lit(ScalarValue::TimestampMicrosecond(Some(micros), None));
            let precision = value.split_once('.').map_or(0, |(_, digits)| digits.len());
            let precision = u8::try_from(precision).unwrap_or(u8::MAX);
            Ok(Typed { precision, ..Typed::new(literal, ColumnType::Timestamp, span) })
        }
        _ => Err(refused(&format!("a {} literal", text.data_type), span)),
    }
}
