//! Workers of one group on the same tables: how many of their commits are tried in vain.
//!
//! Owns the figures on turns (`pipeline/turn.rs`). Nothing is killed here: what the workers lose, they lose to each other. A
//! publish counts as wasted when it met another writer's; it costs a manifest, a list and a round trip.

mod log;
mod rig;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::SuiteArgs;
use crate::report::Outcome;
use crate::servers::{Servers, ServersArgs, tell};
use rig::{Rig, Round};

/// How many workers share the topic, one round each.
const WORKERS: [usize; 4] = [1, 2, 4, 8];
/// What the settled workers may waste, as a share of all publishes.
const WASTED_MAX: f64 = 0.10;
/// In CI's size other suites take the processors meanwhile.
const WASTED_MAX_BESIDE_OTHERS: f64 = 0.20;

/// Where the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Place {
    /// A `SQLite` catalog and files.
    #[default]
    Files,
    /// A REST catalog on `PostgreSQL`, and an S3 store.
    Servers,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WorkersArgs {
    #[command(flatten)]
    pub(crate) suite: SuiteArgs,
    /// Where the tables are
    #[arg(long, value_enum, default_value_t)]
    place: Place,
    #[command(flatten)]
    servers: ServersArgs,
}

/// Runs one round for each number of workers.
pub(crate) fn run(args: &WorkersArgs) -> Result<Outcome> {
    let begun = now();
    let suite = match args.place {
        Place::Files => "workers",
        Place::Servers => "workers --place servers",
    };
    let mut outcome = Outcome::new(suite, args.suite.size);
    let measured = args.suite.size.of(Duration::from_secs(24), Duration::from_mins(2));
    let runtime = Runtime::new()?;
    let servers = match args.place {
        Place::Files => None,
        Place::Servers => Some(Servers::start(&args.servers, &[])?),
    };
    for workers in WORKERS {
        let folder = tempfile::tempdir()?;
        let round = runtime
            .block_on(async {
                let rig = Rig::new(folder.path(), servers.as_ref(), args.suite.seed)?;
                rig.run(workers, measured).await
            })
            .with_context(|| format!("{workers} workers"))?;
        told(
            &mut outcome,
            workers,
            &round,
            args.suite.size.of(WASTED_MAX_BESIDE_OTHERS, WASTED_MAX),
        );
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

/// One case for each number of workers, with what it is about.
fn told(outcome: &mut Outcome, workers: usize, round: &Round, wasted_max: f64) {
    let Round { settling, settled, verdict } = round;
    let all = settling.and(settled);
    let detail = format!(
        "{} of {} publishes wasted once settled ({:.1} %), {} of {} before; commits p50 {} ms, p99 {} ms; {verdict}",
        settled.conflicts,
        settled.attempts(),
        100.0 * settled.wasted(),
        settling.conflicts,
        settling.attempts(),
        all.took_ms(0.5),
        all.took_ms(0.99),
    );
    tell(&format!("{workers} workers: {detail}"));
    let held = verdict.is_clean() && settled.wasted() <= wasted_max;
    outcome.case(&format!("workers on one table: {workers}"), settled.commits(), held, detail);
    outcome.verdict(verdict);
    outcome.figure(&format!("wasted_share_{workers}"), rounded(all.wasted()));
    outcome.figure(&format!("wasted_share_settled_{workers}"), rounded(settled.wasted()));
    outcome.figure(&format!("commits_per_s_{workers}"), rounded(all.commits_per_s()));
    outcome.figure(&format!("commit_p50_ms_{workers}"), all.took_ms(0.5));
    outcome.figure(&format!("commit_p99_ms_{workers}"), all.took_ms(0.99));
}

fn rounded(share: f64) -> f64 {
    (share * 1_000.0).round() / 1_000.0
}

#[allow(clippy::disallowed_methods, reason = "a harness measures")]
fn now() -> Instant {
    Instant::now()
}
