//! Offsets that hold no record: transaction markers, aborted records, what compaction took.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::servers::until;
use crate::stack::{Codec, Found, Sender, Sent, Stage, must, purchase};

/// Records in one transaction.
const TRANSACTION: u64 = 5;
/// How long it may take until the tables stand behind the last marker.
const MARKERS_MAX: Duration = Duration::from_secs(25);
/// How long the cleaner may take to find the topic.
const CLEANED_MAX: Duration = Duration::from_mins(1);

/// Committed and aborted transactions in turns, the last ones aborted, so that every partition ends with markers.
pub(super) fn aborted(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("aborted", 2)?;
    let rounds = stage.args.suite.size.of(40_u64, 2_000);
    let sender = Sender::new(&scene.topic, Codec::None, Some(scene.name()))?;
    let mut aborted = 0;
    let mut processor = None;
    for round in 0..rounds {
        let commit = round % 3 != 2 && round + 4 < rounds;
        let partition = i32::try_from(round % 2)?;
        let records: Vec<_> = (0..TRANSACTION)
            .map(|place| Sent::to(partition, purchase(round * TRANSACTION + place)))
            .collect();
        scene.ledger.extend(sender.transaction(&records, commit)?);
        aborted += u64::from(!commit);
        if round == rounds / 4 {
            processor = Some(scene.start(&scene.spawn())?);
        }
    }
    let mut processor = processor.expect("a quarter of the rounds was reached");
    let ends = scene.topic.ends()?;
    for (partition, end) in &ends {
        let last = scene.ledger.keys().filter(|(p, _)| p == partition).map(|(_, at)| *at).max();
        ensure!(
            last.is_some_and(|last| last + 1 < *end),
            "partition {partition} ends with a record"
        );
    }
    scene.settle_within(MARKERS_MAX, &mut [&mut processor])?;
    // From a position right behind markers, on to more of them.
    processor.kill()?;
    for round in 0..4 {
        let partition = i32::try_from(round % 2)?;
        let records = [Sent::to(partition, purchase(1_000_000 + round))];
        scene.ledger.extend(sender.transaction(&records, round < 2)?);
        aborted += u64::from(round >= 2);
    }
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle_within(MARKERS_MAX, &mut [&mut processor])?;
    processor.stop()?;
    let read = scene.topic.read()?;
    ensure!(read == scene.ledger, "another reader of committed records gets something else");
    let detail = format!("{aborted} aborted of {} transactions, lag 0", rounds + 4);
    Ok(Found::new(aborted, detail).judged(scene.judge()?))
}

/// Most records of a compacted topic are gone; those that are left keep their offsets.
pub(super) fn compacted(stage: &Stage) -> Result<Found> {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "50"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "50"),
    ];
    let mut scene = stage.scene_of("compacted", 1, &settings)?;
    for round in 0..8_u64 {
        let record = |key: u64| Sent {
            partition: 0,
            key: Some(format!("key-{key}").into_bytes()),
            // The last keys end as tombstones, which the cleaner takes too.
            payload: (round < 4 || key < 40).then(|| purchase(round * 1_000 + key)),
        };
        scene.send(Codec::None, (0..50).filter(|key| (key + round) % 3 != 0).map(record))?;
        // A segment is closed by the first record that comes later than that.
        sleep(Duration::from_millis(60));
    }
    let sent = scene.ledger.len();
    until("the cleaner takes records", CLEANED_MAX, || Ok(scene.topic.read()?.len() * 2 < sent))?;
    scene.topic.alter(&[("cleanup.policy", "delete"), ("retention.ms", "-1")])?;
    let mut left = scene.topic.read()?;
    until("the cleaner rests", CLEANED_MAX, || {
        sleep(Duration::from_secs(1));
        let now = scene.topic.read()?;
        let rests = now == left;
        left = now;
        Ok(rests)
    })?;
    let known = left.iter().all(|(place, payload)| scene.ledger.get(place) == Some(payload));
    must(known, || "the broker holds what was never sent".to_owned())?;
    scene.ledger = left;
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    must(scene.topic.read()? == scene.ledger, || "the cleaner went on".to_owned())?;
    let holes = (sent - scene.ledger.len()) as u64;
    let detail = format!("{holes} of {sent} offsets are holes, lag 0");
    Ok(Found::new(holes, detail).judged(scene.judge()?))
}
