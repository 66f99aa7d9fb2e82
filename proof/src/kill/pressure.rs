//! Committers that hammer one table: most attempts meet a conflict, and every row is there once.

#![allow(clippy::disallowed_methods, reason = "a rate needs a clock")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::Bench;
use super::process::{Act, Armed, Process};
use crate::committer::{AT_GATE, Account, count};
use crate::report::Outcome;

/// Writers of one table, each with a partition of its own, so that each conflict is followed by success.
const WRITERS: u32 = 40;
const BATCH_ROWS: u64 = 250;
/// The share of attempts that must have met a conflict.
const CONFLICTS_MIN: f64 = 0.6;
const START_MAX: Duration = Duration::from_mins(2);
const HOURS_MAX: Duration = Duration::from_hours(1);

/// Writes `rows` rows.
pub(super) async fn hammer(bench: &Bench, rows: u64, outcome: &mut Outcome) -> Result<()> {
    let folder = bench.folder.join("pressure");
    std::fs::create_dir_all(&folder)?;
    let begun = Instant::now();
    let each = rows.div_ceil(u64::from(WRITERS));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        writers.push(start(bench, &folder, writer, each)?);
    }
    // All at once: whoever starts early would have the table for itself.
    for writer in &mut writers {
        while !writer.log().contains(AT_GATE) {
            ensure!(begun.elapsed() < START_MAX, "a writer is not ready: {}", writer.tail());
            if let Some(status) = writer.ended()? {
                bail!("a writer ended with {status}: {}", writer.tail());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    std::fs::write(gate(&folder), "")?;
    for writer in &mut writers {
        let Some(status) = writer.wait(HOURS_MAX.saturating_sub(begun.elapsed()))? else {
            bail!("a writer is not done after {HOURS_MAX:?}: {}", writer.tail());
        };
        ensure!(status.success(), "a writer ended with {status}: {}", writer.tail());
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut sum = Account::default();
    for writer in 0..WRITERS {
        let account = std::fs::read(report(&folder, writer)).context("a writer left no account")?;
        let account: Account = serde_json::from_slice(&account)?;
        sum.commits += account.commits;
        sum.attempts += account.attempts;
        sum.conflicts += account.conflicts;
        sum.manifests = sum.manifests.max(account.manifests);
    }
    ensure!(sum.attempts == sum.commits + sum.conflicts, "the accounts don't add up: {sum:?}");
    let starts: Vec<_> = (0..WRITERS.cast_signed()).map(|writer| (writer, 0)).collect();
    let counted = count(&folder, &starts).await?;
    let rate = sum.conflicts as f64 / sum.attempts as f64;
    let rate = (rate * 1_000.0).round() / 1_000.0;
    let wanted = each * u64::from(WRITERS);
    let detail = counted.finding.clone().unwrap_or_else(|| {
        format!(
            "{} rows, {} attempts, {} conflicts ({:.0} %), {seconds:.0} s",
            counted.rows,
            sum.attempts,
            sum.conflicts,
            rate * 100.0
        )
    });
    let clean = counted.is_clean() && counted.rows == wanted;
    let name = format!("committer: {WRITERS} on one table, at least 60 % of attempts in conflict");
    outcome.case(&name, sum.conflicts, clean && rate >= CONFLICTS_MIN, detail);
    outcome.lost += counted.lost;
    outcome.duplicated += counted.duplicated;
    outcome.altered += counted.altered;
    outcome.figure("conflict_rate", rate);
    outcome.figure("conflict_rows", counted.rows);
    outcome.figure("conflict_attempts", sum.attempts);
    outcome.figure("conflict_manifests_max", sum.manifests as u64);
    eprintln!("kill: conflict rate {rate} over {} attempts, {} rows", sum.attempts, counted.rows);
    Ok(())
}

fn report(folder: &Path, writer: u32) -> std::path::PathBuf {
    folder.join(format!("writer-{writer}.json"))
}

fn gate(folder: &Path) -> std::path::PathBuf {
    folder.join("gate")
}

fn start(bench: &Bench, folder: &Path, writer: u32, rows: u64) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("committer")
        .arg(folder)
        .args(["--own", &writer.to_string(), "--rows", &rows.to_string()])
        .args(["--batch", &BATCH_ROWS.to_string()])
        .arg("--gate")
        .arg(gate(folder))
        .arg("--report")
        .arg(report(folder, writer));
    // The others get through between its look at the table and its publish.
    let armed = Armed { point: "commit.before-publish", nth: 1, act: Act::Slow };
    Process::start(command, &bench.logs.join(format!("writer-{writer}.log")), Some(armed))
}
