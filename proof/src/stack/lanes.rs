//! The cases of a suite, side by side where they may be, and their findings in order.
//!
//! Owns which case runs when, and what tells a finding from a harness that broke: only a [`Refuted`] is a finding. Anything
//! else says nothing of the product, and ends the suite with its own exit code.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use streamforge::verify::Verdict;

use super::{Found, Refuted, StackArgs, words};
use crate::report::{Case, Outcome};
use crate::servers::{now, tell};

/// Something that runs under a name.
pub(crate) trait Named {
    fn name(&self) -> &'static str;
}

/// What came of a case.
struct Done {
    place: usize,
    line: Result<Case>,
    verdicts: Vec<Verdict>,
}

/// A suite's run.
pub(crate) struct Lanes<'a> {
    args: &'a StackArgs,
    begun: Instant,
    outcome: Outcome,
    suite: &'static str,
    broken: Option<anyhow::Error>,
    any: bool,
}

impl<'a> Lanes<'a> {
    pub(crate) fn new(suite: &'static str, args: &'a StackArgs) -> Self {
        let outcome = Outcome::new(suite, args.suite.size);
        Self { args, begun: now(), outcome, suite, broken: None, any: false }
    }

    /// Runs `cases` one after the other.
    pub(crate) fn alone<C: Named>(&mut self, cases: &[C], play: impl Fn(&C) -> Result<Found>) {
        for case in self.wanted(cases) {
            let done = self.play(0, case, &play);
            self.enter(done);
        }
    }

    /// Runs `together` in so many lanes, side by side, and `apart` one after the other in one more lane.
    pub(crate) fn beside<C: Named + Sync>(
        &mut self,
        lanes: usize,
        together: &[C],
        apart: &[C],
        play: impl Fn(&C) -> Result<Found> + Sync,
    ) {
        let (together, apart) = (self.wanted(together), self.wanted(apart));
        let (done, next) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        let run = |place: usize, case: &C| {
            let one = self.play(place, case, &play);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (place, case) in apart.iter().enumerate() {
                    run(together.len() + place, case);
                }
            });
            for _ in 0..lanes {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::SeqCst);
                        let Some(case) = together.get(place) else { break };
                        run(place, case);
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|done| done.place);
        for one in done {
            self.enter(one);
        }
    }

    /// What came of all of them.
    ///
    /// # Errors
    ///
    /// The harness broke in a case; what it says of the product is not worth anything. Or no case has the name asked for.
    pub(crate) fn outcome(mut self) -> Result<Outcome> {
        self.outcome.seconds = self.begun.elapsed().as_secs_f64();
        if let Some(err) = self.broken {
            return Err(err).context("the harness broke");
        }
        if !self.any {
            bail!("no case is called like `{}`", self.args.only.as_deref().unwrap_or_default());
        }
        Ok(self.outcome)
    }

    fn wanted<'c, C: Named>(&self, cases: &'c [C]) -> Vec<&'c C> {
        let only = self.args.only.as_deref().unwrap_or_default();
        cases.iter().filter(|case| case.name().contains(only)).collect()
    }

    fn play<C: Named>(&self, place: usize, case: &C, play: impl Fn(&C) -> Result<Found>) -> Done {
        let (name, begun) = (case.name().to_owned(), now());
        let found = play(case);
        let seconds = begun.elapsed().as_secs_f64();
        let (line, verdicts) = match found {
            Ok(Found { count, detail, verdicts }) => {
                let mut parts = vec![detail];
                parts.extend(verdicts.iter().map(words));
                parts.push(format!("{seconds:.0} s"));
                parts.retain(|part| !part.is_empty());
                let passed = verdicts.iter().all(Verdict::is_clean);
                (Ok(Case { name, count, passed, detail: parts.join("; ") }), verdicts)
            }
            Err(err) if err.chain().any(<dyn std::error::Error + 'static>::is::<Refuted>) => {
                let detail = format!("{err:#}");
                (Ok(Case { name, count: 1, passed: false, detail }), Vec::new())
            }
            Err(err) => (Err(err.context(name)), Vec::new()),
        };
        let told = match &line {
            Ok(case) => {
                let mark = if case.holds() { "ok" } else { "FAILED" };
                format!("{mark} {} × {}: {}", case.count, case.name, case.detail)
            }
            Err(err) => format!("the harness broke: {err:#}"),
        };
        tell(&format!("{}: {told}", self.suite));
        Done { place, line, verdicts }
    }

    fn enter(&mut self, done: Done) {
        self.any = true;
        for verdict in &done.verdicts {
            self.outcome.verdict(verdict);
        }
        match done.line {
            Ok(case) => self.outcome.cases.push(case),
            Err(err) => self.broken = self.broken.take().or(Some(err)),
        }
    }
}
