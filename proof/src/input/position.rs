//! The position property: any text is a position, whole and once, or it is refused.

use std::collections::BTreeMap;
use std::fmt;

use lakehouse::Kind;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::{ClusterId, Position, Ranges, Source, TopicId};
use rand::Rng;
use rand::rngs::StdRng;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Target;
use super::corpus::Corpus;
use super::mutate;

pub(super) struct StoredPosition;

impl Target for StoredPosition {
    fn name(&self) -> &'static str {
        "position"
    }

    fn title(&self) -> &'static str {
        "the position property, any text, and its round trip"
    }

    fn wanted(&self) -> &[&'static str] {
        &["position", "refused", "no text"]
    }

    fn giants(&self) -> Vec<super::Giant> {
        vec![
            ("100,000 levels", || "{\"topics\":".repeat(100_000).into_bytes()),
            ("100,000 partitions", || {
                let partitions: Vec<_> = (0..100_000).map(|n| format!("\"{n}\":{n}")).collect();
                let partitions = partitions.join(",");
                format!(r#"{{"cluster":"c","topics":{{"t":{{{partitions}}}}}}}"#).into_bytes()
            }),
            ("a name of 10 MB", || {
                format!(r#"{{"cluster":"{}","topics":{{"t":{{}}}}}}"#, "x".repeat(10 << 20))
                    .into_bytes()
            }),
        ]
    }

    fn make(&mut self, dice: &mut StdRng, corpus: &Corpus) -> Vec<u8> {
        if dice.random_ratio(1, 3) {
            return any(dice).to_json().into_bytes();
        }
        let mut input = if dice.random_ratio(1, 2) {
            any(dice).to_json().into_bytes()
        } else {
            mutate::one_of(dice, &corpus.entries).clone()
        };
        mutate::mutate(dice, &mut input, corpus);
        input
    }

    fn take(&mut self, input: &[u8]) -> Result<&'static str, String> {
        // A property is a text; bytes that are none don't get this far.
        let Ok(text) = std::str::from_utf8(input) else { return Ok("no text") };
        let found = match Position::from_json(text) {
            Ok(found) => found,
            Err(err) if err.kind() == Kind::Corrupt => return Ok("refused"),
            Err(err) => return Err(format!("refused as {:?}: {err}", err.kind())),
        };
        let said = read(text)?;
        let offsets = found.offsets().iter().map(|(p, o)| (p.get(), o.get()));
        if offsets.collect::<BTreeMap<_, _>>() != said.offsets {
            return Err(format!("read as {found:?}, and says {:?}", said.offsets));
        }
        let source = (found.source().cluster.as_str(), found.source().topic.as_str());
        if source != (said.cluster.as_str(), said.topic.as_str()) {
            return Err(format!("read as {source:?}, and says {}, {}", said.cluster, said.topic));
        }
        let again = found.to_json();
        match Position::from_json(&again) {
            Ok(same) if same == found && same.to_json() == again => {}
            other => return Err(format!("{again} is written, and read as {other:?}")),
        }
        moved(&found)?;
        Ok("position")
    }
}

/// A batch that begins where the position stands is readable as ranges, too.
fn moved(position: &Position) -> Result<(), String> {
    let mut ranges = Ranges::default();
    for (partition, start) in position.offsets().iter().take(8) {
        let end = Offset::new(start.get().saturating_add(3));
        ranges.extend(*partition, *start, end).map_err(|err| err.to_string())?;
    }
    let json = ranges.to_json();
    let back: BTreeMap<String, (i64, i64)> =
        serde_json::from_str(&json).map_err(|err| format!("{json}: {err}"))?;
    let same = back.len() == ranges.iter().count()
        && ranges.iter().all(|(partition, range)| {
            back.get(&partition.to_string()) == Some(&(range.start().get(), range.end().get()))
        });
    same.then_some(()).ok_or_else(|| format!("{json} is not {ranges:?}"))
}

fn any(dice: &mut StdRng) -> Position {
    const NAMES: [&str; 6] = ["", "c", "5L6g3nShT-eMCtK--X86sw", "\"quoted\"", "\u{1f600}\n", "\\"];
    let source = Source {
        cluster: ClusterId::new(*mutate::one_of(dice, &NAMES)),
        topic: TopicId::new(*mutate::one_of(dice, &NAMES)),
    };
    let count = dice.random_range(0..9);
    let number = |dice: &mut StdRng| {
        if dice.random_ratio(1, 9) { i64::MAX } else { dice.random_range(0..1 << 40) }
    };
    let starts = (0..count).map(|_| {
        let partition = if dice.random_ratio(1, 9) { i32::MAX } else { dice.random_range(0..64) };
        (PartitionId::new(partition), Offset::new(number(dice)))
    });
    let starts = starts.collect();
    let empty = Position::empty(source);
    empty.pinned(&starts).unwrap_or(empty)
}

/// The text by a reading of its own, in which nothing may be said twice.
struct Said {
    cluster: String,
    topic: String,
    offsets: BTreeMap<i32, i64>,
}

fn read(text: &str) -> Result<Said, String> {
    let whole = members(text)?;
    let part = |name: &str| whole.get(name).ok_or_else(|| format!("accepted without {name}"));
    let cluster = serde_json::from_str(part("cluster")?).map_err(|err| err.to_string())?;
    let topics = members(part("topics")?)?;
    let mut topics = topics.into_iter();
    let (Some((topic, offsets)), None) = (topics.next(), topics.next()) else {
        return Err("accepted with another number of topics than one".to_owned());
    };
    let offsets = members(&offsets)?.into_iter().map(|(partition, offset)| {
        let number = partition.parse::<i32>().map_err(|err| format!("{partition}: {err}"))?;
        let offset = offset.parse::<i64>().map_err(|err| format!("{offset}: {err}"))?;
        if number < 0 || offset < 0 || number.to_string() != partition {
            return Err(format!("accepted {partition}: {offset}"));
        }
        Ok((number, offset))
    });
    Ok(Said { cluster, topic, offsets: offsets.collect::<Result<_, _>>()? })
}

/// The members of an object, each once.
fn members(text: &str) -> Result<BTreeMap<String, String>, String> {
    let Members(pairs) =
        serde_json::from_str(text).map_err(|err| format!("accepted {text}: {err}"))?;
    let mut members = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(before) = members.insert(key.clone(), value.get().to_owned()) {
            return Err(format!("accepted `{key}` twice, as {before} and as {value}"));
        }
    }
    Ok(members)
}

struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Every;
        impl<'de> Visitor<'de> for Every {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Members(pairs))
            }
        }
        deserializer.deserialize_map(Every)
    }
}
