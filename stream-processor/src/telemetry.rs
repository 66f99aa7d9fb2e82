//! Logs: text on a terminal, JSON lines elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines are written where standard error is not a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// One JSON object a line, for services.
    Json,
    /// Text, for commands that people run.
    Text,
}

/// Sets up logging to standard error for the whole process. `RUST_LOG` chooses what is logged,
/// `default_filter` where it is not set.
pub fn init(default_filter: &str, elsewhere: Elsewhere) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    // A line that can't be written is lost. The subscriber would say so on standard error, and panic there.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let terminal = std::io::stderr().is_terminal();
    if terminal || elsewhere == Elsewhere::Text {
        logs.with_target(false).with_ansi(terminal).init();
    } else {
        logs.json().flatten_event(true).with_ansi(false).init();
    }
}
