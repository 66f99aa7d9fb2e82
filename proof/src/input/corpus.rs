//! Inputs to begin with, and inputs that did harm.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The inputs of one target: `DIR/TARGET/*`, and words worth inserting, a line each in `DIR/TARGET.words`.
pub(super) struct Corpus {
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) words: Vec<Vec<u8>>,
}

impl Corpus {
    /// Reads them, in the order of their names.
    pub(super) fn load(folder: &Path, target: &str) -> Result<Self> {
        let inputs = folder.join(target);
        let listed = fs::read_dir(&inputs).with_context(|| {
            format!("{} can't be read; run this where proof/ is, or say --corpus", inputs.display())
        })?;
        let mut paths = Vec::new();
        for entry in listed {
            paths.push(entry?.path());
        }
        paths.sort();
        let mut entries = Vec::new();
        for path in paths {
            entries.push(fs::read(&path).with_context(|| path.display().to_string())?);
        }
        ensure!(!entries.is_empty(), "{} holds nothing to begin with", inputs.display());
        let words = folder.join(format!("{target}.words"));
        let words = fs::read(&words).with_context(|| words.display().to_string())?;
        let words = words.split(|byte| *byte == b'\n').filter(|word| !word.is_empty());
        Ok(Self { entries, words: words.map(<[u8]>::to_vec).collect() })
    }
}

/// The input that is being tried, on disk: what kills the process is found there.
pub(super) struct Running {
    path: PathBuf,
    file: File,
}

impl Running {
    pub(super) fn open(folder: &Path, target: &str) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(format!("{target}.running"));
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path, file })
    }

    pub(super) fn write(&mut self, input: &[u8]) -> Result<()> {
        self.file.set_len(input.len() as u64)?;
        self.file.write_all_at(input, 0)?;
        Ok(())
    }

    /// Nothing is being tried any more.
    pub(super) fn close(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| self.path.display().to_string())
    }
}

/// Keeps an input that did harm, under a number that is free.
pub(super) fn keep(folder: &Path, target: &str, input: &[u8]) -> Result<PathBuf> {
    let mut paths = (1..).map(|number: u32| folder.join(format!("{target}-{number}")));
    let path = paths.find(|path| !path.exists()).context("no number is free")?;
    fs::write(&path, input).with_context(|| path.display().to_string())?;
    Ok(path)
}
