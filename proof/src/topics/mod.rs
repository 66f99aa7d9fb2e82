//! Kafka's identity and gaps, on the real broker: what a topic can become under a reader.
//!
//! Owns the cases of the fault table's part *Kafka*. Each sends records whose fate is known, changes the topic as
//! the case says, and either waits until lag is 0 and has the tables compared, or demands that the processor
//! stops with the reason and that the tables did not move.

mod gaps;
mod identity;
mod records;
mod shrunk;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::report::Outcome;
use crate::servers::until;
use crate::stack::{Case, Processor, Scene, Sent, StackArgs, Stage, Stop, must, purchase, refuted};

/// How long a processor may take to notice that it must not go on.
pub(crate) const NOTICED_MAX: Duration = Duration::from_secs(90);

/// Runs every case.
///
/// # Errors
///
/// The servers are not to be had, or the harness broke.
pub(crate) fn run(args: &StackArgs) -> Result<Outcome> {
    let stage = Stage::new("topics", args, &[])?;
    let mut lanes = stage.lanes();
    lanes.beside(LANES, CASES, &[], |case| (case.run)(&stage));
    lanes.alone(OF_THE_BROKER, |case| (case.run)(&stage));
    lanes.outcome()
}

/// Cases that run at once: most of them wait most of the time.
const LANES: usize = 4;

// The one that takes longest comes first.
const CASES: &[Case<Stage>] = &[
    Case { name: "assigned, not seeked: group offsets that lie", run: identity::lying_group },
    Case { name: "aborted transactions and markers at the end", run: gaps::aborted },
    Case { name: "recreated with more records than before", run: identity::recreated },
    Case { name: "recreated while it is read", run: identity::recreated_meanwhile },
    Case { name: "recreated under a frozen reader", run: identity::recreated_under_a_frozen },
    Case { name: "retention passed the position before a start", run: shrunk::retention },
    Case {
        name: "retention passed the position of a frozen reader",
        run: shrunk::retention_meanwhile,
    },
    Case { name: "partitions added", run: identity::grown },
    Case { name: "partitions added while a static member is away", run: identity::grown_meanwhile },
    Case { name: "compaction holes", run: gaps::compacted },
    Case { name: "every codec", run: records::codecs },
    Case { name: "records of 10 MB", run: records::huge },
    Case { name: "records of 100,000 fields", run: records::fields },
    Case { name: "tombstones and null keys", run: records::tombstones },
    Case { name: "nothing but poison for a while", run: records::poison },
];

/// These take the broker down.
const OF_THE_BROKER: &[Case<Stage>] = &[
    Case { name: "log truncated before a start", run: shrunk::truncated },
    Case { name: "log truncated while it is read", run: shrunk::truncated_meanwhile },
];

/// `count` purchases for each of `partitions`, numbered on from `first`.
fn purchases(first: u64, count: u64, partitions: i32) -> impl Iterator<Item = Sent> {
    (0..count).flat_map(move |place| {
        (0..partitions).map(move |partition| {
            let number = first + place * u64::from(partition.cast_unsigned() + 1) * 7 + place;
            Sent::to(partition, purchase(number))
        })
    })
}

/// The processor ends by itself with an error that holds all of `words`, and the tables are as they were.
fn stops(
    scene: &Scene<'_>,
    processor: &mut Processor,
    words: &[&str],
    before: &str,
) -> Result<Stop> {
    let (mut moved, mut end) = (None, None);
    let noticed = until("a processor stops by itself", NOTICED_MAX, || {
        end = processor.ended()?;
        moved = Some(fingerprint(scene)?).filter(|now| now != before);
        Ok(end.is_some() || moved.is_some())
    });
    noticed.map_err(|err| refuted(format!("{err:#}")))?;
    stands_still(scene, before)?;
    let stop = end.context("it stopped")?;
    must(stop.code == Some(1), || format!("it did not end with 1: {stop}"))?;
    for word in words {
        must(stop.said.contains(word), || format!("its last error lacks `{word}`: {stop}"))?;
    }
    stands_still(scene, before)?;
    Ok(stop)
}

/// The tables are as they were.
fn stands_still(scene: &Scene<'_>, before: &str) -> Result<()> {
    let after = scene.stand()?.map(|stand| stand.fingerprint()).unwrap_or_default();
    must(after == before, || format!("something was committed: before {before}, after {after}"))
}

fn fingerprint(scene: &Scene<'_>) -> Result<String> {
    Ok(scene.stand()?.map(|stand| stand.fingerprint()).unwrap_or_default())
}
