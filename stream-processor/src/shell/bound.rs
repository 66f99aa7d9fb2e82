//! Where a bounded job ends: at the offsets that the topic had when the job started.
//!
//! Owns the rule when a process has nothing left to read, and when all is committed, whoever read it. It must never let a
//! record behind the end through.

use std::time::Duration;

use anyhow::Result;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::Source;
use tracing::info;

use crate::pipeline::Starts;
use crate::sink::Sink;

/// How often the tables are looked at once this process has nothing left to read; others may have.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// The end of every partition, if there is to be one.
#[derive(Debug)]
pub(crate) struct Bound {
    ends: Option<Starts>,
    told: bool,
}

impl Bound {
    /// Ends at `ends`; a partition that is not named came later, and is not read. Without them it never ends.
    pub(crate) fn new(ends: Option<Starts>) -> Self {
        Self { ends, told: false }
    }

    /// `at`, or the end if that comes first. `from` is where the partition stands, which an earlier run may have
    /// brought beyond the end.
    pub(crate) fn cut(&self, partition: PartitionId, from: Offset, at: Offset) -> Offset {
        match &self.ends {
            None => at,
            Some(ends) => at.min(ends.get(&partition).copied().unwrap_or(from).max(from)),
        }
    }

    /// Whether nothing of the partition is left to be read.
    pub(crate) fn is_reached(&self, partition: PartitionId, at: Offset) -> bool {
        let reached = |ends: &Starts| ends.get(&partition).is_none_or(|end| at >= *end);
        self.ends.as_ref().is_some_and(reached)
    }

    /// Partitions came or went, or something is to be read again.
    pub(crate) fn reopen(&mut self) {
        self.told = false;
    }

    /// Whether everything that is held is read; it says so once.
    pub(crate) fn is_done(&mut self, held: &Starts) -> bool {
        let all = held.iter().all(|(partition, at)| self.is_reached(*partition, *at));
        self.ends.is_some() && all && !std::mem::replace(&mut self.told, true)
    }
}

/// Waits until every one of `sinks` stands at or behind `ends`, by what the catalog says: another process may have read
/// some of the partitions, or may be about to.
///
/// # Errors
///
/// A table's position can't be told, and never will be.
pub(crate) async fn committed(sinks: &[Sink], source: &Source, ends: &Starts) -> Result<()> {
    let mut pause = LOOK_MIN;
    for sink in sinks {
        while !sink.is_at(source, ends).await? {
            if pause == LOOK_MAX {
                info!(table = sink.name(), "waiting until others have read the rest of the topic");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offsets: &[(i32, i64)]) -> Starts {
        offsets.iter().map(|(p, o)| (PartitionId::new(*p), Offset::new(*o))).collect()
    }

    #[track_caller]
    fn check_cut(partition: i32, from: i64, to: i64, expected: i64) {
        let bound = Bound::new(Some(at(&[(0, 100), (1, 0)])));
        let cut = bound.cut(PartitionId::new(partition), Offset::new(from), Offset::new(to));
        assert_eq!(cut.get(), expected);
    }

    #[test]
    fn nothing_behind_the_end_is_read() {
        check_cut(0, 10, 60, 60);
        check_cut(0, 60, 130, 100);
        check_cut(0, 120, 130, 120);
        check_cut(1, 0, 30, 0);
        check_cut(7, 0, 30, 0);
        let endless = Bound::new(None);
        assert_eq!(endless.cut(PartitionId::new(0), Offset::new(1), Offset::new(9)).get(), 9);
    }

    #[test]
    fn a_job_is_done_when_all_that_is_held_is_read() {
        let mut bound = Bound::new(Some(at(&[(0, 100), (1, 50)])));
        assert!(!bound.is_done(&at(&[(0, 100), (1, 49)])));
        assert!(bound.is_done(&at(&[(0, 100), (1, 50), (2, 3)])));
        assert!(!bound.is_done(&at(&[(0, 100), (1, 50)])), "it says so once");
        bound.reopen();
        assert!(bound.is_done(&at(&[(1, 51)])));
        bound.reopen();
        assert!(bound.is_done(&at(&[])), "others read it all");
        assert!(!Bound::new(None).is_done(&at(&[(0, 100)])));
    }
}
