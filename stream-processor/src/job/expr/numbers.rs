//! Numbers: what is written out, and arithmetic.
//!
//! Integers wrap as Flink's do. Decimals are exact or refused: an operation whose result needs more
//! than 38 digits has no place here, because Flink would answer NULL.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{self, Expr, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use datafusion::sql::sqlparser::tokenizer::Span;
use lakehouse::spec::ColumnType;

use super::{Typed, cast};
use crate::job::error::{JobError, Result};
use crate::job::types::DECIMAL_DIGITS_MAX;

/// Digits a 64-bit float surely keeps.
pub(super) const DOUBLE_DIGITS_EXACT: u8 = 15;

/// A number that was written out: `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exact {
    unscaled: i128,
    scale: u8,
}

impl Exact {
    /// The same number with `scale` digits after the point, if it has no more than that.
    fn rescaled(self, scale: u8) -> Option<i128> {
        let factor = |digits: u8| 10_i128.checked_pow(u32::from(digits));
        if scale >= self.scale {
            self.unscaled.checked_mul(factor(scale - self.scale)?)
        } else {
            let factor = factor(self.scale - scale)?;
            (self.unscaled % factor == 0).then_some(self.unscaled / factor)
        }
    }

    /// The number as a value of `column_type`, if it is one exactly.
    pub(super) fn as_type(self, column_type: ColumnType) -> Option<ScalarValue> {
        Some(match column_type {
            ColumnType::Int => ScalarValue::Int32(Some(self.rescaled(0)?.try_into().ok()?)),
            ColumnType::Long => ScalarValue::Int64(Some(self.rescaled(0)?.try_into().ok()?)),
            ColumnType::Decimal { precision, scale } => {
                let unscaled = self.rescaled(scale)?;
                if unscaled.unsigned_abs() >= 10_u128.checked_pow(u32::from(precision))? {
                    return None;
                }
                ScalarValue::Decimal128(Some(unscaled), precision, i8::try_from(scale).ok()?)
            }
            ColumnType::Double => {
                let text = format!("{}e-{}", self.unscaled, self.scale);
                ScalarValue::Float64(Some(text.parse().ok()?))
            }
            _ => return None,
        })
    }

    pub(super) fn as_integer(self) -> Option<i64> {
        self.rescaled(0)?.try_into().ok()
    }
}

/// A number as Flink types it: INT, else BIGINT, else DECIMAL; DOUBLE with an exponent.
pub(super) fn literal(text: &str, span: Span) -> Result<Typed> {
    if text.contains(['e', 'E']) {
        return match text.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                Ok(Typed::new(logical_expr::lit(value), ColumnType::Double, span))
            }
            _ => Err(JobError::at(span, format!("`{text}` is not a DOUBLE"))),
        };
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let exact = digits.parse().ok().zip(u8::try_from(fraction.len()).ok());
    let Some((unscaled, scale)) = exact else { return Err(too_many_digits(span)) };
    if scale == 0 && i64::try_from(unscaled).is_err() {
        return Err(JobError::at(span, format!("`{text}` is out of range for BIGINT")));
    }
    exact_literal(Exact { unscaled, scale }, span)
}

fn exact_literal(exact: Exact, span: Span) -> Result<Typed> {
    let column_type = if exact.scale == 0 && i32::try_from(exact.unscaled).is_ok() {
        ColumnType::Int
    } else if exact.scale == 0 && i64::try_from(exact.unscaled).is_ok() {
        ColumnType::Long
    } else {
        let digits = exact.unscaled.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
        let precision = u8::try_from(digits).unwrap_or(u8::MAX).max(exact.scale);
        ColumnType::Decimal { precision, scale: exact.scale }
    };
    match exact.as_type(column_type) {
        Some(value) => {
            let typed = Typed::new(logical_expr::lit(value), column_type, span);
            Ok(Typed { literal: Some(exact), ..typed })
        }
        None => Err(too_many_digits(span)),
    }
}

fn too_many_digits(span: Span) -> JobError {
    JobError::at(span, "a number has at most 38 digits")
}

/// `-x`.
pub(super) fn negate(typed: Typed) -> Result<Typed> {
    if let Some(Exact { unscaled, scale }) = typed.literal {
        return exact_literal(Exact { unscaled: -unscaled, scale }, typed.span);
    }
    match is_number(&typed, "-")? {
        // Wraps, as Flink's does; `datafusion`'s own negation fails on the smallest integer.
        ColumnType::Int | ColumnType::Long => {
            let zero = exact_literal(Exact { unscaled: 0, scale: 0 }, typed.span)?;
            arithmetic(zero, &BinaryOperator::Minus, typed)
        }
        _ => {
            let expr = Expr::Negative(Box::new(typed.expr.clone()));
            Ok(Typed { expr, ..typed })
        }
    }
}

pub(super) fn is_number(typed: &Typed, what: &str) -> Result<ColumnType> {
    match typed.column_type {
        Some(
            number @ (ColumnType::Int
            | ColumnType::Long
            | ColumnType::Float
            | ColumnType::Double
            | ColumnType::Decimal { .. }),
        ) => Ok(number),
        _ => Err(typed.error(format!("`{what}` takes numbers, found {}", typed.type_name()))),
    }
}

/// The digits before and after the point that hold every value of an exact type.
pub(super) fn digits(column_type: ColumnType) -> Option<(u8, u8)> {
    match column_type {
        ColumnType::Int => Some((10, 0)),
        ColumnType::Long => Some((19, 0)),
        ColumnType::Decimal { precision, scale } => Some((precision - scale, scale)),
        _ => None,
    }
}

/// `left op right`.
pub(super) fn arithmetic(left: Typed, op: &BinaryOperator, right: Typed) -> Result<Typed> {
    let what = op.to_string();
    let (left_type, right_type) = (is_number(&left, &what)?, is_number(&right, &what)?);
    let operator = match op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        _ => Operator::Modulo,
    };
    match (left_type, right_type) {
        (ColumnType::Float, _) | (_, ColumnType::Float) => {
            Err(left.error("arithmetic on FLOAT is not supported").hint("CAST it to DOUBLE"))
        }
        (ColumnType::Double, _) | (_, ColumnType::Double) => floats(left, operator, right),
        (ColumnType::Int | ColumnType::Long, ColumnType::Int | ColumnType::Long) => {
            integers(left, operator, right, (left_type, right_type))
        }
        _ => decimals(left, operator, right),
    }
}

fn integers(
    left: Typed,
    op: Operator,
    right: Typed,
    (left_type, right_type): (ColumnType, ColumnType),
) -> Result<Typed> {
    let column_type = match (left_type, right_type) {
        (ColumnType::Int, ColumnType::Int) => ColumnType::Int,
        _ => ColumnType::Long,
    };
    let divides = matches!(op, Operator::Divide | Operator::Modulo);
    let by_zero = divides && right.literal.is_none_or(|divisor| divisor.unscaled == 0);
    // The smallest integer by -1 overflows, which Flink does not notice.
    let by_minus_one = divides && right.literal.is_some_and(|divisor| divisor.unscaled == -1);
    if by_minus_one {
        return Err(right.error("dividing by -1 is not supported").hint("write -x"));
    }
    let (left, right) = (cast::widen(left, column_type)?, cast::widen(right, column_type)?);
    let result = Typed::binary(&left, op, &right, column_type);
    let result = Typed { fallible: result.fallible || by_zero, ..result };
    if op == Operator::Modulo && right_type != column_type {
        // A remainder has the type of the divisor, and is smaller than it.
        let expr = logical_expr::cast(result.expr, right_type.to_arrow());
        return Ok(Typed { expr, column_type: Some(right_type), ..result });
    }
    Ok(result)
}

fn floats(left: Typed, op: Operator, right: Typed) -> Result<Typed> {
    match op {
        Operator::Modulo => {
            return Err(left.error("`%` on DOUBLE is not supported"));
        }
        Operator::Divide if right.literal.is_none_or(|divisor| divisor.unscaled == 0) => {
            return Err(right
                .error("a DOUBLE is divided only by a number that is written out")
                .hint("the engines order the NaN of 0/0 differently"));
        }
        _ => {}
    }
    let (left, right) =
        (cast::widen(left, ColumnType::Double)?, cast::widen(right, ColumnType::Double)?);
    Ok(Typed { computed_float: true, ..Typed::binary(&left, op, &right, ColumnType::Double) })
}

fn decimals(left: Typed, op: Operator, right: Typed) -> Result<Typed> {
    let span = left.span;
    let left = as_decimal(left)?;
    let right = as_decimal(right)?;
    let (whole, scale) = match op {
        Operator::Plus | Operator::Minus => {
            (left.whole.max(right.whole) + 1, left.scale.max(right.scale))
        }
        Operator::Multiply => (left.whole + right.whole + 1, left.scale + right.scale),
        _ => {
            return Err(JobError::at(span, "dividing decimals is not supported")
                .hint("CAST both to DOUBLE, or divide when querying"));
        }
    };
    let precision = whole + scale;
    if precision > DECIMAL_DIGITS_MAX {
        return Err(JobError::at(span, format!("the result may need {precision} digits"))
            .hint("CAST the operands to DECIMALs with fewer digits"));
    }
    let column_type = ColumnType::Decimal { precision, scale };
    Ok(Typed::binary(&left.typed, op, &right.typed, column_type))
}

struct DecimalOperand {
    typed: Typed,
    whole: u8,
    scale: u8,
}

fn as_decimal(typed: Typed) -> Result<DecimalOperand> {
    let column_type = is_number(&typed, "arithmetic")?;
    let Some((whole, scale)) = digits(column_type) else {
        return Err(typed.error(format!("expected an exact number, found {}", typed.type_name())));
    };
    let decimal = ColumnType::Decimal { precision: whole + scale, scale };
    Ok(DecimalOperand { typed: cast::widen(typed, decimal)?, whole, scale })
}
