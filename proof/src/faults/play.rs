//! One case's own job between its own proxies: started, watched, and proved at the end.

use std::time::Duration;

use anyhow::{Context, Result};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use streamforge::verify::invariants::{Depth, Invariants};

use super::feeder::{Feeder, PARTITIONS};
use super::place::Disk;
use crate::proxy::{Flavour, HttpProxy, Rule, Seen};
use crate::servers::{ACCESS_KEY, SECRET_KEY, Servers, WAREHOUSE, now, until};
use crate::stack::{Found, Processor, SETTLE_MAX, Scene, Spawn, Stage, must, refuted};

/// From the processor's start to its first commit.
const FIRST_COMMIT_MAX: Duration = Duration::from_mins(1);
/// How long the injection itself may take.
pub(super) const INJECTED_MAX: Duration = Duration::from_mins(1);
/// What was held back longest is passed on after this.
const HELD_MAX: Duration = Duration::from_secs(40);
/// What the log says of a commit.
const COMMITTED: &str = r#""committed""#;
/// Files that nobody names may be left by each fault: a manifest and a list, and a batch's data where it was fenced.
const LEFT_BY_FAULT: u64 = 8;
/// Those of starts and stops, however few faults there were.
const LEFT_MAX: u64 = 200;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Catalog,
    Store,
}

/// Rules for one proxy, until they have hit often enough.
#[derive(Clone, Copy)]
pub(super) struct Wire {
    pub(super) side: Side,
    pub(super) rules: fn() -> Vec<Rule>,
    /// How many faults there must be,
    pub(super) least: u64,
    /// and for how long they go on at least.
    pub(super) span: Duration,
}

/// A job between two proxies.
pub(super) struct Play<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) catalog: HttpProxy,
    pub(super) store: HttpProxy,
    pub(super) spawn: Spawn,
    /// Where its tables are, when they are not on the servers.
    pub(super) disk: Option<Disk>,
    processor: Option<Processor>,
    feeder: Option<Feeder>,
}

impl<'a> Play<'a> {
    /// Everything but the processor.
    pub(super) fn new(stage: &'a Stage, name: &str) -> Result<Self> {
        let scene = stage.scene(&slug(name), PARTITIONS)?;
        let (servers, seed) = (&stage.servers, stage.args.suite.seed ^ number_of(name));
        let (catalog, store) = stage.runtime.block_on(async {
            let catalog = HttpProxy::start(&servers.catalog(), Flavour::Catalog, seed).await?;
            let store =
                HttpProxy::start(&servers.store(), Flavour::Store(bucket(servers)?), seed).await?;
            anyhow::Ok((catalog, store))
        })?;
        let spawn = scene
            .spawn()
            .flag("--catalog-uri", catalog.uri())
            .flag("--s3-endpoint", store.uri())
            .without("--assign")
            .flag("--group", scene.name())
            // A member that comes back under its name takes its partitions at once.
            .flag("--instance-id", "one");
        let feeder = Some(Feeder::start(&scene)?);
        Ok(Self { scene, catalog, store, spawn, disk: None, processor: None, feeder })
    }

    /// With a processor that has committed.
    pub(super) fn running(stage: &'a Stage, name: &str) -> Result<Self> {
        let mut play = Self::new(stage, name)?;
        play.start()?;
        play.await_commit()?;
        Ok(play)
    }

    /// Starts a processor as it is to be told now.
    pub(super) fn start(&mut self) -> Result<()> {
        self.processor = Some(self.scene.start(&self.spawn)?);
        Ok(())
    }

    /// Waits until it has committed.
    pub(super) fn await_commit(&mut self) -> Result<Duration> {
        self.processor()?.await_words(COMMITTED, FIRST_COMMIT_MAX)
    }

    pub(super) fn processor(&mut self) -> Result<&mut Processor> {
        self.processor.as_mut().context("no processor was started")
    }

    pub(super) fn proxy(&self, side: Side) -> &HttpProxy {
        match side {
            Side::Catalog => &self.catalog,
            Side::Store => &self.store,
        }
    }

    pub(super) fn seen(&self) -> [Seen; 2] {
        [self.catalog.seen(), self.store.seen()]
    }

    /// Waits until `probe` says so. The processor must live on.
    pub(super) fn watch(
        &mut self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<Duration> {
        let mut ended = None;
        let waited = until(what, limit, || {
            ended = self.processor()?.ended()?;
            Ok(ended.is_some() || probe(self)?)
        });
        match ended {
            Some(stop) => Err(refuted(format!("the processor ended by itself, {stop}"))),
            None => waited.map_err(|err| refuted(format!("{err:#}"))),
        }
    }

    /// Lets a time pass in which the processor must live on.
    pub(super) fn pass(&mut self, span: Duration) -> Result<()> {
        let begun = now();
        let limit = span + Duration::from_secs(5);
        self.watch("a time passes", limit, |_| Ok(begun.elapsed() >= span)).map(drop)
    }

    /// SIGKILL, and another one at once.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.processor()?.kill()?;
        self.start()
    }

    /// Waits until both tables stand further than they do now.
    pub(super) fn await_progress(&mut self, limit: Duration) -> Result<Duration> {
        let before = self.moved()?;
        self.watch("the tables move on", limit, |play| Ok(play.moved()? > before))
    }

    /// Records below the positions of the table that is behind.
    pub(super) fn moved(&self) -> Result<i64> {
        Ok(self.scene.stand()?.map_or(0, |stand| stand.least().values().sum()))
    }

    pub(super) fn fingerprint(&self) -> Result<String> {
        Ok(self.scene.stand()?.map(|stand| stand.fingerprint()).unwrap_or_default())
    }

    /// No fault any more.
    pub(super) fn calm(&self) {
        for proxy in [&self.catalog, &self.store] {
            proxy.set(Vec::new());
            proxy.up();
        }
    }

    /// The end of the faults: lag must be 0 within a minute, without a human, and all must hold.
    pub(super) fn finish(mut self, count: u64, detail: impl Into<String>) -> Result<Found> {
        self.calm();
        let begun = now();
        let feeder = self.feeder.take().context("the feeder was stopped")?;
        self.scene.ledger.extend(feeder.stop()?);
        self.settle()?;
        let settled = begun.elapsed().as_secs_f64();
        until("what was held back is passed on", HELD_MAX, || {
            Ok(self.seen().iter().all(|seen| seen.held == 0))
        })?;
        self.processor()?.stop()?;
        // Tables that can't be read are a finding, not a harness that broke.
        let verdict = self.scene.judge().map_err(|err| refuted(format!("{err:#}")))?;
        let detail = format!("{}; lag 0 after {settled:.1} s", detail.into());
        if verdict.is_clean() {
            self.invariants(count)?;
        }
        Ok(Found::new(count, detail).judged(verdict))
    }

    fn settle(&mut self) -> Result<()> {
        let Some(disk) = self.disk.take() else {
            let processor = self.processor.as_mut().context("no processor was started")?;
            return self.scene.settle(&mut [processor]).map(drop);
        };
        let ends = self.scene.topic.ends()?;
        self.watch("lag is 0", SETTLE_MAX, |play| {
            disk.copy(play)?;
            Ok(play.scene.stand()?.is_some_and(|stand| stand.reaches(&ends)))
        })
        .map(drop)
    }

    fn invariants(&self, faults: u64) -> Result<()> {
        let files = faults.saturating_mul(LEFT_BY_FAULT).saturating_add(LEFT_MAX);
        let mut wanted = Invariants {
            depth: Depth::Length,
            left_over_max: Some((files, u64::MAX)),
            ..Invariants::default()
        };
        let tables = self.scene.tables();
        let look = wanted.look(&self.scene.lake, &tables);
        let report = self.scene.runtime.block_on(look)?;
        must(report.violations.is_empty(), || report.violations.join("; "))
    }
}

/// The usual case: rules for a while.
pub(super) fn wired(stage: &Stage, name: &str, wire: &Wire) -> Result<Found> {
    let mut play = Play::running(stage, name)?;
    let begun = now();
    play.proxy(wire.side).set((wire.rules)());
    let what = format!("{} faults happen in {:?}", wire.least, wire.span);
    play.watch(&what, INJECTED_MAX + wire.span, |play| {
        let seen = play.proxy(wire.side).seen();
        Ok(seen.total() >= wire.least && begun.elapsed() >= wire.span)
    })?;
    play.calm();
    let seen = play.proxy(wire.side).seen();
    let detail =
        format!("{} applied, {} not, of {} requests", seen.landed, seen.missed, seen.requests);
    play.finish(seen.total(), detail)
}

/// The bucket behind the store's proxy.
fn bucket(servers: &Servers) -> Result<AmazonS3> {
    let name = WAREHOUSE.trim_start_matches("s3://").split('/').next().unwrap_or_default();
    let builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region("us-east-1")
        .with_endpoint(servers.store())
        .with_allow_http(true)
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY);
    builder.build().context("no client of the store can be made")
}

/// Chance of its own for each case: the hash FNV-1a.
fn number_of(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A case's name as a topic's.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.truncate(60);
    slug
}
