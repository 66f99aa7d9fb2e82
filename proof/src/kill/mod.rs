//! `prove kill`: real processes over `SQLite` and files, killed at random times and at every fault point.
//!
//! In order: [`points`] names the places, [`process`] is one process, [`rig`] the stage of a case, and each other
//! module a family of faults. It must never count a fault that it did not see: a point counts when the dying
//! process has written its name, a kill when the kernel says so.

mod at_points;
mod committers;
mod group;
mod logs;
mod points;
mod pressure;
mod process;
mod random;
mod recovery;
mod rig;
mod storms;
mod zombies;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Runtime;

use crate::SuiteArgs;
use crate::report::{self, Outcome};
use crate::size::Size;

pub(crate) use process::Process;
pub(crate) use recovery::percentile;
pub(crate) use rig::{Rig, Stage};

use process::Act;
use recovery::Recoveries;

/// What the suite is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) suite: SuiteArgs,
    /// Only these parts: committers, alone, rivals, points, terms, panics, zombies, storm, mixed, twins, group, pressure
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    parts: Vec<String>,
    /// Another build of `stream-processor`, to run beside this one; the one next to this program when absent
    #[arg(long, value_name = "FILE")]
    old_binary: Option<PathBuf>,
    /// Keep tables and logs there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// How cases are named that count records.
const COMPARED: &str = "records compared";

/// Where the cases work, and what they draw from.
pub(crate) struct Bench {
    pub(crate) folder: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) seed: u64,
    pub(crate) size: Size,
}

/// How often a processor said that another writer moved a table.
pub(crate) fn fenced(process: &Process) -> u64 {
    process.log().matches("another writer moved").count() as u64
}

/// Runs every part.
pub(crate) fn run(args: &KillArgs) -> Result<Outcome> {
    let begun = now();
    let temporary = tempfile::tempdir()?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    let bench = Bench { folder, logs, seed: args.suite.seed, size: args.suite.size };
    eprintln!("kill: seed {}, logs in {}", bench.seed, bench.logs.display());
    let mut outcome = Outcome::new("kill", bench.size);
    // The group's cases wait for the broker most of the time: they run beside the others.
    let grouped = std::thread::scope(|scope| -> Result<Outcome> {
        let group = args.wants("group").then(|| scope.spawn(|| grouped(&bench)));
        working(args, &bench, &mut outcome)?;
        match group.map(std::thread::ScopedJoinHandle::join) {
            None => Ok(Outcome::new("kill", bench.size)),
            Some(ended) => ended.map_err(|_| anyhow!("the group's cases panicked"))?,
        }
    })?;
    outcome.take(grouped);
    if args.parts.is_empty() {
        every_point(&mut outcome);
    }
    let killed = |case: &&report::Case| {
        case.name.starts_with("processor: ")
            && case.name.contains("SIGKILL")
            && !case.name.ends_with(COMPARED)
    };
    let kills: u64 = outcome.cases.iter().filter(killed).map(|case| case.count).sum();
    outcome.figure("processor_kills", kills);
    let said = logs::scan(&bench.logs)?;
    let detail = format!("{} lines {}", said.lines, said.shown.join(" | "));
    let name = "logs without errors or panics that nobody asked for";
    outcome.case(name, said.files, said.unasked == 0, detail);
    outcome.seconds = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

/// Every point that can be passed on this stage was seen to kill.
fn every_point(outcome: &mut Outcome) {
    let seen = |name: &str| {
        let case = format!("processor: SIGKILL at {name}");
        outcome.cases.iter().any(|known| known.name == case && known.count > 0)
    };
    let here = points::POINTS.iter().filter(|point| point.when != points::When::Rest);
    let (fired, missing): (Vec<_>, Vec<_>) =
        here.map(|point| point.name).partition(|name| seen(name));
    let elsewhere = points::when(points::When::Rest).collect::<Vec<_>>().join(", ");
    let detail = format!("missing: {missing:?}; on real servers: {elsewhere}");
    let name = "every fault point of this stage has killed a processor";
    outcome.case(name, fired.len() as u64, missing.is_empty(), detail);
    outcome.figure("fault_points", fired.len() as u64);
}

impl KillArgs {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    /// The other build: as named, or the plain processor next to this program.
    fn other_build(&self) -> Result<Option<PathBuf>> {
        if self.old_binary.is_some() {
            return Ok(self.old_binary.clone());
        }
        let own = std::env::current_exe()?;
        let beside = own.parent().unwrap_or(Path::new(".")).join("stream-processor");
        Ok(beside.is_file().then_some(beside))
    }
}

impl Outcome {
    /// A part that broke off has failed: what it waited for did not happen.
    fn ended(&mut self, part: &str, ended: Result<()>) {
        if let Err(err) = ended {
            eprintln!("kill: {part}: {err:#}");
            self.case(&format!("{part}: carried out to its end"), 1, false, format!("{err:#}"));
        }
    }

    /// Takes over what was found beside it.
    fn take(&mut self, other: Self) {
        self.cases.extend(other.cases);
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.altered += other.altered;
    }
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn working(args: &KillArgs, bench: &Bench, outcome: &mut Outcome) -> Result<()> {
    let size = bench.size;
    let mut recoveries = Recoveries::default();
    let other = args.other_build()?;
    let runtime = runtime()?;
    if args.wants("committers") {
        let kills = size.of(1_000, 20_000);
        let part = committers::kill(kills, bench.seed, &bench.folder, &bench.logs, outcome);
        let ended = runtime.block_on(part);
        outcome.ended("committers", ended);
    }
    if args.wants("alone") {
        let part = random::alone(bench, size.of(30, 400), &mut recoveries, outcome);
        let ended = runtime.block_on(part);
        outcome.ended("alone", ended);
    }
    if args.wants("rivals") {
        let ended = runtime.block_on(random::rivals(bench, size.of(8, 100), outcome));
        outcome.ended("rivals", ended);
    }
    for (part, act) in [("points", Act::Kill), ("terms", Act::Term), ("panics", Act::Panic)] {
        if args.wants(part) {
            let ended = runtime.block_on(at_points::each(bench, act, &mut recoveries, outcome));
            outcome.ended(part, ended);
        }
    }
    if args.wants("zombies") {
        let ended = runtime.block_on(zombies::each(bench, outcome));
        outcome.ended("zombies", ended);
    }
    if args.wants("storm") {
        let ended = runtime.block_on(storms::storm(bench, size.of(25, 300), outcome));
        outcome.ended("storm", ended);
    }
    if args.wants("mixed") {
        let part = storms::mixed(bench, size.of(6, 60), other.as_deref(), outcome);
        let ended = runtime.block_on(part);
        outcome.ended("mixed", ended);
    }
    if args.wants("pressure") {
        let ended = runtime.block_on(pressure::hammer(bench, size.of(60_000, 1_000_000), outcome));
        outcome.ended("pressure", ended);
    }
    if args.wants("alone") || args.wants("points") {
        recoveries.tell(outcome);
    }
    Ok(())
}

/// What waits for rebalances, all at the same time, each on a thread of its own.
fn grouped(bench: &Bench) -> Result<Outcome> {
    let mut acts: Vec<(&'static str, Act)> =
        group::points().map(|point| (point, Act::Kill)).collect();
    match bench.size {
        Size::Ci => {
            acts.extend([("rebalance.revoked", Act::Term), ("rebalance.revoked", Act::Stop)]);
        }
        Size::Full => acts.extend(group::points().flat_map(|p| [(p, Act::Term), (p, Act::Stop)])),
    }
    let waves = bench.size.of(1, 12);
    let mut sum = Outcome::new("kill", bench.size);
    let outcomes = std::thread::scope(|scope| {
        let mut cases = vec![
            scope.spawn(|| {
                alone(bench, "eight workers", async |it| group::eight(bench, waves, it).await)
            }),
            scope.spawn(|| alone(bench, "twins", async |it| storms::twins(bench, it).await)),
        ];
        for (point, act) in acts {
            cases.push(scope.spawn(move || {
                alone(bench, point, async |it| group::at_rebalance(bench, point, act, it).await)
            }));
        }
        cases.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for outcome in outcomes {
        sum.take(outcome.map_err(|_| anyhow!("a case panicked"))??);
    }
    Ok(sum)
}

/// One case on a runtime of its own.
fn alone(
    bench: &Bench,
    name: &str,
    case: impl AsyncFnOnce(&mut Outcome) -> Result<()>,
) -> Result<Outcome> {
    let mut outcome = Outcome::new("kill", bench.size);
    let ended = runtime()?.block_on(case(&mut outcome));
    outcome.ended(name, ended);
    Ok(outcome)
}

#[expect(clippy::disallowed_methods, reason = "how long it took is told")]
fn now() -> Instant {
    Instant::now()
}
