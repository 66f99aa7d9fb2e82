//! Whether the job does its work: the position moves, or there is nothing left to read.
//!
//! Owns the verdict behind `/readyz` and its words. Pure: time is an argument. It must never call a process
//! well that knows of no broker, and never call one ill for a record that has only just come.
//!
//! The position of a partition is the smallest over all tables: a table that is ahead of the others rightly
//! waits for them, one that is stuck holds the position back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use lakehouse::ids::{Offset, PartitionId};
use serde::Serialize;

use super::progress::{JobProgress, Life, Phase, ReaderProgress};
use crate::pipeline::Timestamp;

/// A broker may be away for this long: a new leader is found sooner.
const UNHEARD_MAX: Duration = Duration::from_secs(10);
/// A commit that takes longer is worth a word.
const SLOW_COMMIT: Duration = Duration::from_secs(5);

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Nothing was committed yet; a server may be waited for.
    Starting,
    /// Records come and are committed.
    Committing,
    /// Every record is committed.
    CaughtUp,
    /// The group has given this process no partition.
    Standby,
    /// Records wait, and the position stands still.
    Stuck,
    /// No broker answers.
    Unheard,
    /// A stop was asked for.
    Stopping,
}

impl State {
    /// Whether the process is well.
    pub(super) fn is_ready(self) -> bool {
        matches!(self, Self::Committing | Self::CaughtUp | Self::Standby)
    }
}

/// The state, and why, in one line.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) reason: String,
}

/// What a verdict is made from.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) life: &'a Life,
    pub(super) reader: &'a ReaderProgress,
    pub(super) job: &'a JobProgress,
}

impl Facts<'_> {
    /// How far every table is in `partition`; `None` while one of them does not say.
    pub(super) fn position(&self, partition: PartitionId) -> Option<Offset> {
        let at = |table: &super::TableProgress| table.position.get(&partition).copied();
        let offsets: Option<Vec<Offset>> = self.job.tables.iter().map(at).collect();
        offsets?.into_iter().min()
    }

    /// Records of `partition` that some table still has to take in; `None` while that is not known.
    fn waiting(&self, partition: PartitionId) -> Option<u64> {
        let high = self.reader.high.get(&partition)?;
        let at = self.position(partition)?;
        Some(u64::try_from(high.get() - at.get()).unwrap_or(0))
    }
}

/// What was seen of a partition.
#[derive(Clone, Copy, Debug)]
struct Seen {
    position: Option<Offset>,
    /// When its position last moved, or nothing waited.
    good: Option<Timestamp>,
}

/// Follows the positions over time.
#[derive(Debug, Default)]
pub(super) struct Watch {
    partitions: BTreeMap<PartitionId, Seen>,
    was_ready: bool,
}

impl Watch {
    /// Takes in how things stand at `now`. To be called at least every second.
    pub(super) fn observe(&mut self, facts: Facts<'_>, now: Timestamp) {
        self.partitions.retain(|partition, _| facts.reader.position.contains_key(partition));
        for partition in facts.reader.position.keys() {
            let position = facts.position(*partition);
            // A rebalance in a healthy process must not make it look ill; at start there is no such credit.
            let credit = self.was_ready.then_some(now);
            let seen = self.partitions.entry(*partition);
            let seen = seen.or_insert(Seen { position, good: credit });
            // The first position that is heard of is no move.
            let moved = seen.position.is_some() && seen.position != position;
            if moved || facts.waiting(*partition) == Some(0) {
                seen.good = Some(now);
            }
            seen.position = position;
        }
        self.was_ready |= self.verdict(facts, now).state.is_ready();
    }

    /// How the process is, at `now`.
    pub(super) fn verdict(&self, facts: Facts<'_>, now: Timestamp) -> Verdict {
        let say = |state, reason: String| Verdict { state, reason };
        match facts.life.phase {
            Phase::Starting => return say(State::Starting, starting(facts.life, now)),
            Phase::Stopping => {
                return say(State::Stopping, "stopping: committing what is open".to_owned());
            }
            Phase::Running => {}
        }
        if let Some(reason) = unheard(facts.reader, now) {
            return say(State::Unheard, reason);
        }
        if !facts.reader.joined {
            let reason = "waiting for the consumer group to say which partitions are ours";
            return say(State::Starting, reason.to_owned());
        }
        if facts.reader.position.is_empty() {
            let reason = "no partition is assigned: the group's other members read them all";
            return say(State::Standby, reason.to_owned());
        }
        let mut waiting = Some(0);
        for partition in facts.reader.position.keys() {
            let good = self.partitions.get(partition).and_then(|seen| seen.good);
            let records = facts.waiting(*partition);
            let Some(good) = good else {
                let reason = match records {
                    None => format!("the end of partition {partition} is not known yet"),
                    Some(_) => "nothing was committed yet".to_owned(),
                };
                return say(State::Starting, reason + &commits(facts.job, now));
            };
            let still = now.saturating_sub(good);
            if records != Some(0) && still > facts.job.patience {
                let records = records.map_or("unknown".to_owned(), |records| records.to_string());
                let reason = format!(
                    "partition {partition} has stood still for {} s; records waiting in it: {records}",
                    still.as_secs()
                );
                return say(State::Stuck, reason + &commits(facts.job, now));
            }
            waiting = waiting.zip(records).map(|(waiting, records)| waiting + records);
        }
        match waiting {
            Some(0) => say(State::CaughtUp, "every record is committed".to_owned()),
            _ => say(State::Committing, "committing".to_owned() + &commits(facts.job, now)),
        }
    }
}

fn starting(life: &Life, now: Timestamp) -> String {
    if life.waits.is_empty() {
        return "looking at the topic and the tables".to_owned();
    }
    let wait = |(what, wait): (&String, &super::Wait)| {
        format!("waiting for {what} since {} s: {}", secs(now, wait.since), wait.cause)
    };
    life.waits.iter().map(wait).collect::<Vec<_>>().join("; ")
}

fn unheard(reader: &ReaderProgress, now: Timestamp) -> Option<String> {
    let unheard = reader.unheard.as_ref()?;
    let silent = now.saturating_sub(unheard.since);
    (silent > UNHEARD_MAX).then(|| {
        format!(
            "the broker of partition {} has not answered for {} s: {}",
            unheard.partition,
            silent.as_secs(),
            unheard.cause
        )
    })
}

/// Commits that are slow or had to be tried again.
fn commits(job: &JobProgress, now: Timestamp) -> String {
    let mut text = String::new();
    for table in &job.tables {
        let Some(since) = table.committing else { continue };
        if now.saturating_sub(since) < SLOW_COMMIT {
            continue;
        }
        let took = secs(now, since);
        // Writing to a string does not fail.
        let _ = write!(text, "; a commit of {} has been under way for {took} s", table.name);
        if let Some(trouble) = &table.trouble {
            let _ = write!(text, ": {trouble}");
        }
    }
    text
}

fn secs(now: Timestamp, since: Timestamp) -> u64 {
    now.saturating_sub(since).as_secs()
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
