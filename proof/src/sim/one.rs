//! One seed, from the beginning to a verdict; and the smallest plan that still fails.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::fault::{Fault, Seen};
use super::ledger::Violation;
use super::plan::Plan;
use super::world::World;

/// What came of one seed.
pub(super) struct Ran {
    pub(super) violation: Option<Violation>,
    pub(super) seen: Seen,
    pub(super) digest: u64,
    pub(super) commits: u64,
    pub(super) turns: u32,
    pub(super) text: Vec<String>,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the world of `plan`. A panic in it is a violation like any other.
pub(super) fn run(plan: &Plan, readable: bool) -> Ran {
    listen_to_panics();
    let mut world = World::new(plan, readable);
    PANIC.set(Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(plan.turns)));
    let said = PANIC.take().unwrap_or_default();
    let violation = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(_) => Some(Violation { invariant: "panic", what: said }),
    };
    let commits = world.ledgers.iter().map(|ledger| ledger.commits).sum();
    let World { seen, trace, turn, .. } = world;
    Ran { violation, seen, digest: trace.digest(), commits, turns: turn, text: trace.into_text() }
}

/// Keeps the message of a panic inside a world, and stays silent about it.
fn listen_to_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let kept = PANIC.with_borrow_mut(|kept| match kept {
                Some(text) => {
                    *text = info.to_string();
                    true
                }
                None => false,
            });
            if !kept {
                before(info);
            }
        }));
    });
}

/// The smallest plan found that fails in the same way: fewer kinds of fault, fewer turns.
pub(super) fn shrink(failing: &Plan, violation: &Violation) -> Plan {
    let mut smallest = failing.clone();
    let same = |plan: &Plan| {
        let ran = run(plan, false);
        ran.violation
            .is_some_and(|found| found.invariant == violation.invariant)
            .then_some(ran.turns)
    };
    for fault in Fault::ALL {
        let mut without = smallest.clone();
        without.off.insert(fault);
        if same(&without).is_some() {
            smallest = without;
        }
    }
    // What comes after the violation does not matter; what comes before may be cut by halves.
    let mut turns = same(&smallest).map_or(smallest.turns, |turns| turns.min(smallest.turns));
    smallest.turns = turns;
    let mut step = turns / 2;
    while step > 0 {
        let fewer = Plan { turns: turns.saturating_sub(step), ..smallest.clone() };
        if same(&fewer).is_some() {
            turns = fewer.turns;
            smallest = fewer;
        }
        step /= 2;
    }
    smallest
}
