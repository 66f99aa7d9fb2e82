//! One simulated process: the real pipeline and the real sinks, and a plain model of the threads around them.
//!
//! It takes one step at a time, so that it can die between any two. It must never decide anything that the real
//! shell leaves to the pipeline or to the commit.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyhow::Result;
use lakehouse::commit::Lakehouse;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{Ranges, Source};
use lakehouse::simulated::Call;
use lakehouse::spec::TableSpec;
use stream_processor::pipeline::{
    Action, Blueprint, Counts, Event, Facts, Generation, Limits, Pipeline, Starts, Timestamp,
    smallest,
};
use stream_processor::sink::{Landed, Sink};

use super::job::{files, name, open, transform};
use super::rows::Row;
use super::topic::Topic;

const LIMITS: Limits = Limits {
    rows_max: 40,
    bytes_max: 600,
    age_max: Duration::from_secs(1),
    heartbeat: Duration::from_secs(3),
    budget_bytes: 1_200,
};
/// Chunks between reader and assembler.
const PIPE: usize = 5;

/// What a task of the process came to.
pub(super) enum Done {
    Opened(Result<(Vec<Sink>, Vec<Starts>)>),
    Assigned(Result<Vec<Starts>>),
    Landed(usize, Result<Landed>),
    Reloaded(Result<Vec<Starts>>),
}

type Task = Pin<Box<dyn Future<Output = Done>>>;

enum Queued {
    Assigned(Vec<Starts>),
    Revoked(Vec<PartitionId>),
    Chunk(Facts, Vec<Vec<Row>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Opening,
    Running,
    /// Ended, for this or that reason; somebody must start it again.
    Down,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Process {
    pub(super) host: u32,
    pub(super) life: Life,
    /// Not polled at all, as after a SIGSTOP.
    pub(super) paused: bool,
    /// How its wall clock differs.
    pub(super) skew_ms: i64,
    pub(super) source: Source,
    pub(super) stopping: bool,
    pub(super) finished: bool,
    pub(super) releasing: bool,
    /// Calls that were answered, and not yet heard.
    pub(super) unheard: Vec<(Call, bool)>,
    /// The action done last.
    pub(super) last: Option<&'static str>,
    /// Data files that the commit in flight of each lane has sent.
    pub(super) flying: Vec<BTreeSet<String>>,
    pub(super) actions: VecDeque<Action>,
    /// Partitions that the group has given and that are not read yet.
    pub(super) granted: VecDeque<Starts>,
    pub(super) assigning: bool,
    pub(super) told_group: Option<Starts>,
    pub(super) reader: Starts,
    machine: Pipeline,
    generation: Generation,
    cuts: Vec<Starts>,
    pipe: VecDeque<Queued>,
    chunk: Vec<Vec<Row>>,
    open: Vec<Vec<Row>>,
    reread: Vec<Starts>,
    holding: bool,
    sinks: Vec<Sink>,
    tasks: Vec<Task>,
}

impl Process {
    pub(super) fn new(host: u32, lanes: usize, source: Source) -> Self {
        Self {
            host,
            life: Life::Down,
            paused: false,
            skew_ms: 0,
            source,
            stopping: false,
            finished: false,
            releasing: false,
            unheard: Vec::new(),
            last: None,
            flying: vec![BTreeSet::new(); lanes],
            actions: VecDeque::new(),
            granted: VecDeque::new(),
            assigning: false,
            told_group: None,
            reader: Starts::new(),
            machine: Pipeline::new(lanes, LIMITS),
            generation: Generation::default(),
            cuts: vec![Starts::new(); lanes],
            pipe: VecDeque::new(),
            chunk: Vec::new(),
            open: vec![Vec::new(); lanes],
            reread: Vec::new(),
            holding: false,
            sinks: Vec::new(),
            tasks: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, lakehouse: Lakehouse, specs: Vec<TableSpec>, first: Starts) {
        self.life = Life::Opening;
        let source = self.source.clone();
        self.tasks.push(Box::pin(async move {
            Done::Opened(open(lakehouse, specs, source, first).await)
        }));
    }

    pub(super) fn opened(&mut self, sinks: Vec<Sink>) {
        self.sinks = sinks;
        self.life = Life::Running;
    }

    pub(super) fn idle(&self) -> bool {
        self.tasks.is_empty() && self.actions.is_empty() && self.pipe.is_empty()
    }

    /// Lets every task go on that can, and returns the first that is done.
    pub(super) fn poll(&mut self) -> Option<Done> {
        self.unheard.clear();
        let mut context = Context::from_waker(Waker::noop());
        for place in 0..self.tasks.len() {
            if let Some(Poll::Ready(done)) =
                self.tasks.get_mut(place).map(|task| task.as_mut().poll(&mut context))
            {
                drop(self.tasks.remove(place));
                return Some(done);
            }
        }
        None
    }

    /// Asks the tables where to read the partitions that the group has given.
    pub(super) fn take_grant(&mut self) {
        let Some(wanted) = self.granted.pop_front() else { return };
        self.assigning = true;
        let (sinks, source) = (self.sinks.clone(), self.source.clone());
        self.tasks.push(Box::pin(async move {
            let mut starts = Vec::with_capacity(sinks.len());
            for sink in &sinks {
                match sink.starts(&source, &wanted).await {
                    Ok(found) => starts.push(found),
                    Err(err) => return Done::Assigned(Err(err)),
                }
            }
            Done::Assigned(Ok(starts))
        }));
    }

    pub(super) fn assigned(&mut self, tables: Vec<Starts>) {
        self.assigning = false;
        for (partition, offset) in smallest(&tables) {
            self.reader.insert(partition, offset);
        }
        for (cuts, table) in self.cuts.iter_mut().zip(&tables) {
            cuts.extend(table);
        }
        self.pipe.push_back(Queued::Assigned(tables));
    }

    pub(super) fn revoke(&mut self, partitions: Vec<PartitionId>) {
        self.reader.retain(|partition, _| !partitions.contains(partition));
        self.releasing = true;
        self.pipe.push_back(Queued::Revoked(partitions));
    }

    pub(super) fn event(&mut self, event: Event, now: Timestamp) {
        let actions = self.machine.step(event, now);
        self.actions.extend(actions);
    }

    pub(super) fn reloaded(&mut self, starts: Vec<Starts>, now: Timestamp) {
        self.reread.clone_from(&starts);
        self.event(Event::Repositioned(starts), now);
    }

    /// Takes in what comes next down the pipe.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        if self.holding || !self.actions.is_empty() {
            return false;
        }
        match self.pipe.pop_front() {
            None => return false,
            Some(Queued::Assigned(starts)) => self.event(Event::Assigned(starts), now),
            Some(Queued::Revoked(gone)) => self.event(Event::Revoked(gone), now),
            Some(Queued::Chunk(facts, rows)) => {
                self.chunk = rows;
                self.event(Event::Chunk(facts), now);
            }
        }
        true
    }

    /// Does the next action. The name says what it was.
    pub(super) fn act(&mut self, now: Timestamp) {
        let Some(action) = self.actions.pop_front() else { return };
        self.last = Some(name(&action));
        match action {
            Action::Append(lanes) => self.append(&lanes, now),
            Action::Discard => {}
            Action::Seal(blueprint) => self.seal(blueprint),
            Action::DropOpen => self.open.iter_mut().for_each(Vec::clear),
            Action::Reload => self.reload(),
            Action::Seek(generation, _) => self.seek(generation),
            Action::CommitGroup(starts) => self.told_group = Some(starts),
            Action::Hold => self.holding = true,
            Action::Resume => self.holding = false,
            Action::Released => self.releasing = false,
            Action::Finished => self.finished = true,
        }
    }

    fn append(&mut self, lanes: &[bool], now: Timestamp) {
        let chunk = std::mem::take(&mut self.chunk);
        for ((open, rows), take) in self.open.iter_mut().zip(chunk).zip(lanes) {
            if *take {
                open.extend(rows);
            }
        }
        let bytes = self.open.iter().map(|rows| rows.len() * 10).collect();
        self.event(Event::Weighed(bytes), now);
    }

    fn seal(&mut self, blueprint: Blueprint) {
        let lane = blueprint.lane;
        let (Some(sink), Some(open)) = (self.sinks.get(lane).cloned(), self.open.get_mut(lane))
        else {
            return;
        };
        let files = files(&std::mem::take(open));
        if let Some(flying) = self.flying.get_mut(lane) {
            flying.clear();
        }
        let source = self.source.clone();
        self.tasks.push(Box::pin(async move {
            Done::Landed(lane, sink.commit(&source, blueprint, files, &|_| ()).await)
        }));
    }

    fn reload(&mut self) {
        let (sinks, source) = (self.sinks.clone(), self.source.clone());
        let held = self.machine.reader().clone();
        self.tasks.push(Box::pin(async move {
            let mut starts = Vec::with_capacity(sinks.len());
            for sink in &sinks {
                match sink.known(&source, &held).await {
                    Ok(found) => starts.push(found),
                    Err(err) => return Done::Reloaded(Err(err)),
                }
            }
            Done::Reloaded(Ok(starts))
        }));
    }

    fn seek(&mut self, generation: Generation) {
        self.generation = generation;
        self.pipe.retain(|queued| !matches!(queued, Queued::Chunk(..)));
        let tables = std::mem::take(&mut self.reread);
        for (partition, offset) in smallest(&tables) {
            if let Some(at) = self.reader.get_mut(&partition) {
                *at = offset;
            }
        }
        for (cuts, table) in self.cuts.iter_mut().zip(tables) {
            cuts.extend(table);
        }
    }

    /// Reads up to `most` offsets of each partition, cut where some table stands.
    pub(super) fn read(&mut self, topic: &Topic, most: i64, apart: bool) {
        if self.pipe.len() >= PIPE {
            return;
        }
        let mut ranges = Ranges::default();
        let mut rows = vec![Vec::new(); self.open.len()];
        let mut counts = vec![Counts::default(); self.open.len()];
        // While some table is ahead, each partition is a chunk of its own.
        let ahead =
            |(p, at): (&PartitionId, &Offset)| self.reader.get(p).is_some_and(|start| at > start);
        let apart = apart || self.cuts.iter().flatten().any(ahead);
        let held: Vec<_> = self.reader.iter().map(|(p, start)| (*p, *start)).collect();
        for (partition, start) in held {
            let mut end = (start.get() + most).min(topic.end(partition.get()));
            for at in self.cuts.iter().filter_map(|table| table.get(&partition)) {
                if start < *at && at.get() < end {
                    end = at.get();
                }
            }
            if end <= start.get() {
                continue;
            }
            if ranges.extend(partition, start, Offset::new(end)).is_err() {
                return;
            }
            for offset in start.get()..end {
                transform(topic, partition.get(), offset, &mut rows, &mut counts);
            }
            self.reader.insert(partition, Offset::new(end));
            if apart {
                self.queue(std::mem::take(&mut ranges), &mut rows, &mut counts);
            }
        }
        if !ranges.is_empty() {
            self.queue(ranges, &mut rows, &mut counts);
        }
    }

    fn queue(&mut self, ranges: Ranges, rows: &mut Vec<Vec<Row>>, counts: &mut Vec<Counts>) {
        let lanes = rows.len();
        let rows = std::mem::replace(rows, vec![Vec::new(); lanes]);
        let counts = std::mem::replace(counts, vec![Counts::default(); lanes]);
        let facts = Facts { generation: self.generation, ranges, counts };
        self.pipe.push_back(Queued::Chunk(facts, rows));
    }
}
