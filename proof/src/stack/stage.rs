//! What the cases of a suite share: servers, a runtime, a place for logs, and how to say what was found.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use streamforge::verify::Verdict;
use tokio::runtime::Runtime;

use super::Scene;
use super::lanes::{Lanes, Named};
use crate::SuiteArgs;
use crate::report::Outcome;
use crate::servers::{Servers, ServersArgs, Service, tell};

/// What every suite on the real servers is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StackArgs {
    /// What every suite is told.
    #[command(flatten)]
    pub(crate) suite: SuiteArgs,
    /// How it wants its servers.
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
    /// Only the cases whose name holds this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Where the logs go, one folder a case
    #[arg(long, env = "PROOF_LOGS", default_value = "target/proof/logs", value_name = "DIR")]
    pub(crate) logs: PathBuf,
}

/// Something that had to hold and did not.
#[derive(Debug)]
pub(crate) struct Refuted(String);

impl fmt::Display for Refuted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refuted {}

/// The error of something that had to hold.
pub(crate) fn refuted(words: impl Into<String>) -> anyhow::Error {
    Refuted(words.into()).into()
}

/// Goes on only if it holds.
pub(crate) fn must(holds: bool, words: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(refuted(words())) }
}

/// What came of one case that held.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How often the fault was seen to happen.
    pub(crate) count: u64,
    /// What was seen.
    pub(crate) detail: String,
    /// What the verifier found, as often as it was asked.
    pub(crate) verdicts: Vec<Verdict>,
}

impl Found {
    pub(crate) fn new(count: u64, detail: impl Into<String>) -> Self {
        Self { count, detail: detail.into(), verdicts: Vec::new() }
    }

    /// With what the verifier found.
    pub(crate) fn judged(mut self, verdict: Verdict) -> Self {
        self.verdicts.push(verdict);
        self
    }
}

/// One case: its name and what it does.
pub(crate) struct Case<S> {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&S) -> Result<Found>,
}

impl<S> Named for Case<S> {
    fn name(&self) -> &'static str {
        self.name
    }
}

/// Servers, a runtime, and a place for logs.
pub(crate) struct Stage {
    pub(crate) servers: Servers,
    pub(crate) runtime: Runtime,
    pub(crate) args: StackArgs,
    suite: &'static str,
}

impl Stage {
    pub(crate) fn new(suite: &'static str, args: &StackArgs, more: &[Service]) -> Result<Self> {
        tell(&format!("{suite}: seed {}", args.suite.seed));
        let servers = Servers::start(&args.servers, more)?;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build()?;
        Ok(Self { servers, runtime, args: args.clone(), suite })
    }

    /// A job of its own.
    pub(crate) fn scene(&self, name: &str, partitions: i32) -> Result<Scene<'_>> {
        self.scene_of(name, partitions, &[])
    }

    /// The same on a topic with settings.
    pub(crate) fn scene_of(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<Scene<'_>> {
        let logs = self.args.logs.join(self.suite);
        Scene::new(&self.servers, &self.runtime, name, partitions, settings, &logs)
    }

    /// Runs the cases that are asked for, one after the other.
    ///
    /// # Errors
    ///
    /// The harness broke in a case.
    pub(crate) fn run<S: AsRef<Self>>(stage: &S, cases: &[Case<S>]) -> Result<Outcome> {
        let mut lanes = stage.as_ref().lanes();
        lanes.alone(cases, |case| (case.run)(stage));
        lanes.outcome()
    }

    /// A way to run cases side by side.
    pub(crate) fn lanes(&self) -> Lanes<'_> {
        Lanes::new(self.suite, &self.args)
    }
}

impl AsRef<Self> for Stage {
    fn as_ref(&self) -> &Self {
        self
    }
}
