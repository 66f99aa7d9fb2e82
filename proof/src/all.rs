//! Every suite, and the table of what they found.
//!
//! In CI's size those that need no server run beside those that do: these mostly wait. In a release's size all run one after
//! the other, so that their figures are of a quiet machine. Each runs as a process of its own, so that none can spoil another's memory or threads; a suite that fails
//! does not keep the others from running. It must never report a suite that did not run in this very run.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::SuiteArgs;
use crate::report::{self, Machine, Outcome, SUITES};
use crate::size::Size;

/// Those that need no Docker; the others share one set of servers.
const WITHOUT_SERVERS: [&str; 5] = ["sim", "kill", "soak", "workers", "input"];

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AllArgs {
    #[command(flatten)]
    suite: SuiteArgs,
    /// Leave out what needs Docker
    #[arg(long)]
    without_servers: bool,
    /// Only these suites
    #[arg(long, value_delimiter = ',', value_name = "SUITES")]
    only: Vec<String>,
}

/// Runs them. Exit 0 only if every one passed.
pub(crate) fn run(args: &AllArgs) -> ExitCode {
    match run_all(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("prove: {err:#}");
            ExitCode::from(crate::BROKEN)
        }
    }
}

fn run_all(args: &AllArgs) -> Result<bool> {
    let (folder, size) = (&args.suite.results, args.suite.size);
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Machine::look()?.store(folder)?;
    let wanted = |suite: &&str| {
        let named = args.only.is_empty() || args.only.iter().any(|only| only == suite);
        named && (!args.without_servers || WITHOUT_SERVERS.contains(suite))
    };
    let wanted = SUITES.into_iter().filter(wanted);
    let (alone, serving): (Vec<_>, Vec<_>) =
        wanted.partition(|suite| WITHOUT_SERVERS.contains(suite));
    let several = |suites: &[&'static str]| -> Result<Vec<(&'static str, Option<Outcome>)>> {
        suites.iter().map(|suite| Ok((*suite, one(suite, &args.suite, folder)?))).collect()
    };
    let found = if size == Size::Ci {
        thread::scope(|scope| {
            let beside = scope.spawn(|| several(&alone));
            let served = several(&serving);
            let alone = beside.join().map_err(|_| anyhow!("a thread of this program panicked"))?;
            Ok::<_, anyhow::Error>([alone?, served?].concat())
        })
    } else {
        several(&alone).and_then(|alone| Ok([alone, several(&serving)?].concat()))
    };
    if !serving.is_empty() {
        let down = prove(&["servers", "down"]).status()?;
        ensure!(down.success(), "the servers can't be removed: {down}");
    }
    let (mut outcomes, mut broken) = (Vec::new(), Vec::new());
    for (suite, outcome) in found? {
        match outcome {
            Some(outcome) => outcomes.push(outcome),
            None => broken.push(suite),
        }
    }
    report::show_summary(&outcomes);
    for suite in &broken {
        eprintln!("{suite}: broke before it could tell; see above");
    }
    Ok(broken.is_empty() && outcomes.iter().all(Outcome::passed))
}

/// What one suite found, or `None` when it ended without saying.
fn one(suite: &str, args: &SuiteArgs, folder: &Path) -> Result<Option<Outcome>> {
    let begun = now();
    eprintln!("=== {suite} ({})", args.size.name());
    Outcome::forget(suite, folder)?;
    let status = prove(&[suite])
        .args(["--size", args.size.name(), "--seed", &args.seed.to_string()])
        .arg("--results")
        .arg(folder)
        .status()
        .with_context(|| format!("`prove {suite}` can't be started"))?;
    eprintln!("=== {suite}: {status}, {:.0} s", begun.elapsed().as_secs_f64());
    Outcome::load(suite, folder)
}

/// This program again. The first suite that needs servers starts them, and the others find them running.
fn prove(args: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(args).env("PROOF_KEEP_SERVERS", "true").stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "progress shows seconds")]
fn now() -> Instant {
    Instant::now()
}
