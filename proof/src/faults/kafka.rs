//! The way to Kafka: cut, late, stuck, trickling, silent and damaged.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::Case;
use super::play::{INJECTED_MAX, Play};
use crate::proxy::{KafkaProxy, Weather};
use crate::servers::now;
use crate::stack::{Found, Stage, must};

pub(super) const CASES: &[Case] = &[
    Case::own("kafka: connections cut again and again", cut),
    Case::own("kafka: every frame 100 ms late", late),
    Case::own("kafka: 64 KB a second", trickle),
    Case::own("kafka: nothing arrives for a while", stalled),
    Case::own("kafka: broker away for 10 s", away),
    Case::own("kafka: broker away at start", away_at_start),
    Case::own("kafka: one partition silent", silent),
    Case::own("kafka: damaged batches", damaged),
];

const CUTS: u64 = 10;
const BETWEEN_CUTS: Duration = Duration::from_millis(400);
const AWAY: Duration = Duration::from_secs(10);
const BAD_WEATHER: Duration = Duration::from_secs(6);
const DAMAGED: Duration = Duration::from_secs(5);
/// What a processor says whose client is lost.
const ASTRAY: &str = "damaged bytes led the Kafka client astray";
/// What one says that gives up waiting for records.
const WATCHDOG: &str = "but none came for";
const LOOK: Duration = Duration::from_millis(100);
const NOTICED_MAX: Duration = Duration::from_secs(30);
/// A partition that was not committed to for so long has nothing left on the way.
const STILL: Duration = Duration::from_secs(2);
/// The partition whose records don't arrive.
const SILENT: i32 = 1;

fn proxied<'a>(stage: &'a Stage, name: &str) -> Result<(Play<'a>, KafkaProxy)> {
    let servers = &stage.servers;
    let (here, target) = (servers.kafka_proxy(), servers.kafka_behind_proxy());
    let proxy = stage.runtime.block_on(KafkaProxy::start(&here, &target))?;
    let mut play = Play::new(stage, name)?;
    // As shipped: nameless. A named member that was silent for too long is ended by the broker for good.
    play.spawn =
        play.spawn.clone().flag("--brokers", servers.kafka_proxy()).without("--instance-id");
    Ok((play, proxy))
}

fn running<'a>(stage: &'a Stage, name: &str) -> Result<(Play<'a>, KafkaProxy)> {
    let (mut play, proxy) = proxied(stage, name)?;
    play.start()?;
    play.await_commit()?;
    Ok((play, proxy))
}

fn cut(stage: &Stage, name: &'static str) -> Result<Found> {
    let (mut play, proxy) = running(stage, name)?;
    for _ in 0..CUTS {
        proxy.cut();
        play.pass(BETWEEN_CUTS)?;
    }
    play.finish(proxy.met().cut, "connections reset")
}

fn late(stage: &Stage, name: &'static str) -> Result<Found> {
    let (mut play, proxy) = running(stage, name)?;
    proxy.set(Weather { delay: Duration::from_millis(100), ..Weather::default() });
    play.pass(BAD_WEATHER)?;
    proxy.set(Weather::default());
    play.finish(proxy.met().delayed, "frames")
}

fn trickle(stage: &Stage, name: &'static str) -> Result<Found> {
    let (mut play, proxy) = running(stage, name)?;
    proxy.set(Weather { bytes_per_s: Some(64 << 10), ..Weather::default() });
    play.pass(BAD_WEATHER)?;
    proxy.set(Weather::default());
    play.finish(proxy.met().trickled, "frames")
}

fn stalled(stage: &Stage, name: &'static str) -> Result<Found> {
    let (mut play, proxy) = running(stage, name)?;
    proxy.set(Weather { stalled: true, ..Weather::default() });
    let span = stage.args.suite.size.of(AWAY, Duration::from_mins(2));
    play.pass(span)?;
    proxy.set(Weather::default());
    play.await_progress(INJECTED_MAX)?;
    play.finish(proxy.met().stalled, format!("frames, {} s", span.as_secs()))
}

fn away(stage: &Stage, name: &'static str) -> Result<Found> {
    let (mut play, proxy) = running(stage, name)?;
    proxy.down();
    play.pass(AWAY)?;
    proxy.up();
    play.await_progress(INJECTED_MAX)?;
    play.finish(proxy.met().cut, "connections reset, and none taken")
}

fn away_at_start(stage: &Stage, name: &'static str) -> Result<Found> {
    let (mut play, proxy) = proxied(stage, name)?;
    proxy.down();
    play.start()?;
    let told = play.processor()?.await_words("waiting for Kafka at", NOTICED_MAX)?;
    proxy.up();
    play.await_commit()?;
    play.finish(1, format!("told after {:.1} s", told.as_secs_f64()))
}

/// Its records are taken out of every answer; its high watermark, and the other partitions, arrive.
fn silent(stage: &Stage, name: &'static str) -> Result<Found> {
    let (mut play, proxy) = running(stage, name)?;
    proxy.set(Weather { silent: Some(SILENT), ..Weather::default() });
    // What had arrived before is committed first.
    let least = |play: &Play<'_>| {
        anyhow::Ok(play.scene.stand()?.map(|stand| stand.least()).unwrap_or_default())
    };
    let (mut before, mut still_since) = (least(&play)?, now());
    play.watch("the silent partition stands still", INJECTED_MAX, |play| {
        let after = least(play)?;
        if after.get(&SILENT) != before.get(&SILENT) {
            still_since = now();
        }
        before = after;
        Ok(still_since.elapsed() >= STILL)
    })?;
    let span = stage.args.suite.size.of(Duration::from_secs(12), Duration::from_mins(2));
    let starts = orchestrated(&mut play, span, WATCHDOG)?;
    let after = least(&play)?;
    let moved = |partition| after.get(&partition) > before.get(&partition);
    must(moved(0) && moved(2), || format!("the others stood still: {before:?} → {after:?}"))?;
    must(!moved(SILENT), || format!("the partition was not silent: {before:?} → {after:?}"))?;
    proxy.set(Weather::default());
    let detail = format!("answers without its records; the others moved on; {starts} starts");
    play.finish(proxy.met().withheld, detail)
}

/// Starts the processor again when it ends with a reason that holds `words`, as an orchestrator would. Says how often.
fn orchestrated(play: &mut Play<'_>, span: Duration, words: &str) -> Result<u64> {
    let (begun, mut starts) = (now(), 0);
    while begun.elapsed() < span {
        if let Some(stop) = play.processor()?.ended()? {
            must(stop.said.contains(words), || format!("the processor ended by itself, {stop}"))?;
            starts += 1;
            play.start()?;
        }
        sleep(LOOK);
    }
    Ok(starts)
}

/// A damaged batch is fetched again. Sometimes its bytes make librdkafka ask for an offset that does not exist, and
/// the process ends for another to go on.
fn damaged(stage: &Stage, name: &'static str) -> Result<Found> {
    let (mut play, proxy) = running(stage, name)?;
    proxy.set(Weather { damaged: true, ..Weather::default() });
    let starts = orchestrated(&mut play, DAMAGED, ASTRAY)?;
    proxy.set(Weather::default());
    let mut more = orchestrated(&mut play, DAMAGED, ASTRAY)?;
    // What was fetched before may wait in its queues: it is through when the tables have passed it.
    let end: i64 = play.scene.topic.ends()?.values().sum();
    let begun = now();
    while play.moved()? < end {
        must(begun.elapsed() < INJECTED_MAX, || "damaged bytes stay".to_owned())?;
        more += orchestrated(&mut play, LOOK, ASTRAY)?;
    }
    play.finish(proxy.met().damaged, format!("batches; {} starts", starts + more))
}
