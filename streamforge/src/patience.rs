//! Waiting for servers: bounded, and said aloud.
//!
//! Owns the pauses and the words. It must never wait for a fault that does not pass by itself.

#![allow(clippy::disallowed_methods, reason = "waiting needs a clock")]

use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use lakehouse::Kind;
use stream_processor::kafka::{KafkaError, KafkaErrorKind};

use crate::show;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is said what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A time that all waiting of a command shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    begun: Instant,
    limit: Duration,
    /// The setting that makes it longer.
    setting: &'static str,
}

impl Patience {
    /// Patience for `limit` from now on.
    pub(crate) fn new(limit: Duration, setting: &'static str) -> Self {
        Self { begun: Instant::now(), limit, setting }
    }

    /// Whether the time is up.
    pub(crate) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.limit
    }

    /// Tries until it works. A fault that may pass is told every few seconds as the reason for waiting for
    /// `server`; any other ends it at once.
    ///
    /// # Errors
    ///
    /// The last fault.
    pub(crate) async fn wait<T>(
        &self,
        server: &str,
        mut attempt: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let mut teller = Teller::default();
        loop {
            let err = match attempt().await {
                Ok(found) => return Ok(found),
                Err(err) if !passes(&err) => return Err(err),
                Err(err) => err,
            };
            if self.is_over() {
                let (seconds, setting) = (self.limit.as_secs(), self.setting);
                return Err(err.context(format!(
                    "{server} is not to be had after {seconds}s; start it, or raise {setting}"
                )));
            }
            teller.tell(|| self.words(server, &format!("{err:#}")));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// `waiting for SERVER (5s of 120s): CAUSE`
    pub(crate) fn words(&self, server: &str, cause: &str) -> String {
        let (spent, limit) = (self.begun.elapsed().as_secs(), self.limit.as_secs());
        format!("waiting for {server} ({spent}s of {limit}s): {cause}")
    }
}

/// Says something at once, and then only every few seconds.
#[derive(Default)]
pub(crate) struct Teller(Option<Instant>);

impl Teller {
    pub(crate) fn tell(&mut self, words: impl FnOnce() -> String) {
        if self.0.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.0 = Some(Instant::now());
            show::progress(&words());
        }
    }
}

/// Whether the fault may be gone after a while.
fn passes(err: &Error) -> bool {
    err.chain().any(|cause| {
        let store = cause.downcast_ref::<lakehouse::Error>().map(lakehouse::Error::kind);
        let kafka = cause.downcast_ref::<KafkaError>().map(KafkaError::kind);
        matches!(store, Some(Kind::Retry | Kind::Conflict))
            || matches!(kafka, Some(KafkaErrorKind::Retry | KafkaErrorKind::UnknownTopic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, expected: bool) {
        let err = Error::new(lakehouse::Error::new(kind, "a fault")).context("doing something");
        assert_eq!(passes(&err), expected, "{kind:?}");
    }

    #[test]
    fn only_passing_faults_are_waited_for() {
        check(Kind::Retry, true);
        check(Kind::Conflict, true);
        check(Kind::Config, false);
        check(Kind::Refused, false);
        check(Kind::Corrupt, false);
        assert!(!passes(&Error::msg("anything else")));
    }

    #[tokio::test]
    async fn patience_ends_with_the_last_fault_and_the_setting() {
        let patience = Patience::new(Duration::ZERO, "SOME_WAIT");
        let fault = async || Err::<(), _>(lakehouse::Error::new(Kind::Retry, "away").into());
        let err = patience.wait("the server", fault).await.expect_err("the server is away");
        let text = format!("{err:#}");
        assert!(text.contains("the server is not to be had after 0s"), "{text}");
        assert!(text.contains("raise SOME_WAIT") && text.ends_with("away"), "{text}");
    }
}
