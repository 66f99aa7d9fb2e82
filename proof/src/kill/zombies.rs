//! Frozen processes: stopped where something of theirs is on its way, overtaken by another, and woken again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::points::DANGEROUS;
use super::process::{Act, Armed, Process};
use super::rig::{Rig, SETTLE_MAX, Stage};
use super::{Bench, fenced};
use crate::report::Outcome;

/// How long a process may take to come to its point, and a zombie to be fenced.
const SEEN_MAX: Duration = Duration::from_secs(30);
/// Passages before a point acts.
const PASSAGES_MAX: u64 = 6;
/// Commits of the other one before the zombie wakes.
const OVERTAKEN_BY: i64 = 3;

/// Freezes a processor at each dangerous point.
pub(super) async fn each(bench: &Bench, outcome: &mut Outcome) -> Result<()> {
    let mut dice = StdRng::seed_from_u64(bench.seed ^ 0xd1);
    let stage = Stage::new("zombies", bench.seed ^ 0xd1);
    let mut rig = Rig::start(stage, &bench.folder, &bench.logs).await?;
    let mut seen = Vec::new();
    for point in DANGEROUS {
        let rounds = bench.size.of(1, 10);
        for round in 0..rounds {
            // Full size: from a moment to minutes.
            let asleep = match (rounds, round) {
                (1, _) => Duration::ZERO,
                (_, 0) => Duration::from_secs(bench.size.of(0, 90)),
                _ => Duration::from_millis(dice.random_range(0..3_000)),
            };
            let nth = dice.random_range(1..=PASSAGES_MAX);
            one(&mut rig, Armed { point, nth, act: Act::Stop }, asleep)
                .await
                .with_context(|| format!("frozen at {point}"))?;
        }
        eprintln!("kill: frozen at {point} and woken: fenced");
        seen.push((point, rounds));
    }
    let mut last = rig.processor(None)?;
    let judged = rig.judge(std::slice::from_mut(&mut last)).await?;
    outcome.verdict(&judged.verdict);
    let clean = judged.is_clean();
    for (point, rounds) in seen {
        let name = format!("processor: SIGSTOP at {point}, overtaken, SIGCONT: fenced");
        outcome.case(&name, rounds, clean, "");
    }
    let name = "processor: SIGSTOP and SIGCONT at each point, records compared";
    outcome.case(name, judged.verdict.read, clean, judged.words());
    Ok(())
}

async fn one(rig: &mut Rig, armed: Armed, asleep: Duration) -> Result<()> {
    let mut zombie = rig.processor(Some(armed))?;
    rig.until("the armed point", SEEN_MAX, |_| {
        let ended = zombie.ended()?;
        ensure!(ended.is_none(), "it ended before its point: {}", zombie.tail());
        Ok(zombie.has_fired() && zombie.is_frozen())
    })
    .await?;
    let mut heir = rig.processor(None)?;
    overtake(rig, &mut heir).await?;
    rig.rest(asleep).await?;
    ensure!(fenced(&zombie) == 0, "it was fenced before it froze");
    zombie.signal(Signal::CONT)?;
    rig.until("the zombie's fence", SEEN_MAX, |_| {
        let ended = zombie.ended()?;
        ensure!(ended.is_none(), "the zombie ended by itself: {}", zombie.tail());
        Ok(fenced(&zombie) > 0)
    })
    .await?;
    zombie.kill()?;
    heir.kill()
}

async fn overtake(rig: &Rig, heir: &mut Process) -> Result<()> {
    for _ in 0..OVERTAKEN_BY {
        rig.next_commit(heir, SETTLE_MAX).await?;
    }
    Ok(())
}
