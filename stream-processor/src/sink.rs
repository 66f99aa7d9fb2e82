//! Encoded rows → one Iceberg table.
//!
//! The only module here that knows what a commit is. It owns the tables' handles and must never decide
//! what belongs to a commit: the blueprint says so.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use arrow::record_batch::RecordBatch;
use lakehouse::Kind;
use lakehouse::avro::{Codec, DayWriter, EncodedRows, RowEncoder};
use lakehouse::commit::{
    CommitOutcome, CommitReport, CommitRequest, Lakehouse, SinkTable, attempt_id, pause,
};
use lakehouse::datafile::EncodedFile;
use lakehouse::ids::PartitionId;
use lakehouse::position::Source;
use lakehouse::spec::TableSpec;
use tracing::{debug, warn};

use crate::pipeline::{Blueprint, Starts};

/// The table property that holds the position.
const POSITION: &str = "streamforge.position";
/// How long one commit tries before it says so and tries again.
const ATTEMPTS_FOR: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// One sink table.
#[derive(Clone)]
pub struct Sink {
    name: String,
    table: SinkTable,
    codec: Codec,
}

/// Whether the table that `spec` names has a position already: it was committed to before.
///
/// # Errors
///
/// The catalog can't be reached.
pub async fn is_started(lakehouse: &Lakehouse, spec: &TableSpec) -> lakehouse::Result<bool> {
    let table = lakehouse.table(&spec.namespace, &spec.name).await?;
    Ok(table.is_some_and(|table| table.properties().contains_key(POSITION)))
}

/// What became of a sealed batch.
#[derive(Debug)]
pub enum Landed {
    /// The table holds it and stands at this position.
    Committed {
        /// The table's whole position in the topic.
        position: Starts,
        /// How it went; absent where an earlier attempt had landed already.
        report: Option<CommitReport>,
    },
    /// Another writer moved the table; the batch was dropped, nothing was deleted.
    Fenced,
}

impl Sink {
    /// Makes the table what the job wants, or finds it so.
    ///
    /// # Errors
    ///
    /// The catalog can't be reached, or the table can't be mapped to the job; the difference is named.
    pub async fn open(lakehouse: &Lakehouse, spec: &TableSpec, codec: Codec) -> Result<Self> {
        let name = format!("{}.{}", spec.namespace, spec.name);
        let table = lakehouse.ensure(spec).await.with_context(|| format!("table {name}"))?;
        Ok(Self { name, table, codec })
    }

    /// Namespace and table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the table stands in each of `partitions`. One that it does not know yet is pinned to the
    /// offset given with it, so that nothing before the first commit can be lost.
    ///
    /// # Errors
    ///
    /// The table's position belongs to another topic or cluster, was rolled back, or can't be read.
    pub async fn starts(&self, source: &Source, partitions: &Starts) -> Result<Starts> {
        let found = self.position(source).await?;
        let missing: Starts = partitions
            .iter()
            .filter(|(partition, _)| !found.contains_key(partition))
            .map(|(partition, offset)| (*partition, *offset))
            .collect();
        let known = if missing.is_empty() {
            found
        } else {
            let pinned = self.table.pin(source, &missing).await;
            in_topic(&pinned.with_context(|| self.name.clone())?, source)
        };
        Ok(known.into_iter().filter(|(p, _)| partitions.contains_key(p)).collect())
    }

    /// Where the table stands in each of `partitions`, all of which it must know.
    ///
    /// # Errors
    ///
    /// As [`Sink::starts`]; also where a partition is missing.
    pub async fn known(&self, source: &Source, partitions: &Starts) -> Result<Starts> {
        let found = self.position(source).await?;
        let at = |p: &PartitionId| match found.get(p) {
            Some(offset) => Ok((*p, *offset)),
            None => bail!(
                "{} has lost its position in partition {p}; nothing more was committed",
                self.name
            ),
        };
        partitions.keys().map(at).collect()
    }

    /// Where the table stands, in every partition it knows.
    ///
    /// # Errors
    ///
    /// As [`Sink::starts`].
    async fn position(&self, source: &Source) -> Result<Starts> {
        let position = self.table.position(source).await.with_context(|| self.name.clone())?;
        Ok(in_topic(&position, source))
    }

    /// Whether the table stands at or behind each of `ends`. A catalog that is away for a moment says nothing of it.
    ///
    /// # Errors
    ///
    /// As [`Sink::starts`].
    pub async fn is_at(&self, source: &Source, ends: &Starts) -> Result<bool> {
        let found = match self.table.position(source).await {
            Err(err) if matches!(err.kind(), Kind::Retry | Kind::Conflict) => return Ok(false),
            found => in_topic(&found.with_context(|| self.name.clone())?, source),
        };
        Ok(ends.iter().all(|(partition, end)| found.get(partition).is_some_and(|at| at >= end)))
    }

    /// Fresh, empty files for the next batch.
    ///
    /// # Errors
    ///
    /// The compressor can't be had.
    pub fn writer(&self) -> Result<DayWriter> {
        DayWriter::new(self.table.schema(), self.codec).with_context(|| self.name.clone())
    }

    /// Rows for the files of [`Sink::writer`].
    ///
    /// # Errors
    ///
    /// They don't fit the table.
    pub fn encode(&self, rows: &RecordBatch, encoder: &mut RowEncoder) -> Result<EncodedRows> {
        encoder.encode(&self.table.schema(), rows).with_context(|| self.name.clone())
    }

    /// Uploads `files` and commits them with the blueprint's ranges, trying until an answer is certain.
    /// `trouble` hears why it has to be tried again.
    ///
    /// # Errors
    ///
    /// An operator must act: the table was replaced, refused or is corrupt, or a setting is wrong.
    pub async fn commit(
        &self,
        source: &Source,
        blueprint: Blueprint,
        files: Vec<EncodedFile>,
        trouble: &(dyn Fn(&str) + Sync),
    ) -> Result<Landed> {
        let mut uploaded = Vec::with_capacity(files.len());
        for file in files {
            uploaded.push(retry(&self.name, trouble, || self.table.upload(file.clone())).await?);
        }
        let request = CommitRequest {
            source: source.clone(),
            ranges: blueprint.ranges,
            counts: lakehouse::commit::Counts {
                read: blueprint.counts.read,
                written: blueprint.counts.written,
                filtered: blueprint.counts.filtered,
                rejected: blueprint.counts.rejected,
            },
            files: uploaded,
            attempt: attempt_id(),
            deadline: ATTEMPTS_FOR,
        };
        // The attempt's id stays the same: a commit that landed unseen is recognised as ours.
        let outcome = retry(&self.name, trouble, || self.table.commit(&request)).await?;
        Ok(match outcome {
            CommitOutcome::Committed(report) => Landed::Committed {
                position: in_topic(&report.position, source),
                report: Some(report),
            },
            CommitOutcome::AlreadyCommitted { position } => {
                Landed::Committed { position: in_topic(&position, source), report: None }
            }
            CommitOutcome::Gap { partition, table, batch, .. } => {
                warn!(table = self.name, %partition, ?table, %batch, "the batch would skip records");
                Landed::Fenced
            }
            CommitOutcome::Fenced { partition, table, batch, .. } => {
                debug!(table = self.name, %partition, ?table, %batch, "fenced");
                Landed::Fenced
            }
        })
    }
}

/// Tries again for as long as it takes: until an answer is certain the batch is neither in nor out.
async fn retry<T, F>(
    table: &str,
    trouble: &(dyn Fn(&str) + Sync),
    mut attempt: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = lakehouse::Result<T>>,
{
    let mut wait = RETRY_MIN;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(err) if matches!(err.kind(), Kind::Retry | Kind::Conflict) => {
                let err = format!("{:#}", anyhow::Error::new(err));
                warn!(table, err, "not committed yet: trying again");
                trouble(&err);
            }
            Err(err) => return Err(err).with_context(|| table.to_owned()),
        }
        pause(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

fn in_topic(position: &lakehouse::position::Position, source: &Source) -> Starts {
    debug_assert_eq!(position.source(), source);
    position.offsets().clone()
}
