//! Other clients of the tables, and disasters after which nothing may be committed.

use std::collections::BTreeSet;

use lakehouse::simulated::{Backup, Call, Foreign};
use serde_json::{Value, json};

use super::fault::Fault;
use super::ledger::{By, Check, Ledger, violated};
use super::process::Life;
use super::rows::{FOREIGN, Row, decode, encode};
use super::world::{World, say, source};

/// A state of the tables or the topic in which we must refuse to commit.
pub(super) struct Closed {
    fault: Fault,
    /// The table that is concerned; none is all of them.
    lane: Option<usize>,
    backup: Option<Backup>,
    since: u32,
    /// The last request that was sent before.
    sent: u64,
    refused: bool,
}

/// Turns after which an operator has mended it.
const MENDED_AFTER: u32 = 60;
const MENDED_AT_LAST: u32 = 250;

/// The cases: what they are called, and what the reason must say.
const CASES: [(Fault, &str, &[&str]); 9] = [
    (Fault::Dropped, "table dropped", &["was dropped under the running job"]),
    (Fault::Replaced, "table replaced", &["was replaced under the running job"]),
    (Fault::RolledBack, "table rolled back", &["rolled back, replaced or restored"]),
    (
        Fault::PositionRemoved,
        "position removed",
        &["position property was removed", "has rows but no position"],
    ),
    (Fault::PositionForged, "position forged", &["rolled back, replaced or restored"]),
    (
        Fault::SchemaChanged,
        "schema changed",
        &["schema was changed under the running job", "does not fit the job"],
    ),
    (
        Fault::SpecChanged,
        "partitions changed",
        &["partitions were changed", "does not fit the job"],
    ),
    (Fault::TopicChanged, "topic made again", &["filled from another topic"]),
    (Fault::ClusterChanged, "another cluster", &["filled from another Kafka cluster"]),
];

impl Closed {
    pub(super) fn covers(&self, lane: usize) -> bool {
        self.lane.is_none_or(|closed| closed == lane)
    }

    pub(super) fn name(&self) -> &'static str {
        CASES.iter().find(|case| case.0 == self.fault).map_or("?", |case| case.1)
    }

    /// A table that is missing would be made anew, so nobody starts before it is back.
    pub(super) fn lets_start(&self) -> bool {
        !matches!(self.fault, Fault::Dropped | Fault::Replaced)
    }

    /// Whether a commit can't help it: a property is not part of the fence, so what was decided before it was
    /// edited is still published, and puts the property right.
    pub(super) fn is_overwritten(&self, request: u64, read: u32) -> bool {
        let property = matches!(self.fault, Fault::PositionRemoved | Fault::PositionForged);
        property && (request <= self.sent || read < self.since)
    }

    /// A process stopped and said why.
    pub(super) fn heard(&mut self, text: &str) {
        let case = CASES.iter().find(|case| case.0 == self.fault);
        self.refused |= case.is_some_and(|case| case.2.iter().any(|reason| text.contains(reason)));
    }
}

/// A backup of a table, and what was true of it.
pub(super) struct Saved {
    lane: usize,
    backup: Backup,
    ledger: Ledger,
    restored: bool,
}

impl Saved {
    pub(super) fn was_restored(&self, lane: usize) -> bool {
        self.restored && self.lane == lane
    }
}

impl World {
    fn any_lane(&mut self) -> usize {
        usize::try_from(self.dice.below(self.ledgers.len() as u64)).unwrap_or_default()
    }

    fn table(&self, lane: usize) -> String {
        self.ledgers.get(lane).map(|ledger| ledger.name.clone()).unwrap_or_default()
    }

    /// Clients that know nothing of us.
    pub(super) fn others(&mut self) -> Check {
        let lane = self.any_lane();
        let kinds = [
            (Fault::ForeignAppend, 6),
            (Fault::ForeignOptimize, 2),
            (Fault::ForeignProperty, 4),
            (Fault::ForeignExpire, 2),
            (Fault::ForeignBranch, 2),
            (Fault::ForeignRetention, 2),
        ];
        for (fault, rate) in kinds {
            if !self.wants(fault, rate) || self.closed.is_some() {
                continue;
            }
            // Before our first commit there is nothing to hide.
            if self.ledgers.get(lane).is_none_or(|ledger| ledger.position.is_empty()) {
                continue;
            }
            let name = self.table(lane);
            let done = match fault {
                Fault::ForeignAppend => self.foreign_file(lane, false)?,
                Fault::ForeignOptimize => self.foreign_file(lane, true)?,
                other => self.foreign_edit(&name, other)?,
            };
            if let Some(done) = done {
                say!(self, "others: {done} on {name}");
                self.seen.one(&format!("foreign: {done}"));
                if let Some(ledger) = self.ledgers.get_mut(lane) {
                    if matches!(fault, Fault::ForeignBranch | Fault::ForeignRetention) {
                        ledger.branched = self.turn;
                    }
                    ledger.follow(&self.servers, &self.topic, By::Foreign)?;
                }
            }
        }
        Ok(())
    }

    fn foreign_file(&mut self, lane: usize, replaces: bool) -> Check<Option<&'static str>> {
        let Some(ledger) = self.ledgers.get(lane) else { return Ok(None) };
        let mut rows = Vec::new();
        if replaces {
            for location in ledger.live() {
                let bytes = self.servers.object(location).unwrap_or_default();
                rows.extend(decode(&bytes).unwrap_or_default());
            }
            if rows.is_empty() {
                return Ok(None);
            }
        } else {
            for _ in 0..=self.dice.below(3) {
                self.foreign += 1;
                rows.push(Row { partition: FOREIGN, offset: self.foreign, value: 0 });
            }
        }
        self.foreign += 1;
        let foreign = Foreign {
            name: format!("theirs-{}", self.foreign),
            rows: rows.len() as u64,
            bytes: encode(&rows),
            replaces,
            totals: !self.dice.one_in(3),
            wall_ms: self.wall_ms(),
        };
        self.clock.set(self.now, foreign.wall_ms);
        let name = self.table(lane);
        match self.servers.foreign(&name, &foreign) {
            Ok(done) => Ok(done.map(|_| if replaces { "optimize" } else { "append" })),
            Err(what) => broken(&what),
        }
    }

    fn foreign_edit(&mut self, table: &str, fault: Fault) -> Check<Option<&'static str>> {
        let Some(view) = self.servers.table(table) else { return Ok(None) };
        let Some(current) = view.current else { return Ok(None) };
        self.foreign += 1;
        let (wall_ms, number) = (self.wall_ms(), self.foreign);
        let snapshots: Vec<i64> = view.snapshots.keys().copied().collect();
        let place = usize::try_from(self.dice.below(snapshots.len() as u64)).unwrap_or_default();
        let any = snapshots.get(place).copied().unwrap_or(current);
        let branches: Vec<String> =
            view.refs.keys().filter(|name| *name != "main").cloned().collect();
        self.face(0);
        let (what, done) = match fault {
            Fault::ForeignProperty => ("properties", self.servers.edit(table, wall_ms, |json| {
                set(json, "properties", "theirs.note", json!(number.to_string()));
            })),
            Fault::ForeignExpire => {
                let kept = kept(&view, current);
                ("expire down to one", self.servers.edit(table, wall_ms, |json| expire(json, &kept)))
            }
            Fault::ForeignBranch => ("branch with a retention", self.servers.edit(table, wall_ms, |json| {
                match branches.first().filter(|_| branches.len() > 2) {
                    Some(old) => forget(json, "refs", old),
                    None => set(json, "refs", &format!("audit-{number}"), json!({
                        "type": "branch", "snapshot-id": any,
                        "min-snapshots-to-keep": 3, "max-snapshot-age-ms": 1_000_000, "max-ref-age-ms": 9_000_000 + number,
                    })),
                }
            })),
            _ => ("retention on main", self.servers.edit(table, wall_ms, |json| {
                set(json, "refs", "main", json!({
                    "type": "branch", "snapshot-id": current,
                    "min-snapshots-to-keep": 2 + number % 5, "max-snapshot-age-ms": 1_000_000 + number,
                }));
            })),
        };
        match done {
            Ok(done) => Ok(done.then_some(what)),
            Err(what) => broken(&what),
        }
    }

    /// Something an operator has to mend.
    pub(super) fn disaster(&mut self) -> Check {
        self.mend();
        self.restore_or_save();
        let place = usize::try_from(self.dice.below(CASES.len() as u64)).unwrap_or_default();
        let Some((fault, name, reasons)) = CASES.get(place).copied() else { return Ok(()) };
        if !self.wants(fault, 4) || self.closed.is_some() {
            return Ok(());
        }
        let ready = self.ledgers.iter().all(|ledger| !ledger.position.is_empty());
        let opening = self.workers.iter().any(|process| process.life == Life::Opening);
        let making = self.servers.waiting().iter().any(|op| op.call == Call::Create);
        if !ready || opening || making {
            return Ok(());
        }
        let lane = self.any_lane();
        let sent = self.servers.sent();
        let closed = match fault {
            Fault::TopicChanged | Fault::ClusterChanged => {
                self.change_topic(fault);
                Closed { fault, lane: None, backup: None, since: self.turn, sent, refused: false }
            }
            _ => {
                let table = self.table(lane);
                let backup = self.servers.back_up(&table);
                if !self.break_table(&table, fault)? {
                    return Ok(());
                }
                let backup = Some(backup);
                Closed { fault, lane: Some(lane), backup, since: self.turn, sent, refused: false }
            }
        };
        say!(self, "disaster: {name} ({})", self.table(lane));
        self.reasons.extend(reasons);
        self.closed = Some(closed);
        Ok(())
    }

    /// Everybody dies, and finds another topic under the name.
    fn change_topic(&mut self, fault: Fault) {
        for worker in 0..self.workers.len() {
            self.bury(worker);
        }
        for op in self.servers.waiting() {
            self.servers.lose(op.id);
        }
        self.orphans.clear();
        self.source = match fault {
            Fault::TopicChanged => source("topic-2", "cluster"),
            _ => source("topic-1", "another cluster"),
        };
    }

    fn break_table(&mut self, table: &str, fault: Fault) -> Check<bool> {
        let Some(view) = self.servers.table(table) else { return Ok(false) };
        let wall_ms = self.wall_ms();
        self.face(0);
        let done = match fault {
            Fault::Dropped => {
                self.servers.drop_table(table);
                Ok(true)
            }
            Fault::Replaced => self.servers.edit(table, wall_ms, |json| {
                put(json, "table-uuid", json!("00000000-0000-4000-8000-000000000001"));
            }),
            Fault::RolledBack => {
                // To where our position was another one.
                let position = view.properties.get(POSITION);
                let mut at = view.current;
                while let Some(id) = at {
                    let snapshot = view.snapshots.get(&id);
                    let said = snapshot.and_then(|snapshot| snapshot.summary.get(POSITION));
                    if said.is_some() && said != position {
                        break;
                    }
                    at = snapshot.and_then(|snapshot| snapshot.parent);
                }
                let Some(id) = at else { return Ok(false) };
                self.servers.edit(table, wall_ms, |json| roll_back(json, id, wall_ms))
            }
            Fault::PositionRemoved => {
                self.servers.edit(table, wall_ms, |json| forget(json, "properties", POSITION))
            }
            Fault::PositionForged => {
                let forged = r#"{"cluster":"cluster","topics":{"topic-1":{"0":1}}}"#;
                if view.properties.get(POSITION).is_some_and(|position| position == forged) {
                    return Ok(false);
                }
                let kept = view.current.map(|current| kept(&view, current)).unwrap_or_default();
                // Where our own snapshot is gone nothing contradicts the property.
                let keyed = |id: &i64| {
                    view.snapshots.get(id).is_some_and(|s| s.summary.contains_key(POSITION))
                };
                if !ancestors(&view).iter().any(keyed) || kept.is_empty() {
                    return Ok(false);
                }
                self.servers
                    .edit(table, wall_ms, |json| set(json, "properties", POSITION, json!(forged)))
            }
            Fault::SchemaChanged => self.servers.edit(table, wall_ms, change_schema),
            _ => self.servers.edit(table, wall_ms, change_spec),
        };
        done.or_else(|what| broken(&what))
    }

    /// An operator mends what was broken.
    fn mend(&mut self) {
        let Some(closed) = &self.closed else { return };
        let age = self.turn - closed.since;
        if (closed.refused && age > MENDED_AFTER) || age > MENDED_AT_LAST {
            self.reopen();
        }
    }

    pub(super) fn reopen(&mut self) {
        let Some(closed) = self.closed.take() else { return };
        say!(self, "mended: {}", closed.name());
        if closed.refused {
            self.seen.one(&format!("fail-closed: {}", closed.name()));
        }
        match (closed.lane, &closed.backup) {
            (Some(lane), Some(backup)) => {
                self.face(0);
                let name = self.table(lane);
                self.servers.restore(&name, backup);
                if let Some(ledger) = self.ledgers.get_mut(lane) {
                    ledger.look_again(&self.servers);
                }
            }
            _ => {
                for worker in 0..self.workers.len() {
                    self.bury(worker);
                }
                self.source = source("topic-1", "cluster");
            }
        }
    }

    /// Keeps a copy of a table, or puts it back much later, as a restore of an older dump does.
    fn restore_or_save(&mut self) {
        if !self.wants(Fault::Restored, 3) || self.closed.is_some() {
            return;
        }
        match self.saved.take() {
            None => {
                let lane = self.any_lane();
                let Some(ledger) = self.ledgers.get(lane).filter(|l| !l.position.is_empty()) else {
                    return;
                };
                let (ledger, backup) = (ledger.clone(), self.servers.back_up(&ledger.name));
                self.saved = Some(Saved { lane, backup, ledger, restored: false });
            }
            Some(mut saved) if !saved.restored => {
                say!(self, "disaster: {} is restored from a backup", saved.ledger.name);
                self.face(0);
                self.servers.restore(&saved.ledger.name, &saved.backup);
                let mut ledger = saved.ledger.clone();
                ledger.look_again(&self.servers);
                let objects = self.servers.data_objects(&ledger.name);
                ledger.abandoned.extend(objects.into_iter().map(|(location, _)| location));
                if let Some(place) = self.ledgers.get_mut(saved.lane) {
                    *place = ledger;
                }
                self.reasons.extend(["restored", "has lost its position in partition"]);
                self.restored = true;
                saved.restored = true;
                self.saved = Some(saved);
            }
            Some(saved) => self.saved = Some(saved),
        }
    }
}

const POSITION: &str = "streamforge.position";

fn broken<T>(what: &str) -> Check<T> {
    violated("harness", what)
}

fn put(json: &mut Value, key: &str, value: Value) {
    if let Some(fields) = json.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

fn set(json: &mut Value, map: &str, key: &str, value: Value) {
    if let Some(fields) = json.get_mut(map).and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value);
    }
}

fn forget(json: &mut Value, map: &str, key: &str) {
    if let Some(fields) = json.get_mut(map).and_then(Value::as_object_mut) {
        fields.remove(key);
    }
}

fn ancestors(view: &lakehouse::simulated::TableView) -> Vec<i64> {
    let mut found = Vec::new();
    let mut next = view.current;
    while let Some((id, snapshot)) = next.and_then(|id| Some((id, view.snapshots.get(&id)?))) {
        found.push(id);
        next = snapshot.parent;
    }
    found
}

/// What `expire_snapshots` leaves: main's snapshot, and what branches and tags reach.
fn kept(view: &lakehouse::simulated::TableView, current: i64) -> BTreeSet<i64> {
    let mut kept = BTreeSet::from([current]);
    for (_, reference) in view.refs.iter().filter(|(name, _)| *name != "main") {
        let mut next = reference.get("snapshot-id").and_then(Value::as_i64);
        while let Some(id) = next.filter(|id| view.snapshots.contains_key(id) && kept.insert(*id)) {
            next = view.snapshots.get(&id).and_then(|snapshot| snapshot.parent);
        }
    }
    kept
}

fn expire(json: &mut Value, kept: &BTreeSet<i64>) {
    let stays = |entry: &Value| {
        entry.get("snapshot-id").and_then(Value::as_i64).is_some_and(|id| kept.contains(&id))
    };
    for list in ["snapshots", "snapshot-log"] {
        if let Some(entries) = json.get_mut(list).and_then(Value::as_array_mut) {
            entries.retain(stays);
        }
    }
}

fn roll_back(json: &mut Value, id: i64, wall_ms: i64) {
    put(json, "current-snapshot-id", json!(id));
    if let Some(main) = json.pointer_mut("/refs/main").and_then(Value::as_object_mut) {
        main.insert("snapshot-id".to_owned(), json!(id));
    }
    let updated = json.get("last-updated-ms").and_then(Value::as_i64).unwrap_or_default();
    if let Some(log) = json.get_mut("snapshot-log").and_then(Value::as_array_mut) {
        log.push(json!({ "snapshot-id": id, "timestamp-ms": updated.max(wall_ms) }));
    }
}

/// A new schema with one more column, which must not be null.
fn change_schema(json: &mut Value) {
    let Some(mut schema) = json.pointer("/schemas/0").cloned() else { return };
    if let Some(fields) = schema.get_mut("fields").and_then(Value::as_array_mut) {
        fields.push(json!({ "id": 99, "name": "must", "required": true, "type": "long" }));
    }
    put(&mut schema, "schema-id", json!(1));
    if let Some(schemas) = json.get_mut("schemas").and_then(Value::as_array_mut) {
        schemas.push(schema);
    }
    put(json, "current-schema-id", json!(1));
    put(json, "last-column-id", json!(99));
}

/// No partitions any more.
fn change_spec(json: &mut Value) {
    if let Some(specs) = json.get_mut("partition-specs").and_then(Value::as_array_mut) {
        specs.push(json!({ "spec-id": 1, "fields": [] }));
    }
    put(json, "default-spec-id", json!(1));
}
