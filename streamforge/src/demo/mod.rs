//! The whole job in one process: broker, emitter, processor, catalog, warehouse. Ends by proving itself.

mod broker;
mod place;
mod progress;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use data_emitter::{
    Compression, EmitterSettings, Fraction, Generator, GeneratorSettings, Properties, Rate,
    Summary, emit,
};
use lakehouse::avro::Codec;
use lakehouse::commit::{Lakehouse, LakehouseSettings};
use lakehouse::ids::{Offset, PartitionId};
use stream_processor::config::{Assign, Config, duration};
use stream_processor::decode::DecodeOptions;
use stream_processor::job::Job;
use stream_processor::kafka::ConsumerSettings;
use stream_processor::pipeline::{Limits, Starts};
use stream_processor::status::{self, About, Status};
use tokio_util::sync::CancellationToken;

use crate::job_text::JobText;
use crate::query::Tables;
use crate::show;
use crate::verify::{self, Truth, Verdict};

pub use broker::Broker;
pub use place::Place;

/// As on the platform.
const PARTITIONS: i32 = 6;
/// Encoded rows that may wait in memory.
const MEMORY_BUDGET: usize = 32 << 20;
/// How long the last records may take to be committed once all were sent.
const CATCH_UP_MAX: Duration = Duration::from_mins(1);
/// How long the last acknowledgements may take.
const FLUSH_MAX: Duration = Duration::from_secs(30);
const FIVE_ROWS: &str = "SELECT * FROM processed_conversions LIMIT 5";

/// What the demo does.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How many events are emitted
    #[arg(long, env = "DEMO_EVENTS", default_value_t = 200_000)]
    pub events: u64,
    /// The stream follows from this number: the same seed, the same events
    #[arg(long, env = "DEMO_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Events per second, or `max`
    #[arg(long, env = "DEMO_RATE", default_value = "max")]
    pub rate: Rate,
    /// Where the tables are put; a new folder each time when absent
    #[arg(long, env = "DEMO_DIR")]
    pub dir: Option<PathBuf>,
    /// The job file; the one this binary was built with when absent and not found here
    #[arg(long, env = "JOB_FILE")]
    pub job: Option<PathBuf>,
    /// A row is committed at most this long after it was read
    #[arg(long, env = "COMMIT_INTERVAL", default_value = "250ms", value_parser = duration)]
    pub commit_interval: Duration,
    /// Compression of data files: zstandard, deflate or none
    #[arg(long, env = "AVRO_CODEC", default_value = "zstandard")]
    pub codec: Codec,
    /// Share of visits delivered hours late
    #[arg(long, default_value = "0")]
    pub late: Fraction,
    /// Share of records sent twice
    #[arg(long, default_value = "0")]
    pub duplicates: Fraction,
    /// Share of events overtaken by later ones
    #[arg(long, default_value = "0")]
    pub out_of_order: Fraction,
    /// Share of records broken in one of ten ways
    #[arg(long, default_value = "0")]
    pub malformed: Fraction,
    /// Run until Ctrl-C, at 500 events a second unless --rate says otherwise, then verify
    #[arg(long)]
    pub continuous: bool,
    /// Where a continuous demo serves its status: host:port
    #[arg(long, env = "STATUS_ADDRESS", default_value = "127.0.0.1:8084")]
    pub status_address: String,
}

/// Runs the demo and proves its result.
///
/// # Errors
///
/// Something could not be started, or the tables do not hold what was sent.
pub async fn demo(args: DemoArgs, started: Instant, stop: CancellationToken) -> Result<()> {
    let text = JobText::load(args.job.as_deref())?;
    let job = text.parse()?;
    let place = Place::new(args.dir.as_deref())?;
    let topic = job.source.topic.clone();
    let broker = Broker::start(&topic, PARTITIONS)?;
    show::line(&format!(
        "StreamForge demo: {} → {} → SQL job → Avro → Iceberg, all in this process. \
         The broker keeps its log in memory; on the platform it is Apache Kafka.",
        if args.continuous {
            "events until Ctrl-C".to_owned()
        } else {
            show::count(args.events, "event")
        },
        topic,
    ));

    let (reporters, seen) = status::channel();
    let processing = CancellationToken::new();
    let config = config(&args, &place, broker.address());
    let lakehouse = config.lakehouse.clone();
    let about = About::new(text.text(), &job, &config);
    let job_done =
        tokio::spawn(stream_processor::run(job.clone(), config, reporters, processing.clone()));
    if args.continuous {
        let (address, seen) = (args.status_address.clone(), seen.clone());
        show::line(&format!("job page: http://{address}, metrics: http://{address}/metrics"));
        tokio::spawn(status::serve(address, seen, about, stop.clone()));
    }

    let emitter = emitter(&args, &broker, &topic)?;
    let display = tokio::spawn(progress::show(seen.clone(), emitter.events, started));
    let brake = Arc::new(broker::PaceByReader::new(seen.reader.clone()));
    let mut job_done = job_done;
    let sent = tokio::select! {
        sent = emit(&emitter, brake, |_| {}, &stop) => sent?,
        ended = &mut job_done => { ended??; bail!("the processor ended before the emitter") }
    };
    ensure!(
        sent.undelivered() == 0 && sent.misplaced == 0,
        "the broker did not take every event: {sent:?}"
    );
    let ends = ends(&sent);
    tokio::select! {
        reached = caught_up(&seen, &ends) => reached?,
        ended = &mut job_done => { ended??; bail!("the processor ended before it had read everything") }
    }
    display.abort();
    processing.cancel();
    job_done.await??;
    progress::summary(&seen, &sent, started);

    let verdict = prove(&lakehouse, &job, &text, &emitter, &sent).await?;
    show::line(&verdict.to_string());
    let lake = Lakehouse::open(&lakehouse).await?;
    let rows = Tables::of(&job).collect(&lake, FIVE_ROWS, None).await?;
    show::line(&format!("\n{FIVE_ROWS};\n{}", show::table(&rows)?));
    show::line(&place.epilogue());
    ensure!(verdict.is_clean(), "the tables do not hold what was sent");
    Ok(())
}

fn config(args: &DemoArgs, place: &Place, brokers: String) -> Config {
    Config {
        lakehouse: place.lakehouse(),
        consumer: ConsumerSettings {
            // This broker answers an idle fetch only after the whole wait, also when records come in.
            extra: vec![("fetch.wait.max.ms".to_owned(), "10".to_owned())],
            ..ConsumerSettings::new(brokers)
        },
        // One reader of a broker that lives as long as this process: a group would only cost time.
        assign: Some(Assign::All),
        limits: Limits {
            rows_max: 1_000_000,
            bytes_max: MEMORY_BUDGET / 4,
            age_max: args.commit_interval,
            heartbeat: args.commit_interval,
            budget_bytes: MEMORY_BUDGET,
        },
        decode: DecodeOptions::default(),
        codec: args.codec,
        preflight: true,
    }
}

fn emitter(args: &DemoArgs, broker: &Broker, topic: &str) -> Result<EmitterSettings> {
    let rate = match (args.continuous, args.rate) {
        (true, Rate::Max) => NonZeroU32::new(500).map_or(Rate::Max, Rate::PerSecond),
        (_, rate) => rate,
    };
    #[allow(clippy::disallowed_methods, reason = "the demo's events happen now")]
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let generator = GeneratorSettings {
        event_rate: rate.event_rate(),
        late: args.late,
        duplicates: args.duplicates,
        out_of_order: args.out_of_order,
        malformed: args.malformed,
        ..GeneratorSettings::new(args.seed, i64::try_from(now.as_millis())?)
    };
    Ok(EmitterSettings {
        brokers: broker.address(),
        topic: topic.to_owned(),
        rate,
        events: (!args.continuous).then_some(args.events),
        generator,
        compression: Compression::None,
        flush_timeout: FLUSH_MAX,
        properties: Properties::default(),
    })
}

/// Where each partition ends, by the broker's acknowledgements.
fn ends(sent: &Summary) -> Starts {
    let end = |count: u64| Offset::new(i64::try_from(count).unwrap_or(i64::MAX));
    (0..sent.partition_count)
        .map(|p| {
            (PartitionId::new(p), end(sent.partitions.get(&p).map_or(0, |seen| seen.delivered)))
        })
        .collect()
}

/// Waits until every table stands at `ends`.
async fn caught_up(seen: &Status, ends: &Starts) -> Result<()> {
    let mut job = seen.job.clone();
    let there = job.wait_for(|job| {
        !job.tables.is_empty() && job.tables.iter().all(|table| table.position == *ends)
    });
    match tokio::time::timeout(CATCH_UP_MAX, there).await {
        Ok(reached) => reached.map(drop).context("the processor is gone"),
        Err(_) => bail!("not everything was committed within {}s", CATCH_UP_MAX.as_secs()),
    }
}

/// Compares the tables with the events that were acknowledged, made again from the seed: the broker can't
/// keep them all.
async fn prove(
    lakehouse: &LakehouseSettings,
    job: &Job,
    text: &JobText,
    emitter: &EmitterSettings,
    sent: &Summary,
) -> Result<Verdict> {
    let count = usize::try_from(sent.sent.records)?;
    let records = Generator::new(&emitter.generator).partitioned(sent.partition_count).take(count);
    let records = records.map(|placed| verify::Record {
        partition: placed.partition,
        offset: i64::try_from(placed.index).unwrap_or(i64::MAX),
        payload: placed.emission.payload,
    });
    let truth = Truth { threshold_cents: text.threshold_cents()?, topic: &job.source.topic };
    let lake = Lakehouse::open(lakehouse).await?;
    verify::verify(&lake, &Tables::of(job), &truth, records).await
}

/// Counts by reason, for people.
pub(crate) fn reasons(rejected: &BTreeMap<&'static str, u64>) -> String {
    let parts: Vec<String> =
        rejected.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    parts.join(", ")
}
