//! What the workers' logs say of their commits.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The line that a worker writes for each commit.
#[derive(Deserialize)]
struct Line {
    message: String,
    #[serde(default)]
    took_ms: u64,
    #[serde(default)]
    conflicts: u64,
}

/// The commits of some time, over all workers and tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Commits {
    took_ms: Vec<u64>,
    pub(super) conflicts: u64,
    elapsed: Duration,
}

impl Commits {
    /// What `log` says beyond `mark`, which is moved to its end.
    pub(super) fn read(&mut self, log: &Path, mark: &mut u64) -> Result<()> {
        let shown = || log.display().to_string();
        let mut file = File::open(log).with_context(shown)?;
        file.seek(SeekFrom::Start(*mark))?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(shown)?;
        // The last line may be under way.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let (lines, _) = text.split_at(whole);
        *mark += whole as u64;
        for line in lines.lines().filter(|line| line.contains("\"committed\"")) {
            let line: Line = serde_json::from_str(line).with_context(shown)?;
            if line.message == "committed" {
                self.took_ms.push(line.took_ms);
                self.conflicts += line.conflicts;
            }
        }
        Ok(())
    }

    pub(super) fn over(mut self, elapsed: Duration) -> Result<Self> {
        ensure!(!self.took_ms.is_empty(), "no worker committed anything");
        self.took_ms.sort_unstable();
        self.elapsed = elapsed;
        Ok(self)
    }

    /// Both together.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut took_ms = [self.took_ms.as_slice(), &other.took_ms].concat();
        took_ms.sort_unstable();
        let conflicts = self.conflicts + other.conflicts;
        Self { took_ms, conflicts, elapsed: self.elapsed + other.elapsed }
    }

    pub(super) fn commits(&self) -> u64 {
        self.took_ms.len() as u64
    }

    /// Publishes: each commit is one, each conflict another.
    pub(super) fn attempts(&self) -> u64 {
        self.commits() + self.conflicts
    }

    /// The share of the publishes that met another writer.
    pub(super) fn wasted(&self) -> f64 {
        self.conflicts as f64 / self.attempts().max(1) as f64
    }

    pub(super) fn commits_per_s(&self) -> f64 {
        self.commits() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// From sealing to the answer, uploads included.
    pub(super) fn took_ms(&self, quantile: f64) -> u64 {
        let last = self.took_ms.len().saturating_sub(1);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let place = (last as f64 * quantile).round() as usize;
        self.took_ms.get(place).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_whole_lines_about_commits_are_counted_and_each_once() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, r#"{{"message":"ready"}}"#).unwrap();
        writeln!(file, r#"{{"message":"committed","took_ms":30,"conflicts":2}}"#).unwrap();
        write!(file, r#"{{"message":"committed","took_ms":7"#).unwrap();
        let (mut mark, mut commits) = (0, Commits::default());
        commits.read(file.path(), &mut mark).unwrap();
        writeln!(file, r#","conflicts":0}}"#).unwrap();
        commits.read(file.path(), &mut mark).unwrap();
        commits.read(file.path(), &mut mark).unwrap();
        let commits = commits.over(Duration::from_secs(2)).unwrap();
        assert_eq!((commits.commits(), commits.conflicts, commits.attempts()), (2, 2, 4));
        assert_eq!((commits.took_ms(0.0), commits.took_ms(1.0)), (7, 30));
    }
}
