//! Faults of the network and of the host, under a processor that works on the real servers.
//!
//! Owns the cases of the parts *Catalog*, *Object store*, *Host* and of Kafka's network in the fault table: each
//! has a name, an injection that is counted when it happened, and a check. Every case has a topic, tables, proxies
//! and a processor of its own, so some run side by side. It must never help a processor that is to help itself:
//! unless a case says otherwise, one that ends has failed.

mod ambiguous;
mod catalog;
mod catalog_more;
mod feeder;
mod host;
mod kafka;
mod place;
mod play;
mod store;
mod store_more;

use anyhow::Result;

use crate::report::Outcome;
use crate::stack::{Found, Named, StackArgs, Stage};
use play::{Wire, wired};

/// Runs every case.
///
/// # Errors
///
/// The servers are not to be had, or the harness broke.
pub(crate) fn run(args: &StackArgs) -> Result<Outcome> {
    let stage = Stage::new("faults", args, &[])?;
    // Those that wait for time-outs first, so that others run meanwhile.
    let together = [
        catalog_more::CASES,
        store_more::CASES,
        ambiguous::CASES,
        host::CASES,
        store::CASES,
        catalog::CASES,
    ];
    let (mut lanes, ambiguous) = (stage.lanes(), ambiguous::Tally::default());
    // Kafka names one address for its proxy, so the cases that need it follow each other.
    lanes.beside(LANES, &together.concat(), kafka::CASES, |case| case.run(&stage, &ambiguous));
    let mut outcome = lanes.outcome()?;
    for (name, value) in ambiguous.figures() {
        outcome.figure(name, value);
    }
    Ok(outcome)
}

/// Cases that run at once, beside the one of Kafka's. Most of them wait most of the time.
const LANES: usize = 6;

/// One case.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    run: Run,
}

impl Named for Case {
    fn name(&self) -> &'static str {
        self.name
    }
}

#[derive(Clone, Copy)]
enum Run {
    /// Rules for one of the proxies, for a while.
    Wire(Wire),
    /// Anything else.
    Own(fn(&Stage, &'static str) -> Result<Found>),
    /// Commits whose outcome is hidden, and what became of them.
    Ambiguous,
}

impl Case {
    const fn own(name: &'static str, run: fn(&Stage, &'static str) -> Result<Found>) -> Self {
        Self { name, run: Run::Own(run) }
    }

    const fn wire(name: &'static str, wire: Wire) -> Self {
        Self { name, run: Run::Wire(wire) }
    }

    fn run(&self, stage: &Stage, tally: &ambiguous::Tally) -> Result<Found> {
        match &self.run {
            Run::Wire(wire) => wired(stage, self.name, wire),
            Run::Own(run) => run(stage, self.name),
            Run::Ambiguous => ambiguous::run(stage, self.name, tally),
        }
    }
}
