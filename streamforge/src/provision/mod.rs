//! The platform made ready, once: bucket, topic, namespace and tables.
//!
//! Owns what must be there before a processor starts, and the words about it. It must never delete, empty or
//! repair anything: what is there and differs is an error that names the difference.

mod topic;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lakehouse::commit::{Handover, Lakehouse, LakehouseSettings, Made};
use lakehouse::position::{ClusterId, Source, TopicId};
use lakehouse::spec::TableSpec;
use lakehouse::storage::{Bucket, Store};
use stream_processor::config::{KafkaArgs, LakehouseArgs, duration};
use stream_processor::job::Job;
use stream_processor::kafka::ConsumerSettings;

use crate::job_text::JobText;
use crate::patience::Patience;
use crate::show;
use topic::{Ready, Wanted};

/// Partitions bound how many processors can share a topic; they can be added, and not taken away.
const PARTITIONS: i32 = 6;

/// What `--help` says.
pub const LONG_ABOUT: &str = "\
Makes the platform ready: the bucket, the topic, and the tables that the job file asks for.

What is missing is made; what is there is checked and stays as it is. Anything that differs ends this with \
the difference and what can be done about it; nothing is deleted or repaired. Run it as often as you like: a \
second run finds everything there.

The settings are those of the stream processor. Servers that do not answer are waited for.

Exit code: 0 when everything is ready, 64 for a wrong setting or job file, 1 for anything else.";

/// What the platform needs before the first processor starts.
#[derive(Args, Clone, Debug)]
pub struct ProvisionArgs {
    /// The job file; it names the topic and the tables
    #[arg(long, env = "JOB_FILE")]
    pub job: Option<PathBuf>,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// The topic, to be sure that emitter and job mean the same; the job file's when absent
    #[arg(long, env = "KAFKA_TOPIC")]
    pub topic: Option<String>,
    /// Partitions of the topic
    #[arg(long, env = "KAFKA_PARTITIONS", default_value_t = PARTITIONS, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// Copies of each partition
    #[arg(long, env = "KAFKA_REPLICATION", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub replication: i32,
    /// Where the tables are.
    #[command(flatten)]
    pub lakehouse: LakehouseArgs,
    /// How long servers may take to answer, all in all
    #[arg(long, env = "PROVISION_WAIT", default_value = "120s", value_parser = duration, value_name = "TIME")]
    pub wait: Duration,
}

/// The settings, checked.
pub struct Plan {
    job: Job,
    consumer: ConsumerSettings,
    topic: Wanted,
    lakehouse: LakehouseSettings,
    /// Addresses, for people.
    store: String,
    catalog: String,
    wait: Duration,
}

impl ProvisionArgs {
    /// Checks what was typed, and the job file. Touches no server.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn check(&self) -> Result<Plan> {
        let job = JobText::load(self.job.as_deref())?.parse()?;
        let name = job.source.topic.clone();
        if let Some(topic) = self.topic.as_ref().filter(|topic| !topic.is_empty()) {
            ensure!(
                *topic == name,
                "KAFKA_TOPIC is `{topic}`, but the job file reads `{name}`; change one of them"
            );
        }
        Ok(Plan {
            consumer: self.kafka.settings(&job.source)?,
            topic: Wanted { name, partitions: self.partitions, replication: self.replication },
            lakehouse: self.lakehouse.settings()?,
            store: format!("the object store at {}", self.lakehouse.s3_endpoint),
            catalog: format!("the catalog at {}", self.lakehouse.catalog_uri()),
            wait: self.wait,
            job,
        })
    }
}

/// Makes everything ready, and says what it found and made.
///
/// # Errors
///
/// A server did not answer in time, or something is there and differs.
pub async fn provision(plan: Plan) -> Result<()> {
    let patience = Patience::new(plan.wait, "PROVISION_WAIT");
    let (Ready { identity, .. }, lakehouse) =
        tokio::try_join!(make_topic(&plan, &patience), open_lakehouse(&plan, &patience))?;
    let source = Source {
        cluster: ClusterId::new(identity.cluster),
        topic: TopicId::new(identity.topic_id),
    };
    let rejects = plan.job.rejects_spec();
    for spec in plan.job.sinks.iter().map(|sink| &sink.table).chain([&rejects]) {
        make_table(&plan, &lakehouse, spec, &source, &patience).await?;
    }
    show::line("ready");
    Ok(())
}

async fn make_topic(plan: &Plan, patience: &Patience) -> Result<Ready> {
    let ready = topic::ready(&plan.consumer, &plan.topic, patience).await?;
    let Wanted { name, partitions, replication } = &plan.topic;
    let found = if ready.made { "made" } else { "already there" };
    show::line(&format!(
        "topic {name}: {found}, {partitions} partitions, replication {replication}"
    ));
    Ok(ready)
}

async fn open_lakehouse(plan: &Plan, patience: &Patience) -> Result<Lakehouse> {
    let Plan { lakehouse: settings, store: store_at, catalog, .. } = plan;
    let store = Store::open(&settings.warehouse, settings.s3.as_ref())?;
    let bucket = patience.wait(store_at, async || Ok(store.make_bucket().await?)).await?;
    let found = match bucket {
        Bucket::Folder => "a folder, made when it is first written to",
        Bucket::Found => "already there",
        Bucket::Made => "made",
    };
    show::line(&format!("bucket of {}: {found}", settings.warehouse));
    patience.wait(catalog, async || Ok(Lakehouse::open(settings).await?)).await
}

async fn make_table(
    plan: &Plan,
    lakehouse: &Lakehouse,
    spec: &TableSpec,
    source: &Source,
    patience: &Patience,
) -> Result<()> {
    let name = format!("{}.{}", spec.namespace, spec.name);
    // A catalog whose database is away answers, too: a single look tells, where making would try for long.
    let look = async || Ok(lakehouse.table(&spec.namespace, &spec.name).await?);
    patience.wait(&plan.catalog, look).await?;
    let make = async || Ok(lakehouse.ensure(spec).await?);
    let table =
        patience.wait(&plan.catalog, make).await.with_context(|| format!("table {name}"))?;
    // Also that it was filled from this very topic, if it was filled at all, and is not another engine's for now.
    let look = async || {
        let table_now = lakehouse.handover(&spec.namespace, &spec.name, source).await?;
        if let Some(borrower) = table_now.as_ref().and_then(Handover::lent_to) {
            return Ok(Some(borrower.to_owned()));
        }
        table.position(source).await?;
        Ok(None)
    };
    let lent = patience.wait(&plan.catalog, look).await.with_context(|| format!("table {name}"))?;
    let lent = lent.map(|borrower| format!(", lent to {borrower}")).unwrap_or_default();
    let found = match table.made() {
        Made::Found => "already there",
        Made::Evolved => "already there, brought up to the job file",
        Made::Created => "made",
    };
    let days = spec.partition_day.as_ref().map(|column| format!(", by day of {column}"));
    let columns = spec.columns.len();
    show::line(&format!(
        "table {name}: {found}, {columns} columns{}{lent}",
        days.unwrap_or_default()
    ));
    Ok(())
}
