//! What librdkafka calls back: rebalances, commits, errors, log lines.
//!
//! Rebalance, commit and error callbacks run on the thread inside [`super::Queue::consume`]; log lines
//! come from any thread. No panic may cross into C: a handler's panic is kept and raised again there.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lakehouse::faults::{Bug, made};
use lakehouse::ids::{Offset, PartitionId};
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;
use tracing::{debug, error, info, warn};

use super::super::Rebalance;
use super::super::tracker::Change;
use super::conf::Conf;
use super::list::{List, entries};
use super::{KafkaError, outcome, taken, text};

/// The level of log lines, as in `syslog`, that say why something fails: errors and worse.
const TROUBLE: c_int = 3;

/// How long the mistake S11 waits for its seek.
const SEEK_MS: c_int = 1_000;

/// Everything a callback may touch. It lives in a box that is freed after the client.
pub(super) struct Callbacks {
    topic: CString,
    /// Whether librdkafka is told what to read. Where another reads, it only knows the group.
    reads: AtomicBool,
    state: Mutex<State>,
    /// What librdkafka complained about last. Apart from the state, which a handler may hold for long while
    /// other threads write log lines.
    trouble: Mutex<Option<String>>,
}

struct State {
    handler: Box<dyn Rebalance>,
    assigned: BTreeSet<PartitionId>,
    changes: Vec<Change>,
    panic: Option<Box<dyn Any + Send>>,
}

/// Stands in for the handler of a client that is given up.
struct Nobody;

impl Rebalance for Nobody {
    fn assigned(&mut self, _: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        BTreeMap::new()
    }

    fn revoked(&mut self, _: &[PartitionId], _: bool) {}
}

impl Callbacks {
    pub(super) fn new(topic: CString, handler: Box<dyn Rebalance>, reads: bool) -> Self {
        let state = State { handler, assigned: BTreeSet::new(), changes: Vec::new(), panic: None };
        let reads = AtomicBool::new(reads);
        Self { topic, reads, state: Mutex::new(state), trouble: Mutex::default() }
    }

    /// Whether librdkafka is told what to read.
    pub(super) fn reads(&self) -> bool {
        self.reads.load(Ordering::Relaxed)
    }

    /// From now on librdkafka is told what to read.
    pub(super) fn read_on(&self) {
        self.reads.store(true, Ordering::Relaxed);
    }

    /// What librdkafka complained about last: why a question got no answer.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Points a conf at `this`.
    pub(super) fn register(this: *mut Self, conf: &Conf) {
        let conf = conf.as_ptr();
        // SAFETY: a valid conf. `this` is only stored; the client that uses it keeps it alive.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf, this.cast());
            sys::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
            sys::rd_kafka_conf_set_offset_commit_cb(conf, Some(on_commit));
            sys::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            sys::rd_kafka_conf_set_log_cb(conf, Some(on_log));
        }
    }

    /// What rebalances did since the last call; raises a handler's panic.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        let mut state = self.lock();
        if let Some(panic) = state.panic.take() {
            drop(state);
            std::panic::resume_unwind(panic);
        }
        std::mem::take(&mut state.changes)
    }

    /// Tells the handler that what it still holds is lost, and takes it away: no callback may come any more.
    pub(super) fn retire(&self) -> Box<dyn Rebalance> {
        let mut state = self.lock();
        let held: Vec<_> = std::mem::take(&mut state.assigned).into_iter().collect();
        if !held.is_empty() {
            state.handler.revoked(&held, true);
        }
        std::mem::replace(&mut state.handler, Box::new(Nobody))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Safety
    ///
    /// Called by librdkafka with its own client and list.
    unsafe fn rebalance(
        &self,
        rk: *mut sys::rd_kafka_t,
        code: Code,
        list: *mut sys::rd_kafka_topic_partition_list_t,
    ) -> Result<(), KafkaError> {
        // SAFETY: librdkafka's list is valid during the callback.
        let partitions: Vec<_> =
            unsafe { entries(list) }.iter().map(|entry| entry.partition).collect();
        match code {
            // SAFETY: librdkafka's own client.
            Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => unsafe { self.assign(rk, &partitions) },
            // SAFETY: librdkafka's own client.
            Code::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => unsafe { self.revoke(rk, &partitions) },
            // SAFETY: librdkafka's own client; null empties the assignment.
            _ => outcome(
                unsafe { sys::rd_kafka_assign(rk, std::ptr::null()) },
                "giving up the assignment",
            ),
        }
    }

    /// # Safety
    ///
    /// `rk` is a valid client.
    unsafe fn assign(
        &self,
        rk: *mut sys::rd_kafka_t,
        partitions: &[PartitionId],
    ) -> Result<(), KafkaError> {
        let mut state = self.lock();
        // Every round of a cooperative rebalance ends with an assignment, empty or not.
        let mut starts = match partitions {
            [] => BTreeMap::new(),
            partitions => state.handler.assigned(partitions),
        };
        state.handler.joined();
        starts.retain(|partition, _| partitions.contains(partition));
        if starts.len() < partitions.len() {
            warn!(?partitions, ?starts, "partitions without a start offset are not read");
        }
        let told = if self.reads() { starts.clone() } else { BTreeMap::new() };
        let list = if made(Bug::S11AssignThenSeek) {
            List::of(&self.topic, told.keys().copied())
        } else {
            List::with_offsets(&self.topic, &told)
        };
        // SAFETY: a valid client.
        let left_over =
            unsafe { positions(rk, &self.topic, told.keys().copied()) }?.into_keys().collect();
        debug!(?starts, ?left_over, "partitions arrive");
        // SAFETY: a valid client and a list of ours, which is copied.
        let error = unsafe { sys::rd_kafka_incremental_assign(rk, list.as_ptr()) };
        // SAFETY: returned to us.
        unsafe { taken(error, "taking partitions") }?;
        if made(Bug::S11AssignThenSeek) {
            let list = List::with_offsets(&self.topic, &starts);
            // SAFETY: a valid client and a list of ours, which is filled in.
            let error = unsafe { sys::rd_kafka_seek_partitions(rk, list.as_ptr(), SEEK_MS) };
            // SAFETY: returned to us.
            unsafe { taken(error, "seeking") }?;
        }
        state.assigned.extend(starts.keys());
        state.changes.push(Change::Assigned { starts, left_over });
        Ok(())
    }

    /// # Safety
    ///
    /// `rk` is a valid client.
    unsafe fn revoke(
        &self,
        rk: *mut sys::rd_kafka_t,
        partitions: &[PartitionId],
    ) -> Result<(), KafkaError> {
        let mut state = self.lock();
        // SAFETY: a valid client.
        let lost = unsafe { sys::rd_kafka_assignment_lost(rk) } != 0;
        debug!(?partitions, lost, "partitions leave");
        state.handler.revoked(partitions, lost);
        // librdkafka refuses the whole list when one partition of it was never taken.
        let held: Vec<_> = partitions
            .iter()
            .copied()
            .filter(|partition| state.assigned.contains(partition))
            .collect();
        let told = held.iter().copied().filter(|_| self.reads());
        let leaving = List::of(&self.topic, told);
        // SAFETY: a valid client and a list of ours, which is copied.
        let error = unsafe { sys::rd_kafka_incremental_unassign(rk, leaving.as_ptr()) };
        state.assigned.retain(|partition| !held.contains(partition));
        state.changes.push(Change::Revoked(held));
        // SAFETY: returned to us.
        unsafe { taken(error, "giving up partitions") }
    }

    /// An assignment without a group, made outside of any callback.
    pub(super) fn assigned_by_hand(&self, starts: BTreeMap<PartitionId, Offset>) {
        let mut state = self.lock();
        let before: Vec<_> = state.assigned.iter().copied().collect();
        state.assigned = starts.keys().copied().collect();
        state.changes.push(Change::Revoked(before));
        state.changes.push(Change::Assigned { starts, left_over: Vec::new() });
    }
}

/// librdkafka's position of each partition, where it has one.
///
/// # Safety
///
/// `rk` is a valid client.
pub(super) unsafe fn positions(
    rk: *mut sys::rd_kafka_t,
    topic: &CStr,
    partitions: impl IntoIterator<Item = PartitionId>,
) -> Result<BTreeMap<PartitionId, Offset>, KafkaError> {
    let list = List::of(topic, partitions);
    // SAFETY: a valid client and a list of ours, which is filled in.
    outcome(unsafe { sys::rd_kafka_position(rk, list.as_ptr()) }, "asking for positions")?;
    let known = list.entries().into_iter().filter(|entry| entry.error == 0 && entry.offset >= 0);
    Ok(known.map(|entry| (entry.partition, Offset::new(entry.offset))).collect())
}

unsafe extern "C" fn on_rebalance(
    rk: *mut sys::rd_kafka_t,
    code: Code,
    list: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: `register` set the opaque, and it outlives the client.
    let callbacks = unsafe { &*opaque.cast::<Callbacks>() };
    // SAFETY: librdkafka's own arguments, passed on. The state is a plain mutex: a panic leaves it usable.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe { callbacks.rebalance(rk, code, list) }));
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "rebalance"),
        Err(panic) => callbacks.lock().panic = Some(panic),
    }
}

unsafe extern "C" fn on_commit(
    _: *mut sys::rd_kafka_t,
    code: Code,
    list: *mut sys::rd_kafka_topic_partition_list_t,
    _: *mut c_void,
) {
    // SAFETY: librdkafka's list is valid during the callback.
    let failed = unsafe { entries(list) }.into_iter().find(|entry| entry.error != 0);
    if let Err(error) = outcome(code, "committing group offsets") {
        warn!(%error, "only lag dashboards read them; the table holds the position");
    } else if let Some(entry) = failed {
        warn!(partition = %entry.partition, offset = entry.offset, code = entry.error, "a group offset was not committed");
    } else {
        debug!("group offsets committed");
    }
}

unsafe extern "C" fn on_error(
    _: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    _: *mut c_void,
) {
    // SAFETY: a C string of librdkafka, valid during the callback.
    let reason = unsafe { text(reason) };
    warn!(target: "librdkafka", code, "{reason}");
}

unsafe extern "C" fn on_log(
    rk: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: C strings of librdkafka, valid during the callback.
    let (facility, line) = unsafe { (lossy(facility), lossy(line)) };
    if level <= TROUBLE && !rk.is_null() {
        // SAFETY: librdkafka's own client; `register` set the opaque, which outlives it.
        let callbacks = unsafe { sys::rd_kafka_opaque(rk).cast::<Callbacks>().as_ref() };
        if let Some(callbacks) = callbacks {
            let mut trouble = callbacks.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            *trouble = Some(without_thread(&line).to_owned());
        }
    }
    match level {
        ..=2 => error!(target: "librdkafka", "{facility}: {line}"),
        // "Error" is any lost connection there: unexpected, and nothing is lost.
        3..=4 => warn!(target: "librdkafka", "{facility}: {line}"),
        5..=6 => info!(target: "librdkafka", "{facility}: {line}"),
        _ => debug!(target: "librdkafka", "{facility}: {line}"),
    }
}

/// `[thrd:NAME]: rest` without the first part.
fn without_thread(line: &str) -> &str {
    let rest = line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: "));
    rest.map_or(line, |(_, rest)| rest)
}

/// # Safety
///
/// `text` is null or a C string that lives for `'a`.
unsafe fn lossy<'a>(text: *const c_char) -> std::borrow::Cow<'a, str> {
    if text.is_null() {
        return "".into();
    }
    // SAFETY: not null, and a C string says the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}
