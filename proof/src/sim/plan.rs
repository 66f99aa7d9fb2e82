//! What one run of the world is: a seed, a length, and which kinds of fault are off.

use std::collections::BTreeSet;

use lakehouse::simulated::Dice;

use super::fault::Fault;

/// Turns of the adversary, before the faults stop.
pub(super) const TURNS: u32 = 500;

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) turns: u32,
    pub(super) off: BTreeSet<Fault>,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, turns: TURNS, off: BTreeSet::new() }
    }
}

/// How the adversary of one seed is minded: each leaves some kinds of fault out, and overdoes others.
#[derive(Debug)]
pub(super) struct Temper {
    off: BTreeSet<Fault>,
    /// Thousandths, for each kind of fault.
    rates: Vec<u64>,
    pub(super) workers: usize,
    pub(super) lanes: usize,
    pub(super) partitions: i32,
    pub(super) snapshots_kept: usize,
}

impl Temper {
    pub(super) fn of(plan: &Plan, dice: &mut Dice) -> Self {
        let rates = Fault::ALL.iter().map(|_| match dice.below(4) {
            0 => 0,
            1 => 300,
            2 => 1_000,
            _ => 2_500,
        });
        let rates = rates.collect();
        // One and two are the common cases; all up to eight occur.
        let workers = if dice.one_in(2) { 1 + dice.below(2) } else { 1 + dice.below(8) };
        let partitions = 1 + dice.below(5);
        Self {
            off: plan.off.clone(),
            rates,
            workers: usize::try_from(workers).unwrap_or(1),
            lanes: if dice.one_in(4) { 3 } else { 2 },
            partitions: i32::try_from(partitions).unwrap_or(1),
            snapshots_kept: match dice.below(3) {
                0 => 3,
                1 => 5,
                _ => 20,
            },
        }
    }

    /// Whether the fault happens now; `thousandths` is how often in a seed of the usual temper.
    pub(super) fn wants(&self, fault: Fault, thousandths: u64, dice: &mut Dice) -> bool {
        // The dice fall in any case, so that a fault that is off changes as little as can be of what follows.
        let fallen = dice.below(1_000_000);
        let place = Fault::ALL.iter().position(|known| *known == fault).unwrap_or_default();
        let rate = self.rates.get(place).copied().unwrap_or_default();
        !self.off.contains(&fault) && fallen < thousandths * rate
    }

    /// Whether this seed knows the fault at all.
    pub(super) fn has(&self, fault: Fault) -> bool {
        let place = Fault::ALL.iter().position(|known| *known == fault).unwrap_or_default();
        !self.off.contains(&fault) && self.rates.get(place).is_some_and(|rate| *rate > 0)
    }

    /// No fault any more.
    pub(super) fn calm(&mut self) {
        self.off = Fault::ALL.into();
    }
}
