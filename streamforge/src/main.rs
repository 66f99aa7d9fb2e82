//! `streamforge`: demo, query, verify, provision, position, lend, adopt.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};
use stream_processor::runtime;
use stream_processor::telemetry::{self, Elsewhere};
use streamforge::demo::{DemoArgs, demo};
use streamforge::handover::{self, AdoptArgs, LendArgs, PositionArgs};
use streamforge::provision::{self, ProvisionArgs, provision};
use streamforge::query::{self, QueryArgs, query};
use streamforge::tidy::{self, TidyArgs, tidy};
use streamforge::verify::{self, VerifyArgs, verify_live};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::error;

#[cfg(feature = "faults")]
compile_error!("fault points and seeded mistakes are for the proof's own binary only");

const LONG_ABOUT: &str = "\
StreamForge turns a stream of shop activity into Iceberg tables of Avro files, exactly once.

Without a command it runs the demo: broker, emitter, SQL job and catalog in this one process, ending \
with a proof of the result. Then ask the tables with `query`.

`provision` and `verify` are for a platform of real servers; `lend` and `adopt` hand its tables to Apache Flink \
and back.";

/// A setting or the job file is wrong; starting again will not help.
const EX_USAGE: u8 = 64;
/// What is logged beside the commands' own words. librdkafka's complaints are in our errors.
const LOG_FILTER: &str = "warn,librdkafka=off";

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
    /// Run SQL over the tables of a demo or a platform
    #[command(long_about = query::LONG_ABOUT)]
    Query(QueryArgs),
    /// Delete what killed processes and old commits have left in the tables' folders
    #[command(long_about = tidy::LONG_ABOUT)]
    Tidy(TidyArgs),
    /// Prove a live platform: read the topic again and compare it with the tables, record by record
    #[command(long_about = verify::LONG_ABOUT)]
    Verify(VerifyArgs),
    /// Make a platform ready: bucket, topic, tables; what is there is checked and stays
    #[command(long_about = provision::LONG_ABOUT)]
    Provision(ProvisionArgs),
    /// Show where each table of the job stands in the topic
    Position(PositionArgs),
    /// Hand the tables to Apache Flink, and write down where it goes on
    #[command(long_about = handover::LEND_ABOUT)]
    Lend(LendArgs),
    /// Take the tables back from Apache Flink
    #[command(long_about = handover::ADOPT_ABOUT)]
    Adopt(AdoptArgs),
}

/// What is to be done, with settings that hold together.
enum Task {
    Demo(DemoArgs),
    Query(QueryArgs),
    Tidy(TidyArgs),
    Verify(Box<verify::Plan>),
    Provision(Box<provision::Plan>),
    Position(Box<handover::Plan>),
    Lend(Box<handover::Lending>),
    Adopt(Box<handover::Adoption>),
}

impl Cli {
    /// Checks what was typed. Touches no server.
    fn check(self) -> Result<Task> {
        Ok(match self.command {
            Some(Command::Query(args)) => Task::Query(args),
            Some(Command::Tidy(args)) => Task::Tidy(args),
            Some(Command::Verify(args)) => Task::Verify(Box::new(args.check()?)),
            Some(Command::Provision(args)) => Task::Provision(Box::new(args.check()?)),
            Some(Command::Position(args)) => Task::Position(Box::new(args.check()?)),
            Some(Command::Lend(args)) => Task::Lend(Box::new(args.check()?)),
            Some(Command::Adopt(args)) => Task::Adopt(Box::new(args.check()?)),
            Some(Command::Demo(args)) => Task::Demo(args),
            None => Task::Demo(self.demo),
        })
    }
}

fn main() -> ExitCode {
    #[allow(clippy::disallowed_methods, reason = "the demo tells how long it took from here")]
    let started = Instant::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return told(&answer),
    };
    telemetry::init(LOG_FILTER, Elsewhere::Text);
    let (outcome, code) = match cli.check() {
        Ok(task) => (run(task, started), ExitCode::FAILURE),
        Err(err) => (Err(err), ExitCode::from(EX_USAGE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!("{err:#}");
            code
        }
    }
}

/// Prints help, the version, or what is wrong with the arguments.
fn told(answer: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    let _ = answer.print();
    if answer.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS }
}

fn run(task: Task, started: Instant) -> Result<()> {
    let runtime = runtime::build()?;
    let outcome = runtime.block_on(async {
        match task {
            Task::Query(args) => query(args).await,
            Task::Tidy(args) => tidy(args, stop_on_signal()?).await,
            Task::Verify(plan) => verify_live(*plan).await,
            Task::Provision(plan) => provision(*plan).await,
            Task::Position(plan) => handover::position(*plan).await,
            Task::Lend(lending) => handover::lend(*lending).await,
            Task::Adopt(adoption) => handover::adopt(*adoption).await,
            Task::Demo(args) => demo(args, started, stop_on_signal()?).await,
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
