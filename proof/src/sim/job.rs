//! What a process does with records, in the place of decoder and writer: the simulator's job.

use anyhow::Result;
use lakehouse::avro::Codec;
use lakehouse::commit::Lakehouse;
use lakehouse::datafile::EncodedFile;
use lakehouse::position::Source;
use lakehouse::simulated::encoded;
use lakehouse::spec::TableSpec;
use stream_processor::pipeline::{Action, Counts, Starts};
use stream_processor::sink::Sink;

use super::rows::{Row, encode};
use super::topic::Topic;

/// What start-up does: open the tables, pin what they don't know.
pub(super) async fn open(
    lakehouse: Lakehouse,
    specs: Vec<TableSpec>,
    source: Source,
    first: Starts,
) -> Result<(Vec<Sink>, Vec<Starts>)> {
    let mut sinks = Vec::with_capacity(specs.len());
    for spec in &specs {
        sinks.push(Sink::open(&lakehouse, spec, Codec::None).await?);
    }
    let mut at = Vec::with_capacity(sinks.len());
    for sink in &sinks {
        at.push(sink.starts(&source, &first).await?);
    }
    Ok((sinks, at))
}

/// The job: a number for one table or another, anything else for the rejects.
pub(super) fn transform(
    topic: &Topic,
    partition: i32,
    offset: i64,
    rows: &mut [Vec<Row>],
    counts: &mut [Counts],
) {
    let Some(payload) = topic.payload(partition, offset) else { return };
    let number: Option<i64> = payload.parse().ok();
    let lanes = rows.len();
    for (lane, (rows, counts)) in rows.iter_mut().zip(counts).enumerate() {
        counts.read += 1;
        let value = match number {
            None if lane + 1 == lanes => Some(-1),
            None => {
                counts.rejected += 1;
                continue;
            }
            Some(n) if lane + 1 < lanes => match lane {
                0 if n % 3 > 0 => Some(2 * n + 1),
                1 if n & 1 == 0 => Some(7 + n),
                _ => None,
            },
            Some(_) => None,
        };
        match value {
            Some(value) => {
                counts.written += 1;
                rows.push(Row { partition, offset, value });
            }
            None => counts.filtered += 1,
        }
    }
}

/// One file for each of two days.
pub(super) fn files(rows: &[Row]) -> Vec<EncodedFile> {
    let (even, odd): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| row.offset % 16 < 8);
    let days = [(20_000, even), (20_001, odd)];
    let full = days.into_iter().filter(|(_, rows)| !rows.is_empty());
    full.map(|(day, rows)| encoded(day, rows.len() as u64, encode(&rows))).collect()
}

/// What an action is called in the trace.
pub(super) fn name(action: &Action) -> &'static str {
    match action {
        Action::Append(_) => "append",
        Action::Discard => "discard",
        Action::Seal(_) => "seal",
        Action::DropOpen => "drop open",
        Action::Reload => "reload",
        Action::Seek(..) => "seek",
        Action::CommitGroup(_) => "commit group",
        Action::Hold | Action::Resume => "hold or resume",
        Action::Released => "released",
        Action::Finished => "finished",
    }
}
