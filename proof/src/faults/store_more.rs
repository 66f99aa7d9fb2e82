//! The object store away, silent, or refusing us.

use std::time::Duration;

use anyhow::Result;

use super::Case;
use super::play::{INJECTED_MAX, Play, Side, Wire};
use crate::proxy::{Fault, Rule, Which};
use crate::stack::{Found, Stage, must};

pub(super) const CASES: &[Case] = &[
    once("store: half-open, an upload is never answered", || {
        vec![Rule::every(Which::Put, Fault::HangBefore).times(1)]
    }),
    once("store: hang after the object was stored", || {
        vec![Rule::every(Which::Put, Fault::HangAfter).times(1)]
    }),
    once("store: an answer drips longer than anyone waits", || {
        vec![Rule::every(Which::Put, Fault::Drip(Duration::from_secs(50))).times(1)]
    }),
    Case::own("store: down for 10 s", down_meanwhile),
    Case::own("store: down at start", down_at_start),
    Case::own("store: wrong keys at start", wrong_keys_at_start),
    Case::own("store: keys taken away and given back", rotated),
    Case::own("store: reads cut and malformed after a restart", broken_reads),
];

const fn once(name: &'static str, rules: fn() -> Vec<Rule>) -> Case {
    Case::wire(name, Wire { side: Side::Store, rules, least: 1, span: Duration::ZERO })
}

const DOWN: Duration = Duration::from_secs(10);
const NOTICED_MAX: Duration = Duration::from_secs(30);
/// Reads that go wrong before one is answered truly.
const BROKEN_READS: u64 = 3;

fn down_meanwhile(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    play.store.down();
    play.pass(DOWN)?;
    play.store.up();
    play.await_progress(INJECTED_MAX)?;
    play.finish(1, format!("{} s", DOWN.as_secs()))
}

fn down_at_start(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::new(stage, name)?;
    play.store.down();
    play.start()?;
    play.processor()?.await_words("the store at", NOTICED_MAX)?;
    play.store.up();
    play.await_commit()?;
    play.finish(1, "told by its address")
}

/// I9: it ends with the reason, and nothing was committed.
fn wrong_keys_at_start(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::new(stage, name)?;
    let right = play.spawn.clone();
    play.spawn = right.clone().env("S3_SECRET_KEY", "not-the-secret");
    play.start()?;
    let stop = play.processor()?.await_end(NOTICED_MAX)?;
    must(stop.code == Some(1) && stop.said.contains("S3_SECRET_KEY"), || format!("{stop}"))?;
    let committed = play.processor()?.said(r#""committed""#);
    must(committed == 0, || "something was committed".to_owned())?;
    play.spawn = right;
    play.start()?;
    play.await_commit()?;
    play.finish(1, format!("stopped: {}", stop.said))
}

/// The same under a running job; an orchestrator starts it again until the keys are right.
fn rotated(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    play.store.set(vec![Rule::every(Which::Any, Fault::Refuse(403, "InvalidAccessKeyId"))]);
    let stop = play.processor()?.await_end(NOTICED_MAX)?;
    must(stop.code == Some(1) && stop.said.contains("S3_ACCESS_KEY"), || format!("{stop}"))?;
    let before = play.fingerprint()?;
    play.start()?;
    let again = play.processor()?.await_end(NOTICED_MAX)?;
    must(again.code == Some(1), || format!("the second start: {again}"))?;
    let after = play.fingerprint()?;
    must(before == after, || format!("something was committed: {before} → {after}"))?;
    let count = play.store.seen().total();
    play.calm();
    play.start()?;
    play.await_commit()?;
    play.finish(count, format!("stopped twice: {}", stop.said))
}

/// A process that has just started reads the manifest list.
fn broken_reads(stage: &Stage, name: &'static str) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    let faults = vec![Fault::Truncate, Fault::CutAfter, Fault::Refuse(500, "InternalError")];
    play.store.set(vec![Rule::some(Which::GetMetadata, 1.0, faults).times(BROKEN_READS)]);
    play.restart()?;
    play.watch("reads go wrong", INJECTED_MAX, |play| {
        Ok(play.proxy(Side::Store).seen().total() == BROKEN_READS)
    })?;
    play.await_commit()?;
    play.finish(BROKEN_READS, "")
}
