//! A processor that commits under load, with a stranger beside it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use streamforge::verify::Verdict;
use streamforge::verify::invariants::{Baseline, Invariants};

use super::rest::{Stranger, main_of};
use super::trino::Trino;
use crate::servers::until;
use crate::stack::{Feed, Found, Processor, Scene, Stage, must, refuted};

const PARTITIONS: i32 = 2;
/// Records a second: several for each commit.
const RATE: u32 = 400;
const COMMIT_INTERVAL: &str = "200ms";
/// How long the first commit may take.
const FIRST_MAX: Duration = Duration::from_mins(1);
/// How long a processor may take to notice that it must not go on.
const NOTICED_MAX: Duration = Duration::from_mins(1);
/// Rows that are not the stranger's.
const OURS: &str = "kafka_partition >= 0";

pub(super) struct Play<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) processor: Processor,
    pub(super) stranger: Stranger,
    pub(super) trino: Trino<'a>,
    table: String,
    feed: Feed,
}

impl<'a> Play<'a> {
    /// Begins, and waits until the table has been committed to a few times.
    pub(super) fn begin(stage: &'a Stage, name: &str) -> Result<Self> {
        let mut scene = stage.scene(name, PARTITIONS)?;
        let table = scene.table()?.to_owned();
        let feed = Feed::start(&scene.topic, PARTITIONS, RATE, 0)?;
        let processor = scene.start(&scene.spawn().flag("--commit-interval", COMMIT_INTERVAL))?;
        let stranger = Stranger::new(&stage.servers, scene.name(), &table)?;
        let trino = Trino::new(&stage.servers, &stage.runtime, scene.name())?;
        let mut play = Self { scene, processor, stranger, trino, table, feed };
        play.await_commits(3)?;
        Ok(play)
    }

    /// Waits for `count` more commits with rows.
    pub(super) fn await_commits(&mut self, count: usize) -> Result<()> {
        let before = self.processor.commits_of(&self.table);
        let mut ended = None;
        until("more commits", FIRST_MAX, || {
            ended = self.processor.ended()?;
            Ok(ended.is_some() || self.processor.commits_of(&self.table) >= before + count)
        })
        .map_err(|err| refuted(format!("{err:#}")))?;
        ended.map_or(Ok(()), |stop| Err(refuted(format!("ended by itself: {stop}"))))
    }

    pub(super) fn metadata(&self) -> Result<Value> {
        self.scene.runtime.block_on(self.stranger.metadata())
    }

    pub(super) fn insist(&self, updates: Value) -> Result<Value> {
        self.scene.runtime.block_on(self.stranger.insist(updates))
    }

    /// What is foreign in the table now.
    pub(super) fn baseline(&self) -> Result<Baseline> {
        let table = self.scene.lake.table(self.scene.name(), &self.table);
        let table = self.scene.runtime.block_on(table)?.context("the table is there")?;
        Baseline::take(&table)
    }

    /// It goes on: lag becomes 0, every record is there once, and what is foreign survived.
    pub(super) fn goes_on(mut self, baseline: Option<Baseline>) -> Result<Verdict> {
        self.await_commits(3)?;
        let delivered = self.feed.finish()?;
        self.scene.ledger.extend(delivered);
        self.scene.settle(&mut [&mut self.processor])?;
        self.processor.stop()?;
        let mut invariants = Invariants::default();
        if let Some(baseline) = baseline {
            invariants.baselines.insert(self.table.clone(), baseline);
        }
        self.scene.look(&mut invariants)?;
        self.scene.judge_ours(OURS)
    }

    /// It stops with an error that holds all of `words`, and the table is as `after` says.
    pub(super) fn stops(mut self, words: &[&str], after: Option<&Value>) -> Result<Found> {
        let stop = self.processor.await_end(NOTICED_MAX)?;
        must(stop.code == Some(1), || format!("it did not end with 1: {stop}"))?;
        for word in words {
            must(stop.said.contains(word), || format!("its last error lacks `{word}`: {stop}"))?;
        }
        if let Some(after) = after {
            let now = self.metadata()?;
            let (was, is) = (main_of(after), main_of(&now));
            must(was == is, || format!("something was committed after it: {was:?} → {is:?}"))?;
        }
        self.feed.finish()?;
        Ok(Found::new(1, self.scene.said(&stop)))
    }

    /// It may go on or stop; either way nothing is lost.
    pub(super) fn goes_on_or_stops(mut self, words: &[&str]) -> Result<Found> {
        let waited = until("three more commits or an end", NOTICED_MAX, || {
            Ok(self.processor.ended()?.is_some() || self.await_commits(3).is_ok())
        });
        waited.map_err(|err| refuted(format!("{err:#}")))?;
        if self.processor.ended()?.is_some() {
            return self.stops(words, None);
        }
        Ok(Found::new(1, "goes on").judged(self.goes_on(None)?))
    }
}
