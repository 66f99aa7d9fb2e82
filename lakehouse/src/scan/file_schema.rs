//! The record schema in a file's header, as its writer spelled it.
//!
//! Owns the cut to fewer fields. Avro names a type once and refers to it afterwards, so a cut must
//! carry along the definition of every name it keeps.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::{Error, Kind, Result};

pub(super) struct FileSchema {
    fields: Vec<FileField>,
    /// Named types, wherever in the schema they are defined.
    defined: HashMap<String, Value>,
    record_name: Value,
    has_ids: bool,
}

struct FileField {
    id: Option<i64>,
    name: String,
    json: Map<String, Value>,
}

impl FileSchema {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let schema: Value = serde_json::from_str(text).map_err(|err| strange().because(err))?;
        let fields = schema.get("fields").and_then(Value::as_array).ok_or_else(strange)?;
        let fields = fields.iter().map(FileField::parse).collect::<Result<Vec<_>>>()?;
        let mut defined = HashMap::new();
        collect(&schema, &mut defined);
        Ok(Self {
            has_ids: fields.iter().any(|field| field.id.is_some()),
            record_name: schema.get("name").cloned().ok_or_else(strange)?,
            fields,
            defined,
        })
    }

    /// Where the file keeps the column; by name only if its writer knew no field ids.
    pub(super) fn position(&self, id: i32, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| {
            if self.has_ids { field.id == Some(id.into()) } else { field.name == name }
        })
    }

    /// The schema of the fields at `positions`, in that order.
    pub(super) fn project(&self, positions: &[usize]) -> Result<String> {
        let mut emitted = HashSet::new();
        let mut fields = Vec::new();
        for position in positions {
            let mut field = self.fields.get(*position).ok_or_else(strange)?.json.clone();
            if let Some(avro_type) = field.get_mut("type") {
                self.inline(avro_type, &mut emitted);
            }
            fields.push(Value::Object(field));
        }
        Ok(json!({"type": "record", "name": self.record_name, "fields": fields}).to_string())
    }

    /// Puts a definition in the place of the first reference to it.
    fn inline(&self, avro_type: &mut Value, emitted: &mut HashSet<String>) {
        match avro_type {
            Value::String(name) => {
                let definition = self.defined.get(name);
                if let Some(definition) = definition.filter(|_| emitted.insert(name.clone())) {
                    *avro_type = definition.clone();
                }
            }
            Value::Array(branches) => {
                for branch in branches {
                    self.inline(branch, emitted);
                }
            }
            Value::Object(object) => {
                if let Some(Value::String(name)) = object.get("name") {
                    emitted.insert(name.clone());
                }
            }
            _ => {}
        }
    }
}

impl FileField {
    fn parse(field: &Value) -> Result<Self> {
        let json = field.as_object().ok_or_else(strange)?;
        let name = json.get("name").and_then(Value::as_str).ok_or_else(strange)?;
        Ok(Self {
            id: json.get("field-id").and_then(Value::as_i64),
            name: name.to_owned(),
            json: json.clone(),
        })
    }
}

/// Finds `fixed` and `enum` types, the named ones that are leaves. The JSON parser bounds the depth.
fn collect(schema: &Value, defined: &mut HashMap<String, Value>) {
    match schema {
        Value::Array(items) => {
            for item in items {
                collect(item, defined);
            }
        }
        Value::Object(object) => {
            let kind = object.get("type").and_then(Value::as_str);
            if let (Some("fixed" | "enum"), Some(name)) =
                (kind, object.get("name").and_then(Value::as_str))
            {
                defined.entry(name.to_owned()).or_insert_with(|| schema.clone());
            }
            for item in object.values() {
                collect(item, defined);
            }
        }
        _ => {}
    }
}

fn strange() -> Error {
    Error::new(Kind::Corrupt, "the file's schema is no record of named fields")
}
