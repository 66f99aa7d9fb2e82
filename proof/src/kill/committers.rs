//! Thousands of kills: rivals that do nothing but commit, on the same partitions of one table.
//!
//! Each lives for 5 to 200 ms, or until the fault point that it was started with. Rounds have tables of their own,
//! so that reading them back stays cheap.

#![allow(clippy::disallowed_methods, reason = "lives are measured")]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::points::{POINTS, When};
use super::process::{Act, Armed, Process};
use crate::committer::{Counted, SHARED, count};
use crate::report::Outcome;

/// Kills of one round.
const ROUND_KILLS: u64 = 250;
/// How long a process lives that was not told where to die, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 5..200;
/// A process that has not come to its fault point by then is killed where it is.
const POINT_MAX: Duration = Duration::from_secs(2);
/// Of how many processes one is to die at a point.
const POINT_SHARE: f64 = 0.5;
/// Passages of a point before it acts.
const PASSAGES_MAX: u64 = 6;
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What the rounds came to.
#[derive(Default)]
struct Bulk {
    kills: u64,
    at_points: BTreeMap<&'static str, u64>,
    sum: Counted,
    seconds: f64,
}

/// One process and how it is to die.
struct Victim {
    process: Process,
    dies_at: Instant,
}

/// Kills `kills` committers.
pub(super) async fn kill(
    kills: u64,
    seed: u64,
    folder: &Path,
    logs: &Path,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut bulk = Bulk::default();
    let ended = rounds(&mut bulk, kills, seed, folder, logs).await;
    // What was seen until a round broke off counts, too.
    tell(&bulk, outcome);
    ended
}

async fn rounds(bulk: &mut Bulk, kills: u64, seed: u64, folder: &Path, logs: &Path) -> Result<()> {
    let mut dice = StdRng::seed_from_u64(seed ^ 0xc0_4417);
    let begun = Instant::now();
    while bulk.kills < kills {
        let round = bulk.kills / ROUND_KILLS;
        let home = folder.join(format!("committers-{round}"));
        let logs = logs.join(format!("committers-{round}"));
        std::fs::create_dir_all(&home)?;
        std::fs::create_dir_all(&logs)?;
        // Two to five at once.
        let rivals = 2 + usize::try_from(round % 4)?;
        let wanted = ROUND_KILLS.min(kills - bulk.kills);
        let made = if round.is_multiple_of(2) { "ensure.created" } else { "pin.published" };
        one_round(bulk, wanted, (rivals, made), &mut dice, &home, &logs)?;
        let counted = count(&home, &SHARED).await?;
        eprintln!(
            "kill: {} of {kills} committers, {rivals} rivals, {} commits, {} rows, lost={} duplicated={} {:.1} kills/s",
            bulk.kills,
            counted.commits,
            counted.rows,
            counted.lost,
            counted.duplicated,
            bulk.kills as f64 / begun.elapsed().as_secs_f64()
        );
        ensure!(counted.commits * 2 > wanted, "most were killed before they did anything");
        add(&mut bulk.sum, counted);
        if !bulk.sum.is_clean() {
            // More of the same would not say more, and the folder is worth a look.
            break;
        }
        std::fs::remove_dir_all(&home)?;
    }
    bulk.seconds = begun.elapsed().as_secs_f64();
    Ok(())
}

fn add(sum: &mut Counted, counted: Counted) {
    sum.rows += counted.rows;
    sum.lost += counted.lost;
    sum.duplicated += counted.duplicated;
    sum.altered += counted.altered;
    sum.commits += counted.commits;
    sum.finding = sum.finding.take().or(counted.finding);
}

fn one_round(
    bulk: &mut Bulk,
    kills: u64,
    (rivals, made): (usize, &'static str),
    dice: &mut StdRng,
    home: &Path,
    logs: &Path,
) -> Result<()> {
    let points: Vec<&'static str> = POINTS
        .iter()
        .filter(|point| point.committer && point.when != When::Made)
        .map(|point| point.name)
        .collect();
    let mut born = 0;
    let mut bear = |dice: &mut StdRng| -> Result<Victim> {
        born += 1;
        // The first ones make the table, and die while they do.
        let (point, nth) = if born <= rivals {
            (Some(made), 1)
        } else {
            let point = points.choose(dice).copied().filter(|_| dice.random_bool(POINT_SHARE));
            (point, dice.random_range(1..=PASSAGES_MAX))
        };
        let armed = point.map(|point| Armed { point, nth, act: Act::Kill });
        let life = match armed {
            Some(_) => POINT_MAX,
            None => Duration::from_millis(dice.random_range(LIFE_MS)),
        };
        let process = start(home, &logs.join(format!("{born:05}.log")), born, armed)?;
        Ok(Victim { process, dies_at: Instant::now() + life })
    };
    let mut victims = Vec::with_capacity(rivals);
    for _ in 0..rivals {
        victims.push(bear(dice)?);
    }
    let mut killed = 0;
    while killed < kills {
        for victim in &mut victims {
            let Some(point) = die(victim)? else { continue };
            killed += 1;
            if let Some(point) = point {
                *bulk.at_points.entry(point).or_default() += 1;
            }
            *victim = bear(dice)?;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    bulk.kills += killed;
    Ok(())
}

/// Whether it is dead, and at which point it died by itself.
#[allow(clippy::option_option, reason = "alive, or dead at a point or at none")]
fn die(victim: &mut Victim) -> Result<Option<Option<&'static str>>> {
    let process = &mut victim.process;
    if let Some(status) = process.ended()? {
        let at = process.armed().map(|armed| armed.point);
        if status.signal() == Some(Signal::KILL.as_raw()) && process.has_fired() {
            return Ok(Some(at));
        }
        bail!("a committer ended by itself, {status}: {}", process.tail());
    }
    if Instant::now() < victim.dies_at {
        return Ok(None);
    }
    process.kill()?;
    // It may have come to its point in this very moment.
    let fired = process.armed().filter(|_| process.has_fired());
    Ok(Some(fired.map(|armed| armed.point)))
}

fn start(home: &Path, log: &Path, seed: usize, armed: Option<Armed>) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("committer").arg(home).args(["--seed", &seed.to_string()]);
    Process::start(command, log, armed)
}

/// Tells what the rounds came to.
fn tell(bulk: &Bulk, outcome: &mut Outcome) {
    let Bulk { kills, at_points, sum, seconds } = bulk;
    let at_random = kills - at_points.values().sum::<u64>();
    let detail = sum
        .finding
        .clone()
        .unwrap_or_else(|| format!("{} rows, {} commits by 2 to 5 rivals", sum.rows, sum.commits));
    outcome.case("committer: SIGKILL at any moment", at_random, sum.is_clean(), detail);
    for point in POINTS.iter().filter(|point| point.committer) {
        let count = at_points.get(point.name).copied().unwrap_or(0);
        let name = format!("committer: SIGKILL at {}", point.name);
        outcome.case(&name, count, sum.is_clean(), "");
    }
    (outcome.lost, outcome.duplicated) =
        (outcome.lost + sum.lost, outcome.duplicated + sum.duplicated);
    outcome.altered += sum.altered;
    outcome.figure("committer_kills", *kills);
    outcome.figure("committer_commits", sum.commits);
    outcome.figure("committer_rows", sum.rows);
    outcome.figure("committer_kills_per_second", (*kills as f64 / seconds * 10.0).round() / 10.0);
}
