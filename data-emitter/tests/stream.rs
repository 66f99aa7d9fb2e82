//! The generated stream: reproducible, shaped like a shop, broken as told.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test may panic")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use activity_event::{ActivityType, field};
use data_emitter::{Emission, Fault, Fraction, Generator, GeneratorSettings};
use serde_json::Value;

/// 2025-06-01T00:00:00Z.
const START_MS: i64 = 1_748_736_000_000;

fn settings() -> GeneratorSettings {
    GeneratorSettings::new(7, START_MS)
}

fn share(value: f64) -> Fraction {
    Fraction::new(value).unwrap()
}

fn records(settings: &GeneratorSettings, count: usize) -> Vec<Emission> {
    Generator::new(settings).take(count).collect()
}

fn json(emission: &Emission) -> Value {
    serde_json::from_slice(emission.payload.as_ref().unwrap()).unwrap()
}

#[test]
fn the_same_settings_give_the_same_bytes() {
    let settings = GeneratorSettings {
        late: share(0.05),
        duplicates: share(0.05),
        out_of_order: share(0.05),
        malformed: share(0.05),
        ..settings()
    };
    assert_eq!(records(&settings, 5_000), records(&settings, 5_000));
    let other = GeneratorSettings { seed: 8, ..settings.clone() };
    assert_ne!(records(&settings, 10), records(&other, 10));
}

/// A change here changes what every seed means: say so in the changelog.
#[test]
fn the_stream_of_a_seed_stays_what_it_is_across_releases_and_machines() {
    let settings = GeneratorSettings {
        late: share(0.02),
        duplicates: share(0.02),
        out_of_order: share(0.02),
        malformed: share(0.02),
        ..settings()
    };
    let mut digest = Fnv::default();
    for record in Generator::new(&settings).take(50_000) {
        digest.update(&record.key);
        digest.update(&record.timestamp_ms.to_le_bytes());
        digest.update(record.payload.as_deref().unwrap_or(b"\0tombstone"));
    }
    assert_eq!(format!("{:016x}", digest.0), "2046aa97104f03a0");
}

/// FNV-1a, so that the digest needs no crate whose output may change.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[test]
fn a_reused_record_equals_a_fresh_one() {
    let settings = GeneratorSettings {
        duplicates: share(0.1),
        out_of_order: share(0.1),
        malformed: share(0.2),
        ..settings()
    };
    let mut generator = Generator::new(&settings);
    let mut reused = Emission::blank();
    for fresh in records(&settings, 2_000) {
        generator.fill(&mut reused);
        assert_eq!(reused, fresh);
    }
}

#[test]
fn one_event_in_25_is_a_purchase_and_every_second_purchase_is_above_50() {
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    let mut above = 0;
    for record in records(&settings(), 200_000) {
        let event = json(&record);
        *kinds.entry(event[field::ACTIVITY_TYPE].as_str().unwrap().to_owned()).or_default() += 1;
        above += u32::from(event[field::TRANSACTION_VALUE].as_f64().is_some_and(|usd| usd > 50.0));
    }
    assert_eq!(kinds.len(), ActivityType::ALL.len());
    let funnel: Vec<u32> = ActivityType::ALL.iter().map(|kind| kinds[kind.as_str()]).collect();
    assert!(funnel.is_sorted_by(|step, next| step > next), "{kinds:?}");
    let purchases = kinds["purchase"];
    assert!((7_600..8_400).contains(&purchases), "{purchases} of 200,000");
    let of_hundred = above * 100 / purchases;
    assert!((47..53).contains(&of_hundred), "{above} of {purchases} purchases above 50");
}

#[test]
fn every_event_keeps_the_wire_contract() {
    let mut ids = BTreeSet::new();
    for record in records(&settings(), 20_000) {
        let event = json(&record);
        assert_eq!(event.as_object().unwrap().len(), field::ALL.len());
        assert_eq!(event[field::SESSION_GUID].as_str().unwrap().as_bytes(), record.key);
        let id: uuid::Uuid = event[field::UNIQUE_EVENT_ID].as_str().unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 7);
        assert!(ids.insert(id), "{id} twice");
        for name in field::REQUIRED {
            assert!(event[name].is_string(), "{name} in {event}");
        }
        let paid = event[field::ACTIVITY_TYPE] == "purchase";
        assert_eq!(event[field::TRANSACTION_VALUE].is_number(), paid, "{event}");
        if let Some(latitude) = event[field::CUSTOMER_LATITUDE].as_f64() {
            assert!(latitude.abs() <= 90.0);
            assert!(event[field::CUSTOMER_LONGITUDE].as_f64().unwrap().abs() <= 180.0);
        }
        if event[field::ACTIVITY_TYPE] != "page_view" {
            assert!(event[field::PRODUCT_ID].is_string(), "{event}");
        }
    }
}

#[test]
fn a_visit_is_one_customer_on_one_platform_and_begins_with_a_page_view() {
    let mut visits: HashMap<String, Value> = HashMap::new();
    let mut ended = BTreeSet::new();
    for record in records(&settings(), 20_000) {
        let event = json(&record);
        let visit = event[field::SESSION_GUID].as_str().unwrap().to_owned();
        assert!(!ended.contains(&visit), "{visit} goes on after its purchase");
        if event[field::ACTIVITY_TYPE] == "purchase" {
            ended.insert(visit.clone());
        }
        let first = visits.entry(visit).or_insert_with(|| event.clone());
        assert_eq!(first[field::ACTIVITY_TYPE], "page_view");
        for same in [field::CUSTOMER_ID, field::CLIENT_PLATFORM, field::CUSTOMER_LATITUDE] {
            assert_eq!(first[same], event[same]);
        }
    }
}

#[test]
fn some_customers_come_far_more_often_than_others() {
    let mut visits: HashMap<String, u32> = HashMap::new();
    for record in records(&settings(), 100_000) {
        let event = json(&record);
        *visits.entry(event[field::CUSTOMER_ID].as_str().unwrap().to_owned()).or_default() += 1;
    }
    // Zipf over 100,000: the first has 1 / 12.09 of all visits, half as many the second.
    let first = visits["c0000000"];
    let second = visits["c0000001"];
    assert!((7_000..9_600).contains(&first), "{first}");
    assert!((3_300..5_000).contains(&second), "{second}");
}

#[test]
fn event_time_moves_with_the_event_rate() {
    let last = records(&settings(), 5_001).pop().unwrap();
    assert_eq!(last.timestamp_ms, START_MS + 5_000);
    assert_eq!(json(&last)[field::EVENT_TS_UTC], "2025-06-01T00:00:05.000Z");
}

#[test]
fn faults_do_not_change_what_the_shoppers_do() {
    let malformed = GeneratorSettings { malformed: share(0.3), ..settings() };
    let clean = records(&settings(), 3_000);
    for (broken, clean) in records(&malformed, 3_000).into_iter().zip(clean) {
        assert_eq!(broken.key, clean.key);
        assert!(broken.fault.is_some() || broken == clean);
    }
}

#[test]
fn late_visits_happened_ten_minutes_to_two_days_before_they_arrive() {
    let settings = GeneratorSettings { late: share(0.2), ..settings() };
    let mut late = 0;
    for record in records(&settings, 20_000) {
        let at = json(&record)[field::EVENT_TS_UTC].as_str().unwrap().to_owned();
        let at = chrono::DateTime::parse_from_rfc3339(&at).unwrap().timestamp_millis();
        let lag_ms = record.timestamp_ms - at;
        let expected = if record.late { 600_000..=172_800_000 } else { 0..=0 };
        assert!(expected.contains(&lag_ms), "{lag_ms} ms, late: {}", record.late);
        late += u32::from(record.late);
    }
    assert!((3_400..4_600).contains(&late), "{late} of 20,000");
}

#[test]
fn duplicates_repeat_an_earlier_record_byte_by_byte() {
    let settings = GeneratorSettings { duplicates: share(0.1), ..settings() };
    let mut seen = BTreeSet::new();
    let mut duplicates = 0;
    for record in records(&settings, 20_000) {
        assert_eq!(!seen.insert(record.payload.unwrap()), record.duplicate);
        duplicates += u32::from(record.duplicate);
    }
    assert!((1_650..2_000).contains(&duplicates), "{duplicates} of 20,000");
}

#[test]
fn overtaken_events_are_older_than_an_event_before_them() {
    let settings = GeneratorSettings { out_of_order: share(0.1), ..settings() };
    let mut newest = String::new();
    let mut overtaken = 0;
    for record in records(&settings, 20_000) {
        let at = json(&record)[field::EVENT_TS_UTC].as_str().unwrap().to_owned();
        if record.out_of_order {
            overtaken += 1;
        } else {
            assert!(at >= newest, "an event is out of order and doesn't say so");
        }
        newest = newest.max(at);
    }
    assert!((1_800..2_200).contains(&overtaken), "{overtaken} of 20,000");
}

#[test]
fn a_stream_whose_every_record_is_held_still_flows() {
    let settings = GeneratorSettings {
        out_of_order: share(1.0),
        duplicates: share(1.0),
        late: share(1.0),
        malformed: share(1.0),
        ..settings()
    };
    assert_eq!(records(&settings, 1_000).len(), 1_000);
}

#[test]
fn places_are_those_of_the_keys() {
    let lengths = Generator::new(&settings()).partitioned(4).take(10_000).fold(
        BTreeMap::<i32, u64>::new(),
        |mut lengths, placed| {
            let length = lengths.entry(placed.partition).or_default();
            assert_eq!(placed.index, *length);
            assert_eq!(placed.partition, data_emitter::partition_of(&placed.emission.key, 4));
            *length += 1;
            lengths
        },
    );
    assert_eq!(lengths.len(), 4);
    assert!(lengths.values().all(|length| *length > 2_000), "{lengths:?}");
}

/// What a plain reading says of each way of breaking.
#[test]
fn every_broken_record_is_broken_for_a_plain_reader() {
    let settings = GeneratorSettings { malformed: share(1.0), ..settings() };
    let mut seen: BTreeMap<Fault, u32> = BTreeMap::new();
    for record in records(&settings, 20_000) {
        let fault = record.fault.unwrap();
        *seen.entry(fault).or_default() += 1;
        let payload = record.payload.as_deref();
        assert!(is_broken(fault, payload), "{} is not: {payload:?}", fault.as_str());
    }
    assert_eq!(seen.len(), Fault::ALL.len());
    assert!(seen.values().all(|count| *count == 2_000));
}

fn is_broken(fault: Fault, payload: Option<&[u8]>) -> bool {
    let Some(payload) = payload else {
        return fault == Fault::Tombstone;
    };
    let text = std::str::from_utf8(payload);
    let read = serde_json::from_slice::<Value>(payload);
    match fault {
        Fault::Tombstone => false,
        Fault::Truncated => !payload.is_empty() && read.is_err(),
        Fault::Empty => payload.is_empty(),
        Fault::InvalidUtf8 => text.is_err(),
        Fault::DeepNesting => text.is_ok() && read.is_err(),
        Fault::JsonNull => read.unwrap().is_null(),
        Fault::DuplicateKey => {
            let text = text.unwrap();
            let twice = |name: &&&str| text.matches(&format!("\"{name}\":")).count() == 2;
            read.is_ok() && field::ALL.iter().filter(twice).count() == 1
        }
        Fault::MissingField => {
            let event = read.unwrap();
            field::REQUIRED.iter().filter(|name| event.get(name).is_none()).count() == 1
        }
        Fault::WrongType => {
            let event = read.unwrap();
            field::ALL.iter().filter(|name| !is_typed(name, &event[**name])).count() == 1
        }
        Fault::HugeNumber => {
            read.unwrap()[field::TRANSACTION_VALUE].as_f64().unwrap().abs() >= 1e10
        }
    }
}

fn is_typed(name: &str, value: &Value) -> bool {
    match name {
        field::CUSTOMER_LATITUDE | field::CUSTOMER_LONGITUDE | field::TRANSACTION_VALUE => {
            value.is_number() || value.is_null()
        }
        field::PRODUCT_ID => value.is_string() || value.is_null(),
        _ => value.is_string(),
    }
}
