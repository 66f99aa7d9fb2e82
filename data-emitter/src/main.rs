//! The emitter as a process: arguments, signals, progress, exit code.

mod args;
mod report;
mod signals;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Parser as _;
use data_emitter::{Unlimited, emit};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::args::Args;
use crate::report::Reporter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(answer) => return report::answer(&answer),
    };
    let terminal = report::on_terminal();
    report::init_logging(terminal);
    let settings = args.settings(now_ms());
    let stop = CancellationToken::new();
    if let Err(err) = signals::cancel_on_signal(stop.clone()) {
        error!("signals can't be heard: {err}");
        return ExitCode::FAILURE;
    }
    info!(?settings, "starting");

    let mut reporter = Reporter::new(settings.events, terminal);
    let tell = move |progress| reporter.tell(progress);
    match emit(&settings, Arc::new(Unlimited), tell, &stop).await {
        Ok(summary) => report::conclude(&summary),
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
