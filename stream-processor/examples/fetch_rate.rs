//! How fast a topic is read when nothing is done with it: records and bytes a second, CPU, memory.
//!
//! `cargo run --release -p stream-processor --example fetch_rate -- 127.0.0.1:9092 TOPIC [BATCH] [KEY=VALUE…]`
//!
//! Reads every partition from its first offset to where it ended at the start.

#![allow(clippy::print_stdout, reason = "it prints its result")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use lakehouse::ids::{Offset, PartitionId};
use stream_processor::kafka::{Consumer, ConsumerSettings, KafkaErrorKind, Rebalance};

const USAGE: &str = "usage: fetch_rate BROKERS TOPIC [BATCH] [KEY=VALUE…]";
const BATCH: usize = 2_000;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Linux counts CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

struct NoGroup;

impl Rebalance for NoGroup {
    fn assigned(&mut self, _: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        BTreeMap::new()
    }

    fn revoked(&mut self, _: &[PartitionId], _: bool) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let mut settings = ConsumerSettings::new(args.next().ok_or(USAGE)?);
    let topic = args.next().ok_or(USAGE)?;
    let mut size = BATCH;
    for arg in args {
        match arg.split_once('=') {
            Some(("queue_kbytes", value)) => settings.queue_kbytes = value.parse()?,
            Some(("fetch_bytes", value)) => settings.fetch_bytes = value.parse()?,
            Some((key, value)) => settings.extra.push((key.to_owned(), value.to_owned())),
            None => size = arg.parse()?,
        }
    }
    let mut consumer = Consumer::new(&settings, &topic, Box::new(NoGroup))?;
    let source = consumer.source(TIMEOUT)?;
    let (mut starts, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for partition in &source.partitions {
        let marks = consumer.watermarks(*partition, TIMEOUT)?;
        starts.insert(*partition, marks.low);
        ends.insert(*partition, marks.high);
    }
    let (started, cpu) = (Instant::now(), cpu_seconds()?);
    consumer.assign(&starts)?;
    let (mut records, mut bytes, mut polls) = (0_u64, 0, 0_u64);
    while consumer
        .position()
        .iter()
        .any(|(partition, next)| ends.get(partition).is_some_and(|end| next < end))
    {
        match consumer.poll(size, TIMEOUT) {
            Ok(batch) => {
                polls += 1;
                records += batch.len() as u64;
                bytes += batch
                    .records()
                    .filter_map(|record| record.payload)
                    .map(<[u8]>::len)
                    .sum::<usize>();
            }
            Err(error) if error.kind() == KafkaErrorKind::Retry => println!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let millions = records as f64 / 1e6;
    println!("topic {topic} ({}), {} partitions", source.topic_id, source.partitions.len());
    println!(
        "{records} records, {bytes} bytes in {seconds:.2} s, {:.0} a poll",
        records as f64 / polls as f64
    );
    println!(
        "{:.2} M records/s, {:.3} CPU s/M, peak RSS {}",
        millions / seconds,
        cpu / millions,
        peak_rss()?
    );
    consumer.close(TIMEOUT)?;
    Ok(())
}

/// User and system time of this process.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no process name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    Ok(f64::from(ticks.sum::<Result<u32, _>>()?) / TICKS_PER_SECOND)
}

fn peak_rss() -> Result<String, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("no VmHWM in /proc/self/status")?.trim().to_owned())
}
