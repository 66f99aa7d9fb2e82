//! The record schema in a file's header.
//!
//! Owns the spelling of each type in Avro. It must never depend on a map's order: the text is compared
//! byte for byte when files are joined.
//!
//! Iceberg spec, appendix A "Avro".

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::schema::StoredColumn;
use crate::spec::ColumnType;
use crate::{Error, Kind, Result};

/// The name Iceberg's Java library gives the record of every data file.
const RECORD_NAME: &str = "table";

/// The schema of a record of `columns`, as JSON.
pub(super) fn record_json(columns: &[StoredColumn]) -> Result<String> {
    let fields = columns.iter().map(avro_field).collect();
    let record = AvroRecord { r#type: "record", name: RECORD_NAME, fields };
    serde_json::to_string(&record)
        .map_err(|err| Error::new(Kind::Bug, "the Avro schema does not serialise").because(err))
}

#[derive(Serialize)]
struct AvroRecord {
    r#type: &'static str,
    name: &'static str,
    fields: Vec<AvroField>,
}

#[derive(Serialize)]
struct AvroField {
    name: String,
    r#type: Nullable,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
    #[serde(rename = "field-id")]
    field_id: i32,
    #[serde(rename = "iceberg-field-name", skip_serializing_if = "Option::is_none")]
    iceberg_name: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Nullable {
    No(AvroType),
    Yes(&'static str, AvroType),
}

#[derive(Serialize)]
#[serde(untagged)]
enum AvroType {
    Primitive(&'static str),
    Logical {
        r#type: &'static str,
        #[serde(rename = "logicalType")]
        logical_type: &'static str,
        #[serde(rename = "adjust-to-utc", skip_serializing_if = "Option::is_none")]
        adjust_to_utc: Option<bool>,
    },
    Decimal {
        r#type: &'static str,
        name: String,
        size: usize,
        #[serde(rename = "logicalType")]
        logical_type: &'static str,
        precision: u8,
        scale: u8,
    },
}

fn avro_field(column: &StoredColumn) -> AvroField {
    let avro_type = avro_type(column);
    let name = avro_name(&column.name);
    AvroField {
        iceberg_name: (name != column.name).then(|| column.name.clone()),
        name,
        r#type: if column.required {
            Nullable::No(avro_type)
        } else {
            Nullable::Yes("null", avro_type)
        },
        default: (!column.required).then_some(Value::Null),
        field_id: column.id,
    }
}

/// Avro lets a named type be defined once, and later uses are its name alone. Readers get that wrong
/// for decimals (apache-avro 0.21: "unresolved schema reference"), so each field names its own.
fn avro_type(column: &StoredColumn) -> AvroType {
    let primitive = |name| AvroType::Primitive(name);
    let logical = |r#type, logical_type, adjust_to_utc| AvroType::Logical {
        r#type,
        logical_type,
        adjust_to_utc,
    };
    match column.column_type {
        ColumnType::Boolean => primitive("boolean"),
        ColumnType::Int => primitive("int"),
        ColumnType::Long => primitive("long"),
        ColumnType::Float => primitive("float"),
        ColumnType::Double => primitive("double"),
        ColumnType::String => primitive("string"),
        ColumnType::Binary => primitive("bytes"),
        ColumnType::Date => logical("int", "date", None),
        ColumnType::Timestamptz => logical("long", "timestamp-micros", Some(true)),
        ColumnType::Timestamp => logical("long", "timestamp-micros", Some(false)),
        ColumnType::Decimal { precision, scale } => {
            let name = format!("decimal_{precision}_{scale}_f{}", column.id);
            let size = decimal_bytes(precision);
            let (r#type, logical_type) = ("fixed", "decimal");
            AvroType::Decimal { r#type, name, size, logical_type, precision, scale }
        }
    }
}

/// The column's name in Avro, which allows `[A-Za-z_][A-Za-z0-9_]*` only; the same escapes as
/// Iceberg's Java library (`AvroSchemaUtil.makeCompatibleName`).
pub(super) fn avro_name(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (index, c) in name.chars().enumerate() {
        if c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()) {
            escaped.push(c);
        } else if c.is_ascii_digit() {
            escaped.push('_');
            escaped.push(c);
        } else {
            let _infallible = write!(escaped, "_x{:X}", u32::from(c));
        }
    }
    escaped
}

/// Bytes that hold any unscaled value of `precision` digits in two's complement, the size Iceberg
/// prescribes for a decimal's `fixed`.
pub(super) fn decimal_bytes(precision: u8) -> usize {
    let largest = 10_u128.pow(precision.into()) - 1;
    let bits = u128::BITS - largest.leading_zeros() + 1;
    bits.div_ceil(8) as usize
}
