//! Counts and bounds of a file, against its rows.
//!
//! A bound is read from the bytes that a manifest would hold, as the specification's appendix D spells them.

use std::cmp::Ordering;

use lakehouse::avro::TableSchema;
use lakehouse::datafile::EncodedFile;
use lakehouse::faults::probes::column_facts;
use lakehouse::spec::ColumnType;

use super::table::{Cell, Row, Table};
use super::unscaled;

/// Longer texts and binaries are cut to this for their bounds.
const LENGTH_MAX: usize = 16;

/// Every value lies within the bounds, and the counts are right.
pub(super) fn check(
    table: &Table,
    schema: &TableSchema,
    file: &EncodedFile,
    rows: &[&Row],
) -> Result<(), String> {
    let facts = column_facts(file, schema).map_err(|err| err.to_string())?;
    for (place, (column, facts)) in table.spec.columns.iter().zip(&facts).enumerate() {
        let cells = || rows.iter().map(|row| row.get(place).and_then(Option::as_ref));
        let nulls = cells().filter(Option::is_none).count() as u64;
        let nans = cells().flatten().filter(|cell| is_nan(cell)).count() as u64;
        let floats = matches!(column.column_type, ColumnType::Float | ColumnType::Double);
        let counted = (facts.values, facts.nulls, facts.nans);
        let wanted = (Some(rows.len() as u64), Some(nulls), floats.then_some(nans));
        if counted != wanted {
            return Err(format!("{column:?} counts {counted:?}, and holds {wanted:?}"));
        }
        let lower =
            facts.lower.as_deref().map(|bytes| bound(column.column_type, bytes)).transpose()?;
        let upper =
            facts.upper.as_deref().map(|bytes| bound(column.column_type, bytes)).transpose()?;
        let mut some = false;
        for cell in cells().flatten().filter(|cell| !is_nan(cell)) {
            some = true;
            if lower.as_ref().is_some_and(|lower| order(lower, cell) == Ordering::Greater) {
                return Err(format!("{column:?}: {cell:?} is below the bound {lower:?}"));
            }
            if upper.as_ref().is_some_and(|upper| order(upper, cell) == Ordering::Less) {
                return Err(format!("{column:?}: {cell:?} is above the bound {upper:?}"));
            }
        }
        // A text's upper bound may be missing: nothing short may be greater.
        let cut = matches!(column.column_type, ColumnType::String | ColumnType::Binary);
        if lower.is_some() != some || (upper.is_some() != some && !cut) {
            return Err(format!("{column:?} has the bounds {lower:?} and {upper:?}"));
        }
        for text in [&lower, &upper].into_iter().flatten() {
            if length(text) > LENGTH_MAX {
                return Err(format!("{column:?} has a bound of {} characters", length(text)));
            }
        }
    }
    Ok(())
}

fn bound(column_type: ColumnType, bytes: &[u8]) -> Result<Cell, String> {
    let strange = || format!("a bound of {column_type} is {bytes:?}");
    let four = || <[u8; 4]>::try_from(bytes).map_err(|_| strange());
    let eight = || <[u8; 8]>::try_from(bytes).map_err(|_| strange());
    Ok(match column_type {
        ColumnType::Boolean => match bytes {
            [0] => Cell::Boolean(false),
            [1] => Cell::Boolean(true),
            _ => return Err(strange()),
        },
        ColumnType::Int | ColumnType::Date => Cell::Whole(i32::from_le_bytes(four()?).into()),
        ColumnType::Long | ColumnType::Timestamptz | ColumnType::Timestamp => {
            Cell::Whole(i64::from_le_bytes(eight()?).into())
        }
        ColumnType::Float => Cell::Float(f32::from_le_bytes(four()?)),
        ColumnType::Double => Cell::Double(f64::from_le_bytes(eight()?)),
        ColumnType::Decimal { .. } => Cell::Whole(unscaled(bytes)?),
        ColumnType::String => Cell::Text(String::from_utf8(bytes.to_vec()).map_err(|_| strange())?),
        ColumnType::Binary => Cell::Bytes(bytes.to_vec()),
    })
}

/// By value; -0.0 lies below 0.0, so that a bound holds for readers of either opinion.
fn order(one: &Cell, other: &Cell) -> Ordering {
    match (one, other) {
        (Cell::Boolean(one), Cell::Boolean(other)) => one.cmp(other),
        (Cell::Whole(one), Cell::Whole(other)) => one.cmp(other),
        (Cell::Float(one), Cell::Float(other)) => one.total_cmp(other),
        (Cell::Double(one), Cell::Double(other)) => one.total_cmp(other),
        (Cell::Text(one), Cell::Text(other)) => one.chars().cmp(other.chars()),
        (Cell::Bytes(one), Cell::Bytes(other)) => one.cmp(other),
        _ => unreachable!("{one:?} and {other:?} are of one column"),
    }
}

fn is_nan(cell: &Cell) -> bool {
    matches!(cell, Cell::Float(value) if value.is_nan())
        || matches!(cell, Cell::Double(value) if value.is_nan())
}

fn length(cell: &Cell) -> usize {
    match cell {
        Cell::Text(text) => text.chars().count(),
        Cell::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}
