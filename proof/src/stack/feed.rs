//! A steady load: purchases, at a rate, until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::{Codec, Ledger, Sender, Sent, Topic, purchase};
use crate::servers::now;

/// How often the producer looks at what is due.
const TICK: Duration = Duration::from_millis(10);

/// A producer on a thread of its own.
pub(crate) struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Ledger>>>,
}

impl Feed {
    /// Sends `rate` records a second, over all partitions in turns, numbered on from `first`.
    pub(crate) fn start(topic: &Topic, partitions: i32, rate: u32, first: u64) -> Result<Self> {
        let sender = Sender::new(topic, Codec::Lz4, None)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let begun = now();
            let mut sent = 0_u64;
            while !stopped.load(Ordering::SeqCst) {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a number of records"
                )]
                let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                while sent < due {
                    #[allow(
                        clippy::cast_possible_truncation,
                        reason = "below a number of type i32"
                    )]
                    let partition = (sent % u64::from(partitions.cast_unsigned())) as i32;
                    sender.send(&Sent::to(partition, purchase(first + sent)))?;
                    sent += 1;
                }
                sleep(TICK);
            }
            sender.flush()
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Stops, and returns what was acknowledged.
    pub(crate) fn finish(mut self) -> Result<Ledger> {
        self.stop.store(true, Ordering::SeqCst);
        let Some(thread) = self.thread.take() else { return Ok(Ledger::new()) };
        thread.join().map_err(|_| anyhow!("the load panicked"))?
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A case that failed has its reason already.
            drop(thread.join());
        }
    }
}
