//! What the running job tells the outside: where it stands, whether it is well, what it did last.
//!
//! Owns the shape of that report and its HTTP face: the job page, `/status.json`, `/job.json`, `/metrics`,
//! `/healthz`, `/readyz`. It must never hold a secret, influence the job, or make a thread of the job wait:
//! those leave numbers and a few samples behind, and everything else happens when somebody asks.
//!
//! `progress`, `journal`, `health`, `history`, `metrics`, `redact` and `report` are pure; `server` reads the
//! clock and the process's own size.

mod about;
mod health;
mod history;
mod journal;
mod metrics;
mod process;
mod progress;
mod redact;
mod report;
mod samples;
mod server;
mod where_clause;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

pub use about::About;
pub use progress::{
    Histogram, JobProgress, Life, Phase, ReaderProgress, TableProgress, Unheard, Wait,
};
pub use server::{ask, serve};

pub(crate) use journal::{CommitEntry, Journal};
pub(crate) use process::Size;
pub(crate) use redact::{address, brokers};
pub(crate) use samples::Samples;

/// A table with records to read that does not move for this long, beyond its own interval, is not healthy.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// When the process began; every [`crate::pipeline::Timestamp`] of the report counts from here.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// For differences.
    pub instant: Instant,
    /// Since 1970, for people.
    pub unix: Duration,
}

impl Start {
    /// Now.
    #[allow(clippy::disallowed_methods, reason = "the one reading that all others are relative to")]
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix }
    }
}

/// The reports of a process, to read at any time.
#[derive(Clone, Debug)]
pub struct Status {
    /// When the process began.
    pub start: Start,
    /// Whether it has begun to read, and what it waits for.
    pub life: watch::Receiver<Life>,
    /// How far the reader is.
    pub reader: watch::Receiver<ReaderProgress>,
    /// How far the tables are.
    pub job: watch::Receiver<JobProgress>,
    pub(crate) journal: watch::Receiver<Journal>,
}

/// The writing ends of [`Status`].
#[derive(Clone, Debug)]
pub struct Reporters {
    pub(crate) start: Start,
    pub(crate) life: watch::Sender<Life>,
    pub(crate) reader: watch::Sender<ReaderProgress>,
    pub(crate) job: watch::Sender<JobProgress>,
    pub(crate) journal: watch::Sender<Journal>,
}

/// A fresh pair of ends, to be given to [`crate::run`] and to whoever watches it. The process begins now.
pub fn channel() -> (Reporters, Status) {
    let start = Start::now();
    let (life, life_seen) = watch::channel(Life::default());
    let (reader, reader_seen) = watch::channel(ReaderProgress::default());
    let (job, job_seen) = watch::channel(JobProgress::default());
    let (journal, journal_seen) = watch::channel(Journal::default());
    (
        Reporters { start, life, reader, job, journal },
        Status {
            start,
            life: life_seen,
            reader: reader_seen,
            job: job_seen,
            journal: journal_seen,
        },
    )
}
