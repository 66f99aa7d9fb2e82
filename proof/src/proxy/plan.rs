//! Which requests are met by which fault, and how often that has happened.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::fault::Fault;
use super::message::Message;

/// The requests that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Any,
    /// The catalog: a commit to a table.
    Commit,
    /// The catalog: a table is read.
    Load,
    /// The store: a data file is written.
    PutData,
    /// The store: a manifest or a manifest list is written.
    PutMetadata,
    /// The store: either.
    Put,
    /// The store: a manifest or a manifest list is read.
    GetMetadata,
}

impl Which {
    fn meets(self, request: &Message) -> bool {
        let (method, path) = (request.method(), request.path());
        let parts: Vec<_> = path.split('/').collect();
        let table =
            matches!(parts.as_slice(), [.., "namespaces", _, "tables", name] if !name.is_empty());
        let (data, metadata) = (path.contains("/data/"), path.contains("/metadata/"));
        match (self, method.as_str()) {
            (Self::Any, _) => true,
            (Self::Commit, "POST") | (Self::Load, "GET") => table,
            (Self::PutData, "PUT") => data,
            (Self::PutMetadata, "PUT") | (Self::GetMetadata, "GET") => metadata,
            (Self::Put, "PUT") => data || metadata,
            _ => false,
        }
    }
}

/// A share of some requests meets one of some faults.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    which: Which,
    share: f64,
    left: u64,
    faults: Vec<Fault>,
}

impl Rule {
    /// Every one of them.
    pub(crate) fn every(which: Which, fault: Fault) -> Self {
        Self::some(which, 1.0, vec![fault])
    }

    /// A share of them, each by any of `faults`.
    pub(crate) fn some(which: Which, share: f64, faults: Vec<Fault>) -> Self {
        Self { which, share, left: u64::MAX, faults }
    }

    /// Not more than so often.
    pub(crate) fn times(self, left: u64) -> Self {
        Self { left, ..self }
    }
}

/// What has happened so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Requests in all.
    pub(crate) requests: u64,
    /// Each fault that was carried out.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Of the requests that met a fault: how many a server has applied,
    pub(crate) landed: u64,
    /// and how many it refused, or never got.
    pub(crate) missed: u64,
    /// Held back, and not passed on yet.
    pub(crate) held: u64,
}

impl Seen {
    /// Faults of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.faults.values().sum()
    }
}

struct State {
    rules: Vec<Rule>,
    dice: StdRng,
    seen: Seen,
}

/// The rules of one proxy and their record.
pub(super) struct Plan(Mutex<State>);

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed);
        Self(Mutex::new(State { rules: Vec::new(), dice, seen: Seen::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, rules: Vec<Rule>) {
        self.state().rules = rules;
    }

    pub(super) fn seen(&self) -> Seen {
        self.state().seen.clone()
    }

    pub(super) fn record(&self, record: impl FnOnce(&mut Seen)) {
        record(&mut self.state().seen);
    }

    /// A fault was carried out.
    pub(super) fn count(&self, fault: &Fault) {
        self.record(|seen| *seen.faults.entry(fault.to_string()).or_default() += 1);
    }

    /// What became of a request that met a fault.
    pub(super) fn became(&self, landed: bool) {
        self.record(|seen| if landed { seen.landed += 1 } else { seen.missed += 1 });
    }

    /// The fault that `request` is to meet, if any: that of the first rule which is about it and hits.
    pub(super) fn decide(&self, request: &Message) -> Option<Fault> {
        let mut state = self.state();
        let State { rules, dice, seen } = &mut *state;
        seen.requests += 1;
        for rule in rules.iter_mut().filter(|rule| rule.left > 0 && rule.which.meets(request)) {
            if dice.random_bool(rule.share) {
                rule.left -= 1;
                return rule.faults.choose(dice).cloned();
            }
        }
        None
    }
}
