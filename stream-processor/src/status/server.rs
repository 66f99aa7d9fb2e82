//! The report over HTTP: the job page and what stands behind it.
//!
//! Every answer is made from copies, so a slow reader holds nothing of the job back. Nothing can be changed
//! through it: there are only GETs. Pages may load what this server serves, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::health::{Facts, Verdict, Watch};
use super::history::History;
use super::metrics::{self, Surroundings};
use super::process::Size;
use super::progress::lags;
use super::report::{Report, Rest};
use super::{About, JobProgress, Life, ReaderProgress, Status};

/// How long a health check waits for its answer.
const ASK_MAX: Duration = Duration::from_secs(3);
/// How often positions are looked at. Commits come once a second: looked at as seldom, lag would always be met
/// at the same place of its saw-tooth.
const OBSERVE_EVERY: Duration = Duration::from_millis(250);

const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// What all answers are made from.
struct Server {
    status: Status,
    about: About,
    memory: Mutex<Memory>,
}

/// What is known only from having looked before.
#[derive(Default)]
struct Memory {
    watch: Watch,
    history: History,
}

/// How things stand, copied.
struct View {
    life: Life,
    reader: ReaderProgress,
    job: JobProgress,
    now: Duration,
}

impl View {
    fn facts(&self) -> Facts<'_> {
        Facts { life: &self.life, reader: &self.reader, job: &self.job }
    }
}

impl Server {
    fn view(&self) -> View {
        View {
            life: self.status.life.borrow().clone(),
            reader: self.status.reader.borrow().clone(),
            job: self.status.job.borrow().clone(),
            now: self.status.start.instant.elapsed(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verdict(&self, view: &View) -> Verdict {
        self.memory().watch.verdict(view.facts(), view.now)
    }

    fn observe(&self) {
        let view = self.view();
        let lag = view.job.tables.iter().map(|table| lags(&view.reader.high, &table.position));
        let lag = lag.map(|lags| lags.values().sum()).max().unwrap_or(0);
        let mut memory = self.memory();
        memory.watch.observe(view.facts(), view.now);
        memory.history.observe(&view.job, lag, view.now);
    }
}

/// Serves the report on `address` until `shutdown`.
///
/// # Errors
///
/// The address is taken or is not one of this machine.
pub async fn serve(
    address: String,
    status: Status,
    about: About,
    shutdown: CancellationToken,
) -> Result<()> {
    let listener = TcpListener::bind(&address).await;
    let listener = listener.with_context(|| {
        format!("the status page can't be served at {address}; choose another with STATUS_ADDRESS, or `off`")
    })?;
    let server = Arc::new(Server { status, about, memory: Mutex::default() });
    let routes = routes(Arc::clone(&server));
    let serving = axum::serve(listener, routes).with_graceful_shutdown(shutdown.cancelled_owned());
    tokio::select! {
        ended = serving.into_future() => Ok(ended?),
        () = keep_looking(&server) => Ok(()),
    }
}

/// Looks for as long as it is polled.
async fn keep_looking(server: &Server) {
    let mut ticks = tokio::time::interval(OBSERVE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        server.observe();
    }
}

fn routes(server: Arc<Server>) -> Router {
    let asset = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", asset("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/page.css", asset("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", asset("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/icon.svg", asset("image/svg+xml", include_str!("page/icon.svg")))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(prometheus))
        .route("/status.json", get(report))
        .route("/job.json", get(about))
        .with_state(server)
        .layer(map_response(with_headers))
}

async fn with_headers(mut answer: Response) -> Response {
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn ready(State(server): State<Arc<Server>>) -> (StatusCode, String) {
    let verdict = server.verdict(&server.view());
    let code =
        if verdict.state.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, server.about.redactor.clean(&verdict.reason) + "\n")
}

async fn about(State(server): State<Arc<Server>>) -> Json<About> {
    Json(server.about.clone())
}

async fn report(State(server): State<Arc<Server>>) -> Response {
    let view = server.view();
    let journal = server.status.journal.borrow().clone();
    let (verdict, rates, plot) = {
        let memory = server.memory();
        let verdict = memory.watch.verdict(view.facts(), view.now);
        (verdict, memory.history.rates(), memory.history.plot())
    };
    let rest = Rest {
        version: server.about.version(),
        start: server.status.start,
        now: view.now,
        size: Size::read(),
        verdict,
        rates,
        plot,
        journal: &journal,
        redactor: &server.about.redactor,
    };
    Json(Report::new(view.facts(), rest)).into_response()
}

async fn prometheus(State(server): State<Arc<Server>>) -> Response {
    let view = server.view();
    let around = Surroundings {
        version: server.about.version(),
        state: server.verdict(&view).state,
        size: Size::read(),
        now: view.now,
    };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::text(view.facts(), &around)).into_response()
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

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
