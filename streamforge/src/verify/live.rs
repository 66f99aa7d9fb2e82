//! A live platform proved: its topic, read again, against its tables.
//!
//! Owns what is compared: the tables as they are at one moment, up to where they stand. It reads, and never
//! writes; processors and emitter may go on meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use lakehouse::commit::{Lakehouse, LakehouseSettings};
use stream_processor::config::{KafkaArgs, LakehouseArgs, duration};
use stream_processor::job::Job;
use stream_processor::kafka::ConsumerSettings;

use super::held::{Held, places};
use super::invariants::Invariants;
use super::snapshot::Snapshot;
use super::topic::{Extent, Topic};
use super::window::{Bounds, behind, condition};
use super::{Truth, Verifier};
use crate::job_text::JobText;
use crate::patience::Patience;
use crate::query::Tables;
use crate::show;

/// Records compared at a time. Their rows are in memory: at most so many, and two of a hundred in the usual job.
const WINDOW_RECORDS: usize = 200_000;

/// What `--help` says.
pub const LONG_ABOUT: &str = "\
Proves a live platform: reads the topic again, works out by plain code what must have become of every record, \
and compares that with the tables, record by record.

It first waits until the tables have reached the topic's end as it was when this began (`--wait`); records \
that an emitter sends meanwhile don't count. Then it compares up to where the tables stand. With `--wait 0s` \
it compares what is there. It only reads: processors and emitters may go on.

In the end it checks the tables' own books: that the ranges of all commits follow each other without gap or \
overlap, that counts and position agree in every place where they stand, that every file of every retained snapshot \
is in the store with its recorded length, and that manifests are few.

Exit code: 0 when lost, duplicated, altered and violated are 0 and the tables had caught up, 64 for a wrong \
setting or job file, 1 for anything else.";

/// Compares a live platform's tables with its topic.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// The job file
    #[arg(long, env = "JOB_FILE")]
    pub job: Option<PathBuf>,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Where the tables are.
    #[command(flatten)]
    pub lakehouse: LakehouseArgs,
    /// How long servers may take to answer, and processors to catch up
    #[arg(long, env = "VERIFY_WAIT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub wait: Duration,
}

/// The settings, checked.
pub struct Plan {
    job: Job,
    threshold_cents: i128,
    consumer: ConsumerSettings,
    lakehouse: LakehouseSettings,
    /// Its address, for people.
    catalog: String,
    wait: Duration,
}

impl VerifyArgs {
    /// Checks what was typed, and the job file. Touches no server.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn check(&self) -> Result<Plan> {
        let text = JobText::load(self.job.as_deref())?;
        let job = text.parse()?;
        Ok(Plan {
            threshold_cents: text.threshold_cents()?,
            consumer: self.kafka.settings(&job.source)?,
            lakehouse: self.lakehouse.settings()?,
            catalog: format!("the catalog at {}", self.lakehouse.catalog_uri()),
            wait: self.wait,
            job,
        })
    }
}

/// Reads the topic again up to the tables' position and compares record by record.
///
/// # Errors
///
/// Topic or tables can't be read, they differ, or the tables did not catch up in time.
pub async fn verify_live(plan: Plan) -> Result<()> {
    let patience = Patience::new(plan.wait, "VERIFY_WAIT");
    let name = &plan.job.source.topic;
    let mut topic = Topic::new(&plan.consumer, name)?;
    let kafka = format!("topic {name} at {}", plan.consumer.brokers);
    let Extent { source, starts, ends } = topic.extent(&kafka, &patience).await?;
    let open = async || Ok(Lakehouse::open(&plan.lakehouse).await?);
    let lake = patience.wait(&plan.catalog, open).await?;
    let tables = Tables::of(&plan.job);
    let snapshot = Snapshot::reaching(&ends, &lake, &tables, &source, &patience).await?;
    let behind = behind(&snapshot.complete(), &ends);

    let positions = snapshot.positions().clone();
    let bounds = Bounds { starts, ends: snapshot.complete(), positions };
    for (partition, start) in bounds.starts.iter().filter(|(_, start)| start.get() > 0) {
        show::line(&format!(
            "partition {partition}: records below offset {start} are gone from the topic; their rows are not \
             compared"
        ));
    }
    let mut verifier = Verifier::new(Truth { threshold_cents: plan.threshold_cents, topic: name });
    let session = snapshot.session(&tables).await?;
    for window in bounds.windows(WINDOW_RECORDS) {
        verifier.open(Held::load(&session, &condition(&window)).await?);
        tokio::task::block_in_place(|| topic.read(&window, &mut verifier))?;
    }
    let outside = format!("({}) IS NOT TRUE", condition(&bounds.whole()));
    let unexcused = |table: &str, place| {
        if !bounds.excuse(table, place) {
            verifier.foreign(place);
        }
    };
    places(&session, &outside, unexcused).await?;

    let verdict = verifier.finish();
    show::line(&verdict.to_string());
    let look = async || Invariants::default().look(&lake, &tables).await;
    let report = patience.wait("the tables' files", look).await?;
    show::line(&report.to_string());
    ensure!(verdict.is_clean(), "the tables do not hold what the topic says");
    ensure!(report.is_clean(), "the tables' books or files do not hold together");
    match behind {
        0 => Ok(()),
        _ if plan.wait.is_zero() => {
            show::line(&format!("not compared: {} to be committed", show::count(behind, "record")));
            Ok(())
        }
        _ => bail!(
            "the tables did not catch up within {}s: {} of the topic not committed; is a processor running?",
            plan.wait.as_secs(),
            show::count(behind, "record")
        ),
    }
}
