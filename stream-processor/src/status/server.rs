//! The report over HTTP: `/healthz`, `/readyz`, `/metrics`, `/status.json`.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Status, is_ready, lag};

/// How long a health check waits for its answer.
const ASK_MAX: Duration = Duration::from_secs(3);

#[derive(Clone)]
struct Page {
    status: Status,
    started: Instant,
}

/// Serves the report until `shutdown`.
///
/// # Errors
///
/// The address is taken or is not one of this machine.
pub async fn serve(
    address: String,
    status: Status,
    started: Instant,
    shutdown: CancellationToken,
) -> Result<()> {
    let listener = TcpListener::bind(&address).await;
    let listener = listener.with_context(|| {
        format!("the status page can't be served at {address}; choose another with STATUS_ADDRESS, or `off`")
    })?;
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status.json", get(report))
        .with_state(Page { status, started });
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
    Ok(())
}

async fn ready(State(page): State<Page>) -> (StatusCode, &'static str) {
    let (reader, job) = (page.status.reader.borrow(), page.status.job.borrow());
    if is_ready(&reader, &job, page.started.elapsed()) {
        (StatusCode::OK, "committing\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "records wait, and no commit has landed lately\n")
    }
}

async fn report(State(page): State<Page>) -> Json<Value> {
    let (reader, job) = (page.status.reader.borrow().clone(), page.status.job.borrow().clone());
    Json(json!({ "reader": reader, "job": job }))
}

async fn metrics(State(page): State<Page>) -> String {
    let (reader, job) = (page.status.reader.borrow().clone(), page.status.job.borrow().clone());
    let now = page.started.elapsed();
    let mut text = String::new();
    metric(
        &mut text,
        "streamforge_records_read_total",
        "counter",
        "records decoded, re-reads included",
    );
    line(&mut text, "streamforge_records_read_total", "", job.read as f64);
    metric(
        &mut text,
        "streamforge_records_rejected_total",
        "counter",
        "rejected records, by reason",
    );
    for (reason, count) in &job.rejected {
        let labels = format!("{{reason=\"{reason}\"}}");
        line(&mut text, "streamforge_records_rejected_total", &labels, *count as f64);
    }
    metric(
        &mut text,
        "streamforge_fences_total",
        "counter",
        "batches dropped because another writer was first",
    );
    line(&mut text, "streamforge_fences_total", "", job.fenced as f64);
    let tables = [
        ("streamforge_rows_committed_total", "counter", "rows committed, by table"),
        ("streamforge_commits_total", "counter", "commits, by table"),
        ("streamforge_conflicts_total", "counter", "lost races with other writers, by table"),
        ("streamforge_lag_records", "gauge", "records behind the end of the topic, by table"),
        ("streamforge_last_commit_age_seconds", "gauge", "since the last commit, by table"),
    ];
    for (name, kind, help) in tables {
        metric(&mut text, name, kind, help);
        for table in &job.tables {
            let value = match name {
                "streamforge_rows_committed_total" => Some(table.rows as f64),
                "streamforge_commits_total" => Some(table.commits as f64),
                "streamforge_conflicts_total" => Some(table.conflicts as f64),
                "streamforge_lag_records" => Some(lag(&reader.high, &table.position) as f64),
                _ => table.last_commit.map(|at| now.saturating_sub(at).as_secs_f64()),
            };
            if let Some(value) = value {
                line(&mut text, name, &format!("{{table=\"{}\"}}", table.name), value);
            }
        }
    }
    text
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(text, "{name}{labels} {value}");
}

/// Asks a running process at `address` whether it commits.
///
/// # Errors
///
/// It does not answer, or it says no; its words are in the error.
pub fn ask(address: &str) -> Result<()> {
    let target = address.to_socket_addrs()?.next().context("the address has no host")?;
    let mut stream = TcpStream::connect_timeout(&target, ASK_MAX)
        .with_context(|| format!("no processor answers at {address}"))?;
    stream.set_read_timeout(Some(ASK_MAX))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or("no answer");
    bail!("not ready: {}", body.trim())
}
