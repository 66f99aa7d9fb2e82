//! The truth of a live platform: the topic itself, read again from its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lakehouse::commit::Lakehouse;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::Position;
use stream_processor::config::{LakehouseArgs, properties};
use stream_processor::kafka::{Consumer, ConsumerSettings, KafkaErrorKind, Rebalance};
use stream_processor::pipeline::smallest;

use super::{Bounds, Record, Truth, Verifier};
use crate::job_text::JobText;
use crate::query::Tables;
use crate::show;

/// Records in one poll.
const POLL_MAX: usize = 5_000;
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long the broker may say nothing while records are missing.
const SILENCE_MAX: Duration = Duration::from_mins(1);
const ASK_MAX: Duration = Duration::from_secs(30);
const TELL_EVERY: Duration = Duration::from_secs(5);
/// The table property that holds the position.
const POSITION: &str = "streamforge.position";

/// Compares a live platform's tables with its topic.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Kafka brokers, host:port[,host:port…]; the job file's when absent
    #[arg(long, env = "KAFKA_BROKERS")]
    pub brokers: Option<String>,
    /// More librdkafka settings, key=value[,key=value…]
    #[arg(
        long,
        env = "KAFKA_PROPERTIES",
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    pub kafka_properties: String,
    /// The job file
    #[arg(long, env = "JOB_FILE")]
    pub job: Option<PathBuf>,
    /// Where the tables are.
    #[command(flatten)]
    pub lakehouse: LakehouseArgs,
}

/// Reads the topic again up to the tables' position and compares record by record.
///
/// # Errors
///
/// Topic or tables can't be read, or they differ.
pub async fn verify_live(args: VerifyArgs) -> Result<()> {
    let text = JobText::load(args.job.as_deref())?;
    let job = text.parse()?;
    let tables = Tables::of(&job);
    let lake = Lakehouse::open(&args.lakehouse.settings()?).await?;
    let positions = positions(&lake, &tables).await?;
    let brokers = args.brokers.as_deref().or(job.source.brokers.as_deref());
    let settings = ConsumerSettings {
        extra: properties(&args.kafka_properties)?,
        ..ConsumerSettings::new(brokers.context("no brokers: set KAFKA_BROKERS")?)
    };
    let topic = job.source.topic.clone();
    let mut reader = tokio::task::block_in_place(|| Reader::open(&settings, &topic, positions))?;
    let truth = Truth { threshold_cents: text.threshold_cents()?, topic: &topic };
    let mut verifier = Verifier::load(&lake, &tables, &truth, Some(&reader.bounds)).await?;
    tokio::task::block_in_place(|| reader.read_into(&mut verifier))?;
    let verdict = verifier.finish();
    show::line(&verdict.to_string());
    ensure!(verdict.is_clean(), "the tables do not hold what the topic says");
    Ok(())
}

/// Where each table stands.
async fn positions(
    lake: &Lakehouse,
    tables: &Tables,
) -> Result<BTreeMap<String, BTreeMap<PartitionId, Offset>>> {
    let mut positions = BTreeMap::new();
    for (namespace, name) in tables.names() {
        let table = lake.table(namespace, name).await?;
        let table = table.with_context(|| format!("there is no table {namespace}.{name}"))?;
        let text = table.properties().get(POSITION).cloned();
        let text = text.with_context(|| {
            format!("{namespace}.{name} has no position: nothing was committed yet")
        })?;
        positions.insert(name.to_owned(), Position::from_json(&text)?.offsets().clone());
    }
    Ok(positions)
}

/// A reader that only assigns is given nothing by a group.
struct NoGroup;

impl Rebalance for NoGroup {
    fn assigned(&mut self, _: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        BTreeMap::new()
    }
    fn revoked(&mut self, _: &[PartitionId], _: bool) {}
}

struct Reader {
    consumer: Consumer,
    bounds: Bounds,
}

impl Reader {
    fn open(
        settings: &ConsumerSettings,
        topic: &str,
        positions: BTreeMap<String, BTreeMap<PartitionId, Offset>>,
    ) -> Result<Self> {
        // Up to where every table is complete.
        let ends = smallest(&positions.values().cloned().collect::<Vec<_>>());
        let mut consumer = Consumer::new(settings, topic, Box::new(NoGroup))?;
        let mut starts = BTreeMap::new();
        for (partition, end) in &ends {
            let low = consumer.watermarks(*partition, ASK_MAX)?.low;
            if low.get() > 0 {
                show::line(&format!(
                    "partition {partition}: records below offset {low} are gone from the topic; their rows are not checked"
                ));
            }
            starts.insert(*partition, low.min(*end));
        }
        let unread =
            |(p, end): (&PartitionId, &Offset)| starts.get(p).is_some_and(|start| start < end);
        let wanted = starts.iter().filter(|(p, _)| ends.get(p).is_some_and(|end| unread((p, end))));
        consumer.assign(&wanted.map(|(p, o)| (*p, *o)).collect())?;
        Ok(Self { consumer, bounds: Bounds { starts, ends, positions } })
    }

    fn read_into(&mut self, verifier: &mut Verifier<'_>) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "a reader that hears nothing must give up")]
        let now = Instant::now;
        let (mut heard, mut told) = (now(), now());
        let mut left: BTreeMap<PartitionId, Offset> = self.bounds.ends.clone();
        left.retain(|p, end| self.bounds.starts.get(p).is_some_and(|start| start < end));
        while !left.is_empty() {
            let batch = match self.consumer.poll(POLL_MAX, POLL_WAIT) {
                Ok(batch) => batch,
                Err(err)
                    if err.kind() == KafkaErrorKind::Retry && heard.elapsed() < SILENCE_MAX =>
                {
                    continue;
                }
                Err(err) => return Err(err.into()),
            };
            for record in batch.records() {
                heard = now();
                if self.bounds.ends.get(&record.partition).is_some_and(|end| record.offset < *end) {
                    verifier.compare(&Record {
                        partition: record.partition.get(),
                        offset: record.offset.get(),
                        payload: record.payload.map(<[u8]>::to_vec),
                    });
                }
            }
            let position = self.consumer.position();
            left.retain(|p, end| position.get(p).is_none_or(|at| at < end));
            if told.elapsed() >= TELL_EVERY {
                told = now();
                show::progress(&format!("{} compared", show::count(verifier.read(), "record")));
            }
            if heard.elapsed() >= SILENCE_MAX {
                bail!(
                    "the broker sent nothing for {}s; still missing: {left:?}",
                    SILENCE_MAX.as_secs()
                );
            }
        }
        Ok(())
    }
}
