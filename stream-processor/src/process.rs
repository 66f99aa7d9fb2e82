//! The processor as a process: what its arguments ask for, its signals, its exit code.
//!
//! Here rather than in `main`, so that the proof's own binary runs the very same.

use std::process::ExitCode;

use crate::config::{Cli, Command, Config, RunArgs};
use crate::job::Job;
use crate::status::About;
use crate::telemetry::{self, Elsewhere};
use crate::{run, runtime, status};
use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// A setting or the job file is wrong; starting again will not help.
const EX_USAGE: u8 = 64;

/// Does what `cli` asks for until it is done, or until a signal stops it.
pub fn main(cli: &Cli) -> ExitCode {
    telemetry::init("info", Elsewhere::Json);
    let outcome = match &cli.command {
        Some(Command::Healthcheck) => status::ask(&cli.run.status_address),
        Some(Command::Check) => return checked(&cli.run),
        None => match load(&cli.run) {
            Ok((job, config, about)) => process(job, config, about, &cli.run.status_address),
            Err(err) => return wrong(&err),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!("stopped: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(args: &RunArgs) -> Result<(Job, Config, About)> {
    let (text, job) = load_job(args)?;
    let config = Config::check(args, &job.source)?;
    let about = About::new(&text, &job, &config);
    Ok((job, config, about))
}

/// The job file, as text and as a job.
fn load_job(args: &RunArgs) -> Result<(String, Job)> {
    let path = args.job.display();
    let text = std::fs::read_to_string(&args.job)
        .with_context(|| format!("job file {path} can't be read; set JOB_FILE"))?;
    let job = Job::parse(&text).with_context(|| format!("job file {path}"))?;
    Ok((text, job))
}

fn checked(args: &RunArgs) -> ExitCode {
    match load_job(args) {
        Ok((_, job)) => {
            for sink in &job.sinks {
                let table = &sink.table;
                info!(topic = job.source.topic, table = %format!("{}.{}", table.namespace, table.name),
                    columns = table.columns.len(), partition_day = table.partition_day, "fits");
            }
            ExitCode::SUCCESS
        }
        Err(err) => wrong(&err),
    }
}

fn wrong(err: &anyhow::Error) -> ExitCode {
    error!("{err:#}");
    ExitCode::from(EX_USAGE)
}

fn process(job: Job, config: Config, about: About, status_address: &str) -> Result<()> {
    let runtime = runtime::build()?;
    let page = status_address.to_owned();
    // As a task, so that a panic in it comes back as an error: unwinding from here would wait for its threads forever.
    let work = runtime.spawn(async move {
        info!(?config, "starting");
        let shutdown = stop_on_signal()?;
        let (reporters, seen) = status::channel();
        let serving = async {
            if page == "off" {
                std::future::pending().await
            } else {
                status::serve(page, seen, about, CancellationToken::new()).await
            }
        };
        tokio::select! {
            outcome = run(job, config, reporters, shutdown) => outcome,
            outcome = serving => outcome,
        }
    });
    let outcome = runtime.block_on(work);
    // A thread that hangs in a server's answer must not hold the process back.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|err| Err(anyhow::Error::new(err).context("the process broke")))
}

/// A token that SIGTERM or SIGINT cancels.
fn stop_on_signal() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, token) = (signal(kind)?, token.clone());
        tokio::spawn(async move {
            signals.recv().await;
            token.cancel();
        });
    }
    Ok(token)
}
