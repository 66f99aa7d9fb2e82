//! Canaries, and the search for them.

use std::path::Path;

use anyhow::{Context, Result};

use super::Watch;
use crate::servers::{ACCESS_KEY, SECRET_KEY};
use crate::stack::{Found, must};

/// Values that stand nowhere else. Those of the store are the rig's own, so that a run with them succeeds.
pub(super) const CANARIES: [(&str, &str); 9] = [
    ("the store's access key", ACCESS_KEY),
    ("the store's secret key", SECRET_KEY),
    ("a wrong access key", "canary-access-5f0e"),
    ("a wrong secret key", "canary-secret-91bd"),
    ("a password in an address", "canary-address-77c2"),
    ("a SASL password", "canary-sasl-c3d8"),
    ("a SASL user", "canary-user-2a4b"),
    ("a key's password", "canary-pem-08fe"),
    ("the catalog's token", "canary-token-e6a1"),
];

/// One of them.
pub(super) fn canary(what: &str) -> Result<&'static str> {
    let found = CANARIES.iter().find(|(name, _)| *name == what);
    found.map(|(_, value)| *value).with_context(|| format!("there is no canary for {what}"))
}

/// What was looked through.
#[derive(Debug, Default)]
pub(super) struct Searched {
    texts: u64,
    bytes: u64,
    hits: Vec<String>,
}

impl Searched {
    /// Looks through one text; `place` is where it comes from.
    pub(super) fn text(&mut self, place: &str, text: &str) {
        self.texts += 1;
        self.bytes += text.len() as u64;
        for (what, value) in CANARIES {
            if let Some(line) = text.lines().find(|line| line.contains(value)) {
                let at = line.find(value).unwrap_or(0);
                let shown: String = line.chars().skip(at.saturating_sub(60)).take(120).collect();
                self.hits.push(format!("{what} in {place}: …{shown}…"));
            }
        }
    }

    /// Looks through every file under `folder`.
    pub(super) fn folder(&mut self, folder: &Path) -> Result<()> {
        let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                self.folder(&path)?;
            } else {
                let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
                self.text(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
            }
        }
        Ok(())
    }

    /// Nothing was found, in something.
    pub(super) fn found(self) -> Result<Found> {
        let Self { texts, bytes, hits } = self;
        must(hits.is_empty(), || format!("{} hits: {}", hits.len(), hits.join("; ")))?;
        Ok(Found::new(texts, format!("0 hits in {texts} texts of {} KiB", bytes >> 10)))
    }
}

/// All that any suite has left behind.
pub(super) fn everything(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    searched.folder(&watch.stage.args.logs)?;
    for folder in &watch.also {
        searched.folder(folder)?;
    }
    searched.found()
}
