//! The stream of records: visits interleaved, some records held back,
//! repeated, or broken. A pure function of the settings.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use activity_event::{ActivityEvent, ActivityType, EventTime};
use uuid::{Builder, Uuid};

use crate::dice::Dice;
use crate::placement::Partitioned;
use crate::session::{self, KEY_BYTES, Session};
use crate::shop::{self, Shop};
use crate::{Fault, GeneratorSettings};

/// The stream of draws that shoppers follow.
const SHOPPER_DRAWS: u64 = 0;
/// The stream of draws that faults follow: shoppers don't change with them.
const FAULT_DRAWS: u64 = 1;
/// A record that is held back, or sent again, comes this many records later at most.
const HELD_RECORDS_MAX: u32 = 64;
/// How late the events of a visit recorded offline are: 10 minutes to 48 hours.
const LAG_SECONDS: (u32, u32) = (600, 172_800);

/// One record for the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// The session's GUID as text: a visit stays in order in one partition.
    pub key: [u8; KEY_BYTES],
    /// The event's JSON, or what a fault left of it.
    pub payload: Option<Vec<u8>>,
    /// When the record is sent, by the stream's own clock; the record's Kafka timestamp.
    pub timestamp_ms: i64,
    /// How the record is broken, if it is.
    pub fault: Option<Fault>,
    /// The event was sent before, with the same bytes.
    pub duplicate: bool,
    /// The event belongs to a visit that was recorded offline.
    pub late: bool,
    /// Later events were sent before this one.
    pub out_of_order: bool,
}

impl Emission {
    /// A blank to be filled by [`Generator::fill`].
    pub fn blank() -> Self {
        Self {
            key: [0; KEY_BYTES],
            payload: None,
            timestamp_ms: 0,
            fault: None,
            duplicate: false,
            late: false,
            out_of_order: false,
        }
    }

    /// The length of key and payload.
    pub fn bytes(&self) -> usize {
        KEY_BYTES + self.payload.as_ref().map_or(0, Vec::len)
    }
}

/// How many records of which kind there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All records.
    pub records: u64,
    /// Their keys and payloads.
    pub bytes: u64,
    /// Records sent a second time.
    pub duplicates: u64,
    /// Records of visits recorded offline.
    pub late: u64,
    /// Records that later ones overtook.
    pub out_of_order: u64,
    /// Broken records.
    pub faults: BTreeMap<Fault, u64>,
}

impl Tally {
    /// Counts one record.
    pub fn add(&mut self, emission: &Emission) {
        self.records += 1;
        self.bytes += emission.bytes() as u64;
        self.duplicates += u64::from(emission.duplicate);
        self.late += u64::from(emission.late);
        self.out_of_order += u64::from(emission.out_of_order);
        if let Some(fault) = emission.fault {
            *self.faults.entry(fault).or_default() += 1;
        }
    }
}

/// The endless stream. As an iterator it allocates each record;
/// [`Generator::fill`] reuses one.
pub struct Generator {
    settings: GeneratorSettings,
    shop: Shop,
    sessions: Vec<Session>,
    shoppers: Dice,
    faults: Dice,
    faults_made: usize,
    sent: u64,
    holds: u64,
    held: BinaryHeap<Reverse<Held>>,
    text: Text,
}

/// Buffers for the text parts of an event.
#[derive(Default)]
struct Text {
    customer: String,
    product: String,
    url: String,
}

/// A record that waits until `due` records were sent; `order` breaks ties.
struct Held {
    due: u64,
    order: u64,
    emission: Emission,
}

impl Generator {
    /// The stream of `settings`, from its beginning.
    pub fn new(settings: &GeneratorSettings) -> Self {
        let mut generator = Self {
            settings: settings.clone(),
            shop: Shop::new(settings),
            sessions: Vec::new(),
            shoppers: Dice::new(settings.seed, SHOPPER_DRAWS),
            faults: Dice::new(settings.seed, FAULT_DRAWS),
            faults_made: 0,
            sent: 0,
            holds: 0,
            held: BinaryHeap::new(),
            text: Text::default(),
        };
        for _ in 0..settings.shoppers.get() {
            let session = generator.begin_session();
            generator.sessions.push(session);
        }
        generator
    }

    /// The same stream with the partition of every record and its place there:
    /// with the first offset of each partition, the truth by (partition, offset).
    pub fn partitioned(self, partitions: i32) -> Partitioned {
        Partitioned::new(self, partitions)
    }

    /// Makes the next record in `emission`, reusing its buffer.
    pub fn fill(&mut self, emission: &mut Emission) {
        loop {
            if let Some(held) = self.take_due() {
                *emission = held;
                break;
            }
            self.make(emission);
            if !self.faults.chance(self.settings.out_of_order) {
                break;
            }
            let overtaken = std::mem::replace(emission, Emission::blank());
            self.hold(Emission { out_of_order: true, ..overtaken });
        }
        emission.timestamp_ms = self.now_ms();
        self.sent += 1;
        if !emission.duplicate && self.faults.chance(self.settings.duplicates) {
            self.hold(Emission { duplicate: true, ..emission.clone() });
        }
    }

    /// The stream's own clock: it moves by one event's share of a second with each record.
    fn now_ms(&self) -> i64 {
        let elapsed = u128::from(self.sent) * 1_000 / u128::from(self.settings.event_rate.get());
        self.settings.start_ms.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    fn hold(&mut self, emission: Emission) {
        self.holds += 1;
        let due = self.sent + u64::from(self.faults.between(1, HELD_RECORDS_MAX + 1));
        self.held.push(Reverse(Held { due, order: self.holds, emission }));
    }

    /// A held record whose turn has come, or the first of them when too many
    /// wait: a stream whose every record is held would never send one.
    fn take_due(&mut self) -> Option<Emission> {
        let Reverse(first) = self.held.peek()?;
        if first.due > self.sent && self.held.len() < HELD_RECORDS_MAX as usize {
            return None;
        }
        self.held.pop().map(|Reverse(held)| held.emission)
    }

    /// One shopper, picked at random, does what comes next in its visit.
    fn make(&mut self, emission: &mut Emission) {
        let now_ms = self.now_ms();
        let count = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let shopper = self.shoppers.below(count) as usize;
        let session = self.sessions.get_mut(shopper).expect("an index drawn below the length");

        let event_ms = now_ms.saturating_sub(session.lag_ms);
        emission.key = session.key;
        emission.late = session.lag_ms > 0;
        emission.duplicate = false;
        emission.out_of_order = false;
        let payload = emission.payload.get_or_insert_default();
        payload.clear();
        self.text.write(session, EventTime::from_millis(event_ms), &mut self.shoppers, payload);

        if !session.advance(&self.shop, &mut self.shoppers) {
            let next = self.begin_session();
            if let Some(place) = self.sessions.get_mut(shopper) {
                *place = next;
            }
        }
        emission.fault = self.draw_fault();
        if let Some(fault) = emission.fault
            && let Some(payload) = &mut emission.payload
            && !fault.apply(payload, &mut self.faults)
        {
            emission.payload = None;
        }
    }

    fn begin_session(&mut self) -> Session {
        let lag_ms = if self.faults.chance(self.settings.late) {
            let (least, most) = LAG_SECONDS;
            i64::from(self.faults.between(least, most)) * 1_000
        } else {
            0
        };
        Session::begin(&self.shop, lag_ms, &mut self.shoppers)
    }

    /// Decides whether this record breaks; the ways take turns, so that a
    /// stream with a few broken records has each of them.
    fn draw_fault(&mut self) -> Option<Fault> {
        if !self.faults.chance(self.settings.malformed) {
            return None;
        }
        let fault = Fault::ALL.get(self.faults_made % Fault::ALL.len()).copied();
        self.faults_made += 1;
        fault
    }
}

impl Iterator for Generator {
    type Item = Emission;

    fn next(&mut self) -> Option<Emission> {
        let mut emission = Emission::blank();
        self.fill(&mut emission);
        Some(emission)
    }
}

impl Text {
    /// Appends the JSON of what `session` does next.
    fn write(&mut self, session: &Session, at: EventTime, dice: &mut Dice, out: &mut Vec<u8>) {
        let activity = session.next;
        shop::write_customer(&mut self.customer, session.customer);
        shop::write_product(&mut self.product, session.product);
        shop::write_url(&mut self.url, activity, &self.product, session.campaign, dice);
        let browsing = activity == ActivityType::PageView;
        let paid = activity == ActivityType::Purchase;
        ActivityEvent {
            unique_event_id: time_ordered_id(at, dice),
            customer_id: &self.customer,
            session_guid: session.guid,
            activity_type: activity,
            source_url: &self.url,
            client_platform: session.platform,
            event_ts_utc: at,
            customer_latitude: session.place.map(|place| place.latitude),
            customer_longitude: session.place.map(|place| place.longitude),
            product_id: (!browsing).then_some(self.product.as_str()),
            transaction_value: paid.then(|| session::order_value(dice)),
        }
        .write_json(out);
    }
}

/// A `UUIDv7` of the event's time; instants before 1970 count as 1970.
fn time_ordered_id(at: EventTime, dice: &mut Dice) -> Uuid {
    let [random @ .., _, _, _, _, _, _] = dice.bytes16();
    let millis = u64::try_from(at.millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}
