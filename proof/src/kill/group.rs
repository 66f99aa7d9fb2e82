//! A consumer group of eight: members killed at random, and at each step of a rebalance.
//!
//! The in-process broker knows no static membership and takes about a session timeout for each rebalance, so these
//! cases wait more than they work; how long takeover takes is measured on a real broker.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::points::{When, when};
use super::process::{Act, Armed, Process};
use super::rig::{Rig, SETTLE_MAX, Stage};
use super::{Bench, fenced};
use crate::report::Outcome;

const WORKERS: usize = 8;
const GROUP: [&str; 2] = ["--group", "shop"];
/// Several rebalances of the in-process broker.
const TAKEOVER_MAX: Duration = Duration::from_mins(2);

fn stage(name: &str, seed: u64) -> Stage {
    Stage { partitions: 8, rate: 300, commit_ms: 1_000, ..Stage::new(name, seed) }
}

/// Waves of kills among eight workers.
pub(super) async fn eight(bench: &Bench, waves: u64, outcome: &mut Outcome) -> Result<()> {
    let stage = stage("eight", bench.seed ^ 0xf1);
    let mut rig = Rig::start(stage, &bench.folder, &bench.logs).await?;
    let mut dice = StdRng::seed_from_u64(bench.seed ^ 0xf1);
    let mut workers = Vec::with_capacity(WORKERS);
    for _ in 0..WORKERS {
        workers.push(rig.processor_with(&GROUP, None, "", None)?);
    }
    everywhere(&rig, &mut workers).await?;
    let (mut kills, mut met) = (0, 0);
    for wave in 0..waves {
        for _ in 0..dice.random_range(2..=5) {
            let mut victim = workers.swap_remove(dice.random_range(0..workers.len()));
            victim.kill()?;
            met += fenced(&victim);
            kills += 1;
            workers.push(rig.processor_with(&GROUP, None, "", None)?);
            rig.rest(Duration::from_millis(dice.random_range(0..2_000))).await?;
        }
        everywhere(&rig, &mut workers).await?;
        eprintln!("kill: eight workers, wave {} of {waves}: all partitions go on", wave + 1);
    }
    met += workers.iter().map(fenced).sum::<u64>();
    let judged = rig.judge(&mut workers).await?;
    outcome.verdict(&judged.verdict);
    let detail = format!("{met} times fenced; {}", judged.words());
    let name = "processor: SIGKILL at random, eight workers of a group";
    outcome.case(name, kills, judged.is_clean(), detail);
    Ok(())
}

/// Every partition goes on from where it stands now.
async fn everywhere(rig: &Rig, workers: &mut [Process]) -> Result<()> {
    let before = rig.look().await?.least;
    rig.until("progress in all partitions", TAKEOVER_MAX, |stand| {
        for worker in &mut *workers {
            if let Some(status) = worker.ended()? {
                bail!("a worker ended by itself, {status}: {}", worker.tail());
            }
        }
        let moved = |(p, at): (&i32, &u64)| before.get(p).is_none_or(|before| at > before);
        Ok(!stand.least.is_empty()
            && stand.least.iter().all(moved)
            && stand.least.values().all(|at| *at > 0))
    })
    .await?;
    Ok(())
}

/// One act at one step of a rebalance: a member acts, the other takes over.
pub(super) async fn at_rebalance(
    bench: &Bench,
    point: &'static str,
    act: Act,
    outcome: &mut Outcome,
) -> Result<()> {
    let words = match act {
        Act::Kill => "SIGKILL",
        Act::Term => "SIGTERM",
        Act::Stop => "SIGSTOP and SIGCONT",
        Act::Slow => bail!("a rest ends no process"),
        Act::Panic => bail!("a panic in a callback of the client ends the process at once"),
    };
    let name = format!("{}-{}", point.replace('.', "-"), words.to_lowercase().replace(' ', "-"));
    let mut rig = Rig::start(stage(&name, bench.seed ^ 0xf2), &bench.folder, &bench.logs).await?;
    let armed = Some(Armed { point, nth: 1, act });
    let mut actor = rig.processor_with(&GROUP, None, "", armed)?;
    if point != "rebalance.assigned" {
        // It has everything, and must give up a half.
        rig.until("a commit of the first member", TAKEOVER_MAX, |_| {
            Ok(actor.log().contains("\"committed\""))
        })
        .await?;
    }
    let mut other = rig.processor_with(&GROUP, None, "", None)?;
    rig.until("the armed point", TAKEOVER_MAX, |_| {
        let ended = actor.ended()?;
        ensure!(ended.is_none() || actor.has_fired(), "it ended before: {}", actor.tail());
        Ok(actor.has_fired())
    })
    .await?;
    match act {
        Act::Term => actor.ends_well()?,
        Act::Stop => {
            // Longer than a session: the broker gives its partitions away.
            rig.rest(Duration::from_secs(12)).await?;
            actor.signal(rustix::process::Signal::CONT)?;
        }
        _ => ensure!(actor.wait(SETTLE_MAX)?.is_some(), "it outlives SIGKILL"),
    }
    everywhere(&rig, std::slice::from_mut(&mut other)).await.context("nobody took over")?;
    let mut left = vec![other];
    if act == Act::Stop {
        left.push(actor);
    }
    let judged = rig.judge(&mut left).await?;
    outcome.verdict(&judged.verdict);
    let name = format!("processor: {words} at {point}");
    outcome.case(&name, 1, judged.is_clean(), judged.words());
    Ok(())
}

/// Points of a rebalance.
pub(super) fn points() -> impl Iterator<Item = &'static str> {
    when(When::Group)
}
