//! What a suite found: one JSON file each, one table of all.
//!
//! Owns the form. It must never hold a figure that was not handed over by a run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::size::Size;

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

/// What one suite found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The suite's name, which is its subcommand's.
    pub(crate) suite: String,
    /// `ci` or `full`.
    pub(crate) size: String,
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
        clean
            && !self.cases.is_empty()
            && self.cases.iter().all(|case| case.passed && case.count > 0)
    }

    /// Writes `SUITE.json` into `folder`.
    pub(crate) fn store(&self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("{}.json", self.suite.replace(' ', "-")));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, serde_json::to_vec_pretty(self)?))
            .with_context(|| format!("{} can't be written", path.display()))
    }
}

/// Prints the table.
#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
pub(crate) fn show(outcomes: &[Outcome]) {
    for outcome in outcomes {
        for case in &outcome.cases {
            let mark = if case.passed && case.count > 0 { "ok    " } else { "FAILED" };
            println!("  {mark} {:>9} × {}  {}", case.count, case.name, case.detail);
        }
        let figures: Vec<_> =
            outcome.figures.iter().map(|(name, value)| format!("{name}={value}")).collect();
        println!("  {}", figures.join(" "));
        println!(
            "{}: {} lost={} duplicated={} altered={} cases={} {:.0} s",
            outcome.suite,
            if outcome.passed() { "passed" } else { "FAILED" },
            outcome.lost,
            outcome.duplicated,
            outcome.altered,
            outcome.cases.len(),
            outcome.seconds
        );
    }
}
