//! Ways in which a record can be broken, and the breaking.
//!
//! Every broken record breaks the wire contract for good: a reader that
//! declares the contract's fields with their types, and the required ones as
//! required, must refuse it. Nothing here touches a field beyond the contract.

use activity_event::field;

use crate::dice::Dice;

/// Levels of nesting: beyond the 127 that `serde_json` allows.
const NESTING_LEVELS: usize = 200;

/// How a record is broken. The names are stable: a checker may expect them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The JSON text ends too early.
    Truncated,
    /// A declared field holds a value of another type.
    WrongType,
    /// A required field is absent.
    MissingField,
    /// A string holds bytes that are not UTF-8.
    InvalidUtf8,
    /// The transaction value has more digits than decimal(12,2) holds.
    HugeNumber,
    /// A declared field appears twice.
    DuplicateKey,
    /// An extra field nests 200 arrays.
    DeepNesting,
    /// The payload has no bytes.
    Empty,
    /// There is no payload at all: Kafka's null.
    Tombstone,
    /// The payload is JSON's `null`.
    JsonNull,
}

impl Fault {
    /// All of them, in the order in which a stream brings them.
    pub const ALL: [Self; 10] = [
        Self::Truncated,
        Self::WrongType,
        Self::MissingField,
        Self::InvalidUtf8,
        Self::HugeNumber,
        Self::DuplicateKey,
        Self::DeepNesting,
        Self::Empty,
        Self::Tombstone,
        Self::JsonNull,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::WrongType => "wrong_type",
            Self::MissingField => "missing_field",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::HugeNumber => "huge_number",
            Self::DuplicateKey => "duplicate_key",
            Self::DeepNesting => "deep_nesting",
            Self::Empty => "empty",
            Self::Tombstone => "tombstone",
            Self::JsonNull => "json_null",
        }
    }

    /// Breaks `payload`, which holds one event's JSON; `false` means that the
    /// record is to have no payload.
    pub(crate) fn apply(self, payload: &mut Vec<u8>, dice: &mut Dice) -> bool {
        match self {
            Self::Truncated => truncate(payload, dice),
            Self::WrongType => {
                let (field, value) = *dice.one_of(&WRONG_VALUES);
                replace_value(payload, field, value.as_bytes());
            }
            Self::MissingField => remove(payload, dice.one_of::<&str>(&field::REQUIRED)),
            Self::InvalidUtf8 => {
                let bytes = *dice.one_of(&INVALID_UTF8);
                spoil_text(payload, bytes);
            }
            Self::HugeNumber => {
                let value = *dice.one_of(&HUGE_VALUES);
                replace_value(payload, field::TRANSACTION_VALUE, value.as_bytes());
            }
            Self::DuplicateKey => repeat(payload, dice.one_of::<&str>(&REPEATED)),
            Self::DeepNesting => nest(payload),
            Self::Empty => payload.clear(),
            Self::Tombstone => return false,
            Self::JsonNull => {
                payload.clear();
                payload.extend_from_slice(b"null");
            }
        }
        true
    }
}

/// Values of the wrong type, with the field they go into.
const WRONG_VALUES: [(&str, &str); 7] = [
    (field::UNIQUE_EVENT_ID, "17"),
    (field::CUSTOMER_ID, "true"),
    (field::ACTIVITY_TYPE, "[\"purchase\"]"),
    (field::EVENT_TS_UTC, "1748766600125"),
    (field::CUSTOMER_LATITUDE, "\"48.137154\""),
    (field::PRODUCT_ID, "{\"id\":\"p00017\"}"),
    (field::TRANSACTION_VALUE, "\"129.05\""),
];

/// No UTF-8: a byte that never occurs, a lone lead byte, a surrogate, an overlong form.
const INVALID_UTF8: [&[u8]; 4] = [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xc0\xaf"];

/// Legal JSON numbers with more than ten digits before the point.
const HUGE_VALUES: [&str; 4] = [
    "10000000000.00",
    "-99999999999.99",
    "18446744073709551616",
    "123456789012345678901234567890.12",
];

/// Fields that are written a second time.
const REPEATED: [&str; 3] =
    [field::UNIQUE_EVENT_ID, field::ACTIVITY_TYPE, field::TRANSACTION_VALUE];

fn truncate(payload: &mut Vec<u8>, dice: &mut Dice) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    payload.truncate(dice.between(1, length) as usize);
}

fn replace_value(payload: &mut Vec<u8>, field: &str, value: &[u8]) {
    let member = Member::find(payload, field);
    payload.splice(member.value..member.end, value.iter().copied());
}

fn remove(payload: &mut Vec<u8>, field: &str) {
    let member = Member::find(payload, field);
    // A required field is never the last one, so a comma follows it.
    payload.drain(member.name..=member.end);
}

fn spoil_text(payload: &mut Vec<u8>, bytes: &[u8]) {
    let after_quote = Member::find(payload, field::SOURCE_URL).value + 1;
    payload.splice(after_quote..after_quote, bytes.iter().copied());
}

fn repeat(payload: &mut Vec<u8>, field: &str) {
    let member = Member::find(payload, field);
    let copy: Vec<u8> = payload.get(member.name..member.end).unwrap_or_default().to_vec();
    append(payload, &copy);
}

fn nest(payload: &mut Vec<u8>) {
    let extra =
        [b"\"extra\":".to_vec(), vec![b'['; NESTING_LEVELS], vec![b']'; NESTING_LEVELS]].concat();
    append(payload, &extra);
}

/// Adds a member at the end of the object.
fn append(payload: &mut Vec<u8>, member: &[u8]) {
    payload.pop();
    payload.push(b',');
    payload.extend_from_slice(member);
    payload.push(b'}');
}

/// Where one member of an event's object stands: `name` and `value` are first
/// bytes, `end` is the comma or brace after the value.
struct Member {
    name: usize,
    value: usize,
    end: usize,
}

impl Member {
    /// Finds a field by the text that only a name can have: a quotation mark
    /// inside a string is escaped, so `"field":` occurs once.
    fn find(payload: &[u8], field: &str) -> Self {
        let name = place_of(payload, &label(field)).expect("an event has every field");
        let next = field::ALL.iter().skip_while(|name| **name != field).nth(1);
        let end = match next {
            Some(next) => place_of(payload, &label(next)).expect("an event has every field") - 1,
            None => payload.len() - 1,
        };
        Self { name, value: name + field.len() + 3, end }
    }
}

fn label(field: &str) -> Vec<u8> {
    format!("\"{field}\":").into_bytes()
}

fn place_of(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
