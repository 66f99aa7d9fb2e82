//! Records that are gone before they were read: the position can't be gone on from.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{fingerprint, purchases, stops};
use crate::servers::{Service, until};
use crate::stack::{Codec, Found, Scene, Stage};

/// How long the broker may hold a fetch that finds nothing; asked for by the case that must outwait it.
const FETCH_WAIT: Duration = Duration::from_millis(100);
/// How long a broker that answers again may take to lead its partitions again.
const LED_MAX: Duration = Duration::from_mins(1);

/// Retention deletes more than was read while nobody reads.
pub(super) fn retention(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("retention", 2)?;
    let before = read_and_stop(&mut scene)?;
    let read = scene.ledger.clone();
    delete_beyond(&mut scene)?;
    let mut processor = scene.start(&scene.spawn())?;
    let stop = stops(&scene, &mut processor, &["records are lost", "retention"], &before)?;
    scene.ledger = read;
    Ok(Found::new(1, scene.said(&stop)).judged(scene.judge()?))
}

/// Retention deletes more than was read while the reader is frozen; it wakes up in front of the hole.
pub(super) fn retention_meanwhile(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("retention_meanwhile", 2)?;
    scene.send(Codec::None, purchases(0, 400, 2))?;
    let wait = format!("fetch.wait.max.ms={}", FETCH_WAIT.as_millis());
    let mut processor = scene.start(&scene.spawn().flag("--kafka-properties", &wait))?;
    scene.settle(&mut [&mut processor])?;
    let (before, read) = (fingerprint(&scene)?, scene.ledger.clone());
    processor.freeze()?;
    // The fetch that is at the broker now is answered, empty, before the first new record comes.
    sleep(FETCH_WAIT * 5);
    delete_beyond(&mut scene)?;
    processor.thaw()?;
    let stop = stops(&scene, &mut processor, &["can't be read on", "offset"], &before)?;
    scene.ledger = read;
    Ok(Found::new(1, scene.said(&stop)).judged(scene.judge()?))
}

/// The broker loses its disk's last part: same topic, fewer records than the tables hold.
pub(super) fn truncated(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("truncated", 1)?;
    let before = read_and_stop(&mut scene)?;
    truncate(&scene)?;
    let mut processor = scene.start(&scene.spawn())?;
    let stop = stops(&scene, &mut processor, &["the log was cut"], &before)?;
    Ok(Found::new(1, scene.said(&stop)).judged(scene.judge()?))
}

/// The same while a processor reads.
pub(super) fn truncated_meanwhile(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("truncated_meanwhile", 1)?;
    scene.send(Codec::None, purchases(0, 400, 1))?;
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle(&mut [&mut processor])?;
    let before = fingerprint(&scene)?;
    truncate(&scene)?;
    let stop = stops(&scene, &mut processor, &["can't be read on", "offset"], &before)?;
    Ok(Found::new(1, scene.said(&stop)).judged(scene.judge()?))
}

fn read_and_stop(scene: &mut Scene<'_>) -> Result<String> {
    let partitions = i32::try_from(scene.topic.ends()?.len())?;
    scene.send(Codec::None, purchases(0, 400, partitions))?;
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    fingerprint(scene)
}

/// Sends as much again, and deletes half of that with everything before it.
fn delete_beyond(scene: &mut Scene<'_>) -> Result<()> {
    let mut offsets = scene.topic.ends()?;
    scene.send(Codec::None, purchases(50_000, 400, i32::try_from(offsets.len())?))?;
    for at in offsets.values_mut() {
        *at += 200;
    }
    scene.topic.delete_before(&offsets)
}

/// Takes the partition's records away while the broker is dead. What it is called and its id stay.
fn truncate(scene: &Scene<'_>) -> Result<()> {
    let before = scene.topic.ends()?;
    scene.servers.kill(Service::Kafka)?;
    for partition in before.keys() {
        scene.servers.empty_partition(scene.topic.name(), *partition)?;
    }
    scene.servers.revive(Service::Kafka)?;
    scene.servers.await_ready(Service::Kafka)?;
    // A broker answers before it leads its partitions again.
    until("the log is shorter", LED_MAX, || {
        let after = scene.topic.ends()?;
        Ok(after.iter().all(|(partition, end)| before.get(partition) > Some(end)))
    })
    .map(drop)
}
