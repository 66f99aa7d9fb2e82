//! Every process of the stack killed under load: processors at random and at fault points, Kafka, the catalog, its
//! database, the store.
//!
//! Owns the order of deaths and how long it takes until the next commit. What became of the records is the
//! verifier's to say.

mod battle;
mod toll;

use std::cell::RefCell;

use anyhow::Result;

use crate::report::Outcome;
use crate::stack::{Case, Found, StackArgs, Stage};
use battle::battle;
use toll::Toll;

/// What the suite is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FullStackArgs {
    /// What every suite on the real servers is told.
    #[command(flatten)]
    pub(crate) stack: StackArgs,
    /// How many are killed, all in all; the size says so when absent
    #[arg(long, value_name = "NUMBER")]
    pub(crate) kills: Option<u64>,
}

/// Kills in the quick run, and in the long one.
const KILLS: (u64, u64) = (20, 200);

struct Front {
    stage: Stage,
    toll: RefCell<Toll>,
    kills: u64,
}

impl AsRef<Stage> for Front {
    fn as_ref(&self) -> &Stage {
        &self.stage
    }
}

/// Runs the three groups.
///
/// # Errors
///
/// The servers are not to be had, or the harness broke.
pub(crate) fn run(args: &FullStackArgs) -> Result<Outcome> {
    let kills = args.kills.unwrap_or(args.stack.suite.size.of(KILLS.0, KILLS.1));
    let stage = Stage::new("full-stack", &args.stack, &[])?;
    let front = Front { stage, toll: RefCell::default(), kills };
    let mut outcome = Stage::run(&front, CASES)?;
    let sound = outcome.passed();
    front.toll.borrow().enter(&mut outcome, sound);
    Ok(outcome)
}

/// One worker has the most time to itself; many must share.
const CASES: &[Case<Front>] = &[
    Case { name: "one worker, everything around it killed", run: |front| fight(front, 1, 2) },
    Case { name: "two workers in a group", run: |front| fight(front, 2, 4) },
    Case { name: "eight workers in a group", run: |front| fight(front, 8, 4) },
];

/// A share of all kills: one of `share`.
fn fight(front: &Front, workers: usize, share: u64) -> Result<Found> {
    let kills = front.kills.div_ceil(share);
    battle(&front.stage, &mut front.toll.borrow_mut(), workers, kills)
}
