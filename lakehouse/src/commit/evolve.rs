//! How the table that is there becomes the one that the job wants, or why it can't.
//!
//! Pure: two schemas in, a new schema or the whole list of differences out. It must never drop,
//! rename or narrow a column: old files keep their meaning and older writers keep working.

use std::collections::BTreeSet;
use std::sync::Arc;

use iceberg::spec::{FormatVersion, NestedField, TableMetadata};
use iceberg::spec::{
    NestedFieldRef, PartitionSpec, PrimitiveType, Schema, Transform, Type, UnboundPartitionSpec,
};

use super::keys;
use crate::avro::{StoredColumn, iceberg_type};
use crate::catalog::Creation;
use crate::spec::{Column, TableSpec};
use crate::{Error, Kind, Result};

/// What a table must become.
#[derive(Debug)]
pub(super) struct Evolution {
    /// The new schema, when the table's own does not do.
    pub(super) schema: Option<Schema>,
    /// The job's columns, in its order, as field ids.
    pub(super) columns: Vec<i32>,
}

impl Evolution {
    /// The value of [`keys::COLUMNS`].
    pub(super) fn columns_property(&self) -> String {
        let ids: BTreeSet<_> = self.columns.iter().collect();
        ids.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// The table that is made when there is none.
pub(crate) fn creation(spec: &TableSpec) -> Result<Creation> {
    let schema = crate::avro::iceberg_schema(spec)?;
    let mut partition = UnboundPartitionSpec::builder().with_spec_id(0);
    if let Some(name) = &spec.partition_day {
        let column = schema.field_by_name(name).ok_or_else(|| {
            Error::new(Kind::Refused, "the partition column is not in the table")
                .with("column", name)
        })?;
        partition = partition
            .add_partition_field(column.id, format!("{name}_day"), Transform::Day)
            .map_err(|err| Error::new(Kind::Refused, "no such partition").because(err))?;
    }
    let columns =
        Evolution { schema: None, columns: (1..).zip(&spec.columns).map(|c| c.0).collect() };
    let properties = [
        ("write.format.default", "avro".to_owned()),
        // A commit a second makes a metadata file a second.
        ("write.metadata.delete-after-commit.enabled", "true".to_owned()),
        ("write.metadata.previous-versions-max", "100".to_owned()),
        (keys::COLUMNS, columns.columns_property()),
    ];
    Ok(Creation {
        schema,
        partition: partition.build(),
        properties: properties.map(|(key, value)| (key.to_owned(), value)).into(),
    })
}

/// Compares the table with what the job wants.
///
/// # Errors
///
/// [`Kind::Refused`]: they can't be brought together; every difference is spelled out.
pub(super) fn plan(metadata: &TableMetadata, spec: &TableSpec) -> Result<Evolution> {
    let schema = metadata.current_schema();
    let mut differences = Vec::new();
    if metadata.format_version() != FormatVersion::V2 {
        differences.push(format!("its format version is {}, not 2", metadata.format_version()));
    }
    differences.extend(partition_difference(metadata.default_partition_spec(), schema, spec));
    differences.extend(dropped(metadata, spec));
    let mut fields = schema.as_struct().fields().to_vec();
    let mut columns = Vec::new();
    let mut next_id = metadata.last_column_id();
    for column in &spec.columns {
        match fields.iter_mut().find(|field| field.name == column.name) {
            Some(field) => {
                columns.push(field.id);
                match fit(field, column) {
                    Ok(fitted) => *field = fitted,
                    Err(difference) => differences.push(difference),
                }
            }
            None if column.nullable => {
                next_id += 1;
                columns.push(next_id);
                let field = NestedField::optional(next_id, &column.name, iceberg_type(column.column_type));
                fields.push(Arc::new(field));
            }
            None => differences.push(format!(
                "column `{}` is new and not nullable, but the rows that are there have no value for it",
                column.name
            )),
        }
    }
    if !differences.is_empty() {
        return Err(Error::new(
            Kind::Refused,
            "the table does not fit the job, and can't be made to",
        )
        .with("table", format!("{}.{}", spec.namespace, spec.name))
        .with("differences", differences.join("; "))
        .advising("mend the job file, or let it write to a table of another name"));
    }
    let changed = fields != schema.as_struct().fields();
    let schema = changed.then(|| with_fields(schema, fields)).transpose()?;
    Ok(Evolution { schema, columns })
}

/// Whether files with the columns of `writer` can still be added under `current`.
///
/// # Errors
///
/// [`Kind::Refused`]: the schema was changed in a way that a running job can't follow.
pub(super) fn still_fits(writer: &[StoredColumn], current: &Schema) -> Result<()> {
    let mut differences = Vec::new();
    for column in writer {
        let written = iceberg_type(column.column_type);
        match current.as_struct().field_by_id(column.id) {
            None => differences.push(format!("column `{}` is gone", column.name)),
            // The id would still fit, but the next start would look for the name.
            Some(field) if field.name != column.name => {
                differences
                    .push(format!("column `{}` is called `{}` now", column.name, field.name));
            }
            Some(field) if !promotes(&written, &field.field_type) => differences.push(format!(
                "column `{}` is {} now, the job writes {written}",
                field.name, field.field_type
            )),
            Some(field) if field.required && !column.required => {
                differences.push(format!("column `{}` takes no null any more", field.name));
            }
            Some(_) => {}
        }
    }
    for field in current.as_struct().fields() {
        if field.required && !writer.iter().any(|column| column.id == field.id) {
            differences.push(format!("column `{}` is required, the job has no value", field.name));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, "the table's schema was changed under the running job")
        .with("differences", differences.join("; ")))
}

/// The part of `schema` that the job writes, in the job's order.
pub(super) fn written(schema: &Schema, columns: &[i32]) -> Result<Schema> {
    let fields = columns.iter().filter_map(|id| schema.as_struct().field_by_id(*id).cloned());
    with_fields(schema, fields.collect())
}

fn with_fields(schema: &Schema, fields: Vec<NestedFieldRef>) -> Result<Schema> {
    let kept: Vec<_> = schema
        .identifier_field_ids()
        .filter(|id| fields.iter().any(|field| field.id == *id))
        .collect();
    Schema::builder()
        .with_schema_id(schema.schema_id())
        .with_fields(fields)
        .with_identifier_field_ids(kept)
        .build()
        .map_err(|err| Error::new(Kind::Refused, "these columns make no table").because(err))
}

/// The table's field, changed to hold the job's column, or why it can't.
fn fit(field: &NestedFieldRef, column: &Column) -> Result<NestedFieldRef, String> {
    let wanted = iceberg_type(column.column_type);
    if !promotes(&field.field_type, &wanted) {
        return Err(format!(
            "column `{}` is {} in the table, {wanted} in the job",
            field.name, field.field_type
        ));
    }
    let mut fitted = NestedField::clone(field);
    fitted.field_type = Box::new(wanted);
    // A column that takes nulls keeps doing so: old rows may have them.
    fitted.required = field.required && !column.nullable;
    Ok(Arc::new(fitted))
}

/// Iceberg's type promotions: every value of `from` is one of `to`, and old files stay readable.
fn promotes(from: &Type, to: &Type) -> bool {
    use PrimitiveType::{Decimal, Double, Float, Int, Long};
    if from == to {
        return true;
    }
    match (from.as_primitive_type(), to.as_primitive_type()) {
        (Some(Int), Some(Long)) | (Some(Float), Some(Double)) => true,
        (
            Some(Decimal { precision: from, scale: old }),
            Some(Decimal { precision: to, scale: new }),
        ) => old == new && from <= to,
        _ => false,
    }
}

/// Columns that the job wrote once and does not name any more.
fn dropped(metadata: &TableMetadata, spec: &TableSpec) -> Vec<String> {
    let ours = metadata.properties().get(keys::COLUMNS).map_or("", String::as_str);
    let ours: BTreeSet<i32> = ours.split(',').filter_map(|id| id.parse().ok()).collect();
    let fields = metadata.current_schema().as_struct().fields().iter();
    let unnamed = fields.filter(|field| !spec.columns.iter().any(|c| c.name == field.name));
    let problem = |field: &NestedFieldRef| {
        if ours.contains(&field.id) {
            Some(format!("column `{}` is in the table, but not in the job any more", field.name))
        } else if field.required {
            Some(format!("column `{}` is required, but not in the job", field.name))
        } else {
            // Someone else's column; our rows leave it null.
            None
        }
    };
    unnamed.filter_map(problem).collect()
}

fn partition_difference(held: &PartitionSpec, schema: &Schema, spec: &TableSpec) -> Option<String> {
    let wanted = spec.partition_day.as_ref();
    let matches = match (held.fields(), wanted) {
        ([], None) => true,
        ([field], Some(name)) => {
            let source = schema.field_by_id(field.source_id);
            field.transform == Transform::Day && source.is_some_and(|source| source.name == *name)
        }
        _ => false,
    };
    let name = |field: &iceberg::spec::PartitionField| {
        let source = schema.field_by_id(field.source_id).map_or("?", |source| source.name.as_str());
        format!("{}({source})", field.transform)
    };
    (!matches).then(|| {
        let held = held.fields().iter().map(name).collect::<Vec<_>>().join(", ");
        let wanted = wanted.map(|name| format!("day({name})")).unwrap_or_default();
        format!("it is partitioned by [{held}], the job wants [{wanted}]")
    })
}
