//! Whether a running emitter delivers, told to another process through a file's age.
//!
//! Owns that file. It must never say "well" for records that were only sent: the broker has to have
//! acknowledged some.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

/// How often the file is written at most.
const TOUCH_INTERVAL: Duration = Duration::from_secs(1);
/// Without an acknowledgement for so long, the emitter is not healthy.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Writes the file while records are acknowledged.
pub(crate) struct Pulse {
    file: PathBuf,
    delivered: u64,
    due: Option<Instant>,
    broken: bool,
}

impl Pulse {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, delivered: 0, due: None, broken: false }
    }

    /// Takes note that `delivered` records are acknowledged by now.
    #[allow(clippy::disallowed_methods, reason = "the edge reads the clock")]
    pub(crate) fn beat(&mut self, delivered: u64) {
        let now = Instant::now();
        if delivered == self.delivered || self.due.is_some_and(|due| now < due) {
            return;
        }
        self.delivered = delivered;
        self.due = Some(now + TOUCH_INTERVAL);
        if let Err(err) = touch(&self.file)
            && !std::mem::replace(&mut self.broken, true)
        {
            warn!(file = %self.file.display(), "the health file can't be written: {err}");
        }
    }
}

fn touch(file: &Path) -> io::Result<()> {
    #[allow(clippy::disallowed_methods, reason = "the edge reads the clock")]
    File::create(file)?.set_modified(SystemTime::now())
}

/// Whether the emitter that writes `file` delivers; the reason when not.
#[allow(clippy::disallowed_methods, reason = "the edge reads the clock")]
pub(crate) fn check(file: &Path) -> Result<(), String> {
    let modified = file.metadata().and_then(|about| about.modified());
    let modified = modified.map_err(|err| {
        format!(
            "no record was acknowledged yet, or EMITTER_HEALTH_FILE is another: {} ({err})",
            file.display()
        )
    })?;
    // A clock that went back makes the file young, not old.
    let silence = SystemTime::now().duration_since(modified).unwrap_or_default();
    if silence > SILENCE_MAX {
        return Err(format!("no record was acknowledged for {} s", silence.as_secs()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]
    #![allow(clippy::disallowed_methods, reason = "the file's age is what is tested")]

    use super::*;

    #[test]
    fn only_a_fresh_acknowledgement_is_well() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("delivered");
        let mut pulse = Pulse::new(file.clone());
        pulse.beat(0);
        assert!(check(&file).unwrap_err().contains("no record was acknowledged yet"));
        pulse.beat(1);
        check(&file).unwrap();
        let old = SystemTime::now() - SILENCE_MAX - Duration::from_secs(5);
        File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        assert!(check(&file).unwrap_err().contains("for 35 s"));
    }
}
