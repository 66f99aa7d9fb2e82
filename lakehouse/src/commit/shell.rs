//! The clock, chance and sleep: the only place of this crate that reads them.

#![expect(clippy::disallowed_methods, reason = "this is the shell")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Milliseconds since 1970, as this host believes.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Starts a stopwatch.
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// A new id, ordered by time.
pub(crate) fn uuid() -> Uuid {
    Uuid::now_v7()
}

/// 63 random bits: a new snapshot's id.
pub(crate) fn snapshot_id() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    ((high ^ low) & i64::MAX.unsigned_abs()).cast_signed()
}

/// A random part of `longest`, so that rivals that met once don't meet again.
pub(crate) fn jitter(longest: Duration) -> Duration {
    let part = snapshot_id().unsigned_abs() % 1024;
    longest.mul_f64(part as f64 / 1024.0)
}

/// Waits.
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
