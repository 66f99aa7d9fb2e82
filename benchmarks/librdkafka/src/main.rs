//! How fast librdkafka alone reads a topic: the floor for any engine that stands on it.
//!
//! `read-topic BROKERS TOPIC` reads every partition from its first offset to where it ended at the start, in batches, and
//! counts. The settings that matter are those of `stream-processor/src/kafka`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::process::ExitCode;
use std::ptr;
use std::time::Instant;

use rdkafka_sys::bindings as rd;

const USAGE: &str = "usage: read-topic BROKERS TOPIC";
/// Messages in one call.
const BATCH: usize = 2_000;
const TIMEOUT_MS: i32 = 10_000;
/// Linux counts CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// The first record of a partition, in librdkafka's words.
const BEGINNING: i64 = -2;
const SETTINGS: [(&str, &str); 4] = [
    ("fetch.message.max.bytes", "1048576"),
    ("queued.max.messages.kbytes", "4096"),
    // Its default, 1000, leaves a core idle as soon as the queue is full.
    ("fetch.queue.backoff.ms", "1"),
    ("check.crcs", "true"),
];

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let (Some(brokers), Some(topic), None) = (args.next(), args.next(), args.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    match read(&brokers, &topic) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read(brokers: &str, topic: &str) -> Result<String, String> {
    let name = text(topic)?;
    let client = client(brokers)?;
    // SAFETY: the client lives until the process ends, and so does all that is made from it.
    let (handle, queue) = unsafe {
        (
            rd::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()),
            rd::rd_kafka_queue_new(client),
        )
    };
    if handle.is_null() || queue.is_null() {
        return Err(format!("no handle for topic {topic}"));
    }
    let mut left = BTreeMap::new();
    for partition in 0..partitions(client, handle)? {
        let (mut low, mut high) = (0, 0);
        // SAFETY: both places outlive the call.
        check(unsafe {
            rd::rd_kafka_query_watermark_offsets(
                client,
                name.as_ptr(),
                partition,
                &mut low,
                &mut high,
                TIMEOUT_MS,
            )
        })?;
        if low < high {
            left.insert(partition, high);
        }
    }
    let started = Instant::now();
    for partition in left.keys() {
        // SAFETY: topic and queue are of the same client.
        if unsafe { rd::rd_kafka_consume_start_queue(handle, *partition, BEGINNING, queue) } != 0 {
            return Err(format!("partition {partition} can't be read"));
        }
    }
    let (records, bytes) = drain(queue, left)?;
    let seconds = started.elapsed().as_secs_f64();
    // SAFETY: a static text.
    let version = unsafe { CStr::from_ptr(rd::rd_kafka_version_str()) }.to_string_lossy();
    let (cpu, peak) = costs().ok_or("/proc does not tell of this process")?;
    Ok(format!(
        r#"{{"version": "{version}", "records": {records}, "bytes": {bytes}, "seconds": {seconds:.4}, "cpu_seconds": {cpu:.2}, "peak_rss_kib": {peak}}}"#
    ))
}

/// Reads until every partition of `left` has come to the offset that stands there.
fn drain(
    queue: *mut rd::rd_kafka_queue_t,
    mut left: BTreeMap<i32, i64>,
) -> Result<(u64, u64), String> {
    let mut messages = vec![ptr::null_mut::<rd::rd_kafka_message_t>(); BATCH];
    let (mut records, mut bytes) = (0, 0);
    while !left.is_empty() {
        // SAFETY: there is room for as many messages as are asked for.
        let got = unsafe {
            rd::rd_kafka_consume_batch_queue(queue, TIMEOUT_MS, messages.as_mut_ptr(), BATCH)
        };
        let got = usize::try_from(got).map_err(|_| "the queue can't be read".to_owned())?;
        if got == 0 {
            return Err(format!("nothing came for {TIMEOUT_MS} ms; not at their ends: {left:?}"));
        }
        for message in messages.iter().take(got) {
            // SAFETY: the message is ours until it is destroyed, which happens here, once.
            let (error, partition, offset, length) = unsafe {
                let seen = &**message;
                let facts = (seen.err, seen.partition, seen.offset, seen.len);
                rd::rd_kafka_message_destroy(*message);
                facts
            };
            check(error)?;
            records += 1_u64;
            bytes += length as u64;
            if left.get(&partition).is_some_and(|end| offset + 1 >= *end) {
                left.remove(&partition);
            }
        }
    }
    Ok((records, bytes))
}

fn client(brokers: &str) -> Result<*mut rd::rd_kafka_t, String> {
    let mut said: [c_char; 512] = [0; 512];
    // SAFETY: `said` is as long as is told, and the settings belong to the client from `rd_kafka_new` on.
    unsafe {
        let settings = rd::rd_kafka_conf_new();
        for (name, value) in [("bootstrap.servers", brokers)].into_iter().chain(SETTINGS) {
            let (name, value) = (text(name)?, text(value)?);
            let answer = rd::rd_kafka_conf_set(
                settings,
                name.as_ptr(),
                value.as_ptr(),
                said.as_mut_ptr(),
                said.len(),
            );
            if answer != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                return Err(CStr::from_ptr(said.as_ptr()).to_string_lossy().into_owned());
            }
        }
        let client = rd::rd_kafka_new(
            rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            settings,
            said.as_mut_ptr(),
            said.len(),
        );
        if client.is_null() {
            Err(CStr::from_ptr(said.as_ptr()).to_string_lossy().into_owned())
        } else {
            Ok(client)
        }
    }
}

fn partitions(
    client: *mut rd::rd_kafka_t,
    topic: *mut rd::rd_kafka_topic_t,
) -> Result<i32, String> {
    let mut found = ptr::null();
    // SAFETY: what is found is valid until it is destroyed; the one topic that was asked for is looked at only if it is there.
    unsafe {
        check(rd::rd_kafka_metadata(client, 0, topic, &mut found, TIMEOUT_MS))?;
        let count = if (*found).topic_cnt == 1 { (*(*found).topics).partition_cnt } else { 0 };
        rd::rd_kafka_metadata_destroy(found);
        if count > 0 { Ok(count) } else { Err("no such topic".to_owned()) }
    }
}

fn check(code: rd::rd_kafka_resp_err_t) -> Result<(), String> {
    if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: a static text.
    Err(unsafe { CStr::from_ptr(rd::rd_kafka_err2str(code)) }.to_string_lossy().into_owned())
}

/// User and system time of this process so far, and the most memory it has had.
fn costs() -> Option<(f64, u64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
    let ticks: u32 = fields.map(str::parse::<u32>).sum::<Result<u32, _>>().ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some((f64::from(ticks) / TICKS_PER_SECOND, peak.trim().strip_suffix(" kB")?.parse().ok()?))
}

fn text(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("a zero byte in {text:?}"))
}
