//! The rebalance callback: reads where the tables stand in what comes, and lets commits of what leaves settle.
//!
//! Runs on the polling thread, inside of a poll. It must never touch the consumer: it tells the reader by a channel.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::Source;
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::kafka::Rebalance;
use crate::pipeline::{Starts, smallest};
use crate::sink::Sink;

use super::assembler::positions;
use super::{Flow, RawChunk};

/// How long a rebalance waits for the last commit of the partitions that leave. The fence makes it safe
/// to go on without.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// What a rebalance did, told by the callback to the loop that runs it.
#[derive(Debug)]
pub(crate) enum Change {
    /// A rebalance is over; partitions may have come before.
    Joined,
    Assigned(Vec<Starts>),
    Revoked(Vec<PartitionId>, /* lost */ bool),
    Failed(anyhow::Error),
}

/// The rebalance callback: reads the tables' positions, and settles what leaves.
pub(crate) struct Handover {
    pub(crate) runtime: Handle,
    pub(crate) sinks: Vec<Sink>,
    pub(crate) source: Source,
    /// Where a partition begins that no table knows yet.
    pub(crate) first: Starts,
    pub(crate) output: Sender<Flow<RawChunk>>,
    pub(crate) changes: Sender<Change>,
}

/// A handover and the channel on which the reader hears of it.
pub(crate) fn changes() -> (Sender<Change>, Receiver<Change>) {
    unbounded()
}

impl Handover {
    /// Positions of every sink table in these partitions.
    pub(crate) fn positions(&self, partitions: &[PartitionId]) -> Result<Vec<Starts>> {
        let first = |p: &PartitionId| (*p, self.first.get(p).copied().unwrap_or(Offset::new(0)));
        let wanted = partitions.iter().map(first).collect();
        self.runtime.block_on(positions(&self.sinks, &self.source, &wanted))
    }
}

impl Rebalance for Handover {
    fn joined(&mut self) {
        drop(self.changes.send(Change::Joined));
    }

    fn assigned(&mut self, partitions: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        lakehouse::faults::point("rebalance.assigned");
        let (change, starts) = match self.positions(partitions) {
            Ok(tables) => {
                let starts = smallest(&tables);
                info!(?starts, "partitions assigned");
                (Change::Assigned(tables), starts)
            }
            Err(err) => (Change::Failed(err), BTreeMap::new()),
        };
        drop(self.changes.send(change));
        starts
    }

    fn revoked(&mut self, partitions: &[PartitionId], lost: bool) {
        info!(?partitions, lost, "partitions revoked");
        lakehouse::faults::point("rebalance.revoked");
        let (done, settled) = bounded::<()>(0);
        let flow = Flow::Revoked(partitions.to_vec(), done);
        if self.output.send_timeout(flow, RELEASE_MAX).is_ok() {
            // The other side hangs up when all is settled.
            if settled.recv_timeout(RELEASE_MAX) == Err(RecvTimeoutError::Timeout) {
                warn!(?partitions, "not settled in time; the fence decides whose commit counts");
            }
        }
        lakehouse::faults::point("rebalance.settled");
        drop(self.changes.send(Change::Revoked(partitions.to_vec(), lost)));
    }
}
