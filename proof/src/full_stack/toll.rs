//! Who died how often, and how long it took until the next commit.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::Outcome;

/// Every kill that was seen to happen, by what was killed.
#[derive(Debug, Default)]
pub(super) struct Toll {
    kills: BTreeMap<String, u64>,
    /// From the kill to the first new commit, by what was killed.
    recoveries: BTreeMap<&'static str, Vec<Duration>>,
}

impl Toll {
    /// `who` died.
    pub(super) fn died(&mut self, who: &str) {
        *self.kills.entry(who.to_owned()).or_default() += 1;
    }

    /// After the death of one of `kind`, something was committed again.
    pub(super) fn recovered(&mut self, kind: &'static str, after: Duration) {
        self.recoveries.entry(kind).or_default().push(after);
    }

    /// Puts it into the outcome: a case for each, and the times as figures.
    pub(super) fn enter(&self, outcome: &mut Outcome, sound: bool) {
        for (who, count) in &self.kills {
            outcome.case(who, *count, sound, "");
        }
        outcome.figure("kills", self.kills.values().sum::<u64>());
        for (kind, times) in &self.recoveries {
            let mut times: Vec<_> = times.iter().map(Duration::as_millis).collect();
            times.sort_unstable();
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a place in a list"
                )]
                let at = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
                if let Some(millis) = times.get(at) {
                    let millis = u64::try_from(*millis).unwrap_or(u64::MAX);
                    outcome.figure(&format!("recovery_ms_{kind}_{name}"), millis);
                }
            }
        }
    }
}
