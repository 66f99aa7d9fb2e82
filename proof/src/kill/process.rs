//! A process under proof: started with one fault point armed, killed, frozen, stopped, and waited for.
//!
//! None outlives its owner. It must never be taken for dead before the kernel says so.

#![allow(clippy::disallowed_methods, reason = "deadlines need a clock")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lakehouse::faults::{LOG, POINT};
use rustix::process::{Pid, Signal, kill_process};

/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// What I11 gives a process after SIGTERM.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(10);

/// What happens at a fault point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Kill,
    Term,
    Stop,
    Panic,
    /// It takes a rest of some milliseconds there, each time.
    Slow,
}

/// A fault point that a process is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    pub(crate) point: &'static str,
    /// At which passage.
    pub(crate) nth: u64,
    pub(crate) act: Act,
}

impl Armed {
    fn text(self) -> String {
        let act = match self.act {
            Act::Kill => "kill",
            Act::Term => "term",
            Act::Stop => "stop",
            Act::Panic => "panic",
            Act::Slow => "slow",
        };
        format!("{}:{}:{act}", self.point, self.nth)
    }
}

/// One process. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    fired: PathBuf,
    armed: Option<Armed>,
}

impl Process {
    /// Starts `command`; what it writes goes to `log`.
    pub(crate) fn start(mut command: Command, log: &Path, armed: Option<Armed>) -> Result<Self> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        let fired = log.with_extension("fired");
        if let Some(armed) = armed {
            command.env(POINT, armed.text()).env(LOG, &fired);
        } else {
            command.env_remove(POINT).env_remove(LOG);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().context("a process can't be started")?;
        Ok(Self { child, log: log.to_owned(), fired, armed })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn armed(&self) -> Option<Armed> {
        self.armed
    }

    /// Whether the armed point has fired: it said so itself before it acted.
    pub(crate) fn has_fired(&self) -> bool {
        let said = std::fs::read_to_string(&self.fired).unwrap_or_default();
        self.armed.is_some_and(|armed| said.lines().any(|line| line == armed.point))
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("{signal:?} to {pid:?}"))
    }

    /// Whether the kernel has frozen it.
    pub(crate) fn is_frozen(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        // The state stands behind the name, which is in brackets.
        stat.is_ok_and(|stat| {
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
        })
    }

    /// Waits for its end, but not longer than `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if begun.elapsed() >= limit {
                return Ok(None);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// SIGTERM; it must end with 0 in time (I11).
    pub(crate) fn terminate(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.signal(Signal::TERM)?;
        self.ends_well()?;
        Ok(begun.elapsed())
    }

    /// A process that was told to stop ends with 0 in time (I11).
    pub(crate) fn ends_well(&mut self) -> Result<()> {
        match self.wait(STOP_MAX)? {
            Some(status) => ensure!(status.success(), "after SIGTERM: {status}; {}", self.tail()),
            None => bail!("still there {STOP_MAX:?} after SIGTERM; {}", self.tail()),
        }
        Ok(())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its last words.
    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(3));
        let last = last.copied().collect::<Vec<_>>().join(" | ");
        format!("{}: {last}", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
