//! The seeded mistakes: each is made on purpose, and one suite must notice.
//!
//! Owns who is to catch what. A mistake counts as caught only if the same command passes without it: a suite that
//! always fails catches nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use lakehouse::faults::{BUG, Bug};

use crate::SuiteArgs;
use crate::report::Outcome;
use crate::servers::{Servers, ServersArgs, TURN_IS_HELD};

/// What the suite is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BugsArgs {
    #[command(flatten)]
    pub(crate) suite: SuiteArgs,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
}

/// What one mistake is to be caught by: a command of this program.
struct Catch {
    bug: Bug,
    by: &'static [&'static str],
}

const fn catch(bug: Bug, by: &'static [&'static str]) -> Catch {
    Catch { bug, by }
}

/// Each mistake that the simulator knows shows in the first ten; the same seeds pass without it.
const FEW_SEEDS: &[&str] = &["sim", "--seeds", "200"];

const CATCHES: [Catch; 12] = [
    catch(Bug::S1StockCommit, FEW_SEEDS),
    catch(Bug::S2UnavailableIsNotApplied, FEW_SEEDS),
    catch(Bug::S3DeleteAfterUnknown, FEW_SEEDS),
    catch(Bug::S4CurrentSnapshotOnly, FEW_SEEDS),
    catch(Bug::S5GreaterOrEqual, FEW_SEEDS),
    catch(Bug::S6OwnPartitionsOnly, FEW_SEEDS),
    catch(Bug::S7LastOffsetPlusOne, &["topics", "--only", "aborted"]),
    catch(Bug::S8ResetToLatest, &["topics", "--only", "retention"]),
    catch(Bug::S9TopicIdIgnored, &["topics", "--only", "recreated"]),
    catch(Bug::S10RejectAfterPosition, FEW_SEEDS),
    catch(Bug::S11AssignThenSeek, &["topics", "--only", "seek"]),
    catch(Bug::S12TableLogged, &["secrets", "--only", "succeeds"]),
];

/// A suite that has not noticed by then does not notice.
const NOTICED_MAX: Duration = Duration::from_mins(4);

/// Makes every mistake, and the same run without it. Suites run side by side; each is one that kills no server.
pub(crate) fn run(args: &BugsArgs) -> Result<Outcome> {
    let begun = now();
    let mut outcome = Outcome::new("bugs", args.suite.size);
    let folder = tempfile::tempdir()?;
    let _servers = Servers::start(&args.servers, &[])?;
    let mut groups: Vec<Group> = Vec::new();
    for Catch { bug, by } in &CATCHES {
        match groups.iter_mut().find(|group| group.by == *by) {
            Some(group) => group.bugs.push(*bug),
            None => groups.push(Group { by, bugs: vec![*bug] }),
        }
    }
    let caught: Vec<Caught> = std::thread::scope(|scope| {
        let place = folder.path();
        let start = |group| scope.spawn(move || of_one_suite(group, place));
        let running: Vec<_> = groups.iter().map(start).collect();
        let mut caught = Vec::new();
        for thread in running {
            caught
                .extend(thread.join().map_err(|_| anyhow!("a thread of this program panicked"))??);
        }
        Ok::<_, anyhow::Error>(caught)
    })?;
    for Catch { bug, .. } in &CATCHES {
        let found = caught.iter().find(|caught| caught.code == bug.code());
        let Caught { missed, by, seconds, .. } = found.context("every mistake was made")?;
        let detail = format!("by `prove {by}` after {seconds:.1} s");
        outcome.case(&format!("{bug:?}"), 1, !missed, detail);
        outcome.figure(&format!("{}_seconds", bug.code()), (seconds * 10.0).round() / 10.0);
    }
    let count = caught.iter().filter(|caught| !caught.missed).count();
    outcome.figure("seeded bugs", format!("{count}/{}", CATCHES.len()));
    outcome.seconds = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

/// The mistakes that one suite is to catch.
struct Group {
    by: &'static [&'static str],
    bugs: Vec<Bug>,
}

/// What came of one mistake.
struct Caught {
    code: String,
    by: String,
    missed: bool,
    seconds: f64,
}

/// Makes the mistakes of one suite, one after the other.
fn of_one_suite(Group { by, bugs }: &Group, folder: &Path) -> Result<Vec<Caught>> {
    let (passed, _) = suite(by, None, folder)?;
    ensure!(passed, "`prove {}` fails without any mistake: see its output", by.join(" "));
    let mut caught = Vec::new();
    for bug in bugs {
        let (missed, took) = suite(by, Some(*bug), folder)?;
        let (code, by, seconds) = (bug.code(), by.join(" "), took.as_secs_f64());
        eprintln!("{code}: {} after {seconds:.1} s", if missed { "NOT caught" } else { "caught" });
        caught.push(Caught { code, by, missed, seconds });
    }
    Ok(caught)
}

/// Whether a suite passes, and how long it took. Its words go to a file, shown where they surprise.
fn suite(by: &[&str], bug: Option<Bug>, folder: &Path) -> Result<(bool, Duration)> {
    let log =
        folder.join(format!("{}-{}.log", by.join("-"), bug.map_or("none".to_owned(), Bug::code)));
    let out = std::fs::File::create(&log)?;
    let begun = now();
    let mut command = Command::new(std::env::current_exe()?);
    let results = folder.join(by.join("-"));
    command
        .args(by)
        .arg("--results")
        .arg(results)
        .env(TURN_IS_HELD, "yes")
        .env("PROOF_LOGS", folder)
        .stdin(Stdio::null());
    command.stdout(out.try_clone()?).stderr(out);
    match bug {
        Some(bug) => command.env(BUG, bug.code()),
        None => command.env_remove(BUG),
    };
    let mut child = command.spawn().context("the suite can't be started")?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > NOTICED_MAX {
            child.kill()?;
            child.wait()?;
            anyhow::bail!(
                "`prove {}` did not end within {NOTICED_MAX:?}; {}",
                by.join(" "),
                tail(&log)
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // 1 is a suite's own verdict; anything else is a harness that broke, and has caught nothing.
    let code = status.code();
    ensure!(
        matches!(code, Some(0 | 1)),
        "`prove {}` ended with {status}: {}",
        by.join(" "),
        tail(&log)
    );
    if bug.is_none() && code == Some(1) {
        eprintln!("{}", tail(&log));
    }
    Ok((code == Some(0), begun.elapsed()))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(30)).copied().collect::<Vec<_>>().join("\n")
}

#[expect(clippy::disallowed_methods, reason = "how long it took is what is asked")]
fn now() -> Instant {
    Instant::now()
}
