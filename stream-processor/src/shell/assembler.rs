//! The last thread of the pipe: runs the pipeline machine, fills the open files, hands sealed ones to be committed.
//!
//! Owns the machine and every open file. Each arm of its one `select!` is one line; what to do comes from
//! [`Pipeline::step`].

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use crossbeam_channel::{Receiver, Sender, never, select, tick};
use lakehouse::avro::{DayWriter, EncodedRows};
use lakehouse::datafile::EncodedFile;
use lakehouse::position::Source;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use crate::pipeline::{Action, Blueprint, Event, Limits, Pipeline, Starts, Timestamp};
use crate::sink::{Landed, Sink};
use crate::status::{CommitEntry, JobProgress, Journal, SILENCE_MAX, TableProgress};

use super::order::Place;
use super::witness::Witness;
use super::worker::{Rows, Worked};
use super::{Command, Flow, HungUp};

/// How often age is looked at. A commit is at most this much late.
const TICK: Duration = Duration::from_millis(20);

/// What the async side answers.
pub(crate) enum Answer {
    Landed {
        batch: Sealed,
        took: Duration,
        outcome: Result<Landed>,
    },
    Positions(Result<Vec<Starts>>),
    /// A task panicked: it will not answer any more.
    Broke(anyhow::Error),
    Stop,
}

/// What a batch under way holds, to be told when it has landed.
#[derive(Clone, Copy)]
pub(crate) struct Sealed {
    lane: usize,
    records: u64,
    rows: u64,
    files: usize,
    bytes: u64,
}

pub(crate) struct Assembler {
    pub(crate) sinks: Vec<Sink>,
    pub(crate) source: Source,
    pub(crate) witness: Witness,
    pub(crate) runtime: Handle,
    /// Where the chunks come out, in their order.
    pub(crate) places: Receiver<Place<Worked>>,
    pub(crate) answers: (Sender<Answer>, Receiver<Answer>),
    pub(crate) commands: Sender<Command>,
    pub(crate) progress: watch::Sender<JobProgress>,
    pub(crate) journal: watch::Sender<Journal>,
    /// Told when a bounded job has nothing left to read.
    pub(crate) at_end: watch::Sender<bool>,
    pub(crate) started: Instant,
}

impl Assembler {
    /// Runs until all is committed after a stop, or until an operator must act.
    pub(crate) fn run(self, limits: Limits) -> Result<()> {
        let tables = self
            .sinks
            .iter()
            .map(|sink| TableProgress { name: sink.name().to_owned(), ..TableProgress::default() });
        let tables = tables.collect();
        let patience = SILENCE_MAX + limits.heartbeat;
        self.progress.send_modify(|progress| {
            progress.tables = tables;
            progress.patience = patience;
        });
        let open = self.sinks.iter().map(Sink::writer).collect::<Result<_>>()?;
        let machine = Pipeline::new(self.sinks.len(), limits);
        Assembly {
            io: self,
            machine,
            open,
            next: None,
            waiting: None,
            reread: None,
            holding: false,
            finished: false,
        }
        .run()
    }
}

/// A chunk's rows, for each sink.
type Encoded = Vec<Option<EncodedRows>>;

struct Assembly {
    io: Assembler,
    machine: Pipeline,
    open: Vec<DayWriter>,
    /// Where the next chunk comes out.
    next: Option<Place<Worked>>,
    /// Who waits for a revocation to be settled.
    waiting: Option<Sender<()>>,
    /// The positions behind a seek, until the seek is sent.
    reread: Option<Vec<Starts>>,
    holding: bool,
    finished: bool,
}

impl Assembly {
    fn run(mut self) -> Result<()> {
        let ticks = tick(TICK);
        let (no_place, no_flow) = (never(), never());
        while !self.finished {
            let (places, next) = match &self.next {
                _ if self.holding => (&no_place, &no_flow),
                None => (&self.io.places, &no_flow),
                Some(next) => (&no_place, next),
            };
            select! {
                recv(places) -> place => self.next = Some(place.map_err(|_| HungUp)?),
                recv(next) -> flow => self.flow(flow.map_err(|_| HungUp)??)?,
                recv(self.io.answers.1) -> answer => self.answer(answer?)?,
                recv(ticks) -> _ => self.step(Event::Tick, Encoded::new())?,
            }
        }
        Ok(())
    }

    fn flow(&mut self, flow: Flow<Rows>) -> Result<()> {
        self.next = None;
        match flow {
            Flow::Assigned(starts) => {
                self.show_positions(&starts);
                self.step(Event::Assigned(starts), Encoded::new())
            }
            Flow::Revoked(partitions, done) => {
                self.waiting = Some(done);
                self.step(Event::Revoked(partitions), Encoded::new())
            }
            Flow::Chunk(rows) => {
                self.count(&rows);
                self.step(Event::Chunk(rows.facts), rows.encoded)
            }
            Flow::End(at) => {
                info!(
                    ?at,
                    "everything up to the end of the topic is read: committing what is open"
                );
                self.step(Event::Flush, Encoded::new())?;
                self.io.at_end.send_replace(true);
                Ok(())
            }
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::Landed { batch, took, outcome } => {
                let (lane, outcome) = (batch.lane, outcome?);
                self.show_landing(lane);
                match outcome {
                    Landed::Committed { position, report } => {
                        self.show_commit(batch, took, &position, report.as_ref());
                        if let Some(report) = report.filter(|report| report.conflicts > 0) {
                            self.step(Event::Crowded(lane, report.lost, chance()), Encoded::new())?;
                        }
                        self.step(Event::Committed(lane, position), Encoded::new())
                    }
                    Landed::Fenced => {
                        let name = self.io.sinks.get(lane).map_or("?", Sink::name);
                        warn!(
                            table = name,
                            "another writer moved the table: reading again from its position"
                        );
                        self.io.progress.send_modify(|progress| progress.fenced += 1);
                        self.step(Event::Fenced(lane), Encoded::new())
                    }
                }
            }
            Answer::Positions(starts) => {
                let starts = starts?;
                self.show_positions(&starts);
                self.reread = Some(starts.clone());
                self.step(Event::Repositioned(starts), Encoded::new())
            }
            Answer::Broke(err) => Err(err.context("a task beside the threads broke")),
            Answer::Stop => self.step(Event::Stop, Encoded::new()),
        }
    }

    /// Takes in one event; `rows` are a chunk's.
    fn step(&mut self, event: Event, mut rows: Encoded) -> Result<()> {
        for action in self.machine.step(event, self.io.started.elapsed()) {
            self.act(action, &mut rows)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action, rows: &mut Encoded) -> Result<()> {
        match action {
            Action::Append(lanes) => return self.append(&lanes, std::mem::take(rows)),
            Action::Discard => {}
            Action::Seal(blueprint) => return self.commit(blueprint),
            Action::DropOpen => {
                self.open = self.io.sinks.iter().map(Sink::writer).collect::<Result<_>>()?;
            }
            Action::Reload => self.reload(),
            Action::Seek(generation, _) => {
                let starts = self.reread.take().unwrap_or_default();
                drop(self.io.commands.send(Command::Seek(generation, starts)));
            }
            Action::CommitGroup(starts) => {
                drop(self.io.commands.send(Command::CommitGroup(starts)));
            }
            Action::Hold => self.holding = true,
            Action::Resume => self.holding = false,
            Action::Released => drop(self.waiting.take()),
            Action::Finished => self.finished = true,
        }
        Ok(())
    }

    fn append(&mut self, lanes: &[bool], rows: Encoded) -> Result<()> {
        for ((writer, rows), take) in self.open.iter_mut().zip(rows).zip(lanes) {
            if let Some(rows) = rows.filter(|_| *take) {
                writer.add(rows)?;
            }
        }
        lakehouse::faults::point("assembler.appended");
        let bytes = self.open.iter().map(DayWriter::bytes).collect();
        self.step(Event::Weighed(bytes), Encoded::new())
    }

    fn commit(&mut self, blueprint: Blueprint) -> Result<()> {
        let lane = blueprint.lane;
        let (sink, writer) = match (self.io.sinks.get(lane), self.open.get_mut(lane)) {
            (Some(sink), Some(writer)) => (sink.clone(), std::mem::replace(writer, sink.writer()?)),
            _ => return Err(anyhow!("no sink {lane}")),
        };
        let files: Vec<EncodedFile> = writer.finish()?;
        lakehouse::faults::point("assembler.sealed");
        if files.is_empty() {
            lakehouse::faults::point("assembler.heartbeat");
        }
        let batch = Sealed {
            lane,
            records: blueprint.counts.read,
            rows: blueprint.counts.written,
            files: files.len(),
            bytes: files.iter().map(EncodedFile::size).sum(),
        };
        let (source, witness) = (self.io.source.clone(), self.io.witness.clone());
        let (started, progress) = (self.io.started, self.io.progress.clone());
        let before = started.elapsed();
        show(&progress, lane, |table| table.committing = Some(before));
        self.beside(async move {
            let trouble = |why: &str| {
                show(&progress, lane, |table| table.trouble = Some(why.to_owned()));
            };
            let outcome = match witness.confirm(&trouble).await {
                Ok(()) => sink.commit(&source, blueprint, files, &trouble).await,
                Err(err) => Err(err),
            };
            let took = started.elapsed().saturating_sub(before);
            Answer::Landed { batch, took, outcome }
        });
        Ok(())
    }

    /// Runs `work` beside the threads. A panic in it is an answer, too: its lane would wait forever for another.
    fn beside(&self, work: impl Future<Output = Answer> + Send + 'static) {
        let (work, answers) = (self.io.runtime.spawn(work), self.io.answers.0.clone());
        self.io.runtime.spawn(async move {
            let answer = work.await.unwrap_or_else(|err| Answer::Broke(err.into()));
            // Nobody listens any more once the process gave up waiting: the next one re-reads.
            drop(answers.send(answer));
            lakehouse::faults::point("commit.told-assembler");
        });
    }

    fn reload(&mut self) {
        lakehouse::faults::point("rewind.reload");
        let (sinks, source) = (self.io.sinks.clone(), self.io.source.clone());
        let held = self.machine.reader().clone();
        self.beside(async move { Answer::Positions(known(&sinks, &source, &held).await) });
    }

    fn count(&mut self, rows: &Rows) {
        let read = rows.facts.counts.first().map_or(0, |counts| counts.read);
        self.io.progress.send_modify(|progress| {
            progress.read += read;
            for (reason, count) in &rows.rejected {
                *progress.rejected.entry(reason.as_str()).or_default() += count;
            }
            for (table, counts) in progress.tables.iter_mut().zip(&rows.facts.counts) {
                table.selected += counts.written;
                table.filtered += counts.filtered;
            }
        });
    }

    fn show_positions(&self, starts: &[Starts]) {
        self.io.progress.send_modify(|progress| {
            for (table, starts) in progress.tables.iter_mut().zip(starts) {
                table.position.extend(starts);
            }
        });
    }

    /// Nothing of the lane is under way any more.
    fn show_landing(&self, lane: usize) {
        show(&self.io.progress, lane, |table| (table.committing, table.trouble) = (None, None));
    }

    fn show_commit(
        &self,
        batch: Sealed,
        took: Duration,
        position: &Starts,
        report: Option<&lakehouse::commit::CommitReport>,
    ) {
        let now: Timestamp = self.io.started.elapsed();
        let Sealed { lane, records, rows, files, bytes } = batch;
        let snapshot = report.map(|report| report.snapshot.get());
        let conflicts = report.map_or(0, |report| report.conflicts);
        show(&self.io.progress, lane, |table| {
            table.position.extend(position);
            table.rows += rows;
            table.bytes += bytes;
            table.commits += 1;
            table.conflicts += u64::from(conflicts);
            table.last_commit = Some(now);
            if rows > 0 {
                table.first_commit.get_or_insert(now);
            }
            table.took.record(took);
            table.last_commit_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            table.last_snapshot = snapshot.or(table.last_snapshot);
            info!(
                table = table.name,
                rows,
                took_ms = table.last_commit_ms,
                conflicts,
                snapshot = table.last_snapshot,
                ?position,
                "committed"
            );
        });
        let table = self.io.sinks.get(lane).map_or("?", Sink::name).to_owned();
        let entry =
            CommitEntry { at: now, table, records, rows, files, bytes, took, snapshot, conflicts };
        self.io.journal.send_modify(|journal| journal.commit(entry));
    }
}

/// A random number, for the machine has none of its own.
fn chance() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

/// Changes what is told of one table.
fn show(
    progress: &watch::Sender<JobProgress>,
    lane: usize,
    change: impl FnOnce(&mut TableProgress),
) {
    progress.send_modify(|progress| {
        if let Some(table) = progress.tables.get_mut(lane) {
            change(table);
        }
    });
}

/// The position of every sink table in the partitions of `held`; those it lacks are pinned as given.
pub(crate) async fn positions(
    sinks: &[Sink],
    source: &Source,
    held: &Starts,
) -> Result<Vec<Starts>> {
    let mut starts = Vec::with_capacity(sinks.len());
    for sink in sinks {
        starts.push(sink.starts(source, held).await?);
    }
    Ok(starts)
}

/// The position of every sink table in the partitions of `held`, which all of them must know.
async fn known(sinks: &[Sink], source: &Source, held: &Starts) -> Result<Vec<Starts>> {
    let mut starts = Vec::with_capacity(sinks.len());
    for sink in sinks {
        starts.push(sink.known(source, held).await?);
    }
    Ok(starts)
}
