//! A processor that is killed, told to stop, or panics at each of its fault points.

#![allow(clippy::disallowed_methods, reason = "recoveries are measured")]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lakehouse::spec::TableSpec;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::points::{When, when};
use super::process::{Act, Armed, Process};
use super::recovery::Recoveries;
use super::rig::{Rig, SETTLE_MAX, Stage};
use super::{Bench, logs};
use crate::report::Outcome;

/// How long a process may take to come to its point.
const FIRE_MAX: Duration = Duration::from_secs(30);
/// The same for a point that takes a rival, where it is a matter of luck.
const CONFLICT_MAX: Duration = Duration::from_mins(3);
/// How long a process may win against its rival, and how long it is frozen then: for a few commits of the rival. It counts
/// only where it falls between the look at the table and the commit, so there have to be many.
const AWAKE_MAX: Duration = Duration::from_millis(700);
const ASLEEP: Duration = Duration::from_millis(300);
/// How long a process may take to end after a panic in one of its threads.
const PANIC_MAX: Duration = Duration::from_secs(15);
/// Nothing waits for a task that has told all it had to tell: a panic there harms nobody.
const OUTLIVED: &str = "commit.told-assembler";
/// About one record in fifty becomes a row.
const ENOUGH_RECORDS: u64 = 2_000;
/// Passages before a point of a running process acts.
const PASSAGES_MAX: u64 = 8;

/// The points that one stage brings its processors to, with the passage that acts.
fn sequence(dice: &mut StdRng) -> Vec<(&'static str, When, u64)> {
    let mut sequence = Vec::new();
    for kind in [When::Start, When::Running, When::Rivals, When::Stopping] {
        for name in when(kind) {
            let nth = if kind == When::Running { dice.random_range(1..=PASSAGES_MAX) } else { 1 };
            sequence.push((name, kind, nth));
        }
    }
    sequence
}

/// What one act at every point came to.
struct Acts<'a> {
    bench: &'a Bench,
    act: Act,
    /// The stage's name, and the act's.
    stage: &'static str,
    words: &'static str,
    seed: u64,
}

/// One act at every point that a processor without a group comes to.
pub(super) async fn each(
    bench: &Bench,
    act: Act,
    recoveries: &mut Recoveries,
    outcome: &mut Outcome,
) -> Result<()> {
    let (stage, words, salt) = match act {
        Act::Kill => ("at-points", "SIGKILL", 0xb1),
        Act::Term => ("terms", "SIGTERM", 0xb2),
        Act::Panic => ("panicking", "panic", 0xb3),
        Act::Stop | Act::Slow => bail!("a slow process is not the end of it"),
    };
    let acts = Acts { bench, act, stage, words, seed: bench.seed ^ salt };
    acts.first_starts(recoveries, outcome).await?;
    acts.run(recoveries, outcome).await
}

impl Acts<'_> {
    /// Tables are made once, so each of these acts has tables of its own.
    async fn first_starts(&self, recoveries: &mut Recoveries, outcome: &mut Outcome) -> Result<()> {
        let made = when(When::Made).flat_map(|name| [(name, When::Made, 1), (name, When::Made, 2)]);
        let evolved = when(When::Evolved).map(|name| (name, When::Evolved, 1));
        for (number, step) in made.chain(evolved).enumerate() {
            let stage = Stage::new(&format!("{}-first-{number}", self.stage), self.seed);
            let mut rig = Rig::start(stage, &self.bench.folder, &self.bench.logs).await?;
            if step.1 == When::Evolved {
                let table = rig.job().sinks.first().map(|sink| lacking(&sink.table));
                rig.lake().ensure(&table.context("a job without tables")?).await?;
            }
            self.at(&mut rig, step, recoveries).await.with_context(|| step.0)?;
            let mut next = rig.processor(None)?;
            rig.until("enough to lose", SETTLE_MAX, |stand| {
                Ok(stand.least.values().sum::<u64>() > ENOUGH_RECORDS)
            })
            .await?;
            let judged = rig.judge(std::slice::from_mut(&mut next)).await?;
            outcome.verdict(&judged.verdict);
            let clean = judged.is_clean();
            let which = if step.2 == 1 { "" } else { " of the second table" };
            let name = format!("processor: {} at {}{which}", self.words, step.0);
            outcome.case(&name, 1, clean, judged.words());
        }
        eprintln!("kill: {} at each point of a first start: seen", self.words);
        Ok(())
    }

    /// All other points, one process after the other on one stage.
    async fn run(&self, recoveries: &mut Recoveries, outcome: &mut Outcome) -> Result<()> {
        let mut dice = StdRng::seed_from_u64(self.seed);
        let stage = Stage::new(self.stage, self.seed);
        let mut rig = Rig::start(stage, &self.bench.folder, &self.bench.logs).await?;
        let mut fired: BTreeMap<&'static str, u64> = BTreeMap::new();
        for _ in 0..self.bench.size.of(1, 4) {
            for step in sequence(&mut dice) {
                self.at(&mut rig, step, recoveries).await.with_context(|| step.0)?;
                *fired.entry(step.0).or_default() += 1;
            }
            eprintln!("kill: {} at each of {} points: seen", self.words, fired.len());
        }
        let mut last = rig.processor(None)?;
        let judged = rig.judge(std::slice::from_mut(&mut last)).await?;
        outcome.verdict(&judged.verdict);
        let clean = judged.is_clean();
        for (point, count) in fired {
            outcome.case(&format!("processor: {} at {point}", self.words), count, clean, "");
        }
        let name = format!("processor: {} at each point, records compared", self.words);
        outcome.case(&name, judged.verdict.read, clean, judged.words());
        Ok(())
    }

    /// Starts a process that acts at one point, and sees that it did and what became of it.
    async fn at(
        &self,
        rig: &mut Rig,
        (point, when, nth): (&'static str, When, u64),
        recoveries: &mut Recoveries,
    ) -> Result<()> {
        let tag = if self.act == Act::Panic { logs::PANICS } else { "" };
        let mut rival = match when {
            When::Rivals => Some(rig.processor(None)?),
            _ => None,
        };
        let armed = Some(Armed { point, nth, act: self.act });
        let mut process = rig.processor_with(&["--assign", "all"], None, tag, armed)?;
        if when == When::Stopping {
            rig.next_commit(&mut process, SETTLE_MAX).await?;
            process.signal(Signal::TERM)?;
        }
        fires(rig, &mut process, rival.as_mut()).await?;
        match self.act {
            Act::Kill => {
                let died = Instant::now();
                ensure!(process.wait(FIRE_MAX)?.is_some(), "it outlives SIGKILL");
                if when == When::Running {
                    let mut next = rig.processor(None)?;
                    rig.next_commit(&mut next, SETTLE_MAX).await?;
                    recoveries.saw(died.elapsed());
                    next.kill()?;
                }
            }
            Act::Term => process.ends_well()?,
            Act::Panic if point == OUTLIVED => {
                rig.next_commit(&mut process, SETTLE_MAX).await?;
                process.kill()?;
            }
            Act::Panic => panicked(&mut process)?,
            Act::Stop | Act::Slow => bail!("a slow process is not the end of it"),
        }
        if let Some(rival) = &mut rival {
            rival.terminate()?;
        }
        Ok(())
    }
}

/// The table without its columns that may be null.
fn lacking(spec: &TableSpec) -> TableSpec {
    let day = spec.partition_day.as_ref();
    let kept = spec.columns.iter().filter(|column| !column.nullable || Some(&column.name) == day);
    TableSpec { columns: kept.cloned().collect(), ..spec.clone() }
}

/// Waits for the point while the emitter follows the tables. A process that wins every race against its rival is
/// frozen now and then, so that it is the one that comes too late.
async fn fires(rig: &Rig, process: &mut Process, mut rival: Option<&mut Process>) -> Result<()> {
    let mut awake = Instant::now();
    let limit = if rival.is_some() { CONFLICT_MAX } else { FIRE_MAX };
    rig.until("the armed point", limit, |_| {
        if process.has_fired() {
            return Ok(true);
        }
        if let Some(status) = process.ended()? {
            // Between the look at the file and the look at the process.
            ensure!(process.has_fired(), "it ended before its point, {status}: {}", process.tail());
        }
        if let Some(rival) = &mut rival
            && let Some(status) = rival.ended()?
        {
            bail!("the rival ended by itself, {status}: {}", rival.tail());
        }
        if rival.is_some() && awake.elapsed() > AWAKE_MAX {
            process.signal(Signal::STOP)?;
            std::thread::sleep(ASLEEP);
            process.signal(Signal::CONT)?;
            awake = Instant::now();
        }
        Ok(false)
    })
    .await?;
    Ok(())
}

/// A panic must end the process, and not with 0: whoever restarts it must see that it failed.
fn panicked(process: &mut Process) -> Result<()> {
    match process.wait(PANIC_MAX)? {
        None => bail!("it goes on {PANIC_MAX:?} after a panic: {}", process.tail()),
        Some(status) => {
            ensure!(!status.success(), "it ended with 0 after a panic: {}", process.tail());
            ensure!(status.signal() != Some(Signal::KILL.as_raw()), "it was killed");
        }
    }
    Ok(())
}
