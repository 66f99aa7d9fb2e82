//! What a suite found: one JSON file each, one table of all.
//!
//! Owns the form. It must never hold a figure that was not handed over by a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::size::Size;

/// Every suite, in the order of runs and tables.
pub(crate) const SUITES: [&str; 11] = [
    "sim",
    "kill",
    "soak",
    "workers",
    "input",
    "topics",
    "faults",
    "foreign",
    "full-stack",
    "secrets",
    "bugs",
];

/// One kind of fault, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    /// As in the fault table, such as `catalog: 503 after the commit was applied`.
    pub(crate) name: String,
    /// How often it was seen to happen.
    pub(crate) count: u64,
    /// Whether everything held.
    pub(crate) passed: bool,
    /// What was seen, or why it did not hold.
    pub(crate) detail: String,
}

impl Case {
    /// A case that never happened proves nothing.
    pub(crate) fn holds(&self) -> bool {
        self.passed && self.count > 0
    }
}

/// What one suite found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The suite's name, which is its subcommand's.
    pub(crate) suite: String,
    /// `ci` or `full`.
    pub(crate) size: String,
    /// Of the sources it ran from; empty outside of a repository.
    #[serde(default)]
    pub(crate) commit: String,
    /// The one command that repeats it.
    pub(crate) command: String,
    pub(crate) seconds: f64,
    pub(crate) cases: Vec<Case>,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) altered: u64,
    /// Anything measured, by name: kills, commits, seeds a second, recovery milliseconds.
    pub(crate) figures: BTreeMap<String, Value>,
}

impl Outcome {
    /// An outcome that holds nothing yet. `suite` is the subcommand, with its options if it has any.
    pub(crate) fn new(suite: &str, size: Size) -> Self {
        let size = size.name();
        Self {
            suite: suite.to_owned(),
            size: size.to_owned(),
            commit: said("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_default(),
            command: format!(
                "cargo run --release --locked -p proof --features faults -- {suite} --size {size}"
            ),
            seconds: 0.0,
            cases: Vec::new(),
            lost: 0,
            duplicated: 0,
            altered: 0,
            figures: BTreeMap::new(),
        }
    }

    /// Adds a case.
    pub(crate) fn case(&mut self, name: &str, count: u64, passed: bool, detail: impl Into<String>) {
        let (name, detail) = (name.to_owned(), detail.into());
        self.cases.push(Case { name, count, passed, detail });
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// Adds what the verifier found.
    pub(crate) fn verdict(&mut self, verdict: &streamforge::verify::Verdict) {
        self.lost += verdict.lost;
        self.duplicated += verdict.duplicated;
        self.altered += verdict.altered;
    }

    /// Every case was met, and nothing was lost, doubled or altered.
    pub(crate) fn passed(&self) -> bool {
        let clean = self.lost == 0 && self.duplicated == 0 && self.altered == 0;
        clean && !self.cases.is_empty() && self.cases.iter().all(Case::holds)
    }

    fn line(&self) -> String {
        format!(
            "{:<10} {} lost={} duplicated={} altered={} cases={} {:.0} s",
            self.suite,
            if self.passed() { "passed" } else { "FAILED" },
            self.lost,
            self.duplicated,
            self.altered,
            self.cases.len(),
            self.seconds
        )
    }

    /// Writes `SUITE.json` into `folder`.
    pub(crate) fn store(&self, folder: &Path) -> Result<()> {
        let path = Self::path(&self.suite, folder);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, serde_json::to_vec_pretty(self)?))
            .with_context(|| format!("{} can't be written", path.display()))
    }
}

impl Outcome {
    fn path(suite: &str, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json", suite.replace(' ', "-")))
    }

    /// Takes away what an earlier run left.
    pub(crate) fn forget(suite: &str, folder: &Path) -> Result<()> {
        let path = Self::path(suite, folder);
        match std::fs::remove_file(&path) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                Err(err).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// Reads what a suite left, if it did.
    pub(crate) fn load(suite: &str, folder: &Path) -> Result<Option<Self>> {
        let path = Self::path(suite, folder);
        match std::fs::read(&path) {
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => {
                let read = read.with_context(|| path.display().to_string())?;
                let outcome = serde_json::from_slice(&read);
                outcome.map(Some).with_context(|| path.display().to_string())
            }
        }
    }
}

/// Where and when a run took place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) day: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
}

impl Machine {
    /// Reads it off this one.
    pub(crate) fn look() -> Result<Self> {
        let first = |path: &str, key: &str| -> Result<String> {
            let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            Ok(line.split_once(':').map_or("", |(_, value)| value).trim().to_owned())
        };
        let memory = first("/proc/meminfo", "MemTotal")?;
        let kib: u64 =
            memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Ok(Self {
            day: said("date", &["-u", "+%Y-%m-%d"])?,
            processor: first("/proc/cpuinfo", "model name")?,
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: kib.div_ceil(1024 * 1024),
            kernel: said("uname", &["-sr"])?,
        })
    }

    /// Writes `machine.json`.
    pub(crate) fn store(&self, folder: &Path) -> Result<()> {
        let path = folder.join("machine.json");
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| path.display().to_string())
    }

    /// Reads `machine.json`.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("machine.json");
        let read = std::fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&read).with_context(|| path.display().to_string())
    }
}

/// A program's first words.
fn said(program: &str, args: &[&str]) -> std::io::Result<String> {
    let output = Command::new(program).args(args).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Prints one line a suite, and the mistakes that were caught.
#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
pub(crate) fn show_summary(outcomes: &[Outcome]) {
    println!();
    for outcome in outcomes {
        for case in outcome.cases.iter().filter(|case| !case.holds()) {
            println!("{}: FAILED: {} × {}: {}", outcome.suite, case.count, case.name, case.detail);
        }
        println!("{}", outcome.line());
        if let Some(caught) = outcome.figures.get("seeded bugs").and_then(Value::as_str) {
            println!("seeded bugs {caught}");
        }
    }
}

/// Prints all cases.
#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
pub(crate) fn show(outcomes: &[Outcome]) {
    for outcome in outcomes {
        for case in &outcome.cases {
            let mark = if case.holds() { "ok    " } else { "FAILED" };
            println!("  {mark} {:>9} × {}  {}", case.count, case.name, case.detail);
        }
        let figures: Vec<_> =
            outcome.figures.iter().map(|(name, value)| format!("{name}={value}")).collect();
        println!("  {}", figures.join(" "));
        println!("{}", outcome.line());
    }
}
