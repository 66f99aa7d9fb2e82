//! Executes what the pure modules decide: threads, channels, clocks.
//!
//! Threads in a row, joined by bounded channels: `reader` (Kafka) → one `worker` for each core (decode, transform,
//! encode, compress) → `assembler` (files). Commits run beside them on the async runtime, and `ends` asks the brokers how
//! much waits, for the status page. No decision about exactly-once is made here.

#![allow(
    clippy::disallowed_methods,
    reason = "the shell reads the clock, so that nothing else has to"
)]

pub(crate) mod assembler;
pub(crate) mod bound;
pub(crate) mod ends;
pub(crate) mod handover;
pub(crate) mod order;
pub(crate) mod reader;
pub(crate) mod witness;
pub(crate) mod worker;

use std::sync::Arc;

use crossbeam_channel::Sender;
use lakehouse::ids::PartitionId;
use lakehouse::position::Ranges;

use crate::kafka::Batch;
use crate::pipeline::{Generation, Starts};

/// The neighbour in the pipe is gone; whatever made it go is the error to tell.
#[derive(Debug, thiserror::Error)]
#[error("the next thread in the pipe is gone")]
pub(crate) struct HungUp;

/// What travels down the pipe, always in this order of events.
#[derive(Debug)]
pub(crate) enum Flow<C> {
    /// Partitions were given to this process; one map of positions for each sink.
    Assigned(Vec<Starts>),
    /// Partitions are about to be taken away; answer when they are settled.
    Revoked(Vec<PartitionId>, Sender<()>),
    /// Records, or what was made of them.
    Chunk(C),
    /// Nothing follows: the reader stands where the topic ended. Everything up to here is to be committed.
    End(Starts),
}

/// Records as they came, and the ranges they stand for.
#[derive(Debug)]
pub(crate) struct RawChunk {
    pub(crate) generation: Generation,
    pub(crate) ranges: Ranges,
    /// May hold records outside `ranges`; those belong to another chunk.
    pub(crate) batch: Arc<Batch>,
}

/// What the assembler asks of the reader.
#[derive(Debug)]
pub(crate) enum Command {
    /// Read on from here; tag what follows with this generation. One map of positions for each sink.
    Seek(Generation, Vec<Starts>),
    /// Tell the consumer group.
    CommitGroup(Starts),
    /// Close the consumer and end.
    Stop,
}
