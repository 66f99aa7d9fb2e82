//! Edits of a table's metadata as JSON, as other clients make them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

pub(super) fn put(json: &mut Value, key: &str, value: Value) {
    if let Some(fields) = json.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

pub(super) fn set(json: &mut Value, map: &str, key: &str, value: Value) {
    if let Some(fields) = json.get_mut(map).and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value);
    }
}

pub(super) fn forget(json: &mut Value, map: &str, key: &str) {
    if let Some(fields) = json.get_mut(map).and_then(Value::as_object_mut) {
        fields.remove(key);
    }
}

pub(super) fn expire(json: &mut Value, kept: &BTreeSet<i64>) {
    let stays = |entry: &Value| {
        entry.get("snapshot-id").and_then(Value::as_i64).is_some_and(|id| kept.contains(&id))
    };
    for list in ["snapshots", "snapshot-log"] {
        if let Some(entries) = json.get_mut(list).and_then(Value::as_array_mut) {
            entries.retain(stays);
        }
    }
}

pub(super) fn roll_back(json: &mut Value, id: i64, wall_ms: i64) {
    put(json, "current-snapshot-id", json!(id));
    if let Some(main) = json.pointer_mut("/refs/main").and_then(Value::as_object_mut) {
        main.insert("snapshot-id".to_owned(), json!(id));
    }
    let updated = json.get("last-updated-ms").and_then(Value::as_i64).unwrap_or_default();
    if let Some(log) = json.get_mut("snapshot-log").and_then(Value::as_array_mut) {
        log.push(json!({ "snapshot-id": id, "timestamp-ms": updated.max(wall_ms) }));
    }
}

/// A new schema with one more column, which must not be null.
pub(super) fn change_schema(json: &mut Value) {
    let Some(mut schema) = json.pointer("/schemas/0").cloned() else { return };
    if let Some(fields) = schema.get_mut("fields").and_then(Value::as_array_mut) {
        fields.push(json!({ "id": 99, "name": "must", "required": true, "type": "long" }));
    }
    put(&mut schema, "schema-id", json!(1));
    if let Some(schemas) = json.get_mut("schemas").and_then(Value::as_array_mut) {
        schemas.push(schema);
    }
    put(json, "current-schema-id", json!(1));
    put(json, "last-column-id", json!(99));
}

/// No partitions any more.
pub(super) fn change_spec(json: &mut Value) {
    if let Some(specs) = json.get_mut("partition-specs").and_then(Value::as_array_mut) {
        specs.push(json!({ "spec-id": 1, "fields": [] }));
    }
    put(json, "default-spec-id", json!(1));
}
