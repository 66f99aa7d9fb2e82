//! Settings: as typed, then checked. Flag before environment before default.
//!
//! Owns the reference page (`--help`) and the checks across fields. It must never open anything.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use lakehouse::avro::Codec;
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::LakehouseSettings;
use lakehouse::ids::PartitionId;
use lakehouse::storage::{S3Settings, Secret};

use crate::decode::{DecodeOptions, Validate};
use crate::job::SourceTable;
use crate::kafka::ConsumerSettings;
use crate::pipeline::Limits;

/// Longest time a stop may take before the process ends without its last commit; the next one re-reads.
pub const STOP_MAX: Duration = Duration::from_secs(6);
/// Longest time between two polls before the broker takes the partitions away. The poll loop never
/// waits for a commit, so this only has to cover a rebalance that reads the tables.
const MAX_POLL_INTERVAL: Duration = Duration::from_mins(5);
/// The consumer group when none is named.
const GROUP: &str = "streamforge";
/// Rows in one commit of one table.
const ROWS_MAX: u64 = 1_000_000;
/// The share of the memory budget that one table's open files may take; as much again may be in flight.
const OPEN_SHARE: usize = 4;

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

    /// Kafka brokers, host:port[,host:port…]; the job file's when absent
    #[arg(long, env = "KAFKA_BROKERS")]
    pub brokers: Option<String>,
    /// Consumer group; processes of one group share the topic. The job file's, or `streamforge`, when absent
    #[arg(long, env = "KAFKA_GROUP")]
    pub group: Option<String>,
    /// A name of this process that stays the same over restarts, so that a restart moves no partition
    #[arg(long, env = "KAFKA_INSTANCE_ID")]
    pub instance_id: Option<String>,
    /// Read these partitions without a consumer group: `all`, or `0,1,2`
    #[arg(long, env = "KAFKA_ASSIGN", value_name = "PARTITIONS")]
    pub assign: Option<Assign>,
    /// More librdkafka settings, key=value[,key=value…]; those that exactly-once needs are refused
    #[arg(
        long,
        env = "KAFKA_PROPERTIES",
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    pub kafka_properties: String,

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
    /// Encoded rows that may wait in memory; a quarter of it makes a commit
    #[arg(long, env = "MEMORY_BUDGET", default_value = "64MiB", value_parser = bytes, value_name = "BYTES")]
    pub memory_budget: usize,

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

/// Where the tables are, as typed.
#[derive(Args, Clone)]
pub struct LakehouseArgs {
    /// The Iceberg catalog: `http(s)://…` for REST, `sqlite:///file` for an embedded one
    #[arg(
        long,
        env = "ICEBERG_CATALOG_URI",
        default_value = "http://iceberg-catalog-svc:8181",
        value_name = "URI"
    )]
    pub catalog_uri: String,
    /// Where tables are put: `s3://bucket[/prefix]` or `file:///folder`
    #[arg(
        long,
        env = "ICEBERG_WAREHOUSE",
        default_value = "s3://lakehouse/warehouse",
        value_name = "URI"
    )]
    pub warehouse: String,
    /// Address of the object store
    #[arg(
        long,
        env = "S3_ENDPOINT",
        default_value = "http://minio-storage-service:9000",
        value_name = "URL"
    )]
    pub s3_endpoint: String,
    /// Region that requests are signed for
    #[arg(long, env = "S3_REGION", default_value = "us-east-1")]
    pub s3_region: String,
    /// Access key of the object store
    #[arg(long, env = "S3_ACCESS_KEY", hide_env_values = true)]
    pub s3_access_key: Option<String>,
    /// Secret key of the object store
    #[arg(long, env = "S3_SECRET_KEY", hide_env_values = true)]
    pub s3_secret_key: Option<String>,
}

impl LakehouseArgs {
    /// Checks them.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn settings(&self) -> Result<LakehouseSettings> {
        let catalog = if let Some(path) = self.catalog_uri.strip_prefix("sqlite://") {
            CatalogSettings::Sqlite { path: PathBuf::from(path) }
        } else if self.catalog_uri.starts_with("http://")
            || self.catalog_uri.starts_with("https://")
        {
            CatalogSettings::Rest { uri: self.catalog_uri.clone(), warehouse: None, token: None }
        } else {
            bail!(
                "ICEBERG_CATALOG_URI `{}` is neither http(s)://… nor sqlite:///file",
                self.catalog_uri
            );
        };
        let s3 = if self.warehouse.starts_with("s3://") {
            Some(S3Settings {
                endpoint: Some(self.s3_endpoint.clone()),
                region: self.s3_region.clone(),
                access_key: self.s3_access_key.clone().context("S3_ACCESS_KEY is not set")?,
                secret_key: Secret::new(
                    self.s3_secret_key.clone().context("S3_SECRET_KEY is not set")?,
                ),
                path_style: true,
            })
        } else if self.warehouse.starts_with("file:///") {
            None
        } else {
            bail!(
                "ICEBERG_WAREHOUSE `{}` is neither s3://bucket/… nor file:///folder",
                self.warehouse
            );
        };
        Ok(LakehouseSettings { s3, ..LakehouseSettings::new(catalog, &self.warehouse) })
    }
}

/// Keys of the object store are not shown.
impl fmt::Debug for LakehouseArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakehouseArgs")
            .field("catalog_uri", &self.catalog_uri)
            .field("warehouse", &self.warehouse)
            .field("s3_endpoint", &self.s3_endpoint)
            .field("s3_region", &self.s3_region)
            .finish_non_exhaustive()
    }
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
        let brokers = args.brokers.as_deref().or(source.brokers.as_deref());
        let group = args.group.as_deref().or(source.group.as_deref()).unwrap_or(GROUP);
        let brokers = brokers
            .context("no brokers: set KAFKA_BROKERS or the job's 'properties.bootstrap.servers'")?;
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
            args.memory_budget >= 4 << 20,
            "MEMORY_BUDGET is below 4MiB: one open block of each table would not fit"
        );
        Ok(Self {
            lakehouse: args.lakehouse.settings()?,
            consumer: ConsumerSettings {
                group: args.assign.is_none().then(|| group.to_owned()),
                instance_id: args.instance_id.clone(),
                extra: properties(&args.kafka_properties)?,
                max_poll_interval: MAX_POLL_INTERVAL,
                ..ConsumerSettings::new(brokers)
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

/// Reads `key=value[,key=value…]`.
///
/// # Errors
///
/// A part without `=`.
pub fn properties(text: &str) -> Result<Vec<(String, String)>> {
    let pair = |part: &str| match part.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => bail!("KAFKA_PROPERTIES holds `{}`, which is not key=value", Quoted(part)),
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// A part of a list that may hold a secret: only its first word characters are shown.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.trim().chars().take(8).collect();
        write!(f, "{shown}…")
    }
}

/// Reads `500ms`, `1s`, `2m`, `1h`.
///
/// # Errors
///
/// No number, or a unit that is not one of these.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: f64 = number.parse().map_err(|_| "say it like 500ms, 1s, 2m".to_owned())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err("say it with a unit: ms, s, m or h".to_owned()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|err| err.to_string())
}

/// Reads `64MiB`, `1GiB`, `1000000`.
///
/// # Errors
///
/// No number, or a unit that is not one of these.
pub fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let number: usize = number.parse().map_err(|_| "say it like 64MiB".to_owned())?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("say it with a unit: KiB, MiB or GiB".to_owned()),
    };
    number.checked_shl(shift).ok_or_else(|| "too large".to_owned())
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
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
    fn times_are_said_with_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("10").unwrap_err().contains("unit"));
        assert!(duration("soon").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn bytes_are_said_with_a_unit() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(bytes("1000"), Ok(1_000));
        assert!(bytes("64MB").unwrap_err().contains("MiB"));
    }

    #[test]
    fn partitions_are_all_or_a_list() {
        assert_eq!("all".parse(), Ok(Assign::All));
        let some = vec![PartitionId::new(0), PartitionId::new(2)];
        assert_eq!("0, 2".parse(), Ok(Assign::Some(some)));
        assert!("0,-1".parse::<Assign>().is_err());
    }

    #[test]
    fn properties_are_pairs_and_a_bad_one_is_not_shown_whole() {
        let pairs = properties("a.b=1, c=x=y,").unwrap();
        assert_eq!(pairs, [("a.b".to_owned(), "1".to_owned()), ("c".to_owned(), "x=y".to_owned())]);
        let error = properties("sasl.password:canary-secret").unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
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
            crate::job::Job::parse(include_str!("../sql-jobs/transform_pipeline.sql")).unwrap();
        let config = Config::check(&cli.run, &job.source).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("canary-secret") && !shown.contains("canary-password"), "{shown}");
    }
}
