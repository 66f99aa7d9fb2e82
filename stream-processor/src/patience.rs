//! Waiting at start for servers that are not there yet.
//!
//! Owns how often it is tried again and who is told: the status page every time, the log now and then. It
//! waits without limit, as the running job does; what trying again can't mend is the caller's error.

#![allow(clippy::disallowed_methods, reason = "waiting for servers needs a clock")]

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use crate::status::{Life, Reporters, Start, Wait};

/// Between two tries.
const RETRY: Duration = Duration::from_millis(500);
/// A server that was there a moment ago may come back before anyone needs to read of it.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// Between two lines of the log.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A wait for one server, which may turn out to be none.
pub(crate) struct Patience {
    server: String,
    start: Start,
    life: watch::Sender<Life>,
    since: Instant,
    waits: bool,
    told: Option<Instant>,
}

impl Patience {
    /// A wait for `server`, which is named with its address.
    pub(crate) fn new(server: String, reporters: &Reporters) -> Self {
        let (start, life) = (reporters.start, reporters.life.clone());
        Self { server, start, life, since: Instant::now(), waits: false, told: None }
    }

    /// It did not answer, because of `cause`. Returns how long to wait before the next try.
    pub(crate) fn again(&mut self, cause: &str) -> Duration {
        self.waits = true;
        let wait = Wait {
            since: self.since.saturating_duration_since(self.start.instant),
            cause: cause.to_owned(),
        };
        self.life.send_modify(|life| drop(life.waits.insert(self.server.clone(), wait)));
        let due = self.told.map_or(self.since + TELL_AFTER, |told| told + TELL_EVERY);
        if Instant::now() >= due {
            self.told = Some(Instant::now());
            let seconds = self.since.elapsed().as_secs();
            warn!(seconds, cause, "waiting for {}", self.server);
        }
        RETRY
    }
}

impl Drop for Patience {
    /// The wait is over, one way or the other.
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        self.life.send_modify(|life| drop(life.waits.remove(&self.server)));
        if self.told.is_some() {
            info!(
                seconds = self.since.elapsed().as_secs(),
                "no longer waiting for {}", self.server
            );
        }
    }
}
