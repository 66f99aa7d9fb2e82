//! The processor's own machine: no time, no descriptors, no space, no names, another clock.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::Case;
use super::place::{Disk, Names};
use super::play::{INJECTED_MAX, Play};
use crate::proxy::{Fault, Rule, Which};
use crate::servers::now;
use crate::stack::{Found, Stage, must};

pub(super) const CASES: &[Case] = &[
    Case::own("host: 5 % of a processor", little_time),
    Case::own("host: no file descriptor left", no_descriptor),
    Case::own("host: our clock two minutes ahead", other_clock),
    Case::own("host: the disk is full", disk_full),
    Case::own("host: names that don't resolve", no_names),
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
/// One commit tries for half a minute before the log tells of it.
const TOLD_MAX: Duration = Duration::from_secs(50);
const FULL: Duration = Duration::from_secs(3);

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
    let few = Rlimit { current: Some(FEW_DESCRIPTORS), ..many };
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

/// Snapshots of the future are refused by the catalog. Nothing is committed until the clock is set, and the log says
/// so. Clocks that jump back and forth are the simulator's.
fn other_clock(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    play.catalog.set(vec![Rule::every(Which::Commit, Fault::Redate(AHEAD))]);
    play.processor()?.await_words("set this machine's clock", TOLD_MAX)?;
    let before = play.fingerprint()?;
    play.pass(Duration::from_secs(1))?;
    let (after, seen) = (play.fingerprint()?, play.catalog.seen());
    must(before == after, || format!("something was committed: {before} → {after}"))?;
    must(seen.landed == 0, || format!("the catalog took {} of them", seen.landed))?;
    play.finish(seen.total(), "commits refused, and told")
}

fn disk_full(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::new(stage, name)?;
    let disk = Disk::give(&mut play)?;
    play.start()?;
    play.await_commit()?;
    let pid = play.processor()?.pid();
    disk.fill(pid)?;
    let words = ["No space left on device", "disk is full"];
    let said = |play: &mut Play<'_>| -> Result<usize> {
        let processor = play.processor()?;
        Ok(words.iter().map(|words| processor.said(words)).sum())
    };
    play.watch("the log tells of the disk", INJECTED_MAX, |play| Ok(said(play)? > 0))?;
    play.pass(FULL)?;
    let count = said(&mut play)? as u64;
    disk.clear(pid)?;
    play.disk = Some(disk);
    play.finish(count, "times told; a catalog and its tables on a disk of 32 MB")
}

/// Kafka, catalog and store by names that nobody knows, until somebody does.
fn no_names(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::new(stage, name)?;
    let hosts = ["kafka.proof.invalid", "catalog.proof.invalid", "store.proof.invalid"];
    let [kafka, catalog, store] = hosts;
    let named = |address: &str, host: &str| {
        let port = address.rsplit(':').next().unwrap_or_default();
        format!("{host}:{port}")
    };
    play.spawn = play
        .spawn
        .clone()
        .flag("--brokers", named(&stage.servers.kafka(), kafka))
        .flag("--catalog-uri", format!("http://{}", named(&play.catalog.uri(), catalog)))
        .flag("--s3-endpoint", format!("http://{}", named(&play.store.uri(), store)));
    let given = Names::give(&mut play)?;
    play.start()?;
    for words in [
        "waiting for Kafka at kafka.proof.invalid",
        "Failed to resolve",
        "waiting for the catalog at",
    ] {
        play.processor()?.await_words(words, TOLD_MAX)?;
    }
    must(play.fingerprint()?.is_empty(), || "something was committed".to_owned())?;
    given.add(&hosts)?;
    let resolved = play.await_commit()?;
    play.finish(
        3,
        format!("names; first commit {:.1} s after they were known", resolved.as_secs_f64()),
    )
}
