//! One real processor as a process of its own: started, killed, frozen, stopped, and listened to.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{must, refuted};
use crate::servers::until;

/// What I11 allows between SIGTERM and the end.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(10);

/// What a processor is told.
#[derive(Clone, Debug)]
pub(crate) struct Spawn {
    before: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
}

impl Spawn {
    pub(super) fn new(job: &Path) -> Self {
        let args = vec!["processor".into(), "--job".into(), job.into()];
        Self { before: Vec::new(), args, env: vec![("RUST_LOG".to_owned(), "info".to_owned())] }
    }

    /// A setting; said twice, the later one counts.
    pub(crate) fn flag(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let value = OsString::from(value.as_ref());
        match self.args.iter().position(|arg| arg == name) {
            Some(at) => {
                self.args.splice(at + 1..=at + 1, [value]);
            }
            None => self.args.extend([name.into(), value]),
        }
        self
    }

    /// Takes a setting away again.
    pub(crate) fn without(mut self, name: &str) -> Self {
        if let Some(at) = self.args.iter().position(|arg| arg == name) {
            self.args.drain(at..at + 2);
        }
        self
    }

    /// Has it started by a command that becomes it.
    pub(crate) fn behind(mut self, words: &[&str]) -> Self {
        self.before = words.iter().map(OsString::from).collect();
        self
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }
}

/// How a processor ended.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// Its exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Its last error, as it logged it.
    pub(crate) said: String,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "exit {code}: {}", self.said),
            None => write!(f, "by a signal: {}", self.said),
        }
    }
}

/// A processor that does not outlive its test.
pub(crate) struct Processor {
    child: Child,
    log: PathBuf,
}

impl Processor {
    pub(super) fn start(spawn: &Spawn, log: PathBuf) -> Result<Self> {
        let own = std::env::current_exe()?.into_os_string();
        let mut words = spawn.before.iter().chain([&own]).chain(&spawn.args);
        let mut command = Command::new(words.next().unwrap_or(&own));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&log).with_context(|| log.display().to_string())?);
        // What this process was told is for the suites, but for the mistake that is to be made.
        command.env_clear().envs(seeded());
        command.envs(spawn.env.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().context("a processor can't be started")?;
        Ok(Self { child, log })
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |err| err.to_string(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How often its log says `words`.
    pub(crate) fn said(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// How many commits of rows to `table` it has logged.
    pub(crate) fn commits_of(&self, table: &str) -> usize {
        let of = format!(".{table}\"");
        let log = self.log();
        let commits = log.lines().filter(|line| line.contains(r#""message":"committed""#));
        commits.filter(|line| line.contains(&of) && !line.contains(r#""rows":0"#)).count()
    }

    /// How many conflicts its commits met, as it logged them.
    pub(crate) fn conflicts(&self) -> u64 {
        let log = self.log();
        let told =
            log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        told.filter_map(|line| line.get("conflicts")?.as_u64()).sum()
    }

    /// Waits until its log says `words`.
    pub(crate) fn await_words(&mut self, words: &str, limit: Duration) -> Result<Duration> {
        let mut ended = None;
        let waited = until(&format!("a processor says `{words}`"), limit, || {
            ended = self.ended()?;
            Ok(ended.is_some() || self.said(words) > 0)
        })
        .map_err(|err| refuted(format!("{err:#}")))?;
        match ended.filter(|_| self.said(words) == 0) {
            Some(stop) => Err(refuted(format!("ended before it said `{words}`: {stop}"))),
            None => Ok(waited),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<Stop>> {
        let status = self.child.try_wait()?;
        Ok(status.map(|status| Stop { code: status.code(), said: self.last_error() }))
    }

    /// Waits for its end.
    pub(crate) fn await_end(&mut self, limit: Duration) -> Result<Stop> {
        let mut end = None;
        until("a processor ends by itself", limit, || {
            end = self.ended()?;
            Ok(end.is_some())
        })
        .map_err(|err| refuted(format!("{err:#}; its log ends with {}", self.last_error())))?;
        end.context("it ended")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and a clean end in time.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let stop = self.await_end(STOP_MAX).context("after SIGTERM")?;
        must(stop.code == Some(0), || format!("after SIGTERM: {stop}"))
    }

    /// The most memory that it ever had in RAM, in bytes.
    pub(crate) fn memory_highest(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("the kernel says no VmHWM")?.parse::<u64>()? << 10)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        let pid = Pid::from_raw(pid).context("a process has a number")?;
        kill_process(pid, signal).with_context(|| format!("{signal:?} was not sent"))
    }

    /// The last error that it logged: the one before its end says why.
    fn last_error(&self) -> String {
        let log = self.log();
        let error = log.lines().rfind(|line| line.contains(r#""level":"ERROR""#));
        let Some(line) = error else {
            return log.lines().last().unwrap_or_default().to_owned();
        };
        let parsed: Option<serde_json::Value> = serde_json::from_str(line).ok();
        let message = parsed.as_ref().and_then(|line| line.get("message")?.as_str());
        message.unwrap_or(line).to_owned()
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn seeded() -> Option<(&'static str, OsString)> {
    std::env::var_os(lakehouse::faults::BUG).map(|bug| (lakehouse::faults::BUG, bug))
}
