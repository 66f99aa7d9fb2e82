//! `streamforge`: demo, query, verify.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};
use stream_processor::telemetry::{self, Elsewhere};
use streamforge::demo::{DemoArgs, demo};
use streamforge::query::{QueryArgs, query};
use streamforge::verify::{VerifyArgs, verify_live};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::error;

const LONG_ABOUT: &str = "\
StreamForge turns a stream of shop activity into Iceberg tables of Avro files, exactly once.

Without a command it runs the demo: broker, emitter, SQL job and catalog in this one process, ending \
with a proof of the result. Then ask the tables with `query`.";

/// Events to Iceberg tables, exactly once, and the proof of it.
#[derive(Debug, Parser)]
#[command(name = "streamforge", version, about, long_about = LONG_ABOUT, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    demo: DemoArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole job in this process and prove its result (the default)
    Demo(DemoArgs),
    /// Run SQL over the tables of a demo
    Query(QueryArgs),
    /// Prove a live platform: read the topic again and compare it with the tables, record by record
    Verify(VerifyArgs),
}

fn main() -> ExitCode {
    #[allow(clippy::disallowed_methods, reason = "the demo tells how long it took from here")]
    let started = Instant::now();
    let cli = Cli::parse();
    telemetry::init("warn", Elsewhere::Text);
    match run(cli, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!("{err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, started: Instant) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Some(Command::Query(args)) => query(args).await,
            Some(Command::Verify(args)) => verify_live(args).await,
            Some(Command::Demo(args)) => demo(args, started, stop_on_signal()?).await,
            None => demo(cli.demo, started, stop_on_signal()?).await,
        }
    });
    runtime.shutdown_background();
    outcome
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
