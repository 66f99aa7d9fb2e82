//! What was acknowledged to a producer, so that the topic itself can be held to it.
//!
//! The verifier reads the topic again and trusts it. Where the brokers are under fault, too, a suite writes down each
//! record that was acknowledged, and compares what is read again with that.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Record;
use super::held::Place;

/// Every record that the brokers acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Produced {
    places: BTreeMap<Place, Made>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    id: u64,
    payload: u64,
}

/// What came of comparing the topic with what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Records that are as they were acknowledged.
    pub kept: u64,
    /// Acknowledged records that the topic lacks.
    pub lost: u64,
    /// Records that are not what was acknowledged in their place.
    pub altered: u64,
    /// Records that nobody was told of: a producer that dies has some.
    pub unacknowledged: u64,
    /// Ids that were acknowledged at more than one place: a producer that sends again has some.
    pub repeated: u64,
    /// The first of each kind, in words.
    pub findings: Vec<String>,
}

impl Produced {
    /// Writes down that the record with `id` and `payload` was acknowledged at this place.
    ///
    /// # Errors
    ///
    /// Another record was acknowledged there before.
    pub fn acknowledged(
        &mut self,
        partition: i32,
        offset: i64,
        id: &str,
        payload: Option<&[u8]>,
    ) -> Result<(), String> {
        let made = Made { id: hash(&id), payload: hash(&payload) };
        match self.places.insert(Place { partition, offset }, made.clone()) {
            Some(before) if before != made => Err(format!(
                "two records were acknowledged at offset {offset} of partition {partition}"
            )),
            _ => Ok(()),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Compares them with `topic`, all that can be read of it again.
    pub fn audit<'a>(&self, topic: impl IntoIterator<Item = &'a Record>) -> Audit {
        let mut audit = Audit::default();
        let mut left: BTreeMap<_, _> = self.places.iter().collect();
        for record in topic {
            let place = Place { partition: record.partition, offset: record.offset };
            match left.remove(&place) {
                Some(made) if made.payload == hash(&record.payload.as_deref()) => audit.kept += 1,
                Some(_) => {
                    audit.altered += 1;
                    audit.note(audit.altered, || format!("{place:?} is not what was acknowledged"));
                }
                None => audit.unacknowledged += 1,
            }
        }
        audit.lost = left.len() as u64;
        if let Some(place) = left.keys().next() {
            audit.note(1, || format!("{place:?} was acknowledged and is not in the topic"));
        }
        let mut ids: HashMap<u64, u64> = HashMap::new();
        for made in self.places.values() {
            *ids.entry(made.id).or_default() += 1;
        }
        audit.repeated = ids.values().filter(|count| **count > 1).count() as u64;
        audit
    }
}

impl Audit {
    /// Whether the topic holds everything that was acknowledged, as it was.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.altered == 0
    }

    fn note(&mut self, count: u64, finding: impl FnOnce() -> String) {
        if count == 1 {
            self.findings.push(finding());
        }
    }
}

/// The same in every process of one build, which is as long as a ledger lives.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, payload: Option<&str>) -> Record {
        Record { partition: 0, offset, payload: payload.map(|text| text.as_bytes().to_vec()) }
    }

    fn produced() -> Produced {
        let mut produced = Produced::default();
        produced.acknowledged(0, 0, "a", Some(b"one")).unwrap();
        produced.acknowledged(0, 2, "b", None).unwrap();
        produced.acknowledged(0, 3, "a", Some(b"one")).unwrap();
        produced
    }

    #[test]
    fn the_topic_is_held_to_what_was_acknowledged() {
        let topic =
            [record(0, Some("one")), record(1, Some("?")), record(2, None), record(3, Some("one"))];
        let audit = produced().audit(&topic);
        let expected = Audit { kept: 3, unacknowledged: 1, repeated: 1, ..Audit::default() };
        assert_eq!(audit, expected);
        assert!(audit.is_clean());
    }

    #[test]
    fn a_lost_or_altered_record_is_told() {
        let audit = produced().audit(&[record(0, Some("two")), record(2, Some(""))]);
        assert_eq!((audit.kept, audit.altered, audit.lost), (0, 2, 1));
        assert_eq!(audit.findings.len(), 2, "the first of each kind: {:?}", audit.findings);
        assert!(!audit.is_clean());
    }

    #[test]
    fn a_place_is_acknowledged_once() {
        let mut produced = produced();
        assert_eq!(produced.acknowledged(0, 0, "a", Some(b"one")), Ok(()), "told twice");
        assert!(produced.acknowledged(0, 0, "c", Some(b"three")).is_err());
        assert_eq!(produced.len(), 3);
    }
}
