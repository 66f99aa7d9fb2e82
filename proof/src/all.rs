//! Every suite, one after the other, and the table of what they found.
//!
//! Each runs as a process of its own, so that none can spoil another's memory or threads; a suite that fails
//! does not keep the others from running. It must never report a suite that did not run in this very run.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::SuiteArgs;
use crate::report::{self, Machine, Outcome, SUITES};

/// Those that need no Docker; they come first, and the others share one set of servers.
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
    let wanted: Vec<_> = SUITES.into_iter().filter(wanted).collect();
    let (mut outcomes, mut broken) = (Vec::new(), Vec::new());
    for (number, suite) in wanted.iter().enumerate() {
        eprintln!("=== {suite} ({}/{}, {})", number + 1, wanted.len(), size.name());
        match one(suite, &args.suite, folder)? {
            Some(outcome) => outcomes.push(outcome),
            None => broken.push(*suite),
        }
    }
    if wanted.iter().any(|suite| !WITHOUT_SERVERS.contains(suite)) {
        let down = prove(&["servers", "down"]).status()?;
        anyhow::ensure!(down.success(), "the servers can't be removed: {down}");
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
