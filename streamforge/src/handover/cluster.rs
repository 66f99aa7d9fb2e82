//! Whether a Flink cluster still writes, by its REST interface.
//!
//! It must never take silence for an answer: a cluster that is named and does not answer is not idle.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How long one question may take.
const ASK_MAX: Duration = Duration::from_secs(4);
/// States of a job that can write no more.
const OVER: [&str; 3] = ["FINISHED", "CANCELED", "FAILED"];

/// What a cluster does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cluster {
    /// This job may write.
    Runs(String),
    /// It may be busy with a job that its job manager has forgotten, or has not come up yet.
    Unsettled(String),
    /// Nothing writes, and a job can start.
    Idle,
}

#[derive(Debug, Deserialize)]
struct Overview {
    taskmanagers: u32,
    #[serde(rename = "slots-total")]
    slots: u32,
    #[serde(rename = "slots-available")]
    free: u32,
}

#[derive(Debug, Deserialize)]
struct Jobs {
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
struct Job {
    jid: String,
    name: String,
    state: String,
}

/// Asks the cluster at `url`, such as `http://flink-job-master:8081`.
pub(super) fn ask(url: &str) -> Result<Cluster> {
    let jobs: Jobs = get(url, "/jobs/overview")?;
    Ok(judge(&jobs, &get(url, "/overview")?))
}

fn judge(jobs: &Jobs, overview: &Overview) -> Cluster {
    if let Some(job) = jobs.jobs.iter().find(|job| !OVER.contains(&job.state.as_str())) {
        return Cluster::Runs(format!("{} ({}, {})", job.name, job.jid, job.state));
    }
    let Overview { taskmanagers, slots, free } = overview;
    if *taskmanagers == 0 {
        return Cluster::Unsettled("it has no task manager yet".to_owned());
    }
    if free < slots {
        return Cluster::Unsettled(format!("{} of its {slots} slots are busy", slots - free));
    }
    Cluster::Idle
}

/// HTTP in its plainest form; the answer ends with the connection.
fn get<T: DeserializeOwned>(url: &str, path: &str) -> Result<T> {
    let host = host(url)?;
    let what = || format!("Flink at {url}");
    let address = host.to_socket_addrs().with_context(what)?.next().with_context(what)?;
    let mut stream = TcpStream::connect_timeout(&address, ASK_MAX).with_context(what)?;
    stream.set_read_timeout(Some(ASK_MAX))?;
    stream.set_write_timeout(Some(ASK_MAX))?;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(what)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(what)?;
    body(&answer).with_context(what)
}

fn body<T: DeserializeOwned>(answer: &str) -> Result<T> {
    let (head, body) = answer.split_once("\r\n\r\n").context("its answer ends too early")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "it answers: {status}");
    serde_json::from_str(body).context("its answer is not what Flink says")
}

/// `host:port` of a URL.
pub(super) fn host(url: &str) -> Result<&str> {
    let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    match host.filter(|host| host.contains(':') && !host.contains('/')) {
        Some(host) => Ok(host),
        None => bail!("FLINK_URL `{url}` is not of the form http://host:port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: &str =
        r#"{"taskmanagers":1,"slots-total":2,"slots-available":2,"jobs-running":0}"#;

    fn job(state: &str) -> String {
        format!(
            r#"{{"jobs":[{{"jid":"a1","name":"j","state":"FINISHED"}},{{"jid":"b2","name":"k","state":"{state}"}}]}}"#
        )
    }

    #[track_caller]
    fn check(jobs: &str, overview: &str, expected: &Cluster) {
        let answer = |text: &str| format!("HTTP/1.1 200 OK\r\nx: y\r\n\r\n{text}");
        let jobs: Jobs = body(&answer(jobs)).expect("jobs");
        let overview: Overview = body(&answer(overview)).expect("an overview");
        assert_eq!(&judge(&jobs, &overview), expected);
    }

    #[test]
    fn only_a_cluster_without_work_is_idle() {
        let unsettled = |words: &str| Cluster::Unsettled(words.to_owned());
        check(r#"{"jobs":[]}"#, SLOTS, &Cluster::Idle);
        check(&job("CANCELED"), SLOTS, &Cluster::Idle);
        for state in ["RUNNING", "RESTARTING", "CANCELLING", "FAILING", "SUSPENDED", "INITIALIZING"]
        {
            check(&job(state), SLOTS, &Cluster::Runs(format!("k (b2, {state})")));
        }
        let none = r#"{"taskmanagers":0,"slots-total":0,"slots-available":0}"#;
        check(&job("FAILED"), none, &unsettled("it has no task manager yet"));
        let busy = SLOTS.replace("available\":2", "available\":1");
        check(r#"{"jobs":[]}"#, &busy, &unsettled("1 of its 2 slots are busy"));
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(body::<Jobs>("HTTP/1.1 503 Service Unavailable\r\n\r\n{}").is_err());
        assert!(body::<Jobs>("HTTP/1.1 200 OK\r\n\r\n<html>").is_err());
        assert!(body::<Jobs>("HTTP/1.1 200 OK\r\n").is_err());
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(host("http://flink:8081/").expect("an address"), "flink:8081");
        assert!(host("flink:8081").is_err() && host("http://flink").is_err());
    }
}
