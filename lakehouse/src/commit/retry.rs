//! When to try again, and when to give up.

use std::time::Duration;

use super::shell;
use crate::{Error, Kind, Result};

/// How long opening, pinning and reading a position put up with failures.
pub(super) const SETTLE_TIME: Duration = Duration::from_secs(30);

/// The limits of the pauses of one loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// After the first conflict.
    pub(super) conflict: Duration,
    /// After many.
    pub(super) conflict_max: Duration,
    /// After the first failure.
    pub(super) unknown: Duration,
    /// After many.
    pub(super) unknown_max: Duration,
}

/// A rival's commit takes tens of milliseconds; a server that failed may need air.
pub(super) const PAUSES: Pauses = Pauses {
    conflict: Duration::from_millis(20),
    conflict_max: Duration::from_millis(500),
    unknown: Duration::from_millis(100),
    unknown_max: Duration::from_secs(5),
};

/// The state of one loop: pauses double, each is a random part of its limit.
pub(super) struct Retry {
    started: shell::Stopwatch,
    deadline: Duration,
    pauses: Pauses,
    conflicts: u32,
    failures: u32,
    last: Option<Error>,
}

impl Retry {
    pub(super) fn new(deadline: Duration, pauses: Pauses) -> Self {
        let started = shell::start();
        Self { started, deadline, pauses, conflicts: 0, failures: 0, last: None }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn conflicts(&self) -> u32 {
        self.conflicts
    }

    /// Failures since the last plain answer.
    #[cfg(feature = "faults")]
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Someone else was first.
    pub(super) fn after_conflict(&mut self) -> Duration {
        self.failures = 0;
        self.conflicts += 1;
        shell::jitter(doubled(self.pauses.conflict, self.pauses.conflict_max, self.conflicts))
    }

    /// Something failed, and the outcome is not known.
    pub(super) fn after_unknown(&mut self, err: Error) -> Duration {
        tracing::debug!(error = %err, source = ?std::error::Error::source(&err).map(ToString::to_string), "will read again");
        self.failures += 1;
        self.last = Some(err);
        shell::jitter(doubled(self.pauses.unknown, self.pauses.unknown_max, self.failures))
    }

    /// Waits, unless the time is up by then.
    ///
    /// # Errors
    ///
    /// [`Kind::Retry`]: the time is up.
    pub(super) async fn wait(&mut self, pause: Duration, late: &str) -> Result<()> {
        if self.elapsed() + pause >= self.deadline {
            return Err(self.late(late));
        }
        shell::pause(pause).await;
        Ok(())
    }

    /// The error for a loop whose time is up.
    pub(super) fn late(&mut self, message: &str) -> Error {
        let err = Error::new(Kind::Retry, message)
            .with("seconds", self.deadline.as_secs_f64())
            .with("conflicts", self.conflicts);
        match self.last.take() {
            Some(last) => err.because(last),
            None => err,
        }
    }
}

fn doubled(first: Duration, longest: Duration, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor.max(1)).min(longest)
}
