//! One table's schema in its three forms: Iceberg (field ids), Arrow (batches), Avro (file header).
//!
//! Owns the mapping between them, so that no other place spells a type. It must never drop a field
//! id: readers resolve columns by id, and a file without ids reads as nulls in Trino.
//!
//! Iceberg spec, appendix A "Avro".

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono::{DateTime, Days};
use iceberg::spec::{NestedField, PrimitiveType, Schema as IcebergSchema, Type};
use uuid::Uuid;

use super::record::{avro_name, record_json};
use crate::spec::{ColumnType, TableSpec};
use crate::{Error, Kind, Result};

/// A column as stored: what a batch calls it, and the id that survives a rename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredColumn {
    /// Iceberg's field id.
    pub id: i32,
    /// Its name in the table and in batches.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether null is refused.
    pub required: bool,
}

/// A table's schema, ready to encode and decode by.
#[derive(Clone, Debug)]
pub struct TableSchema {
    columns: Vec<StoredColumn>,
    arrow: SchemaRef,
    avro_json: String,
    partition: Option<usize>,
}

impl TableSchema {
    /// Takes over an Iceberg schema; `partition_day` names the column whose UTC day partitions the
    /// table.
    ///
    /// # Errors
    ///
    /// [`Kind::Refused`]: a column is nested or of a type that batches can't hold, or the partition
    /// column is missing or has no day.
    pub(crate) fn new(
        schema: &iceberg::spec::SchemaRef,
        partition_day: Option<&str>,
    ) -> Result<Self> {
        let columns = schema.as_struct().fields().iter().map(|field| {
            Ok(StoredColumn {
                id: field.id,
                name: field.name.clone(),
                column_type: column_type(&field.field_type)
                    .map_err(|err| err.with("column", &field.name))?,
                required: field.required,
            })
        });
        Self::from_columns(columns.collect::<Result<_>>()?, partition_day)
    }

    /// The schema a new table gets from `spec`: field ids count from 1, in the order of the columns.
    ///
    /// # Errors
    ///
    /// [`Kind::Refused`]: the partition column is missing or has no day.
    pub fn from_spec(spec: &TableSpec) -> Result<Self> {
        let columns = (1..).zip(&spec.columns).map(|(id, column)| StoredColumn {
            id,
            name: column.name.clone(),
            column_type: column.column_type,
            required: !column.nullable,
        });
        Self::from_columns(columns.collect(), spec.partition_day.as_deref())
    }

    fn from_columns(columns: Vec<StoredColumn>, partition_day: Option<&str>) -> Result<Self> {
        let partition = match partition_day {
            None => None,
            Some(name) => Some(day_column(&columns, name)?),
        };
        let field = |column: &StoredColumn| {
            Field::new(&column.name, column.column_type.to_arrow(), !column.required)
        };
        let arrow = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        distinct(&columns)?;
        let avro_json = record_json(&columns)?;
        Ok(Self { columns, arrow, avro_json, partition })
    }

    /// The columns in table order.
    pub fn columns(&self) -> &[StoredColumn] {
        &self.columns
    }

    /// The Arrow schema of this table's batches.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The record schema in the header of this table's files.
    pub fn avro_json(&self) -> &str {
        &self.avro_json
    }

    /// The column whose UTC day partitions the table, and its place in the schema.
    pub fn partition_column(&self) -> Option<(usize, &StoredColumn)> {
        self.partition.and_then(|index| Some((index, self.columns.get(index)?)))
    }

    /// Where a data file lies below the table's location; `day` counts from 1970-01-01.
    pub fn data_path(&self, day: Option<i32>, id: Uuid) -> String {
        let mut path = String::from("data/");
        if let Some((_, column)) = self.partition_column() {
            let day = day.map_or_else(|| "null".to_owned(), date);
            let _infallible = write!(path, "{}_day={day}/", avro_name(&column.name));
        }
        let _infallible = write!(path, "{id}.avro");
        path
    }
}

/// The Iceberg schema of a new table: field ids as in [`TableSchema::from_spec`].
///
/// # Errors
///
/// [`Kind::Refused`]: Iceberg refuses the columns, such as two of one name.
pub(crate) fn iceberg_schema(spec: &TableSpec) -> Result<IcebergSchema> {
    let field = |(id, column): (i32, &crate::spec::Column)| {
        let field_type = iceberg_type(column.column_type);
        Arc::new(NestedField::new(id, &column.name, field_type, !column.nullable))
    };
    let fields = (1..).zip(&spec.columns).map(field).collect::<Vec<_>>();
    IcebergSchema::builder()
        .with_fields(fields)
        .build()
        .map_err(|err| Error::new(Kind::Refused, "these columns make no table").because(err))
}

/// The Iceberg type of a column type.
pub(crate) fn iceberg_type(column_type: ColumnType) -> Type {
    Type::Primitive(match column_type {
        ColumnType::Boolean => PrimitiveType::Boolean,
        ColumnType::Int => PrimitiveType::Int,
        ColumnType::Long => PrimitiveType::Long,
        ColumnType::Float => PrimitiveType::Float,
        ColumnType::Double => PrimitiveType::Double,
        ColumnType::Decimal { precision, scale } => {
            PrimitiveType::Decimal { precision: precision.into(), scale: scale.into() }
        }
        ColumnType::String => PrimitiveType::String,
        ColumnType::Binary => PrimitiveType::Binary,
        ColumnType::Date => PrimitiveType::Date,
        ColumnType::Timestamptz => PrimitiveType::Timestamptz,
        ColumnType::Timestamp => PrimitiveType::Timestamp,
    })
}

/// The column type of an Iceberg type.
///
/// # Errors
///
/// [`Kind::Refused`]: batches hold no such type.
pub(crate) fn column_type(field_type: &Type) -> Result<ColumnType> {
    let unsupported =
        || Error::new(Kind::Refused, "the column's type is unsupported").with("type", field_type);
    Ok(match field_type.as_primitive_type().ok_or_else(unsupported)? {
        PrimitiveType::Boolean => ColumnType::Boolean,
        PrimitiveType::Int => ColumnType::Int,
        PrimitiveType::Long => ColumnType::Long,
        PrimitiveType::Float => ColumnType::Float,
        PrimitiveType::Double => ColumnType::Double,
        PrimitiveType::Decimal { precision, scale } => ColumnType::Decimal {
            precision: u8::try_from(*precision).map_err(|_| unsupported())?,
            scale: u8::try_from(*scale).map_err(|_| unsupported())?,
        },
        PrimitiveType::String => ColumnType::String,
        PrimitiveType::Binary => ColumnType::Binary,
        PrimitiveType::Date => ColumnType::Date,
        PrimitiveType::Timestamptz => ColumnType::Timestamptz,
        PrimitiveType::Timestamp => ColumnType::Timestamp,
        PrimitiveType::Time
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs
        | PrimitiveType::Uuid
        | PrimitiveType::Fixed(_) => return Err(unsupported()),
    })
}

/// A file's fields are told apart by their Avro names, in which unusual characters are escaped.
fn distinct(columns: &[StoredColumn]) -> Result<()> {
    let refused = |what: &str, column: &StoredColumn| {
        Err(Error::new(Kind::Refused, what).with("column", &column.name))
    };
    let mut names = BTreeMap::new();
    for column in columns {
        if column.name.is_empty() {
            return refused("a column has no name", column);
        }
        if let Some(other) = names.insert(avro_name(&column.name), &column.name) {
            return refused("two columns have the same name in Avro", column)
                .map_err(|err| err.with("other", other));
        }
    }
    Ok(())
}

fn day_column(columns: &[StoredColumn], name: &str) -> Result<usize> {
    let index = columns.iter().position(|column| column.name == name).ok_or_else(|| {
        Error::new(Kind::Refused, "the partition column is missing").with("column", name)
    })?;
    match columns.get(index).map(|column| column.column_type) {
        Some(ColumnType::Timestamptz | ColumnType::Timestamp | ColumnType::Date) => Ok(index),
        other => Err(Error::new(Kind::Refused, "the partition column has no day")
            .with("column", name)
            .with("type", other.map_or_else(String::new, |t| t.to_string()))),
    }
}

/// `YYYY-MM-DD` of a day counted from 1970-01-01.
fn date(day: i32) -> String {
    let epoch = DateTime::UNIX_EPOCH.date_naive();
    let days = Days::new(day.unsigned_abs().into());
    let date = if day < 0 { epoch.checked_sub_days(days) } else { epoch.checked_add_days(days) };
    date.map_or_else(|| day.to_string(), |date| date.format("%Y-%m-%d").to_string())
}
