//! The emitter as a process: arguments, signals, progress, exit code.

mod args;
mod health;
mod report;
mod signals;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Parser as _;
use data_emitter::{EmitError, Progress, Unlimited, emit};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::args::{Args, Command};
use crate::health::Pulse;
use crate::report::Reporter;

/// Events are freed by another thread than the one that made them, which glibc's arenas are slow at. Not in
/// the library: `streamforge` has it too, and an allocator already.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(answer) => return report::answer(&answer),
    };
    if let Some(Command::Healthcheck) = args.command {
        return report::health(args.health_file.as_deref());
    }
    let terminal = report::on_terminal();
    report::init_logging(terminal);
    let mut pulse = args.health_file.clone().map(Pulse::new);
    let settings = match args.settings(now_ms()) {
        Ok(settings) => settings,
        Err(err) => return report::wrong(&err),
    };
    let stop = CancellationToken::new();
    if let Err(err) = signals::cancel_on_signal(stop.clone()) {
        error!("signals can't be heard: {err}");
        return ExitCode::FAILURE;
    }
    info!(?settings, "starting");

    let mut reporter = Reporter::new(settings.events, terminal);
    let tell = move |progress: Progress| {
        if let Some(pulse) = &mut pulse {
            pulse.beat(progress.delivered);
        }
        reporter.tell(progress);
    };
    match emit(&settings, Arc::new(Unlimited), tell, &stop).await {
        Ok(summary) => report::conclude(&summary),
        Err(err @ EmitError::Settings { .. }) => report::wrong(&err),
        Err(err) => {
            error!("stopped: {:#}", anyhow::Error::new(err));
            ExitCode::FAILURE
        }
    }
}

/// The time of day, which this function alone reads.
#[allow(clippy::disallowed_methods, reason = "the edge reads the clock once")]
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
