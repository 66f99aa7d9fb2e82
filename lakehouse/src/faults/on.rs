//! What the feature switches on.

#![expect(clippy::disallowed_methods, reason = "a process under proof is told by its environment")]

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::Bug;

/// `name`, `name:n` or `name:n:act`: act when the point is passed for the n-th time (default 1). `act` is `kill`
/// (the default), `term`, `stop` (until somebody continues the process) or `panic`; `slow` takes a rest from that time
/// on.
pub const POINT: &str = "STREAMFORGE_FAULT_POINT";
/// The code of the mistake to make, such as `S5`.
pub const BUG: &str = "STREAMFORGE_SEEDED_BUG";
/// A file to which the name of a point is appended when it fires.
pub const LOG: &str = "STREAMFORGE_FAULT_LOG";

#[derive(Clone, Copy)]
enum Act {
    Signal(Signal),
    Panic,
    Slow,
}

/// Long enough for others to get through meanwhile.
const REST: Duration = Duration::from_millis(30);

struct Armed {
    name: String,
    nth: u64,
    act: Act,
    passed: AtomicU64,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED.get_or_init(|| std::env::var(POINT).ok().map(|text| parse(&text))).as_ref()
}

fn parse(text: &str) -> Armed {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().to_owned();
    let nth = parts
        .next()
        .map_or(1, |nth| nth.parse().unwrap_or_else(|_| panic!("{POINT}={text}: no number")));
    let act = match parts.next() {
        None | Some("kill") => Act::Signal(Signal::KILL),
        Some("term") => Act::Signal(Signal::TERM),
        Some("stop") => Act::Signal(Signal::STOP),
        Some("panic") => Act::Panic,
        Some("slow") => Act::Slow,
        Some(other) => panic!("{POINT}={text}: no act {other}"),
    };
    Armed { name, nth, act, passed: AtomicU64::new(0) }
}

/// A place where the proof may end this process.
///
/// # Panics
///
/// The environment asks for a panic here, or for what there is not.
pub fn point(name: &'static str) {
    let Some(armed) = armed().filter(|armed| armed.name == name) else { return };
    let passed = armed.passed.fetch_add(1, Ordering::SeqCst) + 1;
    if passed > armed.nth && matches!(armed.act, Act::Slow) {
        std::thread::sleep(REST);
    }
    if passed != armed.nth {
        return;
    }
    if let Ok(path) = std::env::var(LOG) {
        let mut log = OpenOptions::new().create(true).append(true).open(&path);
        let written = log.as_mut().map(|log| writeln!(log, "{name}"));
        assert!(matches!(written, Ok(Ok(()))), "{LOG}={path} can't be written");
    }
    match armed.act {
        Act::Panic => panic!("fault point {name}"),
        Act::Slow => std::thread::sleep(REST),
        Act::Signal(signal) => {
            let sent = kill_process(getpid(), signal);
            assert!(sent.is_ok(), "no signal could be sent");
        }
    }
}

thread_local! {
    static HERE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Runs `work` on this thread with one mistake made, whatever the environment says.
pub fn with_bug<T>(bug: Option<Bug>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Bug>);
    impl Drop for Restore {
        fn drop(&mut self) {
            HERE.set(self.0);
        }
    }
    let _restore = Restore(HERE.replace(bug));
    work()
}

/// Whether the mistake is to be made.
///
/// # Panics
///
/// The environment names a mistake that there is not.
pub fn made(bug: Bug) -> bool {
    static SEEDED: OnceLock<Option<Bug>> = OnceLock::new();
    let seeded = || {
        *SEEDED.get_or_init(|| {
            let code = std::env::var(BUG).ok()?;
            let found = Bug::ALL.into_iter().find(|bug| bug.code() == code);
            assert!(found.is_some(), "{BUG}={code}: no such mistake");
            found
        })
    };
    HERE.get().or_else(seeded) == Some(bug)
}
