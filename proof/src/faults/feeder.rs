//! Records that keep coming while a case is played, so that there is always something to lose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::stack::{Broken, Codec, Ledger, Scene, Sender, Sent, purchase};

/// Partitions of a case's topic.
pub(super) const PARTITIONS: i32 = 3;
/// Between two handfuls.
const TICK: Duration = Duration::from_millis(20);
/// A handful: several hundred records a second, which is a row in every commit of both tables.
const HANDFUL: u64 = 8;
/// Every so many-th record is broken, and goes to the other table.
const BROKEN_EVERY: u64 = 7;

/// A thread that sends until it is stopped.
pub(super) struct Feeder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Ledger>>>,
}

impl Feeder {
    pub(super) fn start(scene: &Scene<'_>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, sender) = (Arc::clone(&stop), Sender::new(&scene.topic, Codec::None, None)?);
        let thread = spawn(move || feed(&sender, &stopped));
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Stops, and tells what was acknowledged.
    pub(super) fn stop(mut self) -> Result<Ledger> {
        self.stop.store(true, Ordering::SeqCst);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(fed)) => fed,
            _ => bail!("the feeder panicked"),
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn feed(sender: &Sender, stop: &AtomicBool) -> Result<Ledger> {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..HANDFUL {
            sender.send(&record(number))?;
            number += 1;
        }
        sleep(TICK);
    }
    sender.flush()
}

fn record(number: u64) -> Sent {
    let kinds = Broken::ALL;
    let broken = number
        .is_multiple_of(BROKEN_EVERY)
        .then(|| {
            kinds
                .into_iter()
                .cycle()
                .nth(usize::try_from(number / BROKEN_EVERY).unwrap_or(0) % kinds.len())
        })
        .flatten();
    let payload = broken.map_or_else(|| purchase(number), |broken| broken.record(number));
    let partition = i32::try_from(number % u64::from(PARTITIONS.unsigned_abs())).unwrap_or(0);
    Sent::to(partition, payload)
}
