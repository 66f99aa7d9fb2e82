//! The simulator: the real pipeline and the real commit under a seeded adversary, in one thread a world.
//!
//! Processes, servers, clock and chance are simulated; what decides about exactly-once is the product itself.
//! After every change of a table the [`ledger`] checks it; a run that never met some kind of fault fails.

mod death;
mod disaster;
mod edits;
mod ending;
mod fault;
mod group;
mod heard;
mod job;
mod ledger;
mod network;
mod one;
mod others;
mod plan;
mod process;
mod rows;
mod topic;
mod trace;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lakehouse::faults::{self, Bug};
use rustix::time::{ClockId, clock_gettime};

use crate::SuiteArgs;
use crate::report::Outcome;
use fault::{REQUIRED, Seen};
use ledger::Violation;
use plan::Plan;

/// One in so many seeds is run three times, and its traces are compared.
const TWICE_ONE_IN: u64 = 100;
/// Lines of a failing trace that are shown.
const TAIL: usize = 60;
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What the simulator is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SimArgs {
    #[command(flatten)]
    pub(crate) suite: SuiteArgs,
    /// Run this seed alone and print what happens in it
    #[arg(long, env = "SIM_SEED")]
    only_seed: Option<u64>,
    /// How many seeds, whatever the size; what they don't happen to meet is no failure then
    #[arg(long)]
    seeds: Option<u64>,
    /// Make this mistake, such as S5: the suite must fail
    #[arg(long, hide = true)]
    bug: Option<String>,
}

/// A seed that failed.
struct Failure {
    plan: Plan,
    violation: Violation,
}

/// What all seeds came to.
#[derive(Default)]
struct Total {
    seen: Seen,
    seeds: u64,
    commits: u64,
    turns: u64,
    failure: Option<Failure>,
}

/// Runs the seeds on all cores.
pub(crate) fn run(args: &SimArgs) -> Result<Outcome> {
    let bug = args.bug.as_deref().map(named).transpose()?;
    if let Some(seed) = args.only_seed {
        return entered(|| Ok(faults::with_bug(bug, || replay(seed, args))));
    }
    let seeds = args.seeds.unwrap_or(args.suite.size.of(2_000, 100_000));
    let first = args.suite.seed.wrapping_mul(1_000_000);
    eprintln!("sim: {seeds} seeds from {first}");
    let begun = now();
    let mut outcome = Outcome::new("sim", args.suite.size);
    let total = many(first, seeds, bug)?;
    let (seconds, busy) = (begun.elapsed().as_secs_f64(), busy_seconds());
    for name in REQUIRED {
        let count = total.seen.get(name);
        // A few seeds don't meet everything.
        if count > 0 || args.seeds.is_none() {
            outcome.case(name, count, count > 0, "");
        }
    }
    for (name, count) in total.seen.iter().filter(|(name, _)| !REQUIRED.contains(name)) {
        outcome.case(name, count, true, "");
    }
    let twice = seeds.div_ceil(TWICE_ONE_IN);
    let same = entered(|| faults::with_bug(bug, || same_twice(first, twice)));
    let said = same.as_ref().err().map(ToString::to_string).unwrap_or_default();
    outcome.case("the same seed takes the same way", twice, same.is_ok(), said);
    if let Some(Failure { plan, violation }) = &total.failure {
        eprintln!("sim: a violation after {} seeds and {seconds:.1} s", total.seeds);
        let detail = format!("SIM_SEED={}: {}", plan.seed, violation.what);
        outcome.case(&format!("invariant {}", violation.invariant), 1, false, detail);
        match violation.invariant {
            "I1" => outcome.lost += 1,
            "I2" => outcome.duplicated += 1,
            "I3" => outcome.altered += 1,
            _ => {}
        }
        entered(|| {
            faults::with_bug(bug, || explain(plan, violation));
            Ok(())
        })?;
    }
    outcome.figure("seeds", total.seeds);
    outcome.figure("commits", total.commits);
    outcome.figure("turns", total.turns);
    let rate = total.seeds as f64 / busy;
    outcome.figure("seeds a CPU second", (rate * 10.0).round() / 10.0);
    outcome.seconds = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

/// What the processor has spent on this program.
fn busy_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

fn named(code: &str) -> Result<Bug> {
    let found = Bug::ALL.into_iter().find(|bug| bug.code() == code);
    found.with_context(|| format!("no such mistake: {code}"))
}

fn many(first: u64, seeds: u64, bug: Option<Bug>) -> Result<Total> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new(Total::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| {
                    faults::with_bug(bug, || {
                        entered(|| {
                            some(first, seeds, &next, &stop, &total);
                            Ok(())
                        })
                    })
                })
            })
            .collect();
        let mut told = now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
            if told.elapsed() >= TELL_EVERY {
                told = now();
                let total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                eprintln!("sim: {} of {seeds} seeds, {} commits", total.seeds, total.commits);
            }
        }
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a thread of the simulator panicked"))??;
        }
        Ok(())
    })?;
    Ok(total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// One core's share.
fn some(first: u64, seeds: u64, next: &AtomicU64, stop: &AtomicBool, total: &Mutex<Total>) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= seeds {
            break;
        }
        let plan = Plan::new(first.wrapping_add(number));
        let ran = one::run(&plan, false);
        let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        total.seeds += 1;
        total.commits += ran.commits;
        total.turns += u64::from(ran.turns);
        total.seen.add(&ran.seen);
        if let Some(violation) = ran.violation {
            stop.store(true, Ordering::Relaxed);
            total.failure.get_or_insert(Failure { plan, violation });
        }
    }
}

/// iceberg asks for a runtime, and does nothing with it here.
fn entered<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let _guard = runtime.enter();
    work()
}

fn same_twice(first: u64, seeds: u64) -> Result<()> {
    for seed in first..first + seeds {
        let (once, again) = (one::run(&Plan::new(seed), true), one::run(&Plan::new(seed), true));
        let silent = one::run(&Plan::new(seed), false);
        if once.text != again.text || once.digest != silent.digest {
            let place = once.text.iter().zip(&again.text).position(|(a, b)| a != b);
            let line =
                place.and_then(|place| Some((once.text.get(place)?, again.text.get(place)?)));
            bail!("SIM_SEED={seed} took two ways; the first lines that differ: {line:?}");
        }
    }
    Ok(())
}

/// Runs one seed and prints all of it.
fn replay(seed: u64, args: &SimArgs) -> Outcome {
    let mut outcome = Outcome::new("sim", args.suite.size);
    let begun = now();
    let plan = Plan::new(seed);
    let ran = one::run(&plan, true);
    ran.text.iter().for_each(|line| eprintln!("{line}"));
    let said = ran.violation.as_ref().map(|v| format!("{}: {}", v.invariant, v.what));
    outcome.case("one seed", 1, said.is_none(), said.unwrap_or_default());
    outcome.figure("seed", seed);
    outcome.figure("turns", ran.turns);
    outcome.figure("commits", ran.commits);
    outcome.figure("digest", format!("{:016x}", ran.digest));
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome
}

/// Prints a failing seed, made as small as it gets.
fn explain(plan: &Plan, violation: &Violation) {
    let smallest = one::shrink(plan, violation);
    let ran = one::run(&smallest, true);
    let skipped = ran.text.len().saturating_sub(TAIL);
    eprintln!("sim: SIM_SEED={} violates {}: {}", plan.seed, violation.invariant, violation.what);
    let needed: BTreeSet<_> =
        fault::Fault::ALL.into_iter().filter(|f| !smallest.off.contains(f)).collect();
    eprintln!(
        "sim: {} turns are enough, with {needed:?}; the last of {} lines:",
        smallest.turns,
        ran.text.len()
    );
    ran.text.iter().skip(skipped).for_each(|line| eprintln!("  {line}"));
    if let Some(found) = ran.violation {
        eprintln!("  {}: {}", found.invariant, found.what);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long it took is a result")]
fn now() -> Instant {
    Instant::now()
}
