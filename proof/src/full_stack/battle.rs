//! One group of workers under load, and the deaths around it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lakehouse::faults::{LOG, POINT};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use streamforge::verify::invariants::Invariants;

use super::toll::Toll;
use crate::servers::{Service, now, tell, until};
use crate::stack::{Feed, Found, Processor, Scene, Spawn, Stage, must, refuted};

const PARTITIONS: i32 = 8;
const RATE: u32 = 600;
const COMMIT_INTERVAL: &str = "300ms";
/// How long it may take from a death to the next commit; a broker's own start is part of it.
const RECOVERY_MAX: Duration = Duration::from_mins(2);
/// How long an armed process may take to pass its point.
const ARMED_MAX: Duration = Duration::from_mins(1);
/// A server is left dead for up to so many milliseconds.
const DEAD_MS_MAX: u64 = 2_000;
/// A process is killed up to so many milliseconds after the last commit.
const ALIVE_MS_MAX: u64 = 1_500;

/// Places to die at, over REST and in a group; the files-and-SQLite suite has the rest.
const POINTS: [&str; 8] = [
    "publish.rest.sent",
    "publish.rest.answered",
    "upload.after",
    "commit.before-publish",
    "commit.after-200",
    "group.before-offset-commit",
    "rebalance.assigned",
    "commit.manifest-written",
];

/// Who dies next, in turns: processors twice as often as all servers together.
#[derive(Clone, Copy)]
enum Victim {
    Random,
    Point,
    Server(Service, &'static str),
}

const VICTIMS: [Victim; 10] = [
    Victim::Random,
    Victim::Point,
    Victim::Server(Service::Catalog, "catalog"),
    Victim::Point,
    Victim::Server(Service::Kafka, "kafka"),
    Victim::Random,
    Victim::Point,
    Victim::Server(Service::Database, "database"),
    Victim::Random,
    Victim::Server(Service::Store, "store"),
];

struct Battle<'a> {
    scene: Scene<'a>,
    workers: Vec<Worker>,
    dice: StdRng,
    points: usize,
}

/// One place in the group, and who holds it.
struct Worker {
    spawn: Spawn,
    processor: Processor,
}

/// Kills `kills` times around `workers` processors.
pub(super) fn battle(stage: &Stage, toll: &mut Toll, workers: usize, kills: u64) -> Result<Found> {
    let mut scene = stage.scene(&format!("group_of_{workers}"), PARTITIONS)?;
    let feed = Feed::start(&scene.topic, PARTITIONS, RATE, 0)?;
    let mut group = Vec::with_capacity(workers);
    for number in 0..workers {
        let member = scene.spawn_member(&format!("worker-{number}"));
        let spawn = member.flag("--commit-interval", COMMIT_INTERVAL);
        let processor = scene.start(&spawn)?;
        group.push(Worker { spawn, processor });
    }
    let dice = StdRng::seed_from_u64(stage.args.suite.seed + workers as u64);
    let mut battle = Battle { scene, workers: group, dice, points: workers };
    battle.await_progress(battle.reached()?)?;
    let mut done = 0;
    let mut turn = workers;
    while done < kills {
        let victim = VICTIMS.get(turn % VICTIMS.len()).context("somebody dies")?;
        turn += 1;
        done += battle.strike(*victim, toll)?;
        tell(&format!("full-stack: {workers} workers, {done} of {kills} kills"));
    }
    let Battle { mut scene, workers: mut group, .. } = battle;
    scene.ledger.extend(feed.finish()?);
    let mut alive: Vec<_> = group.iter_mut().map(|worker| &mut worker.processor).collect();
    let took = scene.settle(&mut alive)?;
    for worker in &mut group {
        worker.processor.stop()?;
    }
    scene.look(&mut Invariants::default())?;
    let detail = format!("lag 0 {:.1} s after the last", took.as_secs_f64());
    Ok(Found::new(done, detail).judged(scene.judge()?))
}

impl Battle<'_> {
    /// Kills once or twice; how often.
    fn strike(&mut self, victim: Victim, toll: &mut Toll) -> Result<u64> {
        let place = self.dice.random_range(0..self.workers.len());
        std::thread::sleep(Duration::from_millis(self.dice.random_range(0..ALIVE_MS_MAX)));
        self.all_alive()?;
        match victim {
            Victim::Random => {
                toll.recovered("processor", self.kill(place)?);
                toll.died("processor: SIGKILL at random");
                Ok(1)
            }
            Victim::Point => self.kill_at_point(place, toll),
            Victim::Server(service, name) => {
                let servers = self.scene.servers;
                let (before, begun) = (self.reached()?, now());
                servers.kill(service)?;
                let dead = self.dice.random_range(0..DEAD_MS_MAX);
                std::thread::sleep(Duration::from_millis(dead));
                servers.revive(service)?;
                servers.await_ready(service)?;
                self.await_progress(before)?;
                toll.recovered(name, begun.elapsed());
                toll.died(&format!("{name}: docker kill, started again"));
                Ok(1)
            }
        }
    }

    /// Kills a worker and starts its successor; how long until that one commits.
    fn kill(&mut self, place: usize) -> Result<Duration> {
        let worker = self.workers.get_mut(place).context("the worker")?;
        let begun = now();
        worker.processor.kill()?;
        worker.processor = self.scene.start(&worker.spawn)?;
        worker.processor.await_words(r#""message":"committed""#, RECOVERY_MAX)?;
        Ok(begun.elapsed())
    }

    /// Kills a worker, has its successor die at a fault point, and starts another.
    fn kill_at_point(&mut self, place: usize, toll: &mut Toll) -> Result<u64> {
        let point = POINTS.get(self.points % POINTS.len()).context("there are points")?;
        self.points += 1;
        let nth = if *point == "rebalance.assigned" { 1 } else { self.dice.random_range(1..=3) };
        let seen = self.scene.folder().join(format!("fired-{}", self.points));
        let worker = self.workers.get_mut(place).context("the worker")?;
        worker.processor.kill()?;
        toll.died("processor: SIGKILL at random");
        let armed = worker.spawn.clone().env(POINT, format!("{point}:{nth}:kill"));
        let armed = armed.env(LOG, seen.display().to_string());
        worker.processor = self.scene.start(&armed)?;
        let stop = worker.processor.await_end(ARMED_MAX).with_context(|| (*point).to_owned())?;
        ensure!(stop.code.is_none(), "{point}: it did not die there: {stop}");
        let fired = std::fs::read_to_string(&seen).unwrap_or_default();
        ensure!(fired.contains(point), "{point} has not fired");
        toll.died(&format!("processor: SIGKILL at {point}"));
        let begun = now();
        worker.processor = self.scene.start(&worker.spawn)?;
        worker.processor.await_words(r#""message":"committed""#, RECOVERY_MAX)?;
        toll.recovered("processor", begun.elapsed());
        Ok(2)
    }

    /// How much the tables hold, over all partitions.
    fn reached(&self) -> Result<i64> {
        let stand = self.scene.stand()?;
        Ok(stand.map_or(0, |stand| stand.least().values().sum()))
    }

    /// Waits for the next commit of records.
    fn await_progress(&mut self, before: i64) -> Result<()> {
        until("the next commit", RECOVERY_MAX, || {
            self.all_alive()?;
            Ok(self.reached()? > before)
        })
        .map(drop)
        .map_err(|err| refuted(format!("{err:#}")))
    }

    fn all_alive(&mut self) -> Result<()> {
        for worker in &mut self.workers {
            let ended = worker.processor.ended()?;
            must(ended.is_none(), || format!("a worker ended by itself: {ended:?}"))?;
        }
        Ok(())
    }
}
