//! What the processes said: an error or a panic that nobody asked for is a finding.

use std::path::Path;

use anyhow::{Context, Result};

/// Files of processes that are made to panic.
pub(crate) const PANICS: &str = "panics";
/// Files of processes that the broker may throw out: another has their name.
pub(crate) const TWINS: &str = "twins";
/// Findings that are put into words.
const SHOWN_MAX: usize = 3;

/// What was found in a folder of logs.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) files: u64,
    pub(crate) lines: u64,
    /// Lines that nobody asked for.
    pub(crate) unasked: u64,
    pub(crate) shown: Vec<String>,
}

/// Reads every log under `folder`.
pub(crate) fn scan(folder: &Path) -> Result<Said> {
    let mut said = Said::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "log") {
                said.files += 1;
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
                said.read(&name.unwrap_or_default(), &String::from_utf8_lossy(&text));
            }
        }
    }
    Ok(said)
}

impl Said {
    fn read(&mut self, name: &str, text: &str) {
        let mut before = "";
        for line in text.lines() {
            self.lines += 1;
            // A panic's place stands on one line and its words on the next.
            if !is_asked_for(name, before, line) {
                self.unasked += 1;
                if self.shown.len() < SHOWN_MAX {
                    self.shown.push(format!("{name}: {line}"));
                }
            }
            before = line;
        }
    }
}

fn is_asked_for(name: &str, before: &str, line: &str) -> bool {
    if before.contains("panicked at") {
        return name.contains(PANICS) && line.contains("fault point ");
    }
    let error = line.contains(r#""level":"ERROR""#) || line.contains(" ERROR ");
    !error || name.contains(PANICS) || (name.contains(TWINS) && line.contains("nstance"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, unasked: u64) {
        let mut said = Said::default();
        said.read(name, text);
        assert_eq!(said.unasked, unasked, "{text}");
    }

    #[test]
    fn only_errors_and_panics_that_were_asked_for_pass() {
        check("one.log", r#"{"level":"INFO","message":"committed"}"#, 0);
        check("one.log", r#"{"level":"ERROR","message":"stopped"}"#, 1);
        check("one.log", "thread 'x' panicked at a.rs:1:2:\nindex out of bounds", 1);
        check("one.log", "thread 'x' panicked at a.rs:1:2:\nfault point commit.read", 1);
        check("one.panics.log", "thread 'x' panicked at a.rs:1:2:\nfault point commit.read", 0);
        check("one.panics.log", "thread 'x' panicked at a.rs:1:2:\nindex out of bounds", 1);
        check("one.panics.log", r#"{"level":"ERROR","message":"stopped"}"#, 0);
        check("one.twins.log", r#"{"level":"ERROR","message":"fenced instance id"}"#, 0);
        check("one.twins.log", r#"{"level":"ERROR","message":"the table was replaced"}"#, 1);
    }
}
