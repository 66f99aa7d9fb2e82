//! How much memory this process holds, by the kernel's own count.

use std::fs;

use anyhow::{Context, Result};

/// Resident memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) resident_mb: u64,
    /// Since the peak was forgotten last.
    pub(super) peak_mb: u64,
}

impl Memory {
    pub(super) fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes =
                line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
            kilobytes.map(|kb: u64| kb / 1024).with_context(|| format!("{name} is not in {status}"))
        };
        Ok(Self { resident_mb: megabytes("VmRSS:")?, peak_mb: megabytes("VmHWM:")? })
    }
}

/// Counts the peak from here on.
pub(super) fn forget_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("the peak of memory can't be reset")
}
