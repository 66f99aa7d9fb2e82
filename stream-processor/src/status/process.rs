//! How large this process is, by proc(5). Elsewhere than on Linux nothing is known.

use std::time::Duration;

use serde::Serialize;

/// `USER_HZ`: what the kernel counts CPU time in for all programs, whatever its own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// Sizes at one time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Size {
    /// Memory that is in RAM.
    pub(super) rss_bytes: Option<u64>,
    /// The most that ever was.
    pub(crate) rss_peak_bytes: Option<u64>,
    /// CPU time used, user and system.
    pub(crate) cpu_ms: Option<u64>,
}

impl Size {
    /// As it is now. Two small reads of files that are no files.
    pub(crate) fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/self/status"), &read("/proc/self/stat"))
    }

    fn parse(status: &str, stat: &str) -> Self {
        let bytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1024)
        };
        // The name stands in parentheses and may hold anything; user and system time are fields 14 and 15.
        let ticks = || -> Option<u64> {
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
            let user: u64 = fields.next()?.parse().ok()?;
            let system: u64 = fields.next()?.parse().ok()?;
            Some(user + system)
        };
        Self {
            rss_bytes: bytes("VmRSS:"),
            rss_peak_bytes: bytes("VmHWM:"),
            cpu_ms: ticks().map(|ticks| ticks * 1_000 / TICKS_PER_SECOND),
        }
    }

    pub(super) fn cpu(&self) -> Option<Duration> {
        self.cpu_ms.map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_behind_any_name() {
        let status = "Name:\ta b\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        let size = Size::parse(status, stat);
        assert_eq!(size.rss_bytes, Some(1 << 20));
        assert_eq!(size.rss_peak_bytes, Some(2 << 20));
        assert_eq!(size.cpu(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn without_proc_nothing_is_known() {
        let size = Size::parse("", "");
        assert!(size.rss_bytes.is_none() && size.cpu_ms.is_none());
    }
}
