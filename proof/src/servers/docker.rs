//! The docker client: commands with an end, and their words when they fail.
//!
//! Owns how a command is run. It must never wait without a limit, and never touch what is not of this project.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The Compose file of the proof.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/servers.yml");
/// Names without digests, written by the script that builds the stand-in images.
const IMAGES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../platform-tests/offline-images/images.env");
/// Between two looks at a command that runs.
const TICK: Duration = Duration::from_millis(10);
/// Lines of a failed command that are shown.
const WORDS_MAX: usize = 15;

/// What to do where there is no engine, or no image.
pub(crate) const ADVICE: &str =
    "run platform-tests/offline-images/build, which starts an engine and builds the images";

/// Runs `docker` with `args` and returns what it wrote.
pub(crate) fn docker(args: &[&str], limit: Duration) -> Result<String> {
    let mut command = Command::new("docker");
    command.args(args);
    finish(command, &format!("docker {}", args.join(" ")), None, limit)
}

/// Runs `docker` with `args`, which reads `input`.
pub(crate) fn docker_reading(args: &[&str], input: &Path, limit: Duration) -> Result<String> {
    let mut command = Command::new("docker");
    command.args(args);
    finish(command, &format!("docker {}", args.join(" ")), Some(input), limit)
}

/// Runs `docker compose` on the proof's file.
pub(crate) fn compose(args: &[&str], limit: Duration) -> Result<String> {
    let mut command = Command::new("docker");
    command.args(["compose", "--file", FILE, "--progress", "plain"]);
    if Path::new(IMAGES).exists() {
        command.args(["--env-file", IMAGES]);
    }
    command.args(args);
    finish(command, &format!("docker compose {}", args.join(" ")), None, limit)
}

fn finish(
    mut command: Command,
    shown: &str,
    input: Option<&Path>,
    limit: Duration,
) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    command.stdin(match input {
        Some(path) => Stdio::from(File::open(path)?),
        None => Stdio::null(),
    });
    command.stdout(File::create(&out)?).stderr(File::create(&err)?);
    let mut child = command.spawn().with_context(|| format!("{shown} can't be run; {ADVICE}"))?;
    let begun = now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            bail!("{shown} did not end within {limit:?}: {}", words(&err));
        }
        sleep(TICK);
    };
    ensure!(status.success(), "{shown} ended with {status}: {}", words(&err));
    Ok(std::fs::read_to_string(&out)?)
}

fn words(path: &PathBuf) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(WORDS_MAX)..).unwrap_or_default().join("\n")
}

/// Says what is going on, on standard error.
pub(crate) fn tell(words: &str) {
    // Nobody may be listening any more, which is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{words}");
}

#[expect(clippy::disallowed_methods, reason = "every wait of the harness has an end")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks until it is so; `what` is told when it never is.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let begun = now();
    loop {
        let last = match probe() {
            Ok(true) => return Ok(begun.elapsed()),
            Ok(false) => None,
            Err(err) => Some(err),
        };
        if begun.elapsed() >= limit {
            let why = last.map_or(String::new(), |err| format!(": {err:#}"));
            bail!("{what}: not within {limit:?}{why}");
        }
        sleep(TICK * 2);
    }
}
