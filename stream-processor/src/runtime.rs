//! The threads of a program that runs a job, beside those of the pipe.
//!
//! Owns how many there may be and how long they rest. It must never know what runs on them.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Commits, uploads and the status page.
const WORKERS: usize = 2;
/// For files, names of hosts and what waits for others; two wait for the threads of the pipe, and the demo's emitter is a
/// third. By default there may be 512: a soak on local files had 47, each with memory of its own.
const BLOCKING_THREADS_MAX: usize = 6;
/// What a thread has freed partly is out of use when it ends: better that it rests.
const REST_MAX: Duration = Duration::from_hours(1);

/// A runtime for one job.
///
/// # Errors
/// The system gives no more threads.
pub fn build() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(REST_MAX)
        .enable_all()
        .build()
}
