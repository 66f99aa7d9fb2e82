//! `prove soak`: one processor under a steady load for as long as it takes to see whether anything grows.
//!
//! Owns the samples and the line through them. It must never take its own memory for the processor's, which is a
//! process of its own.

#![allow(clippy::disallowed_methods, reason = "a soak is a matter of time")]

mod samples;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::SuiteArgs;
use crate::kill::{Process, Rig, Stage, percentile};
use crate::report::Outcome;
use crate::size::Size;
use samples::{Sample, files_under, memory, slope};

/// As in production: five commits a second are more than anyone needs.
const COMMIT_MS: u64 = 200;
/// Records a second.
const RATE: u32 = 1_000;
/// The processor's own, said so that I10 is a number.
const BUDGET_MIB: u64 = 32;
/// I10: how much more than the budget is allowed, over what an idle processor takes.
const BUDGET_SLACK: f64 = 1.10;
/// Minutes before those that are judged, in CI's and in a release's size: caches fill, and the allocator's arenas get the
/// holes that they keep.
const WARM_UP: (f64, f64) = (0.15, 15.0);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Manifests and files are counted less often: it means reading the table.
const COUNT_EVERY: u64 = 10;
/// What a table may have: folded 16 to 1 by tiers, a handful of tiers.
const MANIFESTS_MAX: usize = 100;
const SLOPE_MAX_MB: f64 = 1.0;
const START_MAX: Duration = Duration::from_mins(1);
/// Commits of which the slowest hundredth is compared.
const ENDS: usize = 100;

/// What the soak is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SoakArgs {
    #[command(flatten)]
    pub(crate) suite: SuiteArgs,
    /// How long it is judged, after a warm-up of a quarter of an hour in a release's size; 1 or 60 by the size when absent
    #[arg(long)]
    minutes: Option<f64>,
    /// Keep tables and logs there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn run(args: &SoakArgs) -> Result<Outcome> {
    let size = args.suite.size;
    let minutes = args.minutes.unwrap_or(size.of(1.0, 60.0));
    let temporary = tempfile::tempdir()?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let begun = Instant::now();
    let mut outcome = Outcome::new("soak", size);
    runtime.block_on(async {
        let stage =
            Stage { rate: RATE, commit_ms: COMMIT_MS, ..Stage::new("soak", args.suite.seed) };
        let mut rig = Rig::silent(stage, &folder, &logs).await?;
        let budget = format!("{BUDGET_MIB}MiB");
        let mut processor =
            rig.processor_with(&["--assign", "all", "--memory-budget", &budget], None, "", None)?;
        let idle = idle(&rig, &mut processor).await?;
        rig.emit();
        let warm_up = minutes_of(size.of(WARM_UP.0, WARM_UP.1));
        let samples = sample(&rig, &mut processor, warm_up + minutes_of(minutes)).await?;
        let log = processor.log();
        let judged = rig.judge(std::slice::from_mut(&mut processor)).await?;
        outcome.verdict(&judged.verdict);
        let clean = judged.is_clean();
        outcome.case(
            "steady load, all records compared",
            judged.verdict.read,
            clean,
            judged.words(),
        );
        outcome.figure("minutes", minutes);
        outcome.figure("minutes_of_warm_up", warm_up.as_secs_f64() / 60.0);
        outcome.figure("commits", judged.commits);
        memory_cases(&samples, warm_up, idle, size, &mut outcome);
        table_cases(&samples, &log, &mut outcome)
    })?;
    outcome.seconds = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

/// The memory of a processor that is ready and has nothing to do.
async fn idle(rig: &Rig, processor: &mut Process) -> Result<u64> {
    let begun = Instant::now();
    while !processor.log().contains("\"ready\"") {
        ensure!(begun.elapsed() < START_MAX, "not ready after {START_MAX:?}: {}", processor.tail());
        if let Some(status) = processor.ended()? {
            bail!("the processor ended by itself, {status}: {}", processor.tail());
        }
        rig.rest(Duration::from_millis(50)).await?;
    }
    // Its threads and the client's come up now.
    rig.rest(Duration::from_secs(2)).await?;
    Ok(memory(processor.pid())?.resident)
}

async fn sample(rig: &Rig, processor: &mut Process, limit: Duration) -> Result<Vec<Sample>> {
    let begun = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    let mut told = 0;
    while begun.elapsed() < limit {
        rig.rest(SAMPLE_EVERY).await?;
        if let Some(status) = processor.ended()? {
            bail!("the processor ended by itself, {status}: {}", processor.tail());
        }
        let at = begun.elapsed();
        let mut sample =
            Sample { at, memory: memory(processor.pid())?, manifests: None, files: None };
        if (samples.len() as u64).is_multiple_of(COUNT_EVERY) {
            sample.manifests = Some(rig.manifests().await?);
            sample.files = Some(files_under(&rig.folder().join("warehouse"))?);
        }
        let minute = at.as_secs() / 60;
        if minute > told {
            told = minute;
            eprintln!("soak: {minute} min, {:.1} MB", sample.memory.resident as f64 / 1e6);
        }
        samples.push(sample);
    }
    Ok(samples)
}

fn minutes_of(count: f64) -> Duration {
    Duration::from_secs_f64(count * 60.0)
}

fn memory_cases(
    samples: &[Sample],
    warm_up: Duration,
    idle: u64,
    size: Size,
    outcome: &mut Outcome,
) {
    let line: Vec<(f64, f64)> = samples
        .iter()
        .filter(|sample| sample.at >= warm_up)
        .map(|sample| (sample.at.as_secs_f64() / 3_600.0, sample.memory.resident as f64 / 1e6))
        .collect();
    let slope = (slope(&line) * 100.0).round() / 100.0;
    // A minute's slope says nothing of an hour: in CI's size it is told, and not judged.
    let flat = slope < SLOPE_MAX_MB || size == Size::Ci;
    let judged = size.of("told, not judged", "judged");
    let detail = format!("{slope} MB/h, {judged}, through {} samples", line.len());
    outcome.case("resident memory grows by less than 1 MB/h", line.len() as u64, flat, detail);
    outcome.figure("rss_slope_mb_per_hour", slope);

    let most = samples.iter().map(|sample| sample.memory.most).max().unwrap_or(0);
    let budget = BUDGET_MIB << 20;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of some MiB"
    )]
    let allowed = idle + (budget as f64 * BUDGET_SLACK) as u64;
    let mb = |bytes: u64| (bytes as f64 / 1e5).round() / 10.0;
    let detail = format!(
        "at most {} MB; allowed are {} MB: {} MB as it stood idle, and a budget of {} MB with 10 %",
        mb(most),
        mb(allowed),
        mb(idle),
        mb(budget)
    );
    outcome.case(
        "memory within the budget and 10 % (I10)",
        samples.len() as u64,
        most <= allowed,
        detail,
    );
    outcome.figure("rss_max_mb", mb(most));
    outcome.figure("rss_idle_mb", mb(idle));
}

fn table_cases(samples: &[Sample], log: &str, outcome: &mut Outcome) -> Result<()> {
    let most = samples.iter().filter_map(|sample| sample.manifests).max().unwrap_or(0);
    let looks = samples.iter().filter(|sample| sample.manifests.is_some()).count();
    let detail = format!("at most {most} in the current snapshot of one table");
    outcome.case("manifests are bounded (I14)", looks as u64, most <= MANIFESTS_MAX, detail);
    outcome.figure("manifests_max", most as u64);
    let files = samples.iter().filter_map(|sample| sample.files).next_back().unwrap_or(0);
    outcome.figure("warehouse_files", files);

    let took = commit_ms(log);
    ensure!(took.len() >= 2 * ENDS, "{} commits are too few to compare", took.len());
    let p99 = |some: &[u64]| {
        let mut sorted = some.to_vec();
        sorted.sort_unstable();
        percentile(&sorted, 99)
    };
    let first = took.get(..ENDS).map(p99).unwrap_or_default();
    let last = took.get(took.len() - ENDS..).map(p99).unwrap_or_default();
    outcome.figure("commit_p99_first_ms", first);
    outcome.figure("commit_p99_last_ms", last);
    outcome.figure("commits_measured", took.len() as u64);
    Ok(())
}

/// How long each commit took, as the processor says.
fn commit_ms(log: &str) -> Vec<u64> {
    let took = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line.get("message")? == "committed").then(|| line.get("took_ms")?.as_u64())?
    };
    log.lines().filter_map(took).collect()
}
