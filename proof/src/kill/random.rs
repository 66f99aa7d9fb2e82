//! SIGKILL at random times: one processor alone, and two on the same partitions.

#![allow(clippy::disallowed_methods, reason = "recoveries are measured")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::recovery::Recoveries;
use super::rig::{Rig, SETTLE_MAX, Stage};
use super::{Bench, fenced};
use crate::report::Outcome;

/// A life from before the first read to well after several commits, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 0..700;
/// Beyond its first commit.
const MORE_MS: std::ops::Range<u64> = 0..300;
/// Of how many kills the recovery is waited for before the next.
const MEASURED_SHARE: f64 = 0.6;

/// Kills the only processor `kills` times.
pub(super) async fn alone(
    bench: &Bench,
    kills: u64,
    recoveries: &mut Recoveries,
    outcome: &mut Outcome,
) -> Result<()> {
    let stage = Stage::new("alone", bench.seed);
    let mut rig = Rig::start(stage, &bench.folder, &bench.logs).await?;
    let mut dice = StdRng::seed_from_u64(bench.seed ^ 0xa1);
    let mut processor = rig.processor(None)?;
    rig.next_commit(&mut processor, SETTLE_MAX).await.context("the first start")?;
    for _ in 0..kills {
        let killed = Instant::now();
        processor.kill()?;
        processor = rig.processor(None)?;
        if dice.random_bool(MEASURED_SHARE) {
            rig.next_commit(&mut processor, SETTLE_MAX).await?;
            recoveries.saw(killed.elapsed());
            rig.rest(Duration::from_millis(dice.random_range(MORE_MS))).await?;
        } else {
            rig.rest(Duration::from_millis(dice.random_range(LIFE_MS))).await?;
        }
    }
    let judged = rig.judge(std::slice::from_mut(&mut processor)).await?;
    outcome.verdict(&judged.verdict);
    let clean = judged.is_clean();
    outcome.case("processor: SIGKILL at random, one worker", kills, clean, judged.words());
    Ok(())
}

/// Kills one of two that read and write the same partitions.
pub(super) async fn rivals(bench: &Bench, kills: u64, outcome: &mut Outcome) -> Result<()> {
    let stage = Stage::new("rivals", bench.seed + 1);
    let mut rig = Rig::start(stage, &bench.folder, &bench.logs).await?;
    let mut dice = StdRng::seed_from_u64(bench.seed ^ 0xa2);
    let mut processors = vec![rig.processor(None)?, rig.processor(None)?];
    let mut met = 0;
    for _ in 0..kills {
        rig.rest(Duration::from_millis(dice.random_range(LIFE_MS) * 2)).await?;
        let mut victim = processors.swap_remove(dice.random_range(0..processors.len()));
        victim.kill()?;
        met += fenced(&victim);
        processors.push(rig.processor(None)?);
    }
    // They must have met, whatever the machine's pace.
    let mut all = processors.iter().map(fenced).sum::<u64>() + met;
    let begun = Instant::now();
    while all == 0 && begun.elapsed() < SETTLE_MAX {
        rig.rest(Duration::from_millis(50)).await?;
        all = processors.iter().map(fenced).sum::<u64>() + met;
    }
    let judged = rig.judge(&mut processors).await?;
    outcome.verdict(&judged.verdict);
    let clean = judged.is_clean();
    let name = "processor: SIGKILL at random, two workers on the same partitions";
    outcome.case(name, kills, clean, judged.words());
    outcome.case("processor: two workers on the same partitions, one is fenced", all, clean, "");
    Ok(())
}
