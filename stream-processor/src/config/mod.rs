//! Settings: as typed, then checked. Flag before environment before default.
//!
//! Owns the reference page (`--help`) and the checks across fields. It must never open anything.

mod properties;
mod servers;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use lakehouse::avro::Codec;
use lakehouse::commit::LakehouseSettings;
use lakehouse::ids::PartitionId;

pub use properties::properties;
pub use servers::{KafkaArgs, LakehouseArgs};
pub use units::{bytes, duration};

use crate::decode::{DecodeOptions, Validate};
use crate::job::SourceTable;
use crate::kafka::{ConsumerSettings, Fetching};
use crate::pipeline::Limits;

/// Longest time a stop may take before the process ends without its last commit; the next one re-reads.
pub const STOP_MAX: Duration = Duration::from_secs(6);
/// Longest time between two polls before the broker takes the partitions away. The poll loop never
/// waits for a commit, so this only has to cover a rebalance that reads the tables.
const MAX_POLL_INTERVAL: Duration = Duration::from_mins(5);
/// Longest time without a commit of the position.
const HEARTBEAT_MAX: Duration = Duration::from_hours(1);
/// The consumer group when none is named.
const GROUP: &str = "streamforge";
/// Rows in one commit of one table.
const ROWS_MAX: u64 = 1_000_000;
/// The share of the memory budget that makes a commit of one table; behind it half as much again may be open.
const OPEN_SHARE: usize = 3;

const LONG_ABOUT: &str = "\
Reads a Kafka topic, runs one SQL job over it, and commits Avro files to Iceberg tables exactly once.

The job file says what is read and what is written; everything here says where. The position in the \
topic is kept in the tables themselves: to start again, just start again.";

/// Kafka to SQL to Avro to Iceberg, exactly once.
#[derive(Debug, Parser)]
#[command(name = "stream-processor", version, about, long_about = LONG_ABOUT)]
pub struct Cli {
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings of the run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the job file and say what it would do; touches no server
    Check,
    /// Ask a running processor whether it commits; exit 0 if so
    Healthcheck,
}

/// The settings as typed.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The SQL job file
    #[arg(
        long,
        env = "JOB_FILE",
        default_value = "stream-processor/sql-jobs/transform_pipeline.sql",
        global = true
    )]
    pub job: PathBuf,

    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Consumer group; processes of one group share the topic. The job file's, or `streamforge`, when absent
    #[arg(long, env = "KAFKA_GROUP")]
    pub group: Option<String>,
    /// A name of this process that stays the same over restarts, so that a restart moves no partition
    #[arg(long, env = "KAFKA_INSTANCE_ID")]
    pub instance_id: Option<String>,
    /// Read these partitions without a consumer group: `all`, or `0,1,2`
    #[arg(long, env = "KAFKA_ASSIGN", value_name = "PARTITIONS")]
    pub assign: Option<Assign>,

    /// Where the tables are.
    #[command(flatten)]
    pub lakehouse: LakehouseArgs,

    /// A row is committed at most this long after it was read
    #[arg(long, env = "COMMIT_INTERVAL", default_value = "1s", value_parser = duration, value_name = "TIME")]
    pub commit_interval: Duration,
    /// The position is committed this often where no row passes the filter
    #[arg(long, env = "HEARTBEAT_INTERVAL", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub heartbeat_interval: Duration,
    /// Compression of data files: zstandard, deflate or none
    #[arg(long, env = "AVRO_CODEC", default_value = "zstandard")]
    pub codec: Codec,
    /// Encoded rows that may wait in memory; a third of it makes a commit
    #[arg(long, env = "MEMORY_BUDGET", default_value = "64MiB", value_parser = bytes, value_name = "BYTES")]
    pub memory_budget: usize,

    /// Who fetches the records: own, or librdkafka, which always does where brokers want TLS or a login
    #[arg(long, env = "KAFKA_FETCHER", default_value = "own", value_name = "own|librdkafka")]
    pub fetcher: Fetching,
    /// Sample the topic before the first commit and refuse a job that can't match it: on or off
    #[arg(long, env = "PREFLIGHT", default_value = "on", value_parser = on_off, value_name = "on|off", action = clap::ArgAction::Set)]
    pub preflight: bool,
    /// Leave out records that the WHERE clause surely drops without reading their fields: on or off
    #[arg(long, env = "RAW_SKIP", default_value = "on", value_parser = on_off, value_name = "on|off", action = clap::ArgAction::Set)]
    pub raw_skip: bool,
    /// Check left-out records too, so that broken ones are rejected: on, or off to measure its cost
    #[arg(long, env = "VALIDATE", default_value = "on", value_parser = on_off, value_name = "on|off", action = clap::ArgAction::Set)]
    pub validate: bool,

    /// Where health, metrics and status are served: host:port, or `off`
    #[arg(
        long,
        env = "STATUS_ADDRESS",
        default_value = "127.0.0.1:8084",
        value_name = "ADDRESS",
        global = true
    )]
    pub status_address: String,
}

/// Which partitions are read without a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assign {
    /// Every partition of the topic.
    All,
    /// These.
    Some(Vec<PartitionId>),
}

impl std::str::FromStr for Assign {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let number = |part: &str| match part.trim().parse::<i32>() {
            Ok(number) if number >= 0 => Ok(PartitionId::new(number)),
            _ => Err(format!("`{part}` is not a partition; say `all`, or numbers like 0,1,2")),
        };
        text.split(',').map(number).collect::<Result<_, _>>().map(Self::Some)
    }
}

/// The settings, checked: every field is usable as it is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Catalog, warehouse, object store.
    pub lakehouse: LakehouseSettings,
    /// The consumer; its brokers come from here or from the job file.
    pub consumer: ConsumerSettings,
    /// Partitions read without a group.
    pub assign: Option<Assign>,
    /// When to commit.
    pub limits: Limits,
    /// How to decode.
    pub decode: DecodeOptions,
    /// How to compress.
    pub codec: Codec,
    /// Whether the topic is sampled before the first commit.
    pub preflight: bool,
}

impl Config {
    /// Checks what was typed; `source` is the job file's, whose own settings come last.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn check(args: &RunArgs, source: &SourceTable) -> Result<Self> {
        let group = args.group.as_deref().or(source.group.as_deref()).unwrap_or(GROUP);
        ensure!(
            args.commit_interval >= Duration::from_millis(10),
            "COMMIT_INTERVAL is below 10ms: every commit writes three files and one catalog entry"
        );
        ensure!(
            args.commit_interval <= MAX_POLL_INTERVAL,
            "COMMIT_INTERVAL is above {}s",
            MAX_POLL_INTERVAL.as_secs()
        );
        ensure!(
            args.heartbeat_interval <= HEARTBEAT_MAX,
            "HEARTBEAT_INTERVAL is above {}s: where no row passes, a restart would read that much again",
            HEARTBEAT_MAX.as_secs()
        );
        ensure!(
            args.memory_budget >= 4 << 20,
            "MEMORY_BUDGET is below 4MiB: one open block of each table would not fit"
        );
        Ok(Self {
            lakehouse: args.lakehouse.settings()?,
            consumer: ConsumerSettings {
                group: args.assign.is_none().then(|| group.to_owned()),
                instance_id: args.instance_id.clone(),
                max_poll_interval: MAX_POLL_INTERVAL,
                fetching: args.fetcher,
                ..args.kafka.settings(source)?
            },
            assign: args.assign.clone(),
            limits: Limits {
                rows_max: ROWS_MAX,
                bytes_max: args.memory_budget / OPEN_SHARE,
                age_max: args.commit_interval,
                heartbeat: args.heartbeat_interval.max(args.commit_interval),
                budget_bytes: args.memory_budget,
            },
            decode: DecodeOptions {
                raw_skip: args.raw_skip,
                validate: if args.validate { Validate::Full } else { Validate::Off },
            },
            codec: args.codec,
            preflight: args.preflight,
        })
    }
}

fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => Err("say on or off".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    #[test]
    fn partitions_are_all_or_a_list() {
        assert_eq!("all".parse(), Ok(Assign::All));
        let some = vec![PartitionId::new(0), PartitionId::new(2)];
        assert_eq!("0, 2".parse(), Ok(Assign::Some(some)));
        assert!("0,-1".parse::<Assign>().is_err());
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_shown() {
        let job =
            crate::job::Job::parse(include_str!("../../sql-jobs/transform_pipeline.sql")).unwrap();
        for (flag, word) in [
            ("--s3-endpoint=http://me:canary@store:9000", "must not hold credentials"),
            ("--s3-endpoint=htp://me:canary@store:9000", "does not start with"),
            ("--catalog-uri=htp://me:canary@catalog", "is neither"),
            ("--warehouse=s4://me:canary@bucket", "is neither"),
        ] {
            let typed = ["stream-processor", "--s3-access-key=a", "--s3-secret-key=b", flag];
            let cli = Cli::try_parse_from(typed).unwrap();
            let refused = Config::check(&cli.run, &job.source).unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
            assert!(!refused.contains("canary"), "{refused}");
            assert!(!format!("{cli:?}").contains("canary"), "{cli:?}");
        }
    }

    #[test]
    fn secrets_are_in_no_debug_output() {
        let typed = [
            "stream-processor",
            "--s3-access-key",
            "canary-key",
            "--s3-secret-key",
            "canary-secret",
            "--kafka-properties",
            "sasl.password=canary-password",
        ];
        let cli = Cli::try_parse_from(typed).unwrap();
        let job =
            crate::job::Job::parse(include_str!("../../sql-jobs/transform_pipeline.sql")).unwrap();
        let config = Config::check(&cli.run, &job.source).unwrap();
        for shown in [format!("{config:?}"), format!("{cli:?}")] {
            assert!(!shown.contains("canary-key"), "{shown}");
            assert!(!shown.contains("canary-secret"), "{shown}");
            assert!(!shown.contains("canary-password"), "{shown}");
        }
    }
}
