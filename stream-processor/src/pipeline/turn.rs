//! When in the interval a lane commits, so that the workers of a table don't meet.
//!
//! Two workers that commit at the same moment waste a publish, and with equal intervals they meet again in the
//! next one. So a lane that keeps meeting others takes a turn: a moment that comes once in every interval. It
//! moves to another one until it meets nobody; then all stay where they are. No worker knows of another.
//!
//! A lane that meets nobody never has a turn: it commits when its oldest row has waited for the interval.
//! `crowd` simulates it; `prove workers` measures it on real processes.

use std::time::Duration;

use super::Timestamp;

/// Commits in a row that met others, before a turn is changed. After a single one nobody moves: moving would
/// disturb those who have settled.
const MET_MAX: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The turn: this long after any multiple of the interval.
    phase: Option<Duration>,
    /// Commits in a row that met others.
    met: u32,
    /// Whether the commit in flight has met others.
    meets: bool,
}

impl Turn {
    /// The commit in flight met others. Sealed at `free`, it would have met nobody; `chance` is a random number.
    pub(super) fn crowded(&mut self, interval: Duration, free: Timestamp, chance: u64) {
        if std::mem::replace(&mut self.meets, true) {
            return;
        }
        self.met += 1;
        if self.phase.is_none() || self.met >= MET_MAX {
            self.met = 0;
            let nanos = interval.as_nanos().max(1);
            // What was free once lies close to somebody else's turn; anywhere may be in the midst of one. Neither
            // alone does well: the one where there is room, the other where there is little.
            let turn = if chance & 1 == 0 { free.as_nanos() } else { u128::from(chance >> 1) };
            self.phase = Some(Duration::from_nanos(u64::try_from(turn % nanos).unwrap_or(0)));
        }
    }

    /// The commit in flight came to its end.
    pub(super) fn landed(&mut self) {
        if !std::mem::take(&mut self.meets) {
            self.met = 0;
        }
    }

    /// Whether there is one.
    pub(super) fn is_taken(&self) -> bool {
        self.phase.is_some()
    }

    /// When something that came at `since` is due that may wait for `wait`, which is an interval or more: at the
    /// last turn until then. There is one, and it is later than `since`.
    pub(super) fn due(&self, since: Timestamp, wait: Duration, interval: Duration) -> Timestamp {
        let latest = since.saturating_add(wait);
        let Some(phase) = self.phase else { return latest };
        let over = latest.saturating_sub(phase).as_nanos() % interval.as_nanos().max(1);
        latest.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A lane that has its turn 300 ms after each full second.
    fn turn() -> Turn {
        let mut turn = Turn::default();
        turn.crowded(INTERVAL, ms(0), (5_300_000_000 << 1) | 1);
        turn.landed();
        turn
    }

    #[track_caller]
    fn check(turn: &Turn, since: u64, wait: u64, due: u64) {
        assert_eq!(turn.due(ms(since), ms(wait), INTERVAL), ms(due), "since {since} ms");
    }

    #[test]
    fn alone_the_oldest_row_waits_for_the_interval() {
        check(&Turn::default(), 1_234, 1_000, 2_234);
        check(&Turn::default(), 1_234, 10_000, 11_234);
    }

    #[test]
    fn with_a_turn_nothing_waits_longer_and_all_are_due_at_it() {
        check(&turn(), 0, 1_000, 300);
        check(&turn(), 299, 1_000, 300);
        check(&turn(), 300, 1_000, 1_300);
        check(&turn(), 301, 1_000, 1_300);
        check(&turn(), 7_900, 1_000, 8_300);
        check(&turn(), 7_900, 10_000, 17_300);
        check(&turn(), 8_300, 10_000, 18_300);
        for since in 0..5_000 {
            let due = turn().due(ms(since), INTERVAL, INTERVAL);
            assert!(due > ms(since) && due <= ms(since + 1_000), "{since} → {due:?}");
        }
    }

    #[test]
    fn a_turn_is_given_up_after_two_commits_in_a_row_that_met_others() {
        let mut turn = turn();
        let commit = |turn: &mut Turn, meets: bool, chance: u64| {
            if meets {
                turn.crowded(INTERVAL, ms(7_600), chance);
            }
            turn.landed();
        };
        commit(&mut turn, false, 0);
        commit(&mut turn, true, 0);
        commit(&mut turn, false, 0);
        commit(&mut turn, true, 0);
        check(&turn, 0, 1_000, 300);
        commit(&mut turn, true, 0);
        check(&turn, 0, 1_000, 600);
        commit(&mut turn, true, 0);
        check(&turn, 0, 1_000, 600);
        commit(&mut turn, true, (800_000_000 << 1) | 1);
        check(&turn, 800, 1_000, 1_800);
    }

    #[test]
    fn a_commit_that_meets_many_counts_once() {
        let mut turn = turn();
        (0..5).for_each(|_| turn.crowded(INTERVAL, ms(600), 0));
        turn.landed();
        check(&turn, 0, 1_000, 300);
    }
}
