//! What can be typed, and the checked settings it becomes. Reads no clock.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand};
use data_emitter::{
    Compression, EmitterSettings, Fraction, GeneratorSettings, PropertyError, Rate,
};

/// Publishes the activity of synthetic shoppers to a Kafka topic.
///
/// Shoppers move through visits: page view, product click, add to cart,
/// checkout initiation, purchase, with some leaving at each step. About 4 % of
/// the events are purchases, and half of those are worth more than 50 dollars.
/// Every event is one JSON object, keyed by its visit.
///
/// The stream follows from its settings alone: the same --seed, --start, --rate
/// and fractions give the same bytes, on every machine.
#[derive(Debug, Parser)]
#[command(
    version,
    after_long_help = EXAMPLES,
    help_template = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}"
)]
pub(crate) struct Args {
    /// What to do; publish when nothing is said
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// A file whose age tells `healthcheck` when a record was last acknowledged
    #[arg(
        long,
        env = "EMITTER_HEALTH_FILE",
        value_name = "FILE",
        global = true,
        help_heading = "Where"
    )]
    pub(crate) health_file: Option<PathBuf>,

    /// Brokers to begin with, as host:port, separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "127.0.0.1:9092", help_heading = "Where")]
    brokers: String,

    /// Topic to publish to; it is awaited for a minute
    #[arg(
        long,
        env = "KAFKA_TOPIC",
        default_value = "user-activity-stream",
        help_heading = "Where"
    )]
    topic: String,

    /// How batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(
        long,
        env = "EMITTER_COMPRESSION",
        value_name = "CODEC",
        default_value = Compression::None.as_str(),
        help_heading = "Where"
    )]
    compression: Compression,

    /// More settings for librdkafka, key=value[,key=value…]; values are never shown
    ///
    /// For example `security.protocol=sasl_ssl,sasl.mechanism=PLAIN`. Write `\,`
    /// for a comma inside a value. What the account of deliveries stands on
    /// (idempotence, acknowledgements) can't be set.
    #[arg(
        long,
        env = "KAFKA_PROPERTIES",
        hide_env_values = true,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        help_heading = "Where"
    )]
    kafka_properties: String,

    /// Events per second, or `max` for as fast as the broker takes them
    #[arg(long, env = "EMITTER_RATE", default_value = "1000", help_heading = "How much")]
    rate: Rate,

    /// Stop after so many events [default: endless]
    #[arg(long, env = "EMITTER_EVENTS", value_name = "COUNT", help_heading = "How much")]
    events: Option<u64>,

    /// How long the last acknowledgements may take, at the end or on SIGTERM
    ///
    /// What is not acknowledged by then counts as not delivered.
    #[arg(
        long,
        env = "EMITTER_FLUSH_TIMEOUT",
        value_name = "DURATION",
        default_value = "8s",
        value_parser = duration,
        help_heading = "How much"
    )]
    flush_timeout: Duration,

    /// Chooses the stream
    #[arg(long, env = "EMITTER_SEED", default_value = "1", help_heading = "Which events")]
    seed: u64,

    /// When the first event happens, as 2025-06-01T08:30:00Z [default: now]
    ///
    /// Brokers refuse records from the future, and drop those that are older
    /// than the topic's retention.
    #[arg(long, env = "EMITTER_START", value_name = "TIME", help_heading = "Which events")]
    start: Option<DateTime<Utc>>,

    /// Customers of the shop; few of them come often (Zipf)
    #[arg(
        long,
        env = "EMITTER_CUSTOMERS",
        value_name = "COUNT",
        default_value = "100000",
        help_heading = "Which events"
    )]
    customers: NonZeroU32,

    /// Products of the shop; few of them are looked at often (Zipf)
    #[arg(
        long,
        env = "EMITTER_PRODUCTS",
        value_name = "COUNT",
        default_value = "5000",
        help_heading = "Which events"
    )]
    products: NonZeroU32,

    /// Share of visits recorded offline: their events come 10 minutes to 48 hours late
    #[arg(
        long,
        env = "EMITTER_LATE",
        value_name = "FRACTION",
        default_value = "0",
        help_heading = "What goes wrong"
    )]
    late: Fraction,

    /// Share of records that are sent a second time, unchanged
    #[arg(
        long,
        env = "EMITTER_DUPLICATES",
        value_name = "FRACTION",
        default_value = "0",
        help_heading = "What goes wrong"
    )]
    duplicates: Fraction,

    /// Share of events that later events overtake
    #[arg(
        long,
        env = "EMITTER_OUT_OF_ORDER",
        value_name = "FRACTION",
        default_value = "0",
        help_heading = "What goes wrong"
    )]
    out_of_order: Fraction,

    /// Share of records that are broken, in ten ways that take turns
    ///
    /// Truncated, wrong type, missing field, invalid UTF-8, huge number,
    /// duplicate key, deep nesting, empty, tombstone, JSON null.
    #[arg(
        long,
        env = "EMITTER_MALFORMED",
        value_name = "FRACTION",
        default_value = "0",
        help_heading = "What goes wrong"
    )]
    malformed: Fraction,
}

/// What else the binary can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask whether a running emitter delivers, by its health file; exit 0 if so
    Healthcheck,
}

/// What to type first.
const EXAMPLES: &str = "\
Examples:
  data-emitter                                    1000 events/s to 127.0.0.1:9092, until Ctrl-C
  data-emitter --rate max --events 8000000        a load test
  data-emitter --malformed 0.001 --late 0.01      a stream with the usual trouble
  data-emitter --seed 9 --start 2025-06-01T00:00:00Z --events 100000
                                                  the same bytes as last time

A flag wins over its environment variable, which wins over the default.
RUST_LOG sets what is logged (info by default). Logs are JSON off a terminal.

Exit code: 0 when every record was acknowledged, 1 when not, 64 for a wrong argument.";

impl Args {
    /// The settings, with `now_ms` for a start that wasn't given.
    ///
    /// # Errors
    ///
    /// The Kafka properties can't be taken. They are read here, because what is
    /// refused while arguments are parsed is shown.
    pub(crate) fn settings(self, now_ms: i64) -> Result<EmitterSettings, PropertyError> {
        let start_ms = self.start.map_or(now_ms, |start| start.timestamp_millis());
        Ok(EmitterSettings {
            brokers: self.brokers,
            topic: self.topic,
            rate: self.rate,
            events: self.events,
            generator: GeneratorSettings {
                event_rate: self.rate.event_rate(),
                customers: self.customers,
                products: self.products,
                late: self.late,
                duplicates: self.duplicates,
                out_of_order: self.out_of_order,
                malformed: self.malformed,
                ..GeneratorSettings::new(self.seed, start_ms)
            },
            compression: self.compression,
            flush_timeout: self.flush_timeout,
            properties: self.kafka_properties.parse()?,
        })
    }
}

/// Reads `500ms`, `8s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit_ms = match text.strip_prefix(digits) {
        Some("ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        _ => return Err(NO_DURATION.to_owned()),
    };
    let count: u32 = digits.parse().map_err(|_| NO_DURATION.to_owned())?;
    Ok(Duration::from_millis(u64::from(count) * unit_ms))
}

const NO_DURATION: &str = "give a number with its unit, for example 500ms, 8s or 2m";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn without_arguments_a_thousand_events_a_second_start_now_and_go_on() {
        let settings = parse("data-emitter").unwrap().settings(17).unwrap();
        assert_eq!(settings.rate, "1000".parse().unwrap());
        assert_eq!(settings.events, None);
        assert_eq!(settings.generator, GeneratorSettings::new(1, 17));
    }

    #[test]
    fn every_setting_reaches_the_stream() {
        let line = "data-emitter --rate 250/s --events 7 --seed 9 --start 1970-01-01T00:00:01Z \
                    --late 0.5 --duplicates 0.25 --out-of-order 0.125 --malformed 1 \
                    --compression zstd --flush-timeout 500ms --kafka-properties linger.ms=20,batch.size=1000";
        let settings = parse(line).unwrap().settings(17).unwrap();
        let half = Fraction::new(0.5).unwrap();
        let expected = GeneratorSettings {
            event_rate: NonZeroU32::new(250).unwrap(),
            late: half,
            duplicates: Fraction::new(0.25).unwrap(),
            out_of_order: Fraction::new(0.125).unwrap(),
            malformed: Fraction::new(1.0).unwrap(),
            ..GeneratorSettings::new(9, 1_000)
        };
        assert_eq!(settings.generator, expected);
        assert_eq!(settings.events, Some(7));
        assert_eq!(settings.flush_timeout, Duration::from_millis(500));
        assert_eq!(settings.compression, Compression::Zstd);
        assert_eq!(settings.properties.iter().count(), 2);
    }

    #[track_caller]
    fn check_refused(line: &str, hint: &str) {
        let message = parse(line).unwrap_err().to_string();
        assert!(message.contains(hint), "{message}");
    }

    #[test]
    fn a_wrong_argument_is_refused_with_what_to_do() {
        check_refused("data-emitter --rate fast", "for example 1000, or `max`");
        check_refused("data-emitter --late 2", "a number from 0 to 1");
        check_refused("data-emitter --compression rar", "choose none, gzip");
        check_refused("data-emitter --flush-timeout 8", "with its unit");
        check_refused("data-emitter --flush-timeout s", "with its unit");
    }

    #[test]
    fn the_values_of_kafka_properties_are_never_shown() {
        let args = parse("data-emitter --kafka-properties sasl.password=hunter2").unwrap();
        let shown = format!("{:?}", args.settings(0).unwrap());
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
        let wrong = parse("data-emitter --kafka-properties sasl.password:hunter2").unwrap();
        let shown = wrong.settings(0).unwrap_err().to_string();
        assert!(shown.contains("key=value") && !shown.contains("hunter2"), "{shown}");
    }
}
