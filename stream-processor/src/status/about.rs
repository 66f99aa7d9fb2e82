//! What does not change while the process lives: the job, the settings, the version.
//!
//! Owns which settings are shown. They are named here one by one: a new field of [`Config`] is not shown
//! until somebody decides that it may be. No secret is among them.

use std::time::Duration;

use lakehouse::catalog::CatalogSettings;
use serde::Serialize;

use super::redact::{self, HIDDEN, Redactor};
use super::where_clause::where_clause;
use crate::config::{Assign, Config};
use crate::decode::Validate;
use crate::job::Job;

/// The fixed part of the report.
#[derive(Clone, Serialize)]
pub struct About {
    version: &'static str,
    sql: String,
    source: Source,
    sinks: Vec<SinkOf>,
    settings: Vec<Setting>,
    #[serde(skip)]
    pub(super) redactor: Redactor,
}

#[derive(Clone, Serialize)]
struct Source {
    table: String,
    topic: String,
    brokers: String,
}

#[derive(Clone, Serialize)]
struct SinkOf {
    table: String,
    /// The condition of its statement, as it is written.
    condition: Option<String>,
    columns: usize,
}

#[derive(Clone, Serialize)]
struct Setting {
    name: String,
    value: String,
}

impl About {
    /// Describes `job`, whose file holds `text`, under `config`.
    pub fn new(text: &str, job: &Job, config: &Config) -> Self {
        let redactor = Redactor::new(secrets(config));
        let sinks = job.sinks.iter().map(|sink| SinkOf {
            table: format!("{}.{}", sink.table.namespace, sink.table.name),
            condition: where_clause(&sink.sql).map(|text| redactor.clean(&text)),
            columns: sink.table.columns.len(),
        });
        let rejects = job.rejects_spec();
        let rejects = SinkOf {
            table: format!("{}.{}", rejects.namespace, rejects.name),
            condition: None,
            columns: rejects.columns.len(),
        };
        let settings = settings(config)
            .into_iter()
            .map(|(name, value)| Setting { value: redactor.clean(&value), name });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            sql: redactor.clean(text),
            source: Source {
                table: job.source.name.clone(),
                topic: job.source.topic.clone(),
                brokers: redact::brokers(&config.consumer.brokers),
            },
            sinks: sinks.chain([rejects]).collect(),
            settings: settings.collect(),
            redactor,
        }
    }

    pub(super) fn version(&self) -> &'static str {
        self.version
    }
}

/// All that must not be shown, whoever says it.
fn secrets(config: &Config) -> Vec<String> {
    let s3 = config.lakehouse.s3.iter();
    let s3 = s3.flat_map(|s3| [s3.access_key.clone(), s3.secret_key.reveal().to_owned()]);
    let token = match &config.lakehouse.catalog {
        CatalogSettings::Rest { token: Some(token), .. } => Some(token.reveal().to_owned()),
        _ => None,
    };
    let extra = config.consumer.extra.iter().filter(|(key, _)| redact::is_secret(key));
    s3.chain(token).chain(extra.map(|(_, value)| value.clone())).collect()
}

fn settings(config: &Config) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let mut add = |name: &str, value: String| list.push((name.to_owned(), value));
    let consumer = &config.consumer;
    add("KAFKA_BROKERS", redact::brokers(&consumer.brokers));
    match &config.assign {
        None => add("KAFKA_GROUP", consumer.group.clone().unwrap_or_default()),
        Some(Assign::All) => add("KAFKA_ASSIGN", "all".to_owned()),
        Some(Assign::Some(partitions)) => {
            let numbers: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            add("KAFKA_ASSIGN", numbers.join(","));
        }
    }
    if let Some(instance) = &consumer.instance_id {
        add("KAFKA_INSTANCE_ID", instance.clone());
    }
    for (key, value) in &consumer.extra {
        let value = if redact::is_harmless(key) { value } else { HIDDEN };
        add(&format!("KAFKA_PROPERTIES {key}"), value.to_owned());
    }
    add("KAFKA_FETCHER", consumer.fetching.to_string());
    match &config.lakehouse.catalog {
        CatalogSettings::Sqlite { path } => {
            add("ICEBERG_CATALOG_URI", format!("sqlite://{}", path.display()));
        }
        CatalogSettings::Rest { uri, .. } => add("ICEBERG_CATALOG_URI", redact::address(uri)),
    }
    add("ICEBERG_WAREHOUSE", redact::address(&config.lakehouse.warehouse));
    if let Some(s3) = &config.lakehouse.s3 {
        let endpoint = s3.endpoint.as_deref().unwrap_or("AWS");
        add("S3_ENDPOINT", redact::address(endpoint));
        add("S3_REGION", s3.region.clone());
        add("S3_ACCESS_KEY", HIDDEN.to_owned());
        add("S3_SECRET_KEY", HIDDEN.to_owned());
    }
    add("COMMIT_INTERVAL", time(config.limits.age_max));
    add("HEARTBEAT_INTERVAL", time(config.limits.heartbeat));
    add("AVRO_CODEC", config.codec.to_string());
    add("MEMORY_BUDGET", format!("{} MiB", config.limits.budget_bytes >> 20));
    add("PREFLIGHT", on_off(config.preflight));
    add("RAW_SKIP", on_off(config.decode.raw_skip));
    add("VALIDATE", on_off(config.decode.validate == Validate::Full));
    list
}

fn time(duration: Duration) -> String {
    format!("{duration:?}")
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use clap::Parser;

    use super::*;
    use crate::config::Cli;

    const JOB: &str = include_str!("../../sql-jobs/transform_pipeline.sql");

    /// As the command line would make it; `extra` is not checked, for not every build takes all of it.
    fn about(args: &[&str], extra: &[(&str, &str)]) -> About {
        let job = Job::parse(JOB).unwrap();
        let keys = ["--s3-access-key", "canary-access", "--s3-secret-key", "canary-secret"];
        let cli = Cli::parse_from([&["stream-processor"], &keys[..], args].concat());
        let mut config = Config::check(&cli.run, &job.source).unwrap();
        config.consumer.extra =
            extra.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        About::new(JOB, &job, &config)
    }

    #[test]
    fn no_secret_is_among_the_settings() {
        let addresses = [
            "--catalog-uri",
            "http://canary-user:canary-word@catalog:8181?token=canary-token",
            "--s3-endpoint",
            "http://store:9000",
        ];
        let extra = [
            ("sasl.username", "canary-name"),
            ("sasl.password", "canary-pass"),
            ("ssl.key.password", "canary-key"),
            ("some.new.setting", "canary-unknown"),
            ("security.protocol", "SASL_SSL"),
        ];
        let about = about(&addresses, &extra);
        let json = serde_json::to_string(&about).unwrap();
        assert!(!json.contains("canary"), "{json}");
        for shown in ["sasl.password", "SASL_SSL", "http://catalog:8181", "http://store:9000"] {
            assert!(json.contains(shown), "no {shown} in {json}");
        }
    }

    #[test]
    fn a_server_that_repeats_a_key_is_not_repeated() {
        let about = about(&[], &[("sasl.password", "canary-pass")]);
        let said = "403: InvalidAccessKeyId: canary-access; canary-secret; canary-pass";
        assert_eq!(
            about.redactor.clean(said),
            "403: InvalidAccessKeyId: <hidden>; <hidden>; <hidden>"
        );
    }

    #[test]
    fn the_pipeline_is_told_in_the_words_of_the_job() {
        let about = about(&[], &[]);
        assert_eq!(about.source.topic, "user-activity-stream");
        let conditions: Vec<Option<&str>> =
            about.sinks.iter().map(|sink| sink.condition.as_deref()).collect();
        assert_eq!(
            conditions,
            [Some("activity_type = 'purchase' AND transaction_value > 50"), None]
        );
    }
}
