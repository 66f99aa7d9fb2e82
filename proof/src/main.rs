//! `prove`: faults of every kind against the whole job, and what became of each record.
//!
//! Each suite is a folder: it injects one family of faults, hands what the tables hold to the verifier, and
//! returns an [`Outcome`](report::Outcome). A suite must never judge rows by itself, never count a fault that it did not see
//! happen, and never write a figure that no run has measured.
//!
//! The program is also every process that the suites kill: `prove processor …` is the stream processor with its
//! fault points, `prove committer …` a process that does nothing but commit.

mod all;
mod bugs;
mod committer;
mod faults;
mod foreign;
mod full_stack;
mod input;
mod kill;
mod page;
mod proxy;
mod report;
mod secrets;
mod servers;
mod sim;
mod size;
mod soak;
mod stack;
mod topics;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use report::Outcome;
use size::Size;

/// The harness itself broke: it can say nothing of the product.
const BROKEN: u8 = 2;

/// Injects faults and proves that no record was lost, doubled or altered.
#[derive(Debug, Parser)]
#[command(name = "prove", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every suite, one after the other
    All(all::AllArgs),
    /// Make each known mistake on purpose: one suite must notice
    Bugs(bugs::BugsArgs),
    /// Play every fault against the real pipeline and commit, in memory, from seeds
    Sim(sim::SimArgs),
    /// Kill real processes at random and at every fault point
    Kill(kill::KillArgs),
    /// Run one processor under steady load and see whether anything grows
    Soak(soak::SoakArgs),
    /// Let one to eight workers share the topic, and count the commits they try in vain
    Workers(workers::WorkersArgs),
    /// Let strangers write to, maintain and damage the tables under a processor
    Foreign(stack::StackArgs),
    /// Change a Kafka topic in every way under its readers
    Topics(stack::StackArgs),
    /// Faults of the network and of the host, between a processor and the real servers
    Faults(stack::StackArgs),
    /// Feed mutated records, jobs, positions, answers, settings and tables, and watch for panics and memory
    Input(input::InputArgs),
    /// Kill every process of the whole stack under load
    FullStack(full_stack::FullStackArgs),
    /// Look for the credentials in all that a processor says
    Secrets(secrets::SecretsArgs),
    /// Put the results of a run into docs/proof.md
    Page(page::PageArgs),
    /// Start or remove the real servers by hand
    #[command(subcommand)]
    Servers(servers::ServersCommand),
    /// A process that does nothing but commit (what `kill` kills by the thousand)
    #[command(hide = true)]
    Committer(committer::CommitterArgs),
    /// The stream processor with its fault points (what the suites start and kill)
    #[command(hide = true)]
    Processor(Box<stream_processor::config::Cli>),
}

/// What every suite is told.
#[derive(Debug, Clone, clap::Args)]
pub struct SuiteArgs {
    /// How much of it
    #[arg(long, value_enum, default_value_t = Size::Ci)]
    size: Size,
    /// Where the outcome goes, as SUITE.json; also read by `page`
    #[arg(long, default_value = "target/proof", value_name = "DIR")]
    results: PathBuf,
    /// Chance follows from it; printed at the start
    #[arg(long, env = "PROOF_SEED", default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::All(args) => all::run(&args),
        Command::Bugs(args) => told(bugs::run(&args), &args.suite),
        Command::Sim(args) => told(sim::run(&args), &args.suite),
        Command::Kill(args) => told(kill::run(&args), &args.suite),
        Command::Soak(args) => told(soak::run(&args), &args.suite),
        Command::Committer(args) => done(committer::run(&args)),
        Command::Workers(args) => told(workers::run(&args), &args.suite),
        Command::Foreign(args) => told(foreign::run(&args), &args.suite),
        Command::Topics(args) => told(topics::run(&args), &args.suite),
        Command::Faults(args) => told(faults::run(&args), &args.suite),
        Command::Input(args) => told(input::run(&args), &args.suite),
        Command::FullStack(args) => told(full_stack::run(&args), &args.stack.suite),
        Command::Secrets(args) => told(secrets::run(&args), &args.stack.suite),
        Command::Page(args) => page::run(&args),
        Command::Servers(command) => done(command.run()),
        Command::Processor(cli) => stream_processor::process::main(&cli),
    }
}

/// Says why something was not done.
fn done(outcome: Result<()>) -> ExitCode {
    if let Err(err) = outcome {
        eprintln!("prove: {err:#}");
        return ExitCode::from(BROKEN);
    }
    ExitCode::SUCCESS
}

/// Shows and stores what a suite found.
fn told(outcome: Result<Outcome>, args: &SuiteArgs) -> ExitCode {
    match outcome.and_then(|outcome| outcome.store(&args.results).map(|()| outcome)) {
        Ok(outcome) => {
            report::show(std::slice::from_ref(&outcome));
            if outcome.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(err) => {
            eprintln!("prove: {err:#}");
            ExitCode::from(BROKEN)
        }
    }
}
