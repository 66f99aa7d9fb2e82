//! The least and the greatest value of a column, batch by batch.
//!
//! Owns the order of each type as Iceberg defines it: text by code point, numbers by value, NaN left
//! out.
//!
//! Iceberg spec, "Manifests", notes on `lower_bounds` and `upper_bounds`.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::{max, max_boolean, min, min_boolean};
use arrow::datatypes::{
    ArrowNumericType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use iceberg::spec::{Datum, PrimitiveType};

use super::prefix::{Prefix, binary_range, text_range};
use crate::spec::ColumnType;

/// Least and greatest value so far; `None` while every value is null or NaN.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bounds {
    Boolean(Option<(bool, bool)>),
    Int(Option<(i32, i32)>),
    Long(Option<(i64, i64)>),
    Float(Option<(f32, f32)>),
    Double(Option<(f64, f64)>),
    Decimal(Option<(i128, i128)>),
    String(Option<(Prefix, Prefix)>),
    Binary(Option<(Prefix, Prefix)>),
}

impl Bounds {
    pub(super) fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean(None),
            ColumnType::Int | ColumnType::Date => Self::Int(None),
            ColumnType::Long | ColumnType::Timestamptz | ColumnType::Timestamp => Self::Long(None),
            ColumnType::Float => Self::Float(None),
            ColumnType::Double => Self::Double(None),
            ColumnType::Decimal { .. } => Self::Decimal(None),
            ColumnType::String => Self::String(None),
            ColumnType::Binary => Self::Binary(None),
        }
    }

    /// Widens the bounds to hold `array`; answers how many of its values are NaN.
    pub(super) fn add(&mut self, column_type: ColumnType, array: &ArrayRef) -> usize {
        match self {
            Self::Boolean(bounds) => {
                let array = array.as_boolean();
                widen(bounds, min_boolean(array).zip(max_boolean(array)), bool::lt);
            }
            Self::Int(bounds) if column_type == ColumnType::Date => {
                widen(bounds, range(array.as_primitive::<Date32Type>()), i32::lt);
            }
            Self::Int(bounds) => {
                widen(bounds, range(array.as_primitive::<Int32Type>()), i32::lt);
            }
            Self::Long(bounds) if column_type == ColumnType::Long => {
                widen(bounds, range(array.as_primitive::<Int64Type>()), i64::lt);
            }
            Self::Long(bounds) => {
                widen(bounds, range(array.as_primitive::<TimestampMicrosecondType>()), i64::lt);
            }
            Self::Decimal(bounds) => {
                widen(bounds, range(array.as_primitive::<Decimal128Type>()), i128::lt);
            }
            Self::Float(bounds) => {
                let (range, nans) = float_range(array.as_primitive::<Float32Type>());
                widen(bounds, range, f32::lt);
                return nans;
            }
            Self::Double(bounds) => {
                let (range, nans) = float_range(array.as_primitive::<Float64Type>());
                widen(bounds, range, f64::lt);
                return nans;
            }
            Self::String(bounds) => {
                widen(bounds, text_range(array.as_string()), Prefix::lt);
            }
            Self::Binary(bounds) => {
                widen(bounds, binary_range(array.as_binary()), Prefix::lt);
            }
        }
        0
    }

    /// Widens the bounds to hold those of other values of the same column.
    pub(super) fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Boolean(bounds), Self::Boolean(other)) => widen(bounds, other, bool::lt),
            (Self::Int(bounds), Self::Int(other)) => widen(bounds, other, i32::lt),
            (Self::Long(bounds), Self::Long(other)) => widen(bounds, other, i64::lt),
            (Self::Float(bounds), Self::Float(other)) => widen(bounds, other, f32::lt),
            (Self::Double(bounds), Self::Double(other)) => widen(bounds, other, f64::lt),
            (Self::Decimal(bounds), Self::Decimal(other)) => widen(bounds, other, i128::lt),
            (Self::String(bounds), Self::String(other))
            | (Self::Binary(bounds), Self::Binary(other)) => widen(bounds, other, Prefix::lt),
            (mine, other) => unreachable!("{other:?} is of another column than {mine:?}"),
        }
    }

    /// As Iceberg stores them; a text or binary upper bound is missing when nothing short is greater.
    pub(super) fn to_iceberg(&self, column_type: ColumnType) -> (Option<Datum>, Option<Datum>) {
        match self {
            Self::Boolean(bounds) => both(*bounds, Datum::bool),
            Self::Int(bounds) if column_type == ColumnType::Date => both(*bounds, Datum::date),
            Self::Int(bounds) => both(*bounds, Datum::int),
            Self::Long(bounds) => match column_type {
                ColumnType::Timestamptz => both(*bounds, Datum::timestamptz_micros),
                ColumnType::Timestamp => both(*bounds, Datum::timestamp_micros),
                _ => both(*bounds, Datum::long),
            },
            // Readers differ on whether -0.0 equals 0.0: the bounds hold for both kinds.
            Self::Float(bounds) => match bounds {
                Some((low, high)) => (
                    Some(Datum::float(if *low == 0.0 { -0.0 } else { *low })),
                    Some(Datum::float(if *high == 0.0 { 0.0 } else { *high })),
                ),
                None => (None, None),
            },
            Self::Double(bounds) => match bounds {
                Some((low, high)) => (
                    Some(Datum::double(if *low == 0.0 { -0.0 } else { *low })),
                    Some(Datum::double(if *high == 0.0 { 0.0 } else { *high })),
                ),
                None => (None, None),
            },
            Self::Decimal(bounds) => match bounds {
                Some((low, high)) => (decimal(*low, column_type), decimal(*high, column_type)),
                None => (None, None),
            },
            Self::String(bounds) => match bounds {
                Some((low, high)) => (low.text_below(), high.text_above()),
                None => (None, None),
            },
            Self::Binary(bounds) => match bounds {
                Some((low, high)) => (Some(low.binary_below()), high.binary_above()),
                None => (None, None),
            },
        }
    }
}

fn widen<T: Clone>(
    bounds: &mut Option<(T, T)>,
    with: Option<(T, T)>,
    less: impl Fn(&T, &T) -> bool,
) {
    let Some((low, high)) = with else { return };
    *bounds = Some(match bounds.take() {
        None => (low, high),
        Some((least, greatest)) => (
            if less(&low, &least) { low } else { least },
            if less(&greatest, &high) { high } else { greatest },
        ),
    });
}

/// Least and greatest, if there is a value.
type Range<T> = Option<(T, T)>;

fn range<T: ArrowNumericType>(array: &PrimitiveArray<T>) -> Range<T::Native> {
    min(array).zip(max(array))
}

/// Least and greatest, and how many are NaN. Zeroes compare equal here; [`Bounds::to_iceberg`] makes up
/// for it.
fn float_range<T: Float>(array: &PrimitiveArray<T>) -> (Range<T::Native>, usize)
where
    T::Native: PartialOrd,
{
    let (mut low, mut high, mut nans) = (T::INFINITY, T::NEG_INFINITY, 0);
    let mut add = |value: T::Native| {
        // NaN is neither less nor greater than anything.
        low = if value < low { value } else { low };
        high = if value > high { value } else { high };
        nans += usize::from(T::is_nan(value));
    };
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => array.values().iter().copied().for_each(&mut add),
        Some(_) => array.iter().flatten().for_each(&mut add),
    }
    ((low <= high).then_some((low, high)), nans)
}

/// The two float types under one roof.
trait Float: ArrowNumericType {
    const INFINITY: Self::Native;
    const NEG_INFINITY: Self::Native;
    fn is_nan(value: Self::Native) -> bool;
}

impl Float for Float32Type {
    const INFINITY: f32 = f32::INFINITY;
    const NEG_INFINITY: f32 = f32::NEG_INFINITY;
    fn is_nan(value: f32) -> bool {
        value.is_nan()
    }
}

impl Float for Float64Type {
    const INFINITY: f64 = f64::INFINITY;
    const NEG_INFINITY: f64 = f64::NEG_INFINITY;
    fn is_nan(value: f64) -> bool {
        value.is_nan()
    }
}

fn both<T>(bounds: Option<(T, T)>, datum: impl Fn(T) -> Datum) -> (Option<Datum>, Option<Datum>) {
    bounds.map(|(low, high)| (datum(low), datum(high))).unzip()
}

fn decimal(unscaled: i128, column_type: ColumnType) -> Option<Datum> {
    let ColumnType::Decimal { precision, scale } = column_type else { return None };
    let decimal = PrimitiveType::Decimal { precision: precision.into(), scale: scale.into() };
    Datum::try_from_bytes(&unscaled.to_be_bytes(), decimal).ok()
}
