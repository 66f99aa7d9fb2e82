//! Rows → rows of each UTC day.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};

use super::encode::Rows;
use super::schema::TableSchema;
use crate::spec::ColumnType;
use crate::{Error, Kind, Result};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The rows of each day. Rows of one day in a row are not copied.
pub(super) fn split(schema: &TableSchema, rows: Rows) -> Result<Vec<(Option<i32>, Rows)>> {
    let Some((index, column)) = schema.partition_column() else {
        return Ok(vec![(None, rows)]);
    };
    let runs = match rows.arrays().get(index).and_then(Option::as_ref) {
        // A batch without the column holds null there.
        None => return Ok(vec![(None, rows)]),
        Some(array) => runs(column.column_type, array),
    };
    runs.into_iter()
        .map(|(day, runs)| match runs.as_slice() {
            [run] if run.len() == rows.len() => Ok((day, rows.clone())),
            [run] => Ok((day, rows.slice(run))),
            runs => Ok((day, gather(&rows, runs)?)),
        })
        .collect()
}

type Runs = BTreeMap<Option<i32>, Vec<Range<usize>>>;

fn runs(column_type: ColumnType, array: &ArrayRef) -> Runs {
    match column_type {
        ColumnType::Date => runs_of(array, array.as_primitive::<Date32Type>().values(), |days| {
            (*days, *days..=*days)
        }),
        _ => {
            runs_of(array, array.as_primitive::<TimestampMicrosecondType>().values(), |micros| {
                let day = micros.div_euclid(MICROS_PER_DAY);
                let start = day.saturating_mul(MICROS_PER_DAY);
                // 2^63 microseconds are 1.1e8 days.
                (
                    i32::try_from(day).unwrap_or(i32::MAX),
                    start..=start.saturating_add(MICROS_PER_DAY - 1),
                )
            })
        }
    }
}
/// `day` answers a value's day and the range of all values of that day.
fn runs_of<T: PartialOrd>(
    array: &ArrayRef,
    values: &[T],
    day: impl Fn(&T) -> (i32, RangeInclusive<T>),
) -> Runs {
    let mut runs = Runs::new();
    let mut start = 0;
    let mut open: Option<(i32, RangeInclusive<T>)> = None;
    for (row, value) in values.iter().enumerate() {
        let same = match &open {
            _ if row == 0 => false,
            _ if array.is_null(row) => open.is_none(),
            Some((_, range)) => range.contains(value),
            None => false,
        };
        if !same {
            if row > 0 {
                runs.entry(open.map(|(day, _)| day)).or_default().push(start..row);
            }
            open = (!array.is_null(row)).then(|| day(value));
            start = row;
        }
    }
    if !values.is_empty() {
        runs.entry(open.map(|(day, _)| day)).or_default().push(start..values.len());
    }
    runs
}

fn gather(rows: &Rows, runs: &[Range<usize>]) -> Result<Rows> {
    let indices = runs.iter().cloned().flatten().map(|row| u32::try_from(row).unwrap_or(u32::MAX));
    let indices = UInt32Array::from_iter_values(indices);
    rows.try_map(indices.len(), |array| {
        take(array, &indices, None)
            .map_err(|err| Error::new(Kind::Bug, "rows can't be gathered by day").because(err))
    })
}
