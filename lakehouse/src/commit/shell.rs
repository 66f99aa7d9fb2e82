//! The clock, chance and sleep: the only place of this crate that reads them.
//!
//! The simulator of the proof stands in for all three, on its own thread only.

#![expect(clippy::disallowed_methods, reason = "this is the shell")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

#[cfg(feature = "faults")]
use crate::simulated::seam;

/// Milliseconds since 1970, as this host believes.
pub(crate) fn now_ms() -> i64 {
    #[cfg(feature = "faults")]
    if let Some(simulated) = seam::wall_ms() {
        return simulated;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A stopwatch that runs.
#[derive(Clone, Copy)]
pub(crate) enum Stopwatch {
    Real(Instant),
    #[cfg(feature = "faults")]
    Simulated(Duration),
}

impl Stopwatch {
    /// Since its start.
    pub(crate) fn elapsed(&self) -> Duration {
        match self {
            Self::Real(started) => started.elapsed(),
            #[cfg(feature = "faults")]
            Self::Simulated(started) => seam::now().unwrap_or_default().saturating_sub(*started),
        }
    }
}

/// Starts a stopwatch.
pub(crate) fn start() -> Stopwatch {
    #[cfg(feature = "faults")]
    if let Some(now) = seam::now() {
        return Stopwatch::Simulated(now);
    }
    Stopwatch::Real(Instant::now())
}

/// A new id, ordered by time.
pub fn uuid() -> Uuid {
    #[cfg(feature = "faults")]
    if let Some((high, low)) = seam::bits().zip(seam::bits()) {
        return Uuid::from_u64_pair(high, low);
    }
    Uuid::now_v7()
}

/// 63 random bits: a new snapshot's id.
pub(crate) fn snapshot_id() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    let bits = high ^ low;
    #[cfg(feature = "faults")]
    let bits = seam::bits().unwrap_or(bits);
    (bits & i64::MAX.unsigned_abs()).cast_signed()
}

/// A random part of `longest`, so that rivals that met once don't meet again.
pub(crate) fn jitter(longest: Duration) -> Duration {
    let part = snapshot_id().unsigned_abs() % 1024;
    longest.mul_f64(part as f64 / 1024.0)
}

/// Waits.
pub async fn pause(duration: Duration) {
    #[cfg(feature = "faults")]
    if let Some(pause) = seam::pause(duration) {
        return pause.await;
    }
    tokio::time::sleep(duration).await;
}

/// Waits for `work`, but not longer than `deadline`; `None` when that was too short.
pub(crate) async fn within<T>(deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
    #[cfg(feature = "faults")]
    if let Some(pause) = seam::pause(deadline) {
        return seam::first(work, pause).await;
    }
    tokio::time::timeout(deadline, work).await.ok()
}
