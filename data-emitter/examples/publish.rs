//! Publishes to a broker as fast as it goes and says how fast that was.
//!
//! `cargo run --release -p data-emitter --example publish -- 1000000 [host:port [topic]]`
//!
//! Without an address it starts librdkafka's in-process broker, which keeps the
//! last 5 MiB of each partition and takes the rest without a word.

use std::io::Write as _;
use std::sync::Arc;

use data_emitter::{EmitterSettings, GeneratorSettings, Unlimited, emit};
use rdkafka::mocking::MockCluster;
use tokio_util::sync::CancellationToken;

/// Events unless an argument says otherwise.
const EVENTS: u64 = 1_000_000;
/// Topic unless an argument says otherwise.
const TOPIC: &str = "user-activity-stream";
const PARTITIONS: i32 = 4;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let events = args.next().map_or(Ok(EVENTS), |count| count.parse())?;
    let brokers = args.next();
    let topic = args.next().unwrap_or_else(|| TOPIC.to_owned());
    let in_process = MockCluster::new(1)?;
    in_process.create_topic(&topic, PARTITIONS, 1)?;

    let brokers = brokers.unwrap_or_else(|| in_process.bootstrap_servers());
    let generator = GeneratorSettings::new(1, 1_748_736_000_000);
    let settings =
        EmitterSettings { events: Some(events), ..EmitterSettings::new(brokers, topic, generator) };
    let stop = CancellationToken::new();
    let summary = emit(&settings, Arc::new(Unlimited), |_| (), &stop).await?;
    let seconds = summary.elapsed.as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{} of {events} events delivered in {seconds:.2} s: {:.0} events/s, {:.1} MB/s",
        summary.delivered,
        summary.delivered as f64 / seconds,
        summary.sent.bytes as f64 / seconds / 1e6,
    )?;
    Ok(())
}
