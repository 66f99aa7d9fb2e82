//! Settings: whatever is typed ends in a configuration or in a sentence, and no secret is in either.
//!
//! An input is the arguments, a line each. Flags and environment share clap's parsers, so flags stand for both.

use anyhow::Result;
use clap::Parser;
use rand::Rng;
use rand::rngs::StdRng;
use stream_processor::config::{Cli, Config};
use stream_processor::job::{Job, SourceTable};

use super::Target;
use super::corpus::Corpus;
use super::mutate;

/// Part of every secret that is typed in its own place.
const CANARY: &str = "c4n4ry";
const SHIPPED: &str = include_str!("../../../stream-processor/sql-jobs/transform_pipeline.sql");

pub(super) struct Settings {
    source: SourceTable,
}

impl Settings {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { source: Job::parse(SHIPPED)?.source })
    }
}

/// Every setting with a value that fits; what holds the canary is secret.
const TYPED: [&str; 24] = [
    "--brokers=127.0.0.1:9092,127.0.0.1:9093",
    "--kafka-properties=security.protocol=plaintext,sasl.password=c4n4ry",
    "--kafka-properties=sasl.username=u,sasl.password=c4n4ry\\,x,fetch.wait.max.ms=50",
    "--kafka-properties=ssl.key.password=c4n4ry",
    "--kafka-properties=c4n4ry",
    "--kafka-properties=sasl.password:c4n4ry",
    "--kafka-properties=sasl.oauthbearer.client.secret=c4n4ry,no.such.thing=1",
    "--group=workers",
    "--instance-id=worker-1",
    "--assign=0,1,2",
    "--assign=all",
    "--catalog-uri=http://user:c4n4ry@127.0.0.1:8181/api?x=c4n4ry",
    "--catalog-uri=ftp://user:c4n4ry@127.0.0.1",
    "--catalog-uri=sqlite:///tmp/catalog.db",
    "--warehouse=s3://lakehouse/warehouse",
    "--warehouse=https://user:c4n4ry@127.0.0.1/warehouse",
    "--s3-endpoint=http://user:c4n4ry@127.0.0.1:9000",
    "--s3-endpoint=minio://user:c4n4ry@127.0.0.1:9000",
    "--s3-access-key=key",
    "--s3-secret-key=c4n4ry",
    "--commit-interval=1s",
    "--heartbeat-interval=10s",
    "--memory-budget=64MiB",
    "--codec=zstandard",
];

impl Target for Settings {
    fn name(&self) -> &'static str {
        "config"
    }

    fn title(&self) -> &'static str {
        "settings, anything typed"
    }

    fn wanted(&self) -> &[&'static str] {
        &["configuration", "not an argument", "refused"]
    }

    fn giants(&self) -> Vec<super::Giant> {
        vec![
            ("a value of 10 MB", || format!("--group={}", "x".repeat(10 << 20)).into_bytes()),
            ("100,000 partitions", || {
                format!("--assign={}", ["1"; 100_000].join(",")).into_bytes()
            }),
            ("100,000 properties", || {
                format!("--kafka-properties={}", ["a=1"; 100_000].join(",")).into_bytes()
            }),
            ("a number of 10,000 digits", || {
                format!("--memory-budget={}", "9".repeat(10_000)).into_bytes()
            }),
        ]
    }

    fn make(&mut self, dice: &mut StdRng, corpus: &Corpus) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = if dice.random_ratio(1, 2) {
            let entry = mutate::one_of(dice, &corpus.entries);
            entry.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        } else {
            // What a run needs, and some more.
            vec![b"--s3-access-key=key".to_vec(), b"--s3-secret-key=c4n4ry".to_vec()]
        };
        for _ in 0..dice.random_range(0..4) {
            lines.push(mutate::one_of(dice, &TYPED).as_bytes().to_vec());
        }
        for line in &mut lines {
            if dice.random_ratio(1, 2) {
                change(dice, line, corpus);
            }
        }
        lines.join(&b'\n')
    }

    fn take(&mut self, input: &[u8]) -> Result<&'static str, String> {
        let text = String::from_utf8_lossy(input);
        let typed =
            std::iter::once("stream-processor").chain(text.split('\n').filter(|l| !l.is_empty()));
        let cli = match Cli::try_parse_from(typed) {
            Ok(cli) => cli,
            Err(answer) => {
                // A secret in the place of something else is nobody's to recognise.
                let misplaced = is_misplaced(&text);
                if !misplaced {
                    hidden(&answer.to_string())?;
                }
                return Ok("not an argument");
            }
        };
        let misplaced = is_misplaced(&text);
        if !misplaced {
            hidden(&format!("{cli:?}"))?;
        }
        match Config::check(&cli.run, &self.source) {
            Ok(config) => {
                if !misplaced {
                    hidden(&format!("{config:?}"))?;
                }
                usable(&config)?;
                Ok("configuration")
            }
            Err(err) => {
                if !misplaced {
                    hidden(&format!("{err:#}"))?;
                }
                Ok("refused")
            }
        }
    }
}

/// Changes a line, but never what is secret in it: a canary that a change has moved elsewhere tells nothing.
fn change(dice: &mut StdRng, line: &mut Vec<u8>, corpus: &Corpus) {
    let text = String::from_utf8_lossy(line).into_owned();
    let (name, value) = text.split_once('=').unwrap_or((&text, ""));
    *line = match dice.random_range(0..4) {
        // Another value for the same setting.
        0 if !value.contains(CANARY) => {
            let word = mutate::word(dice, corpus);
            format!("{name}={word}").into_bytes()
        }
        1 if !value.contains(CANARY) => {
            let mut value = value.as_bytes().to_vec();
            mutate::mutate(dice, &mut value, corpus);
            [format!("{name}=").into_bytes(), value].concat()
        }
        // A secret in several pieces of a list, in whatever company.
        2 if name == "--kafka-properties" => {
            let word = mutate::word(dice, corpus);
            format!("{name}={value},{word}").into_bytes()
        }
        3 => {
            // A typing mistake in the setting's name.
            let mut name = name.as_bytes().to_vec();
            let at = dice.random_range(0..name.len().max(1));
            if at > 1 && at < name.len() {
                name.remove(at);
            }
            [name, format!("={value}").into_bytes()].concat()
        }
        _ => return,
    };
}

/// Whether the canary is typed where no setting is secret.
fn is_misplaced(text: &str) -> bool {
    const SECRET: [&str; 3] = ["--kafka-properties=", "--s3-secret-key=", "--s3-access-key="];
    const ADDRESS: [&str; 3] = ["--catalog-uri=", "--warehouse=", "--s3-endpoint="];
    // Before the `@` of an address, or in what follows its `?`.
    let within = |address: &str| {
        let (place, query) = address.split_once('?').unwrap_or((address, ""));
        let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
        // A path is none, whatever is in it.
        let path = ["sqlite:", "file:"].iter().any(|scheme| place.starts_with(scheme));
        !path && place.contains("://") && !host.contains(CANARY)
            || query.contains(CANARY) && !place.contains(CANARY)
    };
    let shown = |line: &str| {
        let secret = SECRET.iter().any(|name| line.starts_with(name));
        let address = ADDRESS.iter().find_map(|name| line.strip_prefix(name));
        line.contains(CANARY) && !secret && !address.is_some_and(within)
    };
    // The command line's own errors leave control characters out.
    let text: String = text.chars().filter(|char| *char == '\n' || !char.is_control()).collect();
    // What follows two dashes is no setting, whatever it looks like.
    text.split('\n').any(|line| line == "--" || shown(line))
}

fn hidden(said: &str) -> Result<(), String> {
    if said.contains(CANARY) { Err(format!("a secret is shown: {said}")) } else { Ok(()) }
}

/// What the processor does with them without looking again.
fn usable(config: &Config) -> Result<(), String> {
    let limits = &config.limits;
    let hour = std::time::Duration::from_hours(1);
    let sum = limits.age_max.checked_add(hour).zip(limits.heartbeat.checked_add(hour));
    if sum.is_none() {
        return Err(format!("an interval that can't be waited for: {limits:?}"));
    }
    if limits.bytes_max == 0 || limits.budget_bytes < limits.bytes_max {
        return Err(format!("limits that can't be kept: {limits:?}"));
    }
    Ok(())
}
