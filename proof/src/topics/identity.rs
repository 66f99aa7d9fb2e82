//! Which topic it is, which partitions it has, and who says where to start.

use std::time::Duration;

use anyhow::Result;

use super::{fingerprint, purchases, stops};
use crate::stack::{Codec, Found, Stage, must};

/// The topic is made anew under its name and holds more than the table's position asks for: only its id tells.
pub(super) fn recreated(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("recreated", 2)?;
    scene.send(Codec::None, purchases(0, 400, 2))?;
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    let (before, old) = (fingerprint(&scene)?, scene.ledger.clone());
    scene.topic.recreate(2)?;
    scene.send(Codec::None, purchases(1_000_000, 900, 2))?;
    let mut processor = scene.start(&scene.spawn())?;
    let stop = stops(&scene, &mut processor, &["topic was deleted and made again"], &before)?;
    scene.ledger = old;
    Ok(Found::new(1, scene.said(&stop)).judged(scene.judge()?))
}

/// The same while a processor reads: it must not take the new topic's records for the old one's.
pub(super) fn recreated_meanwhile(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("recreated_meanwhile", 2)?;
    scene.send(Codec::None, purchases(0, 400, 2))?;
    let spawn = scene.spawn().flag("--kafka-properties", "topic.metadata.refresh.interval.ms=200");
    let mut processor = scene.start(&spawn)?;
    scene.settle(&mut [&mut processor])?;
    let (before, old) = (fingerprint(&scene)?, scene.ledger.clone());
    scene.topic.recreate(2)?;
    scene.send(Codec::None, purchases(1_000_000, 900, 2))?;
    let stop = stops(&scene, &mut processor, &["topic"], &before)?;
    scene.ledger = old;
    Ok(Found::new(1, scene.said(&stop)).judged(scene.judge()?))
}

/// The same while a processor is frozen: when it wakes up, the offset that it wants next is there again.
pub(super) fn recreated_under_a_frozen(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("recreated_frozen", 2)?;
    scene.send(Codec::None, purchases(0, 400, 2))?;
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle(&mut [&mut processor])?;
    let (before, old) = (fingerprint(&scene)?, scene.ledger.clone());
    processor.freeze()?;
    scene.topic.recreate(2)?;
    scene.send(Codec::None, purchases(1_000_000, 900, 2))?;
    processor.thaw()?;
    let stop = stops(&scene, &mut processor, &["topic"], &before)?;
    scene.ledger = old;
    Ok(Found::new(1, scene.said(&stop)).judged(scene.judge()?))
}

/// Partitions are added, and hold records before any processor has heard of them.
pub(super) fn grown(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("grown", 1)?;
    scene.send(Codec::None, purchases(0, 300, 1))?;
    let refreshing = "topic.metadata.refresh.interval.ms=500";
    let spawn = scene.spawn().without("--assign").flag("--group", scene.name());
    let spawn = spawn.flag("--kafka-properties", refreshing);
    let mut processor = scene.start(&spawn)?;
    scene.settle(&mut [&mut processor])?;
    scene.topic.grow(3)?;
    scene.send(Codec::None, purchases(10_000, 300, 3))?;
    scene.settle(&mut [&mut processor])?;
    // Again, and a crash before anyone has committed to the new ones.
    processor.kill()?;
    scene.topic.grow(5)?;
    scene.send(Codec::None, purchases(20_000, 300, 5))?;
    let mut processor = scene.start(&spawn)?;
    let took = scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    let detail = format!("1 → 3 → 5; lag 0 {:.1} s after a restart", took.as_secs_f64());
    Ok(Found::new(4, detail).judged(scene.judge()?))
}

/// Partitions are added while the only member of a group is away. It is static, so the group does not share out anew when
/// it returns.
pub(super) fn grown_meanwhile(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("grown_meanwhile", 1)?;
    scene.send(Codec::None, purchases(0, 300, 1))?;
    let spawn = scene.spawn_member("one");
    let mut processor = scene.start(&spawn)?;
    scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    scene.topic.grow(4)?;
    scene.send(Codec::None, purchases(10_000, 300, 4))?;
    let mut processor = scene.start(&spawn)?;
    let took = scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    let detail = format!("1 → 4 while stopped; lag 0 {:.1} s after a restart", took.as_secs_f64());
    Ok(Found::new(3, detail).judged(scene.judge()?))
}

/// The group's offsets stand before, and then behind, the table's position. Nobody may start from them.
pub(super) fn lying_group(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("lying_group", 2)?;
    let name = scene.name().to_owned();
    scene.send(Codec::None, purchases(0, 400, 2))?;
    scene.topic.commit_for(&name, &[(0, 0), (1, 0)].into())?;
    let mut lies = 0;
    for (round, lie) in [(1, "ahead"), (2, "behind"), (3, "ahead")] {
        let mut processor = scene.start(&scene.spawn_member("one"))?;
        scene.settle(&mut [&mut processor])?;
        processor.stop()?;
        scene.send(Codec::None, purchases(round * 10_000, 400, 2))?;
        let mut offsets = scene.topic.ends()?;
        for at in offsets.values_mut() {
            *at = if lie == "ahead" { *at - 1 } else { 0 };
        }
        scene.topic.commit_for(&name, &offsets)?;
        lies += 1;
    }
    let mut processor = scene.start(&scene.spawn_member("one"))?;
    let settled = scene.settle_within(Duration::from_secs(30), &mut [&mut processor]);
    let verdict = scene.judge()?;
    must(settled.is_ok() || !verdict.is_clean(), || format!("{settled:?}"))?;
    Ok(Found::new(lies, "started from the tables each time").judged(verdict))
}
