//! The seeded mistakes: each is made on purpose, and one suite must notice.
//!
//! Owns who is to catch what. A mistake counts as caught only if the same command passes without it: a suite that
//! always fails catches nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lakehouse::faults::{BUG, Bug};

use crate::SuiteArgs;
use crate::report::Outcome;

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

/// Makes every mistake, and the same run without it.
pub(crate) fn run(args: &SuiteArgs) -> Result<Outcome> {
    let begun = now();
    let mut outcome = Outcome::new("bugs", args.size);
    let folder = tempfile::tempdir()?;
    let mut sound: Vec<&[&str]> = Vec::new();
    let mut caught = 0_u64;
    for Catch { bug, by } in &CATCHES {
        if !sound.contains(by) {
            let (passed, _) = suite(by, None, folder.path())?;
            ensure!(passed, "`prove {}` fails without any mistake: see its output", by.join(" "));
            sound.push(by);
        }
        let (passed, took) = suite(by, Some(*bug), folder.path())?;
        eprintln!(
            "{}: {} after {:.1} s",
            bug.code(),
            if passed { "NOT caught" } else { "caught" },
            took.as_secs_f64()
        );
        caught += u64::from(!passed);
        let detail = format!("by `prove {}` after {:.1} s", by.join(" "), took.as_secs_f64());
        outcome.case(&format!("{bug:?}"), 1, !passed, detail);
        outcome
            .figure(&format!("{}_seconds", bug.code()), (took.as_secs_f64() * 10.0).round() / 10.0);
    }
    outcome.figure("seeded bugs", format!("{caught}/{}", CATCHES.len()));
    outcome.seconds = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

/// Whether a suite passes, and how long it took. Its words go to a file, shown where they surprise.
fn suite(by: &[&str], bug: Option<Bug>, folder: &Path) -> Result<(bool, Duration)> {
    let log =
        folder.join(format!("{}-{}.log", by.join("-"), bug.map_or("none".to_owned(), Bug::code)));
    let out = std::fs::File::create(&log)?;
    let begun = now();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(by).arg("--results").arg(folder).stdin(Stdio::null());
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
