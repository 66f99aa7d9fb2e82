//! I4: the books of one table, from the summaries of main's snapshots.
//!
//! Pure, and in the verifier's own words: it reads the stored texts by itself and shares neither keys nor parsing
//! with the engine that wrote them.

use std::collections::{BTreeMap, BTreeSet};

use lakehouse::commit::SnapshotInfo;
use serde_json::Value;

const POSITION: &str = "streamforge.position";
const SEQUENCE: &str = "streamforge.sequence";
const ATTEMPT: &str = "streamforge.attempt";
/// As Flink's sink marks its snapshots: a table that was lent to it comes back further on.
const FLINK: &str = "flink.job-id";

/// What the books are kept in.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) properties: BTreeMap<String, String>,
    /// The sequence number of the newest change.
    pub(super) last_sequence: i64,
    /// Main's snapshot and its retained ancestors, newest first.
    pub(super) ancestry: Vec<SnapshotInfo>,
}

/// Sums over the retained snapshots that moved the position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) keyed: u64,
    pub(super) read: u64,
    pub(super) written: u64,
    pub(super) added: u64,
}

/// One snapshot that records a position.
struct Keyed<'a> {
    id: i64,
    /// Its place in the ancestry.
    place: usize,
    sequence: i64,
    json: &'a str,
    source: String,
    position: BTreeMap<i64, i64>,
    ranges: BTreeMap<i64, (i64, i64)>,
    read: u64,
    written: u64,
    added: u64,
}

/// Checks everything that the summaries and properties say about each other.
pub(super) fn check(history: &History) -> (Vec<String>, Sums) {
    let mut wrong = order(history);
    let mut keyed = Vec::new();
    let places = history.ancestry.iter().enumerate();
    for (place, snapshot) in places.filter(|(_, one)| one.summary.contains_key(POSITION)) {
        match Keyed::read(place, snapshot) {
            Ok(one) => keyed.push(one),
            Err(why) => wrong.push(format!("I4: snapshot {}: {why}", snapshot.id)),
        }
    }
    for (next, before) in keyed.iter().zip(keyed.iter().skip(1)) {
        let mut between = history.ancestry.iter().take(before.place).skip(next.place);
        let lent = between.any(|one| one.summary.contains_key(FLINK));
        if lent && next.ranges.is_empty() && next.read == 0 {
            moves_on(before, next, &mut wrong);
        } else {
            continues(before, next, &mut wrong);
        }
    }
    if let Some(oldest) = keyed.last() {
        ends(oldest, &mut wrong);
    }
    if wrong.is_empty() {
        properties(history, keyed.first(), &mut wrong);
    }
    let mut sums = Sums::default();
    for one in &keyed {
        sums.keyed += 1;
        sums.read += one.read;
        sums.written += one.written;
        sums.added += one.added;
    }
    if sums.added != sums.written {
        let Sums { written, added, .. } = sums;
        wrong.push(format!("I4: {added} records were added, but {written} written"));
    }
    (wrong, sums)
}

/// Sequence numbers only grow, and no attempt landed twice.
fn order(history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    for (next, before) in history.ancestry.iter().zip(history.ancestry.iter().skip(1)) {
        if before.sequence >= next.sequence {
            wrong.push(format!(
                "I4: snapshot {} has sequence number {}, its ancestor {} has {}",
                next.id, next.sequence, before.id, before.sequence
            ));
        }
    }
    if let Some(newest) =
        history.ancestry.first().filter(|one| one.sequence > history.last_sequence)
    {
        wrong.push(format!(
            "I4: snapshot {} has sequence number {}, the table only {}",
            newest.id, newest.sequence, history.last_sequence
        ));
    }
    let mut attempts = BTreeSet::new();
    for snapshot in &history.ancestry {
        if let Some(attempt) = snapshot.summary.get(ATTEMPT).filter(|one| !attempts.insert(*one)) {
            wrong.push(format!("I4: attempt {attempt} landed twice, again as {}", snapshot.id));
        }
    }
    wrong
}

impl<'a> Keyed<'a> {
    fn read(place: usize, snapshot: &'a SnapshotInfo) -> Result<Self, String> {
        let text = |key: &str| snapshot.summary.get(key).ok_or_else(|| format!("no {key}"));
        let count = |key: &str| {
            let text = text(key)?;
            text.parse::<u64>().map_err(|_| format!("{key} is {text}"))
        };
        let json = text(POSITION)?;
        let (source, position) = position(json)?;
        let counts = ["read", "written", "filtered", "rejected"]
            .map(|name| count(&format!("streamforge.{name}")));
        let [read, written, filtered, rejected] = counts;
        let (read, written, filtered, rejected) = (read?, written?, filtered?, rejected?);
        if read != written + filtered + rejected {
            return Err(format!(
                "read={read}, but written={written} filtered={filtered} rejected={rejected}"
            ));
        }
        let added =
            snapshot.summary.get("added-records").map_or(Ok(0), |_| count("added-records"))?;
        if added != written {
            return Err(format!("{written} records written, but added-records={added}"));
        }
        let ranges = ranges(text("streamforge.ranges")?)?;
        let (id, sequence) = (snapshot.id.get(), snapshot.sequence);
        Ok(Self { id, place, sequence, json, source, position, ranges, read, written, added })
    }
}

/// What `next` covers begins where `before` ended, and what it does not cover stays.
fn continues(before: &Keyed<'_>, next: &Keyed<'_>, wrong: &mut Vec<String>) {
    let mut note = |what: String| {
        wrong.push(format!("I4: snapshot {} after {}: {what}", next.id, before.id));
    };
    if before.source != next.source {
        note(format!("counts {}, and before it {}", next.source, before.source));
    }
    for (partition, held) in &before.position {
        let start = next.ranges.get(partition).map_or(*held, |(start, _)| *start);
        if start != *held {
            note(format!("partition {partition} starts at {start}, the table stood at {held}"));
        }
        let end = next.ranges.get(partition).map_or(*held, |(_, end)| *end);
        if next.position.get(partition) != Some(&end) {
            let now = next.position.get(partition);
            note(format!("partition {partition} ends at {end}, the position says {now:?}"));
        }
    }
    for partition in next.ranges.keys().filter(|one| !before.position.contains_key(one)) {
        note(format!("partition {partition} was committed, but never pinned"));
    }
}

/// What another engine wrote in between is not in our books; the position only goes on.
fn moves_on(before: &Keyed<'_>, next: &Keyed<'_>, wrong: &mut Vec<String>) {
    for (partition, held) in &before.position {
        let now = next.position.get(partition);
        if before.source != next.source || now.is_none_or(|now| now < held) {
            wrong.push(format!(
                "I4: snapshot {} after {}: taken back from Flink, partition {partition} is at {now:?}, and was at \
                 {held}",
                next.id, before.id
            ));
        }
    }
}

/// All that the oldest one can be held to: its own ranges.
fn ends(oldest: &Keyed<'_>, wrong: &mut Vec<String>) {
    for (partition, (_, end)) in &oldest.ranges {
        if oldest.position.get(partition) != Some(end) {
            let (id, now) = (oldest.id, oldest.position.get(partition));
            wrong.push(format!(
                "I4: snapshot {id}: partition {partition} ends at {end}, the position says {now:?}"
            ));
        }
    }
}

/// The table's properties say what the nearest keyed summary says.
fn properties(history: &History, newest: Option<&Keyed<'_>>, wrong: &mut Vec<String>) {
    let stored = history.properties.get(POSITION);
    let sequence = history.properties.get(SEQUENCE);
    let number = sequence.and_then(|text| text.parse::<i64>().ok());
    match (newest, stored) {
        (None, None) if history.ancestry.is_empty() => {}
        (Some(newest), Some(stored)) => {
            if stored != newest.json {
                let json = newest.json;
                wrong.push(format!("I4: the property says {stored}, the summary {json}"));
            }
            if number != Some(newest.sequence) {
                let (id, held) = (newest.id, newest.sequence);
                wrong.push(format!(
                    "I4: the sequence property is {sequence:?}, snapshot {id} has {held}"
                ));
            }
        }
        // The snapshot that recorded it has expired behind foreign ones.
        (None, Some(_)) => {
            let oldest = history.ancestry.last().map(|oldest| oldest.sequence);
            if number.is_none() || oldest.is_none() || number >= oldest {
                wrong.push(format!(
                    "I4: no snapshot records a position; the property's sequence is {sequence:?}, the oldest \
                     snapshot's {oldest:?}"
                ));
            }
        }
        (_, None) => wrong.push("I4: the table has snapshots, but no position".to_owned()),
    }
}

/// Which topic, and the next offset of each partition.
fn position(json: &str) -> Result<(String, BTreeMap<i64, i64>), String> {
    let strange = || format!("{json} is no position");
    let value: Value = serde_json::from_str(json).map_err(|_| strange())?;
    let cluster = value.get("cluster").and_then(Value::as_str).ok_or_else(strange)?;
    let topics = value.get("topics").and_then(Value::as_object).ok_or_else(strange)?;
    let mut topics = topics.iter();
    let (Some((topic, offsets)), None) = (topics.next(), topics.next()) else {
        return Err(strange());
    };
    let offsets = offsets.as_object().ok_or_else(strange)?.iter().map(|(partition, offset)| {
        Some((partition.parse::<i64>().ok()?, offset.as_i64().filter(|offset| *offset >= 0)?))
    });
    let offsets = offsets.collect::<Option<_>>().ok_or_else(strange)?;
    Ok((format!("topic {topic} of cluster {cluster}"), offsets))
}

/// `{"0":[start,end]}`, never backwards.
fn ranges(json: &str) -> Result<BTreeMap<i64, (i64, i64)>, String> {
    let strange = || format!("{json} are no ranges");
    let value: BTreeMap<String, (i64, i64)> = serde_json::from_str(json).map_err(|_| strange())?;
    let ranges = value.into_iter().map(|(partition, (start, end))| {
        let sound = 0 <= start && start <= end;
        Some((partition.parse::<i64>().ok()?, sound.then_some((start, end))?))
    });
    ranges.collect::<Option<_>>().ok_or_else(strange)
}

#[cfg(test)]
mod tests {
    use lakehouse::ids::SnapshotId;

    use super::*;

    /// A snapshot of partition 0, `start..end`, that writes all that it reads.
    fn keyed(number: i64, start: i64, end: i64) -> SnapshotInfo {
        let records = (end - start).to_string();
        let summary = [
            (POSITION, stored(end)),
            (ATTEMPT, format!("attempt-{number}")),
            ("streamforge.ranges", format!(r#"{{"0":[{start},{end}]}}"#)),
            ("streamforge.read", records.clone()),
            ("streamforge.written", records.clone()),
            ("streamforge.filtered", "0".to_owned()),
            ("streamforge.rejected", "0".to_owned()),
            ("added-records", records),
        ];
        SnapshotInfo { summary: summary.map(|(k, v)| (k.to_owned(), v)).into(), ..foreign(number) }
    }

    fn foreign(number: i64) -> SnapshotInfo {
        SnapshotInfo {
            id: SnapshotId::new(number * 100),
            parent: None,
            time_ms: 0,
            sequence: number,
            operation: "append".to_owned(),
            summary: BTreeMap::new(),
        }
    }

    fn stored(end: i64) -> String {
        format!(r#"{{"cluster":"c","topics":{{"t":{{"0":{end}}}}}}}"#)
    }

    /// Three commits and a foreign one between them.
    fn sound() -> History {
        let position = stored(9);
        History {
            properties: [(POSITION.to_owned(), position), (SEQUENCE.to_owned(), "4".to_owned())]
                .into(),
            last_sequence: 4,
            ancestry: vec![keyed(4, 7, 9), foreign(3), keyed(2, 5, 7), keyed(1, 0, 5)],
        }
    }

    #[track_caller]
    fn check_wrong(name: &str, change: impl FnOnce(&mut History), words: &[&str]) {
        let mut history = sound();
        change(&mut history);
        let (wrong, _) = check(&history);
        let said = wrong.join("\n");
        assert_eq!(wrong.is_empty(), words.is_empty(), "{name}: {said}");
        for word in words {
            assert!(said.contains(word), "{name}: `{word}` is missing in {said}");
        }
    }

    fn set(history: &mut History, place: usize, key: &str, value: &str) {
        history.ancestry[place].summary.insert(key.to_owned(), value.to_owned());
    }

    #[test]
    fn sound_books_are_sound() {
        let (wrong, sums) = check(&sound());
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(sums, Sums { keyed: 3, read: 9, written: 9, added: 9 });
        check_wrong("nothing yet", |history| *history = History::default(), &[]);
        check_wrong(
            "a foreign snapshot on top",
            |h| h.ancestry.insert(0, foreign(5)),
            &["the table only"],
        );
        let on_top = |history: &mut History| {
            history.ancestry.insert(0, foreign(5));
            history.last_sequence = 5;
        };
        check_wrong("a foreign snapshot on top, counted", on_top, &[]);
        let expired = |history: &mut History| {
            history.ancestry = vec![foreign(6)];
            history.last_sequence = 6;
        };
        check_wrong("all of ours expired behind a foreign one", expired, &[]);
    }

    #[test]
    fn ranges_follow_each_other() {
        let ranges = "streamforge.ranges";
        check_wrong(
            "a gap",
            |h| set(h, 0, ranges, r#"{"0":[8,9]}"#),
            &["starts at 8, the table stood at 7"],
        );
        check_wrong("a repeat", |h| set(h, 0, ranges, r#"{"0":[5,9]}"#), &["starts at 5"]);
        check_wrong("backwards", |h| set(h, 0, ranges, r#"{"0":[9,7]}"#), &["are no ranges"]);
        check_wrong("negative", |h| set(h, 2, ranges, r#"{"0":[-1,7]}"#), &["are no ranges"]);
        check_wrong(
            "another end",
            |h| set(h, 0, POSITION, &stored(10)),
            &["ends at 9, the position says Some(10)"],
        );
        check_wrong(
            "the oldest one's end",
            |h| set(h, 3, ranges, r#"{"0":[0,4]}"#),
            &["ends at 4"],
        );
        check_wrong(
            "never pinned",
            |h| set(h, 0, ranges, r#"{"0":[7,9],"1":[0,2]}"#),
            &["never pinned"],
        );
        let forgot = r#"{"cluster":"c","topics":{"t":{}}}"#;
        check_wrong(
            "a forgotten partition",
            |h| set(h, 0, POSITION, forgot),
            &["the position says None"],
        );
        let moved = r#"{"cluster":"c","topics":{"t":{"0":8}}}"#;
        let silent = |history: &mut History| {
            set(history, 2, ranges, "{}");
            set(history, 2, POSITION, moved);
        };
        check_wrong("moved without a range", silent, &["ends at 5, the position says Some(8)"]);
        let other = stored(9).replace("\"t\"", "\"u\"");
        check_wrong("another topic", |h| set(h, 0, POSITION, &other), &["counts topic u"]);
        check_wrong("no position", |h| set(h, 0, POSITION, "{}"), &["is no position"]);
    }

    #[test]
    fn a_table_that_was_lent_comes_back_further_on() {
        let lent = |end: i64, marked: bool| {
            move |history: &mut History| {
                // The commit at the top becomes the taking back, and the foreign snapshot below it Flink's.
                history.ancestry[0] = SnapshotInfo { id: SnapshotId::new(400), ..keyed(4, 0, 0) };
                set(history, 0, "streamforge.ranges", "{}");
                set(history, 0, POSITION, &stored(end));
                history.properties.insert(POSITION.to_owned(), stored(end));
                if marked {
                    set(history, 1, FLINK, "job");
                }
            }
        };
        check_wrong("further on", lent(20, true), &[]);
        check_wrong("where it was", lent(7, false), &[]);
        check_wrong(
            "back",
            lent(6, true),
            &["taken back from Flink", "is at Some(6), and was at 7"],
        );
        check_wrong("not lent", lent(20, false), &["ends at 7, the position says Some(20)"]);
    }

    #[test]
    fn counts_balance() {
        let count = |key: &'static str, value: &'static str| {
            move |history: &mut History| set(history, 2, key, value)
        };
        check_wrong("read", count("streamforge.read", "3"), &["read=3, but written=2"]);
        check_wrong("filtered", count("streamforge.filtered", "1"), &["read=2, but"]);
        check_wrong(
            "added",
            count("added-records", "1"),
            &["2 records written, but added-records=1"],
        );
        check_wrong("no number", count("streamforge.read", "-1"), &["streamforge.read is -1"]);
        let absent = |history: &mut History| {
            history.ancestry[0].summary.remove("streamforge.rejected");
        };
        check_wrong("absent", absent, &["no streamforge.rejected"]);
    }

    #[test]
    fn properties_agree_with_the_nearest_keyed_summary() {
        let set = |key: &'static str, value: String| {
            move |history: &mut History| {
                history.properties.insert(key.to_owned(), value);
            }
        };
        let unset = |key: &'static str| {
            move |history: &mut History| {
                history.properties.remove(key);
            }
        };
        check_wrong("an older position", set(POSITION, stored(7)), &["the property says"]);
        check_wrong(
            "another sequence",
            set(SEQUENCE, "3".to_owned()),
            &["the sequence property is"],
        );
        check_wrong("no position", unset(POSITION), &["but no position"]);
        check_wrong("no sequence", unset(SEQUENCE), &["the sequence property is None"]);
        let back = |history: &mut History| drop(history.ancestry.remove(0));
        check_wrong("rolled back", back, &["the property says", "the sequence property is"]);
        let lost = |history: &mut History| history.ancestry = vec![foreign(3)];
        check_wrong("the keyed snapshots lost", lost, &["no snapshot records a position"]);
    }

    #[test]
    fn numbers_grow_and_no_attempt_lands_twice() {
        check_wrong(
            "twice",
            |h| set(h, 0, ATTEMPT, "attempt-1"),
            &["attempt attempt-1 landed twice"],
        );
        check_wrong("order", |h| h.ancestry[1].sequence = 2, &["its ancestor 200 has 2"]);
    }
}
