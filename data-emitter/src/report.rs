//! What the process says: logs, progress, and the last line with its exit code.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use data_emitter::{Progress, Summary};
use indicatif::{ProgressBar, ProgressStyle};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// How often progress is logged where there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// "The command was used incorrectly", as in `sysexits.h`.
const EX_USAGE: u8 = 64;
/// What is logged unless `RUST_LOG` says otherwise.
const LOG_FILTER: &str = "info";

/// Whether a person watches.
pub(crate) fn on_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Logs go to standard error: as text for a person, as JSON for a collector.
pub(crate) fn init_logging(terminal: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    // A line that can't be written is lost. The subscriber would say so on standard error, and panic there.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    if terminal { logs.init() } else { logs.json().init() }
}

/// Prints help, the version, or what is wrong with the arguments.
pub(crate) fn answer(answer: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    let _ = answer.print();
    if answer.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS }
}

/// Logs a setting that can't be used; starting again will not help.
pub(crate) fn wrong(err: &dyn std::error::Error) -> ExitCode {
    error!("wrong setting: {err}");
    ExitCode::from(EX_USAGE)
}

/// Says whether a running emitter delivers.
pub(crate) fn health(file: Option<&Path>) -> ExitCode {
    let Some(file) = file else {
        complain("set EMITTER_HEALTH_FILE to the file that the running emitter was given");
        return ExitCode::from(EX_USAGE);
    };
    match crate::health::check(file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            complain(&reason);
            ExitCode::FAILURE
        }
    }
}

/// One plain line: the reader is a person or an orchestrator, not a collector of logs.
fn complain(reason: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{reason}");
}

/// Shows how far the emitter is: a bar, or a log line from time to time.
pub(crate) enum Reporter {
    Bar(ProgressBar),
    Lines { due: Instant },
}

impl Reporter {
    #[allow(clippy::disallowed_methods, reason = "the edge decides when to speak")]
    pub(crate) fn new(events: Option<u64>, terminal: bool) -> Self {
        if terminal {
            Self::Bar(bar(events))
        } else {
            Self::Lines { due: Instant::now() + LOG_INTERVAL }
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the edge decides when to speak")]
    pub(crate) fn tell(&mut self, progress: Progress) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(progress.delivered);
                if progress.failed > 0 {
                    bar.set_message(format!("{} failed", progress.failed));
                }
            }
            Self::Lines { due } if Instant::now() >= *due => {
                *due += LOG_INTERVAL;
                let Progress { sent, delivered, failed, .. } = progress;
                info!(sent, delivered, failed, "emitting");
            }
            Self::Lines { .. } => {}
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn bar(events: Option<u64>) -> ProgressBar {
    let (bar, template) = match events {
        Some(events) => (
            ProgressBar::new(events),
            "{wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left {msg}",
        ),
        None => (ProgressBar::no_length(), "{spinner} {human_pos} events, {per_sec} {msg}"),
    };
    // A template that doesn't parse costs the looks, not the run.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Logs the balance; success means that every record was acknowledged.
pub(crate) fn conclude(summary: &Summary) -> ExitCode {
    let seconds = summary.elapsed.as_secs_f64();
    info!(
        sent = summary.sent.records,
        delivered = summary.delivered,
        failed = summary.failed,
        bytes = summary.sent.bytes,
        duplicates = summary.sent.duplicates,
        late = summary.sent.late,
        out_of_order = summary.sent.out_of_order,
        malformed = summary.sent.faults.values().sum::<u64>(),
        seconds,
        events_per_second = (summary.delivered as f64 / seconds.max(f64::EPSILON)).round(),
        "emitted"
    );
    if let Some(first) = summary.first_misplaced {
        let misplaced = summary.misplaced;
        warn!(misplaced, ?first, "someone else wrote to the topic, or a record before failed");
    }
    match summary.undelivered() {
        0 => ExitCode::SUCCESS,
        undelivered => {
            let last_failure = summary.last_failure.as_deref().unwrap_or("no report came in time");
            error!(undelivered, last_failure, "records were not delivered");
            ExitCode::FAILURE
        }
    }
}
