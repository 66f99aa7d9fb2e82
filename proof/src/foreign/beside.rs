//! Strangers beside the job: it goes on, and they keep what they did.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::play::Play;
use super::rest::{main_of, property, snapshots as retained};
use crate::servers::now;
use crate::stack::{Found, Stage, must};

/// Writers at the same time.
const WRITERS: usize = 4;

/// Properties are set without a pause by several writers.
pub(super) fn properties(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "properties")?;
    let limit = stage.args.suite.size.of(Duration::from_secs(6), Duration::from_mins(2));
    let begun = now();
    let write = async |writer: usize| {
        let (mut done, mut conflicts) = (0_u64, 0_u64);
        while begun.elapsed() < limit {
            let set = json!([{"action": "set-properties",
                "updates": {format!("foreign.{writer}"): (done + 1).to_string()}}]);
            match play.stranger.commit(set).await? {
                Some(_) => done += 1,
                None => conflicts += 1,
            }
        }
        Ok::<_, anyhow::Error>((done, conflicts))
    };
    let work = futures::future::try_join_all((0..WRITERS).map(write));
    let counts = play.scene.runtime.block_on(work)?;
    let (done, conflicts) = counts.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    let metadata = play.metadata()?;
    for (writer, (last, _)) in counts.iter().enumerate() {
        let kept = property(&metadata, &format!("foreign.{writer}"));
        must(kept == Some(last.to_string().as_str()), || {
            format!("property {writer} was {last} and is {kept:?}")
        })?;
    }
    let (ours, baseline) = (play.processor.conflicts(), play.baseline()?);
    let verdict = play.goes_on(Some(baseline))?;
    let detail = format!("{rate:.0}/s, {conflicts} conflicts of theirs, {ours} of ours");
    Ok(Found::new(done, detail).judged(verdict))
}

/// Snapshots without the job's marks, on top of whatever is current.
pub(super) fn snapshots(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "snapshots")?;
    let limit = stage.args.suite.size.of(Duration::from_secs(8), Duration::from_mins(2));
    let begun = now();
    let (mut made, mut conflicts) = (Vec::new(), 0_u64);
    while begun.elapsed() < limit {
        match play.scene.runtime.block_on(append(&play))? {
            Some(id) => made.push(id),
            None => conflicts += 1,
        }
    }
    let rate = made.len() as f64 / begun.elapsed().as_secs_f64();
    let (ours, baseline) = (play.processor.conflicts(), play.baseline()?);
    ensure!(made.iter().all(|id| baseline.snapshots.contains(id)), "the look found them");
    let verdict = play.goes_on(Some(baseline))?;
    let detail = format!("{rate:.0}/s, {conflicts} conflicts of theirs, {ours} of ours");
    Ok(Found::new(made.len() as u64, detail).judged(verdict))
}

/// One snapshot that adds no file; `None` after a conflict.
async fn append(play: &Play<'_>) -> Result<Option<i64>> {
    let metadata = play.stranger.metadata().await?;
    let main = main_of(&metadata).context("the table has a snapshot")?;
    let parent =
        retained(&metadata).into_iter().find(|one| one.get("snapshot-id") == Some(&main.into()));
    let parent = parent.context("main's snapshot is there")?;
    let list = parent.get("manifest-list").and_then(Value::as_str).context("it has manifests")?;
    // A list of its own: whoever expires one of the two deletes it.
    let place = list.rsplit_once('/').context("it lies in a folder")?.0;
    let copy = format!("{place}/foreign-{}.avro", uuid::Uuid::now_v7());
    let store = play.scene.store()?;
    store.put_new(&copy, store.read(list).await?).await?;
    let id = i64::try_from(uuid::Uuid::now_v7().as_u128() & 0x3fff_ffff_ffff_ffff)?;
    let total = |key: &str| parent.pointer(&format!("/summary/{key}")).cloned();
    let mut summary = json!({"operation": "append", "foreign.writer": "proof"});
    for key in ["total-records", "total-data-files", "total-files-size"] {
        if let (Some(value), Some(summary)) = (total(key), summary.as_object_mut()) {
            summary.insert(key.to_owned(), value);
        }
    }
    let number = |key: &str| metadata.get(key).and_then(Value::as_i64).unwrap_or_default();
    let snapshot = json!({
        "snapshot-id": id,
        "parent-snapshot-id": main,
        "sequence-number": number("last-sequence-number") + 1,
        "timestamp-ms": number("last-updated-ms").max(millis()),
        "manifest-list": copy,
        "summary": summary,
        "schema-id": metadata.get("current-schema-id"),
    });
    let pinned = json!([{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": main}]);
    let updates = json!([
        {"action": "add-snapshot", "snapshot": snapshot},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id},
    ]);
    Ok(play.stranger.commit_if(pinned, updates).await?.map(|_| id))
}

#[expect(clippy::disallowed_methods, reason = "a stranger's snapshots carry the time of day")]
fn millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

/// Somebody asks for snapshots of main to be kept; our commits set the branch and must not forget that.
///
/// A commit that had read the table before cannot know of it, and no requirement of the protocol pins it: whoever
/// asks looks again, and asks again where it was overtaken.
pub(super) fn retention(stage: &Stage) -> Result<Found> {
    let mut play = Play::begin(stage, "branch_retention")?;
    let (mut count, mut overtaken) = (0, 0);
    for kept in [7, 11, 23] {
        loop {
            ask_to_keep(&play, kept)?;
            play.await_commits(1)?;
            if kept_of(&play.metadata()?) == Some(kept) {
                break;
            }
            overtaken += 1;
            must(overtaken < 20, || "every request is overtaken".to_owned())?;
        }
        play.await_commits(3)?;
        let found = kept_of(&play.metadata()?);
        must(found == Some(kept), || format!("{kept} snapshots were to be kept: {found:?}"))?;
        count += 1;
    }
    let baseline = play.baseline()?;
    let detail = format!("{overtaken} more were overtaken by a commit under way and asked again");
    Ok(Found::new(count, detail).judged(play.goes_on(Some(baseline))?))
}

fn kept_of(metadata: &Value) -> Option<i64> {
    metadata.pointer("/refs/main/min-snapshots-to-keep").and_then(Value::as_i64)
}

fn ask_to_keep(play: &Play<'_>, kept: i64) -> Result<()> {
    loop {
        let main = main_of(&play.metadata()?).context("the table has a snapshot")?;
        let still = json!([{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": main}]);
        let keep = json!([{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch",
            "snapshot-id": main, "min-snapshots-to-keep": kept,
            "max-snapshot-age-ms": 86_400_000 + kept, "max-ref-age-ms": i64::MAX}]);
        if play.scene.runtime.block_on(play.stranger.commit_if(still, keep))?.is_some() {
            return Ok(());
        }
    }
}

/// Rows of somebody else, in between.
pub(super) fn inserts(stage: &Stage) -> Result<Found> {
    let play = Play::begin(stage, "inserts")?;
    let count = stage.args.suite.size.of(8_u64, 100);
    for number in 0..count {
        insert(&play, number)?;
    }
    let baseline = play.baseline()?.with_rows("kafka_partition = -1", count);
    Ok(Found::new(count, "").judged(play.goes_on(Some(baseline))?))
}

/// How often Trino may be too slow for the job's commits, after its own tries.
const RACES_MAX: u32 = 20;

fn insert(play: &Play<'_>, number: u64) -> Result<()> {
    let statement = format!(
        "INSERT INTO processed_conversions (unique_event_id, customer_id, marketing_action, source_url, \
         session_guid, platform, event_ts_utc, revenue_usd, kafka_partition, kafka_offset) VALUES \
         ('foreign-{number}', 'c', 'purchase', '/', 's', 'web', TIMESTAMP '2026-06-02 00:00:00 UTC', 60, -1, {number})"
    );
    let mut races = 0;
    loop {
        match play.trino.ask(&statement) {
            Ok(_) => return Ok(()),
            // Nothing was inserted.
            Err(err)
                if races < RACES_MAX && format!("{err:#}").contains("branch main has changed") =>
            {
                races += 1;
            }
            Err(err) => return Err(err),
        }
    }
}

pub(super) fn optimize(stage: &Stage) -> Result<Found> {
    maintained(stage, "optimize", "ALTER TABLE processed_conversions EXECUTE optimize")
}

pub(super) fn optimize_manifests(stage: &Stage) -> Result<Found> {
    let statement = "ALTER TABLE processed_conversions EXECUTE optimize_manifests";
    maintained(stage, "optimize_manifests", statement)
}

/// Every snapshot but the newest goes, also those that hold the job's position.
pub(super) fn expire(stage: &Stage) -> Result<Found> {
    let statement = "ALTER TABLE processed_conversions EXECUTE \
                     expire_snapshots(retention_threshold => '0s', retain_last => 1)";
    maintained(stage, "expire", statement)
}

/// A statement of Trino's again and again, with a row of somebody else before each.
fn maintained(stage: &Stage, name: &str, statement: &str) -> Result<Found> {
    let mut play = Play::begin(stage, name)?;
    let rounds = stage.args.suite.size.of(4_u64, 40);
    let (mut done, mut refused, mut rows) = (0, 0, 0);
    while done < rounds {
        insert(&play, rows)?;
        rows += 1;
        // A rewrite may lose its race against the job; it says so, and nothing has changed.
        match play.trino.ask(statement) {
            Ok(_) => done += 1,
            Err(err) if format!("{err:#}").contains("commit") && refused < 5 * rounds => {
                refused += 1;
            }
            Err(err) => return Err(err),
        }
        play.await_commits(1)?;
    }
    // What they expired themselves is no loss.
    let mut baseline = play.baseline()?.with_rows("kafka_partition = -1", rows);
    if name == "expire" {
        baseline.snapshots.clear();
    }
    let detail = format!("{refused} more lost their race; {rows} rows inserted");
    Ok(Found::new(done, detail).judged(play.goes_on(Some(baseline))?))
}

/// A column more is none of the job's business, before and after a restart.
pub(super) fn column_added(stage: &Stage) -> Result<Found> {
    let mut play = Play::begin(stage, "column_added")?;
    play.trino.ask("ALTER TABLE processed_conversions ADD COLUMN campaign varchar")?;
    play.await_commits(3)?;
    play.processor.kill()?;
    play.processor = play.scene.start(&play.scene.spawn())?;
    let metadata = play.metadata()?;
    let last =
        metadata.get("schemas").and_then(Value::as_array).and_then(|all| all.last().cloned());
    must(last.is_some_and(|last| last.to_string().contains("campaign")), || {
        "the column is gone".to_owned()
    })?;
    Ok(Found::new(1, "").judged(play.goes_on(None)?))
}
