//! Asks the brokers for the ends of the partitions held: how much waits, and whether anyone is there.
//!
//! The reader only knows what its last fetches said, which is nothing new while a broker is away or reading is
//! paused. A thread of its own, because a question may take seconds. It only tells the status page.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use lakehouse::ids::PartitionId;
use tokio::sync::watch;

use crate::kafka::{KafkaError, Probe};
use crate::status::{ReaderProgress, Unheard};

/// How often brokers are asked.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How many partitions are asked about each time; the next ones are next.
const ASKED_MAX: usize = 8;
/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Whoever asks.
pub(crate) struct Asker {
    pub(crate) probe: Probe,
    /// The topic's partitions: one of them is asked about while none is held.
    pub(crate) all: Vec<PartitionId>,
    pub(crate) progress: watch::Sender<ReaderProgress>,
    pub(crate) started: Instant,
}

impl Asker {
    /// Asks on a thread of its own until the other end of `stop` is dropped.
    ///
    /// # Errors
    ///
    /// The thread can't be made.
    pub(crate) fn spawn(self, stop: Receiver<()>) -> Result<()> {
        std::thread::Builder::new().name("ends".to_owned()).spawn(move || self.run(&stop))?;
        Ok(())
    }

    fn run(self, stop: &Receiver<()>) {
        let mut turn = VecDeque::new();
        while stop.recv_timeout(ASK_EVERY) == Err(RecvTimeoutError::Timeout) {
            self.round(&mut turn);
        }
    }

    /// Asks about the next few of `turn`, the first of which is one that was not answered.
    fn round(&self, turn: &mut VecDeque<PartitionId>) {
        let held: Vec<PartitionId> = self.progress.borrow().position.keys().copied().collect();
        let wanted = if held.is_empty() { self.all.get(..1).unwrap_or_default() } else { &held };
        turn.retain(|partition| wanted.contains(partition));
        let news = wanted.iter().filter(|partition| !turn.contains(partition)).copied();
        turn.extend(news.collect::<Vec<_>>());
        for _ in 0..ASKED_MAX.min(turn.len()) {
            let Some(partition) = turn.front().copied() else { break };
            let asked = self.started.elapsed();
            match self.probe.watermarks(partition, ANSWER_MAX) {
                Ok(marks) => self.progress.send_modify(|progress| {
                    if let Some(high) = progress.high.get_mut(&partition) {
                        *high = marks.high.max(*high);
                    } else if progress.position.contains_key(&partition) {
                        progress.high.insert(partition, marks.high);
                    }
                }),
                Err(error) => return self.unheard(partition, asked, &error),
            }
            turn.rotate_left(1);
        }
        if self.progress.borrow().unheard.is_some() {
            self.progress.send_modify(|progress| progress.unheard = None);
        }
    }

    fn unheard(&self, partition: PartitionId, asked: Duration, error: &KafkaError) {
        let cause = error.to_string();
        self.progress.send_modify(|progress| {
            let since = progress.unheard.as_ref().map_or(asked, |unheard| unheard.since);
            progress.unheard = Some(Unheard { since, partition, cause });
        });
    }
}
