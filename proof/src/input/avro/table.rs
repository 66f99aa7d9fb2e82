//! Random tables, and rows of plain values for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use lakehouse::spec::{Column, ColumnType, TableSpec, UTC};
use rand::Rng;
use rand::rngs::StdRng;

use super::mutate::one_of;

const COLUMNS_MAX: usize = 12;
/// Blocks are cut at 16,384 rows.
const ROWS_MANY: usize = 40_000;
const ROWS_FEW: usize = 60;
const MICROS_PER_DAY: i128 = 86_400_000_000;

/// A value of any column type.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Boolean(bool),
    /// Integers, days, microseconds, unscaled decimals.
    Whole(i128),
    Float(f32),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

pub(super) type Row = Vec<Option<Cell>>;

impl Cell {
    /// Bit by bit: a NaN is itself, and the zeroes differ.
    pub(super) fn is_same(one: Option<&Self>, other: Option<&Self>) -> bool {
        match (one, other) {
            (None, None) => true,
            (Some(Self::Boolean(one)), Some(Self::Boolean(other))) => one == other,
            (Some(Self::Whole(one)), Some(Self::Whole(other))) => one == other,
            (Some(Self::Float(one)), Some(Self::Float(other))) => one.to_bits() == other.to_bits(),
            (Some(Self::Double(one)), Some(Self::Double(other))) => {
                one.to_bits() == other.to_bits()
            }
            (Some(Self::Text(one)), Some(Self::Text(other))) => one == other,
            (Some(Self::Bytes(one)), Some(Self::Bytes(other))) => one == other,
            _ => false,
        }
    }
}

/// A table, and how its rows are spread.
pub(super) struct Table {
    pub(super) spec: TableSpec,
    days: i64,
}

impl Table {
    pub(super) fn any(dice: &mut StdRng) -> Self {
        let count = dice.random_range(1..=COLUMNS_MAX);
        let columns: Vec<_> = (0..count)
            .map(|number| Column {
                name: name(dice, number),
                column_type: column_type(dice),
                nullable: dice.random_ratio(1, 2),
            })
            .collect();
        let dated = columns.iter().filter(|column| has_day(column.column_type));
        let partition_day = dated.map(|column| column.name.clone()).next();
        let partition_day = partition_day.filter(|_| dice.random_ratio(1, 2));
        let (namespace, name) = ("n".to_owned(), "rows".to_owned());
        let spec = TableSpec { namespace, name, columns, partition_day };
        Self { spec, days: dice.random_range(1..40) }
    }

    /// Whether a file of it could not be read: two columns of one name, also of one that Avro can spell.
    pub(super) fn must_be_refused(&self) -> bool {
        let mut seen = BTreeSet::new();
        self.spec
            .columns
            .iter()
            .any(|column| column.name.is_empty() || !seen.insert(spelled(&column.name)))
    }

    pub(super) fn rows(&self, dice: &mut StdRng) -> Vec<Row> {
        let most = if dice.random_ratio(1, 200) { ROWS_MANY } else { ROWS_FEW };
        let count = dice.random_range(0..=most);
        (0..count)
            .map(|_| self.spec.columns.iter().map(|column| self.cell(dice, column)).collect())
            .collect()
    }

    fn cell(&self, dice: &mut StdRng, column: &Column) -> Option<Cell> {
        if column.nullable && dice.random_ratio(1, 4) {
            return None;
        }
        let is_day = self.spec.partition_day.as_ref() == Some(&column.name);
        let edge = dice.random_ratio(1, 6) && !is_day;
        Some(match column.column_type {
            ColumnType::Boolean => Cell::Boolean(dice.random()),
            ColumnType::Date if is_day => {
                Cell::Whole(dice.random_range(-self.days..self.days).into())
            }
            ColumnType::Int | ColumnType::Date => {
                Cell::Whole(whole(dice, edge, i32::MIN.into(), i32::MAX.into()))
            }
            ColumnType::Timestamptz | ColumnType::Timestamp if is_day => {
                let day = i128::from(dice.random_range(-self.days..self.days));
                Cell::Whole(day * MICROS_PER_DAY + dice.random_range(0..MICROS_PER_DAY))
            }
            ColumnType::Long | ColumnType::Timestamptz | ColumnType::Timestamp => {
                Cell::Whole(whole(dice, edge, i64::MIN.into(), i64::MAX.into()))
            }
            ColumnType::Float => Cell::Float(if edge {
                *one_of(
                    dice,
                    &[0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE],
                )
            } else {
                f32::from_bits(dice.random())
            }),
            ColumnType::Double => Cell::Double(if edge {
                *one_of(
                    dice,
                    &[0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE],
                )
            } else {
                f64::from_bits(dice.random())
            }),
            ColumnType::Decimal { precision, .. } => {
                let most = 10_i128.pow(precision.into()) - 1;
                Cell::Whole(whole(dice, edge, -most, most))
            }
            ColumnType::String => Cell::Text(text(dice)),
            ColumnType::Binary => {
                let length = dice.random_range(0..40);
                let highest = dice.random_ratio(1, 4);
                let byte = |dice: &mut StdRng| if highest { u8::MAX } else { dice.random() };
                Cell::Bytes((0..length).map(|_| byte(dice)).collect())
            }
        })
    }

    /// Whether a row belongs into the file of `day`.
    pub(super) fn is_of(&self, row: &Row, day: Option<i32>) -> bool {
        let Some(name) = &self.spec.partition_day else { return true };
        let mut columns = self.spec.columns.iter().zip(row);
        let found = columns.find(|(column, _)| column.name == *name);
        let found = found.and_then(|(column, cell)| match (column.column_type, cell) {
            (ColumnType::Date, Some(Cell::Whole(days))) => Some(*days),
            (_, Some(Cell::Whole(micros))) => Some(micros.div_euclid(MICROS_PER_DAY)),
            _ => None,
        });
        found == day.map(i128::from)
    }

    pub(super) fn batch(&self, rows: &[Row]) -> Result<RecordBatch, String> {
        let columns = self.spec.columns.iter().enumerate();
        let columns = columns.map(|(place, column)| array(column.column_type, rows, place));
        RecordBatch::try_new(self.spec.arrow_schema(), columns.collect::<Result<_, _>>()?)
            .map_err(|err| err.to_string())
    }
}

fn array(column_type: ColumnType, rows: &[Row], place: usize) -> Result<ArrayRef, String> {
    let cells = || rows.iter().map(|row| row.get(place).and_then(Option::as_ref));
    let small =
        || cells().map(|cell| cell.and_then(Cell::whole).and_then(|n| i32::try_from(n).ok()));
    let large =
        || cells().map(|cell| cell.and_then(Cell::whole).and_then(|n| i64::try_from(n).ok()));
    Ok(match column_type {
        ColumnType::Boolean => {
            let of =
                |cell: &Cell| if let Cell::Boolean(value) = cell { Some(*value) } else { None };
            Arc::new(cells().map(|cell| cell.and_then(of)).collect::<BooleanArray>())
        }
        ColumnType::Int => Arc::new(small().collect::<Int32Array>()),
        ColumnType::Date => Arc::new(small().collect::<Date32Array>()),
        ColumnType::Long => Arc::new(large().collect::<Int64Array>()),
        ColumnType::Timestamp => Arc::new(large().collect::<TimestampMicrosecondArray>()),
        ColumnType::Timestamptz => {
            Arc::new(large().collect::<TimestampMicrosecondArray>().with_timezone(UTC))
        }
        ColumnType::Float => {
            let of = |cell: &Cell| if let Cell::Float(value) = cell { Some(*value) } else { None };
            Arc::new(cells().map(|cell| cell.and_then(of)).collect::<Float32Array>())
        }
        ColumnType::Double => {
            let of = |cell: &Cell| if let Cell::Double(value) = cell { Some(*value) } else { None };
            Arc::new(cells().map(|cell| cell.and_then(of)).collect::<Float64Array>())
        }
        ColumnType::Decimal { precision, scale } => {
            let array: Decimal128Array = cells().map(|cell| cell.and_then(Cell::whole)).collect();
            let scale = i8::try_from(scale).map_err(|err| err.to_string())?;
            let array = array.with_precision_and_scale(precision, scale);
            Arc::new(array.map_err(|err| err.to_string())?)
        }
        ColumnType::String => {
            let of = |cell: &'_ Cell| {
                if let Cell::Text(text) = cell { Some(text.clone()) } else { None }
            };
            Arc::new(cells().map(|cell| cell.and_then(of)).collect::<StringArray>())
        }
        ColumnType::Binary => {
            let of = |cell: &'_ Cell| {
                if let Cell::Bytes(bytes) = cell { Some(bytes.clone()) } else { None }
            };
            Arc::new(cells().map(|cell| cell.and_then(of)).collect::<BinaryArray>())
        }
    })
}

impl Cell {
    fn whole(&self) -> Option<i128> {
        if let Self::Whole(number) = self { Some(*number) } else { None }
    }
}

fn has_day(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Date | ColumnType::Timestamp | ColumnType::Timestamptz)
}

fn column_type(dice: &mut StdRng) -> ColumnType {
    match dice.random_range(0..12) {
        0 => ColumnType::Boolean,
        1 => ColumnType::Int,
        2 => ColumnType::Long,
        3 => ColumnType::Float,
        4 => ColumnType::Double,
        5 => ColumnType::String,
        6 => ColumnType::Binary,
        7 => ColumnType::Date,
        8 => ColumnType::Timestamptz,
        9 => ColumnType::Timestamp,
        _ => {
            let precision = dice.random_range(1..=38);
            ColumnType::Decimal { precision, scale: dice.random_range(0..=precision) }
        }
    }
}

/// Plain ones, and ones that Avro can't spell; now and then one that is there already.
fn name(dice: &mut StdRng, number: usize) -> String {
    const ODD: [&str; 9] =
        ["", "a b", "a_x20b", "1st", "_1st", "größe", "\u{1f600}", "a.b", "\"q\""];
    match dice.random_range(0..12) {
        0 => (*one_of(dice, &ODD)).to_owned(),
        1 => format!("{} {number}", one_of(dice, &ODD)),
        _ => format!("column_{number}"),
    }
}

/// The name in Avro, worked out again: letters, digits and underlines stay, a digit does not come first, and anything
/// else becomes its number.
fn spelled(name: &str) -> String {
    let mut spelled = String::new();
    for (place, character) in name.chars().enumerate() {
        match character {
            'a'..='z' | 'A'..='Z' | '_' => spelled.push(character),
            '0'..='9' if place > 0 => spelled.push(character),
            '0'..='9' => spelled.extend(['_', character]),
            other => spelled.extend(["_x", &format!("{:X}", u32::from(other))]),
        }
    }
    spelled
}

fn whole(dice: &mut StdRng, edge: bool, least: i128, most: i128) -> i128 {
    let near = dice.random_range(-2..=2);
    let edges = [least, most, 0, -1, 1, least / 2, most / 2];
    let number = if edge { *one_of(dice, &edges) + near } else { dice.random_range(least..=most) };
    number.clamp(least, most)
}

fn text(dice: &mut StdRng) -> String {
    const CHARACTERS: [char; 12] = [
        'a',
        'z',
        '\0',
        ' ',
        '\u{7f}',
        '\u{7ff}',
        'é',
        '\u{d7ff}',
        '\u{e000}',
        '\u{ffff}',
        '\u{1f600}',
        '\u{10ffff}',
    ];
    let length = dice.random_range(0..24);
    let one = dice.random_ratio(1, 4).then(|| *one_of(dice, &CHARACTERS));
    (0..length).map(|_| one.unwrap_or_else(|| *one_of(dice, &CHARACTERS))).collect()
}
