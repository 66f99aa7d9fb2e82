//! The catalog away, silent, or applying a commit of a process that is dead.

use std::time::Duration;

use anyhow::Result;

use super::Case;
use super::play::{INJECTED_MAX, Play, Side, Wire};
use crate::proxy::{Fault, Rule, Until, Which};
use crate::stack::{Found, Stage, must};

pub(super) const CASES: &[Case] = &[
    once("catalog: hang before the commit", || {
        vec![Rule::every(Which::Commit, Fault::HangBefore).times(1)]
    }),
    once("catalog: hang after the commit was applied", || {
        vec![Rule::every(Which::Commit, Fault::HangAfter).times(1)]
    }),
    once("catalog: half of the answer, then silence", || {
        vec![Rule::every(Which::Commit, Fault::Stall).times(1)]
    }),
    once("catalog: half-open, reads are never answered", || {
        vec![Rule::every(Which::Load, Fault::HangBefore).times(1)]
    }),
    once("catalog: an answer drips longer than anyone waits", || {
        vec![Rule::every(Which::Commit, Fault::Drip(Duration::from_secs(45))).times(1)]
    }),
    Case::own("catalog: down for 20 s", down_meanwhile),
    Case::own("catalog: down at start", down_at_start),
    Case::own("catalog: refuses everybody at start", refuses_at_start),
    Case::own("catalog: applied after our restart read the table", late_after_restart),
];

/// One such answer takes the whole of the client's patience.
const fn once(name: &'static str, rules: fn() -> Vec<Rule>) -> Case {
    Case::wire(name, Wire { side: Side::Catalog, rules, least: 1, span: Duration::ZERO })
}

const DOWN: Duration = Duration::from_secs(20);
/// After this long a wait is in the log.
const TOLD_MAX: Duration = Duration::from_secs(15);
/// Kills with a commit under way.
const RESTARTS: u64 = 4;

fn down_meanwhile(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    play.catalog.down();
    play.pass(DOWN)?;
    let before = play.fingerprint()?;
    play.catalog.up();
    play.await_progress(INJECTED_MAX)?;
    must(!before.is_empty(), || "the tables were not there".to_owned())?;
    play.finish(1, format!("{} s", DOWN.as_secs()))
}

fn down_at_start(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::new(stage, name)?;
    play.catalog.down();
    play.start()?;
    let told = play.processor()?.await_words("waiting for the catalog", TOLD_MAX)?;
    play.catalog.up();
    play.await_commit()?;
    play.finish(1, format!("told after {:.1} s", told.as_secs_f64()))
}

/// A wrong token is waited for, as it may be replaced; the reason is told, and nothing is committed meanwhile.
fn refuses_at_start(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::new(stage, name)?;
    play.catalog.set(vec![Rule::every(Which::Any, Fault::Refuse(401, "NotAuthorized"))]);
    play.start()?;
    play.processor()?.await_words("status: 401", TOLD_MAX)?;
    must(play.fingerprint()?.is_empty(), || "something was committed".to_owned())?;
    let count = play.catalog.seen().total();
    play.calm();
    play.await_commit()?;
    play.finish(count, "told as 401")
}

/// The process dies with its commit on the way; the next one reads the table; then the commit arrives.
fn late_after_restart(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    for round in 1..=RESTARTS {
        let late = Fault::Late(Until::ReleasedAndRead);
        play.catalog.set(vec![Rule::every(Which::Commit, late).times(1)]);
        play.watch("a commit is held back", INJECTED_MAX, |play| {
            Ok(play.proxy(Side::Catalog).seen().total() == round)
        })?;
        play.restart()?;
        play.catalog.release();
        play.watch("the commit is passed on", INJECTED_MAX, |play| {
            Ok(play.catalog.seen().held == 0)
        })?;
        play.await_commit()?;
    }
    let seen = play.catalog.seen();
    let detail = format!("{} applied, {} refused by the catalog", seen.landed, seen.missed);
    play.finish(seen.total(), detail)
}
