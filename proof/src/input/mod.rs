//! Input of every kind, made and mutated from a corpus: nothing may panic, grow without bound, or be misread.
//!
//! Owns the loop: one target after the other gets its share of the time. What a target does with an input, and what it
//! compares with, stands in its own module. The loop must never lose an input that did harm: it is written down before
//! it is tried, so that it survives even the death of this process.
//!
//! Chance follows from the seed, the target's name and the number of the execution. `--replay FILE --only TARGET` tries
//! one input again.

mod avro;
mod config;
mod corpus;
mod job;
mod json;
mod memory;
mod mutate;
mod position;
mod rest;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::SuiteArgs;
use crate::report::Outcome;
use corpus::{Corpus, Running};
use memory::Memory;

/// Memory that one target may hold in the end beyond what it held after its first inputs, which are its largest.
const GROWTH_MB_MAX: u64 = 64;
/// Memory that this process may ever take. The largest inputs have 10 MB, and both readings of one are held at once.
const PEAK_MB_MAX: u64 = 1_536;
/// A target that fails so often has shown enough.
const FAILURES_MAX: usize = 5;
/// Smaller inputs tried to shorten one that did harm.
const SHORTER_TRIES: usize = 3_000;

/// What the suite is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InputArgs {
    #[command(flatten)]
    pub(crate) suite: SuiteArgs,
    /// Seconds for all targets together; 60, or 1800 at full size, when absent
    #[arg(long)]
    seconds: Option<u64>,
    /// One target: json, job, position, rest, config or avro
    #[arg(long)]
    only: Option<String>,
    /// Try the input in this file, and nothing else; needs --only
    #[arg(long, value_name = "FILE", requires = "only")]
    replay: Option<PathBuf>,
    /// The folder of inputs to begin with
    #[arg(long, default_value = "proof/corpus", value_name = "DIR")]
    corpus: PathBuf,
    /// Where inputs that do harm are put
    #[arg(long, default_value = "target/proof/input-failures", value_name = "DIR")]
    failures: PathBuf,
}

/// What an input is called, and what makes it.
type Giant = (&'static str, fn() -> Vec<u8>);

/// Something that takes input.
trait Target {
    /// Also its folder of the corpus.
    fn name(&self) -> &'static str;

    /// In the words of the table.
    fn title(&self) -> &'static str;

    /// What must have come out at least once, or the inputs are not worth their name.
    fn wanted(&self) -> &[&'static str];

    /// Inputs that are too large for a corpus, each made when it is its turn.
    fn giants(&self) -> Vec<Giant> {
        Vec::new()
    }

    /// Makes one input.
    fn make(&mut self, dice: &mut StdRng, corpus: &Corpus) -> Vec<u8>;

    /// Takes one input: what came out, or what does not hold.
    fn take(&mut self, input: &[u8]) -> Result<&'static str, String>;
}

/// What came of one target.
#[derive(Default)]
struct Tally {
    executions: u64,
    outcomes: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
    peak_mb: u64,
    growth_mb: u64,
}

/// Tries inputs on every target.
pub(crate) fn run(args: &InputArgs) -> Result<Outcome> {
    let size = args.suite.size;
    let begun = now();
    let seconds = args.seconds.unwrap_or_else(|| size.of(60, 10 * 60));
    let mut outcome = Outcome::new("input", size);
    let mut targets = targets()?;
    if let Some(only) = &args.only {
        targets.retain(|target| target.name() == only);
    }
    if targets.is_empty() {
        bail!("there is no target {}", args.only.as_deref().unwrap_or_default());
    }
    listen_for_panics();
    if let Some(path) = &args.replay {
        return replay(targets, path, outcome);
    }
    eprintln!("input: seed {}, {seconds} s", args.suite.seed);
    let share = Duration::from_secs(seconds).div_f64(targets.len() as f64);
    let mut peak = 0;
    for mut target in targets {
        let tally = drive(target.as_mut(), share, args)?;
        peak = peak.max(tally.peak_mb);
        let missed: Vec<_> =
            target.wanted().iter().filter(|one| !tally.outcomes.contains_key(*one)).collect();
        let grown = tally.growth_mb > GROWTH_MB_MAX || tally.peak_mb > PEAK_MB_MAX;
        let mut detail = format!("{:?}", tally.outcomes);
        if !missed.is_empty() {
            detail = format!("never {missed:?}: {detail}");
        }
        if grown {
            let Tally { peak_mb, growth_mb, .. } = tally;
            detail = format!(
                "memory grew by {growth_mb} MB of {GROWTH_MB_MAX} to {peak_mb} of {PEAK_MB_MAX}: {detail}"
            );
        }
        if !tally.failures.is_empty() {
            detail = format!("{}; {detail}", tally.failures.join("; "));
        }
        let passed = tally.failures.is_empty() && missed.is_empty() && !grown;
        outcome.case(target.title(), tally.executions, passed, detail);
        outcome.figure(&format!("{}_executions", target.name()), tally.executions);
        outcome.figure(&format!("{}_rss_growth_mb", target.name()), tally.growth_mb);
    }
    outcome.figure("rss_max_mb", peak);
    outcome.seconds = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

fn targets() -> Result<Vec<Box<dyn Target>>> {
    Ok(vec![
        Box::new(json::Json::new()?),
        Box::new(job::JobText::new()?),
        Box::new(position::StoredPosition),
        Box::new(rest::Answers::new()?),
        Box::new(config::Settings::new()?),
        Box::new(avro::Writer),
    ])
}

fn drive(target: &mut dyn Target, share: Duration, args: &InputArgs) -> Result<Tally> {
    let corpus = Corpus::load(&args.corpus, target.name())?;
    let mut running = Running::open(&args.failures, target.name())?;
    let begun = now();
    let mut tally = Tally::default();
    memory::forget_peak()?;
    for entry in &corpus.entries {
        tally.try_one(target, entry, &mut running, args)?;
    }
    for (what, make) in target.giants() {
        let input = make();
        if begun.elapsed() > share {
            tracing::debug!(what, "a giant outlasts its target's share of the time");
        }
        tally.try_one(target, &input, &mut running, args)?;
    }
    let warm = Memory::now()?;
    let mut number = 0_u64;
    while begun.elapsed() < share && tally.failures.len() < FAILURES_MAX {
        let mut dice = dice(args.suite.seed, target.name(), number);
        let input = target.make(&mut dice, &corpus);
        tally.try_one(target, &input, &mut running, args)?;
        number += 1;
    }
    let end = Memory::now()?;
    tally.growth_mb = end.resident_mb.saturating_sub(warm.resident_mb);
    tally.peak_mb = end.peak_mb;
    running.close()?;
    eprintln!("input: {}: {} executions", target.name(), tally.executions);
    Ok(tally)
}

impl Tally {
    fn try_one(
        &mut self,
        target: &mut dyn Target,
        input: &[u8],
        running: &mut Running,
        args: &InputArgs,
    ) -> Result<()> {
        running.write(input)?;
        self.executions += 1;
        match taken(target, input) {
            Ok(outcome) => *self.outcomes.entry(outcome).or_default() += 1,
            Err(why) if self.failures.len() < FAILURES_MAX => {
                let short = shortened(target, input);
                let path = corpus::keep(&args.failures, target.name(), &short)?;
                let why = taken(target, &short).err().unwrap_or(why);
                eprintln!("input: {}: {why}; see {}", target.name(), path.display());
                self.failures.push(format!("{why} ({})", path.display()));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

/// Takes an input; a panic is what does not hold.
fn taken(target: &mut dyn Target, input: &[u8]) -> Result<&'static str, String> {
    let caught = panic::catch_unwind(AssertUnwindSafe(|| target.take(input)));
    // Also one that a thread or a task of somebody else's kept to itself.
    if let Some(panicked) = PANICKED.lock().ok().and_then(|mut heard| heard.take()) {
        return Err(format!("panicked: {panicked}"));
    }
    caught.unwrap_or_else(|_| Err("panicked without a word".to_owned()))
}

/// The last panic, wherever in this process.
static PANICKED: Mutex<Option<String>> = Mutex::new(None);

fn listen_for_panics() {
    panic::set_hook(Box::new(|info| {
        if let Ok(mut heard) = PANICKED.lock() {
            *heard = Some(info.to_string().replace('\n', " "));
        }
    }));
}

/// A shorter input that does harm as well, by leaving pieces out.
fn shortened(target: &mut dyn Target, input: &[u8]) -> Vec<u8> {
    let mut short = input.to_vec();
    let mut piece = short.len().div_ceil(2);
    let mut tries = 0;
    while piece > 0 && tries < SHORTER_TRIES {
        let mut start = 0;
        let mut cut = false;
        while start < short.len() && tries < SHORTER_TRIES {
            tries += 1;
            let end = (start + piece).min(short.len());
            let mut fewer = short.clone();
            fewer.drain(start..end);
            if taken(target, &fewer).is_err() {
                short = fewer;
                cut = true;
            } else {
                start = end;
            }
        }
        if !cut {
            piece /= 2;
        }
    }
    short
}

fn replay(
    targets: Vec<Box<dyn Target>>,
    path: &std::path::Path,
    mut outcome: Outcome,
) -> Result<Outcome> {
    let input = std::fs::read(path).with_context(|| path.display().to_string())?;
    for mut target in targets {
        let found = taken(target.as_mut(), &input);
        let (passed, detail) = match found {
            Ok(outcome) => (true, outcome.to_owned()),
            Err(why) => (false, why),
        };
        outcome.case(target.title(), 1, passed, detail);
    }
    Ok(outcome)
}

fn dice(seed: u64, target: &str, number: u64) -> StdRng {
    let mut hasher = DefaultHasher::new();
    (seed, target, number).hash(&mut hasher);
    StdRng::seed_from_u64(hasher.finish())
}

#[expect(clippy::disallowed_methods, reason = "each target has its share of the time")]
fn now() -> Instant {
    Instant::now()
}
