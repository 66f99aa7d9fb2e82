//! The processor's own machine: no time, no descriptors, another clock.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::Case;
use super::play::{INJECTED_MAX, Play};
use crate::proxy::{Fault, Rule, Which};
use crate::servers::now;
use crate::stack::{Found, Stage, must};

pub(super) const CASES: &[Case] = &[
    Case::own("host: 5 % of a processor", little_time),
    Case::own("host: no file descriptor left", no_descriptor),
    Case::own("host: our clock two minutes ahead, then behind", other_clock),
];

/// One part of twenty.
const AWAKE: Duration = Duration::from_millis(5);
const ASLEEP: Duration = Duration::from_millis(95);
const STARVED: Duration = Duration::from_secs(8);
const STARVED_OF_DESCRIPTORS: Duration = Duration::from_secs(5);
/// Standard input, output and error are among them.
const FEW_DESCRIPTORS: u64 = 4;
/// In milliseconds.
const AHEAD: i64 = 120_000;
const REDATED: u64 = 6;

fn little_time(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    let (begun, mut naps) = (now(), 0);
    while begun.elapsed() < STARVED {
        play.processor()?.freeze()?;
        std::thread::sleep(ASLEEP);
        play.processor()?.thaw()?;
        std::thread::sleep(AWAKE);
        naps += 1;
    }
    play.finish(naps, "naps of 95 ms, 5 ms apart")
}

/// What is open stays open; every new connection fails.
fn no_descriptor(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    let pid = play.processor()?.pid();
    let id = Pid::from_raw(i32::try_from(pid)?).context("a process has a number")?;
    // Inherited from this process. A new descriptor must have a number below the limit.
    let many = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(FEW_DESCRIPTORS), ..many.clone() };
    prlimit(Some(id), Resource::Nofile, few)?;
    // The connections that are there are used no more.
    let lost = vec![Rule::every(Which::Any, Fault::Lose)];
    play.catalog.set(lost.clone());
    play.store.set(lost);
    let told = play.processor()?.await_words("Too many open files", INJECTED_MAX)?;
    play.pass(STARVED_OF_DESCRIPTORS)?;
    prlimit(Some(id), Resource::Nofile, many)?;
    let count = play.processor()?.said("Too many open files") as u64;
    play.finish(count, format!("told after {:.1} s", told.as_secs_f64()))
}

/// Commits dated by a clock that is ahead; those that follow are dated by one that is two minutes behind the table.
fn other_clock(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    play.catalog.set(vec![Rule::every(Which::Commit, Fault::Redate(AHEAD)).times(REDATED)]);
    play.watch("snapshots are dated later", INJECTED_MAX, |play| {
        Ok(play.catalog.seen().total() == REDATED)
    })?;
    let landed = play.catalog.seen().landed;
    must(landed > 0, || "the catalog took none of them".to_owned())?;
    let dates = |play: &Play<'_>| -> Result<i64> {
        let stand = play.scene.stand()?.context("the tables are there")?;
        let table = stand.table(play.scene.table()?)?;
        Ok(table.snapshots.first().map_or(0, |snapshot| snapshot.time_ms))
    };
    let newest = dates(&play)?;
    play.await_progress(INJECTED_MAX)?;
    let after = dates(&play)?;
    must(after >= newest, || format!("the dates went back: {newest} → {after}"))?;
    play.finish(landed, "snapshots of the future, and more after them")
}
