//! Restart storms; processes of two builds side by side; two processes with one name.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::rig::{Rig, SETTLE_MAX, Stage};
use super::{Bench, fenced, logs};
use crate::report::Outcome;

/// Before it has opened anything, to the first commits.
const STORM_MS: std::ops::Range<u64> = 0..300;
const MIXED_MS: std::ops::Range<u64> = 300..1_500;

/// A processor that is killed in its first moments, again and again.
pub(super) async fn storm(bench: &Bench, kills: u64, outcome: &mut Outcome) -> Result<()> {
    let stage = Stage::new("storm", bench.seed ^ 0xe1);
    let mut rig = Rig::start(stage, &bench.folder, &bench.logs).await?;
    let mut dice = StdRng::seed_from_u64(bench.seed ^ 0xe1);
    for _ in 0..kills {
        let mut processor = rig.processor(None)?;
        rig.rest(Duration::from_millis(dice.random_range(STORM_MS))).await?;
        processor.kill()?;
    }
    eprintln!("kill: {kills} processors killed in their first 300 ms");
    let mut last = rig.processor(None)?;
    let judged = rig.judge(std::slice::from_mut(&mut last)).await?;
    outcome.verdict(&judged.verdict);
    let name = "processor: restart storm, SIGKILL within the first 300 ms";
    outcome.case(name, kills, judged.is_clean(), judged.words());
    Ok(())
}

/// Another build, or another setting of this one, on the same partitions.
pub(super) async fn mixed(
    bench: &Bench,
    kills: u64,
    other: Option<&Path>,
    outcome: &mut Outcome,
) -> Result<()> {
    let stage = Stage::new("mixed", bench.seed ^ 0xe2);
    let mut rig = Rig::start(stage, &bench.folder, &bench.logs).await?;
    let mut dice = StdRng::seed_from_u64(bench.seed ^ 0xe2);
    // Without another build: other codec, other memory, no skipping of raw records.
    let settings: &[&str] = match other {
        Some(_) => &["--assign", "all"],
        None => &[
            "--assign",
            "all",
            "--codec",
            "deflate",
            "--memory-budget",
            "8MiB",
            "--raw-skip",
            "off",
        ],
    };
    let (mut new, mut old) = (rig.processor(None)?, rig.processor_with(settings, other, "", None)?);
    let mut met = 0;
    for kill in 0..kills {
        rig.rest(Duration::from_millis(dice.random_range(MIXED_MS))).await?;
        if kill.is_multiple_of(2) {
            old.kill()?;
            met += fenced(&old);
            old = rig.processor_with(settings, other, "", None)?;
        } else {
            new.kill()?;
            met += fenced(&new);
            new = rig.processor(None)?;
        }
    }
    let mut both = [new, old];
    for processor in &mut both {
        rig.next_commit(processor, SETTLE_MAX).await?;
    }
    met += both.iter().map(fenced).sum::<u64>();
    let judged = rig.judge(&mut both).await?;
    outcome.verdict(&judged.verdict);
    let what = match other {
        Some(path) => format!("the other is {}", path.file_name().unwrap_or_default().display()),
        None => "no other build was at hand: the other is the same build with other codec, \
                 memory budget and raw skip"
            .to_owned(),
    };
    let detail = format!("{what}; {met} times fenced; {}", judged.words());
    outcome.case("processor: old and new side by side, SIGKILL", kills, judged.is_clean(), detail);
    Ok(())
}

/// Two members of one group with the same static id. Apache Kafka throws one of them out; the in-process broker
/// lets both read.
pub(super) async fn twins(bench: &Bench, outcome: &mut Outcome) -> Result<()> {
    let stage = Stage { rate: 300, commit_ms: 1_000, ..Stage::new("twins", bench.seed ^ 0xe3) };
    let mut rig = Rig::start(stage, &bench.folder, &bench.logs).await?;
    let settings = ["--group", "shop", "--instance-id", "twin"];
    let twins = [
        rig.processor_with(&settings, None, logs::TWINS, None)?,
        rig.processor_with(&settings, None, logs::TWINS, None)?,
    ];
    rig.until("a first commit", 2 * SETTLE_MAX, |stand| Ok(stand.least.values().sum::<u64>() > 0))
        .await?;
    // Several rebalances long.
    rig.rest(Duration::from_secs(bench.size.of(10, 40))).await?;
    let (mut left, mut thrown_out) = (Vec::new(), 0);
    for mut twin in twins {
        match twin.ended()? {
            None => left.push(twin),
            Some(_) => thrown_out += 1,
        }
    }
    if left.is_empty() {
        left.push(rig.processor_with(&settings, None, logs::TWINS, None)?);
    }
    let judged = rig.judge(&mut left).await?;
    outcome.verdict(&judged.verdict);
    let detail = format!("{thrown_out} thrown out by the broker; {}", judged.words());
    let name = "processor: two with the same static member id";
    outcome.case(name, 1, judged.is_clean(), detail);
    Ok(())
}
