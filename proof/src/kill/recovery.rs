//! From a kill to the first new commit.

use std::time::Duration;

use crate::report::Outcome;

/// What half of the recoveries must keep to.
const P50_MAX: Duration = Duration::from_secs(2);
/// What all but one in a hundred must keep to.
const P99_MAX: Duration = Duration::from_secs(10);

/// Recoveries of processors that read alone: nobody else's commit can be taken for theirs.
#[derive(Default)]
pub(super) struct Recoveries(Vec<Duration>);

impl Recoveries {
    pub(super) fn saw(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Tells how long they took, and whether that is soon enough.
    pub(super) fn tell(mut self, outcome: &mut Outcome) {
        self.0.sort_unstable();
        let (p50, p99) = (percentile(&self.0, 50), percentile(&self.0, 99));
        let longest = self.0.last().copied().unwrap_or_default();
        let soon = p50 <= P50_MAX && p99 <= P99_MAX;
        let detail = format!("p50 {p50:.1?}, p99 {p99:.1?}, longest {longest:.1?}");
        let name = "recovery: from SIGKILL to the first new commit, p50 ≤ 2 s and p99 ≤ 10 s";
        outcome.case(name, self.0.len() as u64, soon, detail);
        for (name, took) in [("p50", p50), ("p99", p99), ("max", longest)] {
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            outcome.figure(&format!("recovery_{name}_ms"), ms);
        }
    }
}

/// The smallest value that `percent` of all don't exceed. `sorted` is sorted.
pub(crate) fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 99), 99);
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!(percentile(&[1, 2, 3], 99), 3);
        assert_eq!(percentile::<u32>(&[], 50), 0);
    }
}
