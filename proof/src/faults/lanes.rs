//! The cases side by side, and their findings in order.
//!
//! Owns which case runs when. Kafka names one address for its proxy, so the cases that need it follow each other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::Case;
use super::ambiguous::Tally;
use crate::report::Outcome;
use crate::servers::{now, tell};
use crate::stack::{Found, Refuted, Stage, words};

/// Cases that run at once, beside the one of Kafka's. Most of them wait most of the time.
const LANES: usize = 6;

/// What came of a case, and in how many seconds.
struct Done {
    place: usize,
    name: &'static str,
    found: Result<Found>,
    seconds: f64,
}

/// Runs `together` side by side and `apart` one after the other; the findings are in that order.
pub(super) fn run(stage: &Stage, together: &[Case], apart: &[Case]) -> Result<(Outcome, Tally)> {
    let begun = now();
    let only = stage.args.only.as_deref().unwrap_or_default();
    let wanted = |cases: &[Case]| -> Vec<Case> {
        cases.iter().filter(|case| case.name.contains(only)).copied().collect()
    };
    let (together, apart) = (wanted(together), wanted(apart));
    if together.is_empty() && apart.is_empty() {
        bail!("no case is called like `{only}`");
    }
    let (tally, done) = (Tally::default(), Mutex::new(Vec::new()));
    let play = |place: usize, case: &Case| {
        let begun = now();
        let found = case.run(stage, &tally);
        let seconds = begun.elapsed().as_secs_f64();
        told(case.name, &found, seconds);
        let done_now = Done { place, name: case.name, found, seconds };
        done.lock().unwrap_or_else(PoisonError::into_inner).push(done_now);
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (place, case) in apart.iter().enumerate() {
                play(together.len() + place, case);
            }
        });
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::SeqCst);
                    let Some(case) = together.get(place) else { break };
                    play(place, case);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|done| done.place);
    let mut outcome = Outcome::new("faults", stage.args.suite.size);
    let mut broken = None;
    for Done { name, found, seconds, .. } in done {
        match found {
            Ok(found) => enter(&mut outcome, name, found, seconds),
            Err(err) if is_finding(&err) => outcome.case(name, 1, false, format!("{err:#}")),
            Err(err) => broken = broken.or(Some(err.context(name))),
        }
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    match broken {
        Some(err) => Err(err).context("the harness broke"),
        None => Ok((outcome, tally)),
    }
}

fn is_finding(err: &anyhow::Error) -> bool {
    err.chain().any(<dyn std::error::Error + 'static>::is::<Refuted>)
}

fn told(name: &str, found: &Result<Found>, seconds: f64) {
    let words = match found {
        Ok(found) => {
            let clean = found.verdicts.iter().all(streamforge::verify::Verdict::is_clean);
            let mark = if clean && found.count > 0 { "ok" } else { "FAILED" };
            format!("{mark} {} × {name}: {}", found.count, found.detail)
        }
        Err(err) if is_finding(err) => format!("FAILED {name}: {err:#}"),
        Err(err) => format!("{name}: the harness broke: {err:#}"),
    };
    tell(&format!("faults: {words} ({seconds:.1} s)"));
}

fn enter(outcome: &mut Outcome, name: &str, found: Found, seconds: f64) {
    let mut detail = vec![found.detail];
    let mut clean = true;
    for verdict in &found.verdicts {
        outcome.verdict(verdict);
        clean &= verdict.is_clean();
        detail.push(words(verdict));
    }
    detail.push(format!("{seconds:.0} s"));
    detail.retain(|part| !part.is_empty());
    outcome.case(name, found.count, clean, detail.join("; "));
}
