#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod evolution;
mod folding;
mod handover;
mod history;
mod outcomes;
mod simulation;
mod world;

use std::collections::BTreeMap;

use super::{CommitRequest, SinkTable};
use crate::ids::{Offset, PartitionId};
use crate::position::Source;

/// Sinks are driven from any thread: what they promise must be able to move.
#[allow(dead_code, reason = "it only has to compile")]
fn futures_can_move_between_threads(
    table: &SinkTable,
    source: &Source,
    starts: &BTreeMap<PartitionId, Offset>,
    request: &CommitRequest,
) {
    fn check<T: Send>(_: T) {}
    check(table.position(source));
    check(table.pin(source, starts));
    check(table.commit(request));
}
