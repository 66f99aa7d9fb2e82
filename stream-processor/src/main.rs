//! The stream processor as a program.

use std::process::ExitCode;

use clap::Parser;
use stream_processor::config::Cli;

#[cfg(feature = "faults")]
compile_error!("fault points and seeded mistakes are for the proof's own binary only");

fn main() -> ExitCode {
    stream_processor::process::main(&Cli::parse())
}
