//! Credentials that must be nowhere: each is a canary, and everything that a processor says is searched for it.
//!
//! Owns the canaries and the search. Processors run at TRACE through success and every way to fail that shows a
//! credential to somebody; what they log, serve and print is kept, and so is what other suites left behind.

mod echo;
mod library;
mod runs;
mod search;

use std::path::PathBuf;

use anyhow::Result;

use crate::report::Outcome;
use crate::stack::{Case, StackArgs, Stage};

/// What the suite is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SecretsArgs {
    /// What every suite on the real servers is told.
    #[command(flatten)]
    pub(crate) stack: StackArgs,
    /// More folders to look through, such as the logs of other suites
    #[arg(long, value_name = "DIR")]
    pub(crate) also: Vec<PathBuf>,
}

pub(super) struct Watch {
    stage: Stage,
    also: Vec<PathBuf>,
}

impl AsRef<Stage> for Watch {
    fn as_ref(&self) -> &Stage {
        &self.stage
    }
}

/// Runs every case.
///
/// # Errors
///
/// The servers are not to be had, or the harness broke.
pub(crate) fn run(args: &SecretsArgs) -> Result<Outcome> {
    let stage = Stage::new("secrets", &args.stack, &[])?;
    Stage::run(&Watch { stage, also: args.also.clone() }, CASES)
}

const CASES: &[Case<Watch>] = &[
    Case { name: "a run that succeeds, at TRACE, and its pages", run: runs::success },
    Case { name: "wrong keys of the store", run: runs::wrong_keys },
    Case { name: "a store that repeats what it is sent", run: runs::store_echoes },
    Case { name: "a catalog that repeats what it is sent", run: runs::catalog_echoes },
    Case { name: "SASL against a broker that has none, client debugging on", run: runs::sasl },
    Case { name: "settings that are refused", run: runs::refused },
    Case { name: "panics in every thread", run: runs::panics },
    Case { name: "--help, check and healthcheck", run: runs::commands },
    Case { name: "a catalog's token, refused and repeated", run: library::token },
    Case { name: "the logs of every suite", run: search::everything },
];
