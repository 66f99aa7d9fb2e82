//! I14: commits are as quick at the end as they were at first.

use std::time::Duration;

/// Commits at each end that are compared.
const COMMITS: usize = 100;

/// The slowest commits but one of a hundred, at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatness {
    /// Of the first hundred.
    pub first_p99: Duration,
    /// Of the last hundred.
    pub last_p99: Duration,
}

/// Compares how long the last hundred commits took with the first hundred: at most `factor` times as long.
///
/// # Errors
///
/// They took longer, or there are too few to say.
pub fn flat(latencies: &[Duration], factor: f64) -> Result<Flatness, String> {
    let ends = latencies.first_chunk::<COMMITS>().zip(latencies.last_chunk::<COMMITS>());
    let Some((first, last)) = ends.filter(|_| latencies.len() >= 2 * COMMITS) else {
        return Err(format!("I14: {} commits are too few to compare their ends", latencies.len()));
    };
    let (first_p99, last_p99) = (p99(*first), p99(*last));
    if last_p99 > first_p99.mul_f64(factor) {
        return Err(format!(
            "I14: commits took {first_p99:?} at first and {last_p99:?} in the end, at the 99th of 100"
        ));
    }
    Ok(Flatness { first_p99, last_p99 })
}

fn p99(mut latencies: [Duration; COMMITS]) -> Duration {
    latencies.sort_unstable();
    latencies.get(COMMITS - 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(of: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        of.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn the_ends_are_compared_and_one_stray_is_forgiven() {
        let mut commits = millis((0..300).map(|n| 10 + n % 7));
        commits[250] = Duration::from_secs(9);
        let found = flat(&commits, 1.5).unwrap();
        assert_eq!(found.first_p99, Duration::from_millis(16));
        assert_eq!(found.last_p99, Duration::from_millis(16));
    }

    #[test]
    fn growth_is_told() {
        let growing = millis((0..400).map(|n| 10 + n / 10));
        assert!(flat(&growing, 1.5).unwrap_err().starts_with("I14: commits took 19ms"));
        assert!(flat(&growing, 3.0).is_ok());
        assert!(flat(&growing[..199], 3.0).unwrap_err().contains("199 commits are too few"));
    }
}
