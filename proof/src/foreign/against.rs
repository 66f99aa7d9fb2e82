//! Strangers who change what the job stands on: it stops, says why, and leaves the table as they made it.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::play::Play;
use super::rest::{main_of, snapshots};
use crate::stack::{Found, Stage};

/// Main goes back by a few snapshots.
pub(super) fn rolled_back(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "rolled_back")?;
    let older = older(&play.metadata()?)?;
    let after = play.insist(json!([{"action": "set-snapshot-ref", "ref-name": "main",
        "type": "branch", "snapshot-id": older}]))?;
    play.stops(&["rolled back"], Some(&after))
}

pub(super) fn rolled_back_by_trino(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "rolled_back_trino")?;
    let older = older(&play.metadata()?)?;
    let back = "ALTER TABLE processed_conversions EXECUTE rollback_to_snapshot";
    play.trino.ask(&format!("{back}(snapshot_id => {older})"))?;
    let after = json!({"refs": {"main": {"snapshot-id": older}}});
    play.stops(&["rolled back"], Some(&after))
}

/// A snapshot two before main's.
fn older(metadata: &Value) -> Result<i64> {
    let mut at = main_of(metadata).context("the table has a snapshot")?;
    for _ in 0..2 {
        let is = |one: &&Value| one.get("snapshot-id").and_then(Value::as_i64) == Some(at);
        let one = snapshots(metadata).into_iter().find(is).context("an ancestor is retained")?;
        at = one.get("parent-snapshot-id").and_then(Value::as_i64).context("it has a parent")?;
    }
    Ok(at)
}

/// The property that holds the position is taken away. A commit that is under way may set it again.
pub(super) fn unset(stage: &Stage) -> Result<Found> {
    let mut play = Play::begin(stage, "unset")?;
    let mut times = 0;
    while play.processor.ended()?.is_none() && times < 30 {
        let removals =
            json!([{"action": "remove-properties", "removals": ["streamforge.position"]}]);
        play.insist(removals)?;
        times += 1;
    }
    let mut found = play.goes_on_or_stops(&["the position property was removed"])?;
    found.count = times;
    Ok(found)
}

pub(super) fn dropped(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "dropped")?;
    play.scene.runtime.block_on(play.stranger.drop_table())?;
    play.stops(&["dropped under the running job"], None)
}

pub(super) fn recreated(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "table_recreated")?;
    let before = play.metadata()?;
    play.scene.runtime.block_on(async {
        play.stranger.drop_table().await?;
        play.stranger.create_like(&before).await
    })?;
    let after = play.metadata()?;
    play.stops(&["the table was replaced"], Some(&after))
}

pub(super) fn column_dropped(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "column_dropped")?;
    let after = reshaped(&play, |fields| {
        fields.retain(|field| field.get("name") != Some(&json!("product_id")));
    })?;
    play.stops(&["schema"], Some(&after))
}

pub(super) fn column_renamed(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "column_renamed")?;
    let after = reshaped(&play, |fields| {
        for field in fields {
            if field.get("name") == Some(&json!("product_id"))
                && let Some(field) = field.as_object_mut()
            {
                field.insert("name".to_owned(), json!("article_id"));
            }
        }
    })?;
    play.stops(&["schema"], Some(&after))
}

/// Makes a changed schema the current one.
fn reshaped(play: &Play<'_>, change: impl FnOnce(&mut Vec<Value>)) -> Result<Value> {
    let metadata = play.metadata()?;
    let current = metadata.get("current-schema-id");
    let schemas = metadata.get("schemas").and_then(Value::as_array);
    let schema = schemas.into_iter().flatten().find(|one| one.get("schema-id") == current);
    let mut schema = schema.context("there is a schema")?.clone();
    change(schema.get_mut("fields").and_then(Value::as_array_mut).context("it has fields")?);
    play.insist(json!([
        {"action": "add-schema", "schema": schema, "last-column-id": metadata.get("last-column-id")},
        {"action": "set-current-schema", "schema-id": -1},
    ]))
}

pub(super) fn spec_changed(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "spec_changed")?;
    let metadata = play.metadata()?;
    let fields = metadata.pointer("/schemas/0/fields").and_then(Value::as_array);
    let platform =
        fields.into_iter().flatten().find(|one| one.get("name") == Some(&json!("platform")));
    let source =
        platform.and_then(|field| field.get("id")).context("there is a column platform")?;
    let field = json!({"source-id": source, "field-id": 1_001, "name": "platform", "transform": "identity"});
    let after = play.insist(json!([
        {"action": "add-spec", "spec": {"spec-id": 1, "fields": [field]}},
        {"action": "set-default-spec", "spec-id": -1},
    ]))?;
    play.stops(&["partition"], Some(&after))
}

/// The catalog's database is what it was a few commits ago. What came later is gone from it, position included.
pub(super) fn restored(stage: &Stage) -> Result<Found> {
    let mut play = Play::begin(stage, "restored")?;
    let dump = stage.servers.dump()?;
    play.await_commits(4)?;
    stage.servers.restore(&dump)?;
    play.goes_on_or_stops(&["went back"])
}
