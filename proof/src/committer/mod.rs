//! `prove committer`: a process that does nothing but commit, so that it can be killed by the thousand.
//!
//! Its rows say where they come from. It must never look at what it wrote: [`count`] does, in another process.

mod count;
mod rows;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lakehouse::avro::{Codec, DayWriter};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{
    CommitOutcome, CommitRequest, Counts, Lakehouse, LakehouseSettings, SinkTable,
};
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{Position, Ranges};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use count::{Counted, count};
pub(crate) use rows::{source, spec};

/// Where rivals on the same partitions begin.
pub(crate) const SHARED: [(i32, i64); 2] = [(0, 0), (1, 100)];
/// Longer than any commit that is not stuck.
const COMMIT_MAX: Duration = Duration::from_mins(1);
/// The same among dozens of writers: on a busy machine one was seen to lose 213 times in a row, for a minute.
const CROWDED_MAX: Duration = Duration::from_mins(15);
/// What a committer says that waits at its gate.
pub(crate) const AT_GATE: &str = "ready to commit";
const GATE_TICK: Duration = Duration::from_millis(2);

/// What a committer is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CommitterArgs {
    /// Catalog and warehouse lie there
    folder: PathBuf,
    /// Its batches follow from it
    #[arg(long, default_value_t = 0)]
    seed: i64,
    /// Commit to this partition, which nobody else does, and not to the shared ones
    #[arg(long, requires_all = ["rows", "report"])]
    own: Option<i32>,
    /// End when the own partition has so many rows
    #[arg(long)]
    rows: Option<i64>,
    /// Rows of one batch of the own partition
    #[arg(long, default_value_t = 500)]
    batch: i64,
    /// Commit nothing before this file is there
    #[arg(long)]
    gate: Option<PathBuf>,
    /// Where the account of the own partition goes
    #[arg(long)]
    report: Option<PathBuf>,
}

/// What a committer met on a partition of its own.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) commits: u64,
    /// Publishes that were sent.
    pub(crate) attempts: u64,
    /// Those that another writer was faster than.
    pub(crate) conflicts: u64,
    /// Manifests of the last snapshot.
    pub(crate) manifests: usize,
}

/// Commits until it is killed, or until its rows are there.
pub(crate) fn run(args: &CommitterArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let lakehouse = Lakehouse::open(&lakehouse(&args.folder)).await?;
        let sink = lakehouse.ensure(&spec()).await?;
        match args.own {
            Some(partition) => own(&sink, partition, args).await,
            None => shared(&sink, args.seed).await,
        }
    })
}

/// The tables of a folder.
pub(crate) fn lakehouse(folder: &std::path::Path) -> LakehouseSettings {
    let path = folder.join("catalog.db");
    let warehouse = format!("file://{}", folder.join("warehouse").display());
    LakehouseSettings::new(CatalogSettings::Sqlite { path }, warehouse)
}

async fn shared(sink: &SinkTable, seed: i64) -> Result<()> {
    let mut position = sink.pin(&source(), &starts(&SHARED)).await?;
    let mut step = seed.rem_euclid(7) + 1;
    loop {
        let first = next(&position, 0)?;
        let second = next(&position, 1)?;
        step = step % 7 + 1;
        let batch = [(0, first, first + step), (1, second, second + 8 - step)];
        // Now and then of one partition only: the other's offset must be carried over.
        let batch = if step == 3 { &batch[..1] } else { &batch[..] };
        let outcome = sink.commit(&request(sink, batch, COMMIT_MAX).await?).await?;
        position = position_of(&outcome).clone();
    }
}

async fn own(sink: &SinkTable, partition: i32, args: &CommitterArgs) -> Result<()> {
    let (rows, report) = args.rows.zip(args.report.as_ref()).context("--rows and --report")?;
    let mut account = Account::default();
    let mut position = sink.pin(&source(), &starts(&[(partition, 0)])).await?;
    if let Some(gate) = &args.gate {
        eprintln!("{AT_GATE}");
        while !gate.exists() {
            tokio::time::sleep(GATE_TICK).await;
        }
    }
    loop {
        let at = next(&position, partition)?;
        if at >= rows {
            break;
        }
        let batch = [(partition, at, rows.min(at + args.batch))];
        let outcome = sink.commit(&request(sink, &batch, CROWDED_MAX).await?).await?;
        let CommitOutcome::Committed(report) = outcome else {
            anyhow::bail!("nobody else writes partition {partition}, but: {outcome:?}");
        };
        account.commits += 1;
        account.attempts += u64::from(report.attempts);
        account.conflicts += u64::from(report.conflicts);
        account.manifests = report.manifests;
        position = report.position;
    }
    ensure!(account.commits > 0, "nothing was left to commit");
    std::fs::write(report, serde_json::to_vec(&account)?)
        .with_context(|| report.display().to_string())
}

fn next(position: &Position, partition: i32) -> Result<i64> {
    let at = position.get(PartitionId::new(partition));
    Ok(at.with_context(|| format!("partition {partition} is not pinned"))?.get())
}

async fn request(
    sink: &SinkTable,
    of: &[(i32, i64, i64)],
    deadline: Duration,
) -> Result<CommitRequest> {
    let mut ranges = Ranges::default();
    for (partition, start, end) in of {
        ranges.extend(PartitionId::new(*partition), Offset::new(*start), Offset::new(*end))?;
    }
    let mut writer = DayWriter::new(sink.schema(), Codec::default())?;
    let rows = rows::batch(of)?;
    writer.append(&rows)?;
    let mut files = Vec::new();
    for file in writer.finish()? {
        files.push(sink.upload(file).await?);
    }
    let written = rows.num_rows() as u64;
    let counts = Counts { read: written, written, filtered: 0, rejected: 0 };
    let (source, attempt) = (source(), Uuid::now_v7());
    Ok(CommitRequest { source, ranges, counts, files, attempt, deadline })
}

fn position_of(outcome: &CommitOutcome) -> &Position {
    match outcome {
        CommitOutcome::Committed(report) => &report.position,
        CommitOutcome::AlreadyCommitted { position }
        | CommitOutcome::Fenced { position, .. }
        | CommitOutcome::Gap { position, .. } => position,
    }
}

fn starts(of: &[(i32, i64)]) -> BTreeMap<PartitionId, Offset> {
    of.iter().map(|(p, o)| (PartitionId::new(*p), Offset::new(*o))).collect()
}
