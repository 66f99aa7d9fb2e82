//! The polling thread: owns the consumer, and is the only one that frees fetched memory.
//!
//! Turns what was polled into chunks whose ranges start where the reader stood and end at the consumer's
//! own position, so that holes left by transactions and compaction are covered. It never waits for a
//! commit: when the pipe is full it pauses the partitions and polls on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender};
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{Ranges, Source};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::kafka::{Batch, Consumer, KafkaErrorKind};
use crate::pipeline::{Generation, Starts, smallest};
use crate::status::ReaderProgress;

use super::bound::Bound;
use super::handover::Change;
use super::witness::same_source;
use super::{Command, Flow, HungUp, RawChunk};

/// Records in one poll: enough to spread the cost of a poll, few enough to stay in cache.
const POLL_MAX: usize = 2_000;
/// How long a poll waits to fill up. Adds to freshness.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// A pipe that is full for this long makes the reader pause, so that it can poll without taking records.
const PAUSE_AFTER: Duration = Duration::from_millis(500);
/// How often the broker's end of each partition is asked for.
const WATERMARKS_EVERY: Duration = Duration::from_secs(1);
/// How often the topic's identity is looked up again: a recreated topic keeps its name.
const IDENTITY_EVERY: Duration = Duration::from_mins(1);
/// How long such a question may take.
const ASK_MAX: Duration = Duration::from_secs(10);
/// A partition with records to read whose position stands still for this long is fetched anew.
const STALL_NUDGE: Duration = Duration::from_secs(30);
/// After this long it is given up. An open transaction holds readers back too, as long as it is open.
const STALL_MAX: Duration = Duration::from_mins(15);
/// How long closing may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// A stop follows this soon when the pipe was taken down on purpose.
const STOP_FOLLOWS: Duration = Duration::from_secs(1);

pub(crate) struct Reader {
    pub(crate) consumer: Consumer,
    pub(crate) source: Source,
    /// If some of these aren't ours after the first join, they may be nobody's: the group is joined once more.
    pub(crate) suspects: Vec<PartitionId>,
    /// Where a bounded job ends.
    pub(crate) bound: Bound,
    pub(crate) output: Sender<Flow<RawChunk>>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) spent: Receiver<Arc<Batch>>,
    pub(crate) changes: Receiver<Change>,
    pub(crate) progress: watch::Sender<ReaderProgress>,
    /// Ends the questions about the partitions' ends when it is dropped.
    pub(crate) asking: Sender<()>,
}

/// Offsets `[start, end)` of one partition.
type Span = (Offset, Offset);

impl Reader {
    /// Polls until told to stop, or until the topic can't be read on.
    pub(crate) fn run(self) -> Result<()> {
        Reading {
            io: self,
            generation: Generation::default(),
            held: Starts::new(),
            cuts: BTreeMap::new(),
            backlog: VecDeque::new(),
            blocked: None,
            joined: false,
            settled: false,
            paused: false,
            asked: Instant::now(),
            identified: Instant::now(),
            moved: BTreeMap::new(),
            nudged: Instant::now(),
        }
        .run()
    }
}

/// What the way ahead looks like.
enum Pipe {
    Open,
    Full,
    Gone,
}

struct Reading {
    io: Reader,
    generation: Generation,
    /// Where the next chunk of each partition starts.
    held: Starts,
    /// Positions of sink tables ahead of the reader: no chunk may lie across one.
    cuts: BTreeMap<PartitionId, BTreeSet<Offset>>,
    backlog: VecDeque<Flow<RawChunk>>,
    blocked: Option<Instant>,
    /// Whether it is known which partitions are ours.
    joined: bool,
    /// Whether the last rebalance that took something is over.
    settled: bool,
    paused: bool,
    asked: Instant,
    identified: Instant,
    /// When each partition's position last moved, or had no reason to.
    moved: BTreeMap<PartitionId, Instant>,
    nudged: Instant,
}

impl Reading {
    fn run(mut self) -> Result<()> {
        loop {
            while let Ok(command) = self.io.commands.try_recv() {
                match command {
                    Command::Seek(generation, tables) => self.seek(generation, &tables)?,
                    // While the group shares out anew, a static member may have no id for a while: the broker would
                    // take it for a rival of itself, and librdkafka would give up for good.
                    Command::CommitGroup(_) if !self.settled => {}
                    Command::CommitGroup(starts) => {
                        lakehouse::faults::point("group.before-offset-commit");
                        self.io.consumer.commit_offsets(&starts);
                    }
                    Command::Stop => return self.close(),
                }
            }
            while let Ok(batch) = self.io.spent.try_recv() {
                drop(batch);
            }
            match self.push_backlog()? {
                Pipe::Open => {
                    self.poll()?;
                    self.look_after()?;
                    self.end_if_done()?;
                }
                Pipe::Full => {}
                Pipe::Gone => return self.close(),
            }
        }
    }

    fn close(self) -> Result<()> {
        drop(self.io.asking);
        match self.io.consumer.close(CLOSE_MAX) {
            // Everything is committed or given up by now: only the group is kept waiting.
            Err(err) if err.kind() == KafkaErrorKind::Retry => {
                warn!(%err, "the Kafka client does not end; the group notices by its session time-out");
                Ok(())
            }
            closed => Ok(closed?),
        }
    }

    /// The pipe is taken down from its end: a stop follows, or else something broke there.
    fn hung_up(&self) -> Result<Pipe> {
        loop {
            match self.io.commands.recv_timeout(STOP_FOLLOWS) {
                Ok(Command::Stop) => return Ok(Pipe::Gone),
                Ok(_) => {}
                Err(_) => return Err(HungUp.into()),
            }
        }
    }

    /// Hands on what waits.
    fn push_backlog(&mut self) -> Result<Pipe> {
        while let Some(flow) = self.backlog.pop_front() {
            match self.io.output.send_timeout(flow, POLL_WAIT) {
                Ok(()) => self.blocked = None,
                Err(SendTimeoutError::Disconnected(_)) => return self.hung_up(),
                Err(SendTimeoutError::Timeout(flow)) => {
                    self.backlog.push_front(flow);
                    let since = *self.blocked.get_or_insert_with(Instant::now);
                    if since.elapsed() >= PAUSE_AFTER {
                        self.pause(true)?;
                    }
                    // While paused, a poll brings no record; it keeps the membership alive.
                    return Ok(if self.paused { Pipe::Open } else { Pipe::Full });
                }
            }
        }
        self.pause(false)?;
        Ok(Pipe::Open)
    }

    fn pause(&mut self, pause: bool) -> Result<()> {
        if pause == self.paused {
            return Ok(());
        }
        let partitions: Vec<PartitionId> = self.held.keys().copied().collect();
        if pause {
            warn!("commits are behind: reading is paused");
            self.io.consumer.pause(&partitions)?;
        } else {
            info!("reading is resumed");
            self.io.consumer.resume(&partitions)?;
        }
        self.paused = pause;
        Ok(())
    }

    fn poll(&mut self) -> Result<()> {
        let batch = match self.io.consumer.poll(POLL_MAX, POLL_WAIT) {
            Ok(batch) => batch,
            // Damaged bytes are fetched again; if they stay damaged, the stall is noticed.
            Err(err)
                if matches!(err.kind(), KafkaErrorKind::Retry | KafkaErrorKind::Corrupt { .. }) =>
            {
                warn!(%err, "kafka");
                return Ok(());
            }
            Err(err) => {
                return Err(err)
                    .context("the topic can't be read on; nothing after it was committed");
            }
        };
        lakehouse::faults::point("reader.polled");
        while let Ok(change) = self.io.changes.try_recv() {
            self.io.bound.reopen();
            self.change(change)?;
        }
        let position = self.io.consumer.position();
        let spans: Vec<(PartitionId, Span)> = self
            .held
            .iter()
            .filter_map(|(partition, start)| {
                let end = self.io.bound.cut(*partition, *start, *position.get(partition)?);
                (end > *start).then_some((*partition, (*start, end)))
            })
            .collect();
        for (partition, (_, end)) in &spans {
            self.held.insert(*partition, *end);
            self.moved.insert(*partition, Instant::now());
        }
        self.cut(&spans, batch)?;
        self.io.progress.send_modify(|progress| {
            progress.position.clone_from(&self.held);
            for (partition, high) in &mut progress.high {
                // What was read is there, though the last look at the end is older.
                *high = self.held.get(partition).map_or(*high, |at| (*high).max(*at));
            }
            progress.joined = self.joined;
            progress.paused = self.paused;
        });
        Ok(())
    }

    /// Says down the pipe that a bounded job's records are all read.
    fn end_if_done(&mut self) -> Result<()> {
        let settled = self.joined && self.settled && self.backlog.is_empty();
        if settled && self.io.bound.is_done(&self.held) {
            let held: Vec<PartitionId> = self.held.keys().copied().collect();
            self.io.consumer.pause(&held)?;
            self.backlog.push_back(Flow::End(self.held.clone()));
        }
        Ok(())
    }

    /// Usually one chunk for all. While some table is ahead of the reader: one for each partition and
    /// side of a table's position.
    fn cut(&mut self, spans: &[(PartitionId, Span)], batch: Batch) -> Result<()> {
        if spans.is_empty() {
            return Ok(());
        }
        let batch = Arc::new(batch);
        if self.cuts.is_empty() {
            return self.queue(spans, &batch);
        }
        for (partition, span) in spans {
            for piece in pieces(*span, self.cuts.get(partition)) {
                self.queue(&[(*partition, piece)], &batch)?;
            }
            if let Some(cuts) = self.cuts.get_mut(partition) {
                cuts.retain(|cut| *cut > span.1);
            }
        }
        self.cuts.retain(|_, cuts| !cuts.is_empty());
        Ok(())
    }

    fn queue(&mut self, spans: &[(PartitionId, Span)], batch: &Arc<Batch>) -> Result<()> {
        let mut ranges = Ranges::default();
        for (partition, (start, end)) in spans {
            ranges.extend(*partition, *start, *end)?;
        }
        let (generation, batch) = (self.generation, Arc::clone(batch));
        self.backlog.push_back(Flow::Chunk(RawChunk { generation, ranges, batch }));
        Ok(())
    }

    fn change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Failed(err) => {
                Err(err.context("a partition was assigned, but its position is not known"))
            }
            Change::Joined => {
                (self.joined, self.settled) = (true, true);
                self.suspect()
            }
            Change::Assigned(tables) => {
                self.identify()?;
                // Without a group nobody says that it is joined.
                (self.joined, self.settled) = (true, true);
                self.stand_at(&tables);
                if self.paused {
                    let news: Vec<PartitionId> = smallest(&tables).into_keys().collect();
                    self.io.consumer.pause(&news)?;
                }
                self.backlog.push_back(Flow::Assigned(tables));
                Ok(())
            }
            Change::Revoked(partitions, lost) => {
                self.joined &= !lost;
                self.settled = false;
                for partition in &partitions {
                    self.held.remove(partition);
                    self.cuts.remove(partition);
                    self.moved.remove(partition);
                }
                Ok(())
            }
        }
    }

    /// After the first join.
    fn suspect(&mut self) -> Result<()> {
        let mut suspects = std::mem::take(&mut self.io.suspects);
        suspects.retain(|partition| !self.held.contains_key(partition));
        if !suspects.is_empty() {
            info!(partitions = ?suspects, "no table has records of these: joining anew, so that somebody reads them");
            self.io.consumer.rejoin()?;
            self.settled = false;
        }
        Ok(())
    }

    fn stand_at(&mut self, tables: &[Starts]) {
        let starts = smallest(tables);
        for (partition, start) in &starts {
            let ahead = tables.iter().filter_map(|table| table.get(partition));
            let ahead: BTreeSet<Offset> = ahead.copied().filter(|offset| offset > start).collect();
            self.cuts.remove(partition);
            if !ahead.is_empty() {
                self.cuts.insert(*partition, ahead);
            }
            self.moved.insert(*partition, Instant::now());
        }
        self.held.extend(starts);
    }

    fn seek(&mut self, generation: Generation, tables: &[Starts]) -> Result<()> {
        lakehouse::faults::point("rewind.seek");
        self.generation = generation;
        self.io.bound.reopen();
        if !self.paused {
            // A bounded job stopped them where the topic ended, and is to read some of it again.
            let held: Vec<PartitionId> = self.held.keys().copied().collect();
            self.io.consumer.resume(&held)?;
        }
        self.backlog.retain(|flow| !matches!(flow, Flow::Chunk(_)));
        let tables: Vec<Starts> = tables
            .iter()
            .map(|t| {
                t.iter().filter(|(p, _)| self.held.contains_key(p)).map(|(p, o)| (*p, *o)).collect()
            })
            .collect();
        self.stand_at(&tables);
        self.io.consumer.seek(&smallest(&tables));
        Ok(())
    }

    fn look_after(&mut self) -> Result<()> {
        if self.asked.elapsed() >= WATERMARKS_EVERY {
            self.asked = Instant::now();
            self.watermarks();
            self.watch_for_stalls()?;
        }
        if self.identified.elapsed() >= IDENTITY_EVERY {
            self.identify()?;
        }
        Ok(())
    }

    fn watermarks(&mut self) {
        let probe = self.io.consumer.probe();
        let high = |p: &PartitionId| probe.cached_watermarks(*p).map(|marks| (*p, marks.high));
        let high: Starts = self.held.keys().filter_map(high).collect();
        self.io.progress.send_modify(|progress| {
            // A paused partition's last fetch is old; who asked the broker may know better.
            progress.high.retain(|partition, _| self.held.contains_key(partition));
            for (partition, high) in high {
                let known = progress.high.entry(partition).or_insert(high);
                *known = (*known).max(high);
            }
        });
    }

    fn watch_for_stalls(&mut self) -> Result<()> {
        let now = Instant::now();
        let high = self.io.progress.borrow().high.clone();
        let waits = self.paused || !self.backlog.is_empty();
        let mut stuck = Starts::new();
        for (partition, at) in &self.held {
            let behind = high.get(partition).is_some_and(|high| high > at);
            let at_end = self.io.bound.is_reached(*partition, *at);
            let since = self.moved.entry(*partition).or_insert(now);
            if !behind || waits || at_end {
                *since = now;
            } else if since.elapsed() >= STALL_MAX {
                bail!(
                    "partition {partition} has records after offset {at}, but none came for {}s",
                    STALL_MAX.as_secs()
                );
            } else if since.elapsed() >= STALL_NUDGE && self.nudged.elapsed() >= STALL_NUDGE {
                stuck.insert(*partition, *at);
            }
        }
        if !stuck.is_empty() {
            warn!(?stuck, "records are there, but none comes: fetching anew");
            self.nudged = now;
            self.io.consumer.seek(&stuck);
        }
        Ok(())
    }

    /// Fails closed when the topic is not the one the tables know.
    fn identify(&mut self) -> Result<()> {
        self.identified = Instant::now();
        match self.io.consumer.source(ASK_MAX) {
            Ok(found) => same_source(&self.io.source, &found.cluster, &found.topic_id),
            Err(err) if err.kind() == KafkaErrorKind::Retry => {
                warn!(%err, "the topic's identity can't be looked up now");
                Ok(())
            }
            Err(err) => {
                error!(%err, "the topic's identity can't be looked up");
                Err(err.into())
            }
        }
    }
}

/// Cuts a span at every one of `cuts` that lies inside it.
fn pieces((mut start, end): Span, cuts: Option<&BTreeSet<Offset>>) -> Vec<Span> {
    let mut pieces = Vec::new();
    for cut in cuts.into_iter().flatten() {
        if start < *cut && *cut < end {
            pieces.push((start, *cut));
            start = *cut;
        }
    }
    pieces.push((start, end));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(span: (i64, i64), cuts: &[i64], expected: &[(i64, i64)]) {
        let cuts = cuts.iter().map(|cut| Offset::new(*cut)).collect();
        let found = pieces((Offset::new(span.0), Offset::new(span.1)), Some(&cuts));
        let found: Vec<(i64, i64)> = found.into_iter().map(|(a, b)| (a.get(), b.get())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_span_is_cut_at_each_table_position_inside_it() {
        check((10, 20), &[], &[(10, 20)]);
        check((10, 20), &[10, 20], &[(10, 20)]);
        check((10, 20), &[5, 13, 17, 40], &[(10, 13), (13, 17), (17, 20)]);
    }
}
