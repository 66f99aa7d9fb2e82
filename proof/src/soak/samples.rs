//! What is sampled, and the line through it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A process's memory in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) resident: u64,
    /// Since it started.
    pub(super) most: u64,
}

/// One look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) memory: Memory,
    /// In the current snapshot of the table that has the most.
    pub(super) manifests: Option<usize>,
    /// Under the warehouse.
    pub(super) files: Option<u64>,
}

/// Asks the kernel.
pub(super) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).context(path)?;
    Ok(Memory { resident: field(&text, "VmRSS:")?, most: field(&text, "VmHWM:")? })
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("no {name} in /proc"))? * 1024)
}

/// Files in a folder and all below.
pub(super) fn files_under(folder: &Path) -> Result<u64> {
    let mut files = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
            }
        }
    }
    Ok(files)
}

/// The slope of the least-squares line; 0 for fewer than two points.
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x) * (x - mean_x);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[track_caller]
    fn check(points: &[(f64, f64)], expected: f64) {
        assert!((slope(points) - expected).abs() < 1e-9, "{points:?}");
    }

    #[test]
    fn the_slope_is_that_of_the_least_squares() {
        check(&[], 0.0);
        check(&[(1.0, 5.0)], 0.0);
        check(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)], 2.0);
        check(&[(0.0, 7.0), (1.0, 6.0), (2.0, 7.0), (3.0, 6.0)], -0.2);
    }
}
