//! Commits whose outcome nobody tells us, in bulk.
//!
//! Owns the figure of the protocol's §11. A commit counts as ambiguous when its answer did not say what became of
//! it; whether it had landed is what the catalog itself answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::catalog::OTHER_JSON;
use super::play::Play;
use super::{Case, Run};
use crate::proxy::{Fault, Rule, Until, Which};
use crate::stack::{Found, Stage};

/// The jobs among which they are shared out, so that some run side by side.
pub(super) const CASES: &[Case] = &[
    Case { name: "catalog: ambiguous commits, first job", run: Run::Ambiguous },
    Case { name: "catalog: ambiguous commits, second job", run: Run::Ambiguous },
    Case { name: "catalog: ambiguous commits, third job", run: Run::Ambiguous },
];

/// The share of the commits that become ambiguous.
const SHARE: f64 = 0.7;
/// The pause after a few failures in a row is some seconds; four of ten end them.
const EACH_MAX: Duration = Duration::from_secs(2);

/// What became of all of them.
#[derive(Default)]
pub(super) struct Tally {
    ambiguous: AtomicU64,
    landed: AtomicU64,
    missed: AtomicU64,
}

impl Tally {
    /// None where no such case was run.
    pub(super) fn figures(&self) -> Vec<(&'static str, u64)> {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let figures = vec![
            ("ambiguous_commits", count(&self.ambiguous)),
            ("ambiguous_commits_landed", count(&self.landed)),
            ("ambiguous_commits_not_landed", count(&self.missed)),
        ];
        figures.into_iter().filter(|_| count(&self.ambiguous) > 0).collect()
    }
}

/// Every way in which a commit can become ambiguous without a time-out.
fn mix() -> Vec<Fault> {
    vec![
        Fault::Lose,
        Fault::CutAfter,
        Fault::CutBefore,
        Fault::Late(Until::Passed(Duration::from_millis(250))),
        Fault::Late(Until::Read),
        Fault::Twice,
        Fault::Hide(409, "CommitFailedException"),
        Fault::Hide(500, "CommitStateUnknownException"),
        Fault::Hide(502, "BadGateway"),
        Fault::Hide(503, "ServiceUnavailable"),
        Fault::Hide(504, "GatewayTimeout"),
        Fault::Refuse(503, "ServiceUnavailable"),
        Fault::Truncate,
        Fault::Garble("all is well"),
        Fault::Garble(OTHER_JSON),
    ]
}

pub(super) fn run(stage: &Stage, name: &'static str, tally: &Tally) -> Result<Found> {
    let jobs = CASES.len() as u64;
    let wanted = stage.args.suite.size.of(300, 3_000_u64).div_ceil(jobs);
    let mut play = Play::running(stage, name)?;
    play.catalog.set(vec![Rule::some(Which::Commit, SHARE, mix())]);
    let limit = EACH_MAX * u32::try_from(wanted)?;
    play.watch(&format!("{wanted} commits become ambiguous"), limit, |play| {
        Ok(play.catalog.seen().total() >= wanted)
    })?;
    play.calm();
    // Those that are held back land, or not, within their time.
    play.watch("none is held back", limit, |play| Ok(play.catalog.seen().held == 0))?;
    let seen = play.catalog.seen();
    tally.ambiguous.fetch_add(seen.total(), Ordering::SeqCst);
    tally.landed.fetch_add(seen.landed, Ordering::SeqCst);
    tally.missed.fetch_add(seen.missed, Ordering::SeqCst);
    let kinds: Vec<_> = seen.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let detail = format!("{} landed, {} not ({})", seen.landed, seen.missed, kinds.join(", "));
    play.finish(seen.total(), detail)
}
