//! The emitter as a process: exit codes, signals, and what it says.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const TOPIC: &str = "user-activity-stream";

fn broker() -> MockCluster<'static, DefaultProducerContext> {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic(TOPIC, 4, 1).unwrap();
    broker
}

fn emitter(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_data-emitter"));
    command.env_clear().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn check(output: &Output, code: i32, said: &str) {
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{log}");
    assert!(log.contains(said), "`{said}` is missing in {log}");
}

#[test]
fn a_finished_stream_exits_with_0_and_tells_the_balance_as_json() {
    let broker = broker();
    let output = emitter(&["--rate", "max", "--events", "1000", "--malformed", "0.01"])
        .env("KAFKA_BROKERS", broker.bootstrap_servers())
        .output()
        .unwrap();
    check(&output, 0, r#""sent":1000,"delivered":1000,"failed":0"#);
    let last = output.stderr.lines().last().unwrap().unwrap();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last.pointer("/fields/message").unwrap(), "emitted");
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_takes_nothing_more_changes_nothing() {
    let broker = broker();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = emitter(&["--rate", "max", "--events", "1000"])
        .env("KAFKA_BROKERS", broker.bootstrap_servers())
        .stderr(full)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn sigterm_ends_an_endless_stream_with_nothing_undelivered() {
    let broker = broker();
    let mut child = emitter(&["--brokers", &broker.bootstrap_servers()]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let starting = log.next().unwrap();
    assert!(starting.contains("starting"), "{starting}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let rest: String = log.collect();
    assert!(rest.contains("SIGTERM") && rest.contains("emitted"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
}

#[test]
fn undelivered_records_exit_with_1_and_say_why() {
    let broker = broker();
    let lasting = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 1_000];
    broker.request_errors(RDKafkaApiKey::Produce, &lasting);
    let brokers = broker.bootstrap_servers();
    let output = emitter(&["--brokers", &brokers, "--events", "10", "--rate", "max"])
        .args(["--kafka-properties", "message.timeout.ms=300"])
        .output()
        .unwrap();
    check(&output, 1, r#""undelivered":10"#);
}

#[test]
fn a_wrong_argument_exits_with_64_and_says_what_to_do() {
    let output = emitter(&["--rate", "fast"]).output().unwrap();
    check(&output, 64, "give events per second, for example 1000, or `max`");
}

#[test]
fn a_kafka_property_that_can_not_be_taken_exits_with_64_and_is_not_shown() {
    let broker = broker();
    for (properties, said) in [
        ("acks=1", "on every replica"),
        ("linger.ms=5,canary", "part 2 of KAFKA_PROPERTIES"),
        ("no.such.thing=canary", "no.such.thing"),
        ("linger.ms=soon", "linger.ms"),
    ] {
        let mut emitter = emitter(&["--brokers", &broker.bootstrap_servers(), "--events", "1"]);
        let output = emitter.env("KAFKA_PROPERTIES", properties).output().unwrap();
        check(&output, 64, said);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("canary"), "{properties}");
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_that_is_not_built_in_exits_with_64_and_says_what_to_do() {
    let output = emitter(&["--kafka-properties", "security.protocol=ssl"]).output().unwrap();
    check(&output, 64, "--features tls");
}

#[test]
fn help_names_the_environment_and_the_default_of_every_setting() {
    let output = emitter(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let settings = help.lines().filter(|line| line.trim_start().starts_with("--")).count();
    let named = help.matches("[env: ").count();
    let defaults = help.matches("[default: ").count();
    // Neither Kafka properties nor a health file have one.
    assert_eq!((named, defaults), (settings, settings - 2), "{help}");
}
